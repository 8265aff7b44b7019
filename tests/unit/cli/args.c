/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/args.h"

/* Parses words; the array begins with the program's name. */
#define PARSE(args, err, ...)                                                                      \
	({                                                                                         \
		static const char *const words_[] = {"wherry", __VA_ARGS__, NULL};                 \
		args_parse((int)ARRAY_LEN(words_) - 1, (char **)words_, args, err);                \
	})

static void flags_stand_before_and_after_positionals(void **state)
{
	_cleanup_(args_clear) struct args args = {};

	(void)state;
	assert_int_equal(PARSE(&args, NULL, "-a", "web", "machine", "destroy", "3d8e", "--force",
				 "91f0", "-j"),
		0);
	assert_string_equal(args.command->path, "machine destroy");
	assert_string_equal(args_get(&args, "app"), "web");
	assert_true(args_has(&args, "force"));
	assert_true(args_has(&args, "json"));
	assert_string_equal(args_positional(&args, 0), "3d8e");
	assert_string_equal(args_positional(&args, 1), "91f0");
	assert_null(args_positional(&args, 2));
}

static void a_value_follows_its_flag_in_every_usual_way(void **state)
{
	static const char *const lines[][5] = {
		{"wherry", "status", "--app", "web"},
		{"wherry", "status", "--app=web"},
		{"wherry", "status", "-a", "web"},
		{"wherry", "status", "-aweb"},
		{"wherry", "status", "-a=web"},
		{"wherry", "status", "-jyaweb"},
		{"wherry", "-jya", "web", "status"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		_cleanup_(args_clear) struct args args = {};
		int count = 0;

		while (lines[i][count])
			count++;
		assert_int_equal(args_parse(count, (char **)lines[i], &args, NULL), 0);
		assert_string_equal(args.command->path, "status");
		assert_string_equal(args_get(&args, "app"), "web");
	}
}

static void a_cluster_gives_each_of_its_switches(void **state)
{
	_cleanup_(args_clear) struct args args = {};

	(void)state;
	assert_int_equal(PARSE(&args, NULL, "apps", "list", "-jyq"), 0);
	assert_true(args_has(&args, "json"));
	assert_true(args_has(&args, "yes"));
	assert_true(args_has(&args, "quiet"));
	assert_false(args_has(&args, "verbose"));
}

static void an_empty_value_is_a_value(void **state)
{
	_cleanup_(args_clear) struct args args = {};

	(void)state;
	assert_int_equal(PARSE(&args, NULL, "status", "--app="), 0);
	assert_string_equal(args_get(&args, "app"), "");
}

static void a_repeated_flag_keeps_all_its_values(void **state)
{
	_cleanup_(args_clear) struct args args = {};
	size_t at = 0;

	(void)state;
	assert_int_equal(PARSE(&args, NULL, "machine", "run", "-e", "A=1", "image", "-eB=2"), 0);
	assert_string_equal(args_next(&args, "env", &at), "A=1");
	assert_string_equal(args_next(&args, "env", &at), "B=2");
	assert_null(args_next(&args, "env", &at));
}

static void a_programs_own_flags_stay_its_own(void **state)
{
	_cleanup_(args_clear) struct args dashes = {}, plain = {};

	(void)state;
	assert_int_equal(
		PARSE(&dashes, NULL, "machine", "exec", "3d8e", "--", "ls", "-j", "--", "x"), 0);
	assert_int_equal(dashes.program_count, 4);
	assert_string_equal(dashes.program[1], "-j");
	assert_string_equal(dashes.program[2], "--");
	assert_null(dashes.program[4]);
	assert_false(args_has(&dashes, "json"));
	assert_int_equal(PARSE(&plain, NULL, "machine", "exec", "3d8e", "ls", "-j"), 0);
	assert_int_equal(plain.program_count, 2);
	assert_false(args_has(&plain, "json"));
}

static void dashes_end_the_flags_of_a_command_without_a_program(void **state)
{
	_cleanup_(args_clear) struct args args = {};

	(void)state;
	assert_int_equal(PARSE(&args, NULL, "apps", "create", "--", "-j"), 0);
	assert_string_equal(args_positional(&args, 0), "-j");
	assert_false(args_has(&args, "json"));
}

static void a_mistyped_command_is_answered_with_the_nearest(void **state)
{
	_cleanup_(args_clear) struct args args = {};
	struct err err = {};

	(void)state;
	assert_int_not_equal(PARSE(&args, &err, "sttaus"), 0);
	assert_non_null(strstr(err.text, "did you mean \"status\"?"));
	args_clear(&args);
	assert_int_not_equal(PARSE(&args, &err, "machine", "lst"), 0);
	assert_non_null(strstr(err.text, "did you mean \"machine list\"?"));
	assert_string_equal(args.command->path, "machine");
	args_clear(&args);
	assert_int_not_equal(PARSE(&args, &err, "frobnicate"), 0);
	assert_null(strstr(err.text, "did you mean"));
}

static void a_mistyped_flag_is_answered_with_the_nearest(void **state)
{
	_cleanup_(args_clear) struct args args = {};
	struct err err = {};

	(void)state;
	assert_int_not_equal(PARSE(&args, &err, "deploy", "--imgae", "x"), 0);
	assert_non_null(strstr(err.text, "did you mean --image?"));
}

static void hidden_commands_are_not_suggested(void **state)
{
	_cleanup_(args_clear) struct args args = {};
	struct err err = {};

	(void)state;
	assert_int_not_equal(PARSE(&args, &err, "mann"), 0);
	assert_null(strstr(err.text, "\"man\""));
}

static void what_is_missing_is_named(void **state)
{
	_cleanup_(args_clear) struct args args = {};
	struct err err = {};

	(void)state;
	assert_int_not_equal(PARSE(&args, &err, "apps", "create"), 0);
	assert_string_equal(err.text, "apps create needs NAME");
	args_clear(&args);
	assert_int_not_equal(PARSE(&args, &err, "machine", "exec", "3d8e"), 0);
	assert_non_null(strstr(err.text, "needs a program"));
	args_clear(&args);
	assert_int_not_equal(PARSE(&args, &err, "status", "-a"), 0);
	assert_non_null(strstr(err.text, "--app needs a value"));
	args_clear(&args);
	assert_int_equal(PARSE(&args, &err, "apps", "create", "--help"), 0);
}

static void what_is_too_much_is_refused(void **state)
{
	_cleanup_(args_clear) struct args args = {};
	struct err err = {};

	(void)state;
	assert_int_not_equal(PARSE(&args, &err, "status", "web"), 0);
	args_clear(&args);
	assert_int_not_equal(PARSE(&args, &err, "status", "--json=yes"), 0);
	args_clear(&args);
	assert_int_not_equal(PARSE(&args, &err, "status", "-Z"), 0);
}

static void aliases_lead_to_the_same_command(void **state)
{
	_cleanup_(args_clear) struct args args = {};

	(void)state;
	assert_int_equal(PARSE(&args, NULL, "m", "ls"), 0);
	assert_string_equal(args.command->path, "machine list");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_stand_before_and_after_positionals),
		cmocka_unit_test(a_value_follows_its_flag_in_every_usual_way),
		cmocka_unit_test(a_cluster_gives_each_of_its_switches),
		cmocka_unit_test(an_empty_value_is_a_value),
		cmocka_unit_test(a_repeated_flag_keeps_all_its_values),
		cmocka_unit_test(a_programs_own_flags_stay_its_own),
		cmocka_unit_test(dashes_end_the_flags_of_a_command_without_a_program),
		cmocka_unit_test(a_mistyped_command_is_answered_with_the_nearest),
		cmocka_unit_test(a_mistyped_flag_is_answered_with_the_nearest),
		cmocka_unit_test(hidden_commands_are_not_suggested),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(what_is_too_much_is_refused),
		cmocka_unit_test(aliases_lead_to_the_same_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
