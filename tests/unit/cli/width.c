/* SPDX-License-Identifier: Apache-2.0 */
/* Text in columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/width.h"

static void assert_wrapped(const char *text, size_t indent, size_t columns, const char *want)
{
	_cleanup_(buf_clear) struct buf have = {};

	width_wrap(&have, text, indent, columns);
	assert_string_equal(have.data, want);
}

static void words_that_do_not_fit_begin_a_line_at_the_indent(void **state)
{
	(void)state;
	assert_wrapped("", 2, 10, "\n");
	assert_wrapped("one two three", 0, 0, "one two three\n");
	assert_wrapped("one two three", 0, 13, "one two three\n");
	assert_wrapped("one two three", 0, 12, "one two\nthree\n");
	assert_wrapped("one two three", 2, 9, "one two\n  three\n");
	assert_wrapped("one  two", 0, 80, "one two\n");
}

static void a_word_that_is_too_long_stands_alone_and_whole(void **state)
{
	(void)state;
	assert_wrapped("a 0123456789 b", 2, 8, "a\n  0123456789\n  b\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_that_do_not_fit_begin_a_line_at_the_indent),
		cmocka_unit_test(a_word_that_is_too_long_stands_alone_and_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
