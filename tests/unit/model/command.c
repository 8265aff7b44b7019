/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of [processes], word by word as a shell would have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/command.h"

static void words_are_those_of_a_shell(void **state)
{
	static const struct {
		const char *text, *words; /* joined by "|" */
	} rows[] = {
		{"", ""},
		{"  \t\n ", ""},
		{"/app", "/app"},
		{"  /app  --port 53 ", "/app|--port|53"},
		{"sh -c 'echo \"a b\" $HOME'", "sh|-c|echo \"a b\" $HOME"},
		{"a\"b c\"d", "ab cd"},
		{"\"\" ''", "|"},
		{"a\\ b \\\\ \\'", "a b|\\|'"},
		{"\"a\\\"b\" 'a\\b'", "a\"b|a\\b"},
		{"end\\", "end\\"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(strings_clear) struct strings words = {};
		_cleanup_(buf_clear) struct buf joined = {};

		assert_int_equal(command_split(rows[i].text, &words), 0);
		buf_adds(&joined, "");
		for (size_t w = 0; w < words.count; w++)
			buf_addf(&joined, "%s%s", w ? "|" : "", words.items[w]);
		assert_string_equal(joined.data, rows[i].words);
	}
}

static void an_open_quote_is_refused(void **state)
{
	static const char *const texts[] = {"'", "sh -c 'open", "\"a", "a 'b' \"", "'it\\'s'"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct strings words = {};

		assert_int_equal(command_split(texts[i], &words), -EINVAL);
		assert_int_equal(words.count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_those_of_a_shell),
		cmocka_unit_test(an_open_quote_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
