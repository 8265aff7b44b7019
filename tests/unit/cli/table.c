/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/table.h"
#include "cli/width.h"

static const struct table_column columns[] = {{.title = "ID"}, {"Name", .shrinks = true},
	{"Image", .shrinks = true}, {"Count", .is_right = true}, {}};

static void assert_lines_within(char *text, size_t width)
{
	char *line;

	while ((line = strsep(&text, "\n")))
		assert_true(width_of(line) <= width);
}

static void columns_line_up(void **state)
{
	_cleanup_(table_clear) struct table table = {};
	_free_ char *text = NULL;

	(void)state;
	table_init(&table, columns);
	table_row(&table, (const char *[]){"a", "long name", NULL, "7"});
	table_row(&table, (const char *[]){"bcd", "x", "i", "1200"});
	text = table_format(&table, 0, false);
	assert_string_equal(text, "ID   NAME       IMAGE  COUNT\n"
				  "a    long name             7\n"
				  "bcd  x          i       1200\n");
}

static void a_terminal_of_80_columns_is_never_exceeded(void **state)
{
	_cleanup_(table_clear) struct table table = {};
	_free_ char *text = NULL;

	(void)state;
	table_init(&table, columns);
	table_row(&table, (const char *[]){"3d8e1f00aa11bb",
				  "a-name-that-somebody-made-far-too-long-for-a-table",
				  "registry.example.com/some/deep/path/"
				  "image:deployment-01JABCDEFGHJKMNPQRSTVWXYZ0",
				  "3"});
	text = table_format(&table, 80, false);
	assert_non_null(strstr(text, "3d8e1f00aa11bb"));
	assert_non_null(strstr(text, "…"));
	assert_lines_within(text, 80);
}

static void elsewhere_values_are_whole(void **state)
{
	_cleanup_(table_clear) struct table table = {};
	_free_ char *text = NULL;
	char name[301] = "";

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	table_init(&table, columns);
	table_row(&table, (const char *[]){"1", name, "", ""});
	text = table_format(&table, 0, false);
	assert_non_null(strstr(text, name));
}

static void wide_and_combining_characters_count_as_they_are_shown(void **state)
{
	_cleanup_(buf_clear) struct buf cut = {};

	(void)state;
	assert_int_equal(width_of("日本語"), 6);
	assert_int_equal(width_of("e\u0301"), 1);
	assert_int_equal(width_of("\xff\xfe"), 2);
	width_add(&cut, "日本語", 4);
	assert_string_equal(cut.data, "日…");
}

static void wide_characters_line_up_and_fit(void **state)
{
	_cleanup_(table_clear) struct table table = {};
	_free_ char *text = NULL;

	(void)state;
	table_init(&table, columns);
	table_row(
		&table, (const char *[]){"日本", "日本語日本語日本語日本語日本語日本語日本語日本語",
				"日本語日本語日本語日本語日本語日本語日本語", "1"});
	table_row(&table, (const char *[]){"ab", "x", "y", "2"});
	text = table_format(&table, 80, false);
	assert_non_null(strstr(text, "ab    x "));
	assert_lines_within(text, 80);
}

static void names_cannot_move_the_cursor(void **state)
{
	_cleanup_(buf_clear) struct buf text = {};

	(void)state;
	width_add(&text,
		"a\033[2Jb\nc\xc2\x9b"
		"d\u202e",
		80);
	assert_string_equal(text.data, "a?[2Jb?c?d?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_line_up),
		cmocka_unit_test(a_terminal_of_80_columns_is_never_exceeded),
		cmocka_unit_test(elsewhere_values_are_whole),
		cmocka_unit_test(wide_and_combining_characters_count_as_they_are_shown),
		cmocka_unit_test(wide_characters_line_up_and_fit),
		cmocka_unit_test(names_cannot_move_the_cursor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
