/* SPDX-License-Identifier: Apache-2.0 */
/* The words after `wherry lab`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "lab/args.h"

#define WORDS_MAX 12

/* Splits @line at blanks into an argv that begins with "lab", and parses it. */
static int parse(const char *line, struct lab_args *args, struct err *err)
{
	static char copy[256], lab[] = "lab";
	static char *argv[WORDS_MAX + 2];
	char *rest = NULL;
	int argc = 1;

	argv[0] = lab;
	assert_true(strlen(line) < sizeof(copy));
	strcpy(copy, line);
	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		assert_true(argc <= WORDS_MAX);
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	err->text[0] = '\0';
	return lab_args_parse(argc, argv, args, err);
}

static void up_defaults_to_one_client_in_a_lab_called_lab(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("up", &args, &err), 0);
	assert_int_equal(args.verb, LAB_UP);
	assert_string_equal(args.name, "lab");
	assert_false(args.has_name);
	assert_false(args.is_json);
	assert_int_equal(args.clients, 1);
}

static void values_stand_after_a_blank_or_an_equals_sign(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("up --clients=12 --name two -j", &args, &err), 0);
	assert_int_equal(args.clients, 12);
	assert_string_equal(args.name, "two");
	assert_true(args.has_name && args.is_json);
	assert_int_equal(parse("status --json --name=x", &args, &err), 0);
	assert_string_equal(args.name, "x");
}

static void clients_out_of_range_are_refused(void **state)
{
	static const char *const lines[] = {"up --clients 0", "up --clients -1", "up --clients 201",
		"up --clients 99999999999", "up --clients 2x", "up --clients=", "up --clients"};
	struct lab_args args;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(parse(lines[i], &args, &err), -EINVAL);
		assert_non_null(strstr(err.text, "--clients"));
	}
}

static void exec_passes_everything_after_the_node_on(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("exec --name a host-1 -- ls -j --name b -- x", &args, &err), 0);
	assert_string_equal(args.name, "a");
	assert_string_equal(args.node, "host-1");
	assert_string_equal(args.command[0], "ls");
	assert_string_equal(args.command[3], "b");
	assert_string_equal(args.command[4], "--");
	assert_string_equal(args.command[5], "x");
	assert_null(args.command[6]);
	assert_null(args.program);
}

static void exec_needs_no_dashes(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("exec host-1 nc -u 203.0.113.5 5000", &args, &err), 0);
	assert_string_equal(args.command[0], "nc");
	assert_string_equal(args.command[1], "-u");
}

static void exec_without_a_command_is_refused(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("exec", &args, &err), -EINVAL);
	assert_int_equal(parse("exec host-1", &args, &err), -EINVAL);
	assert_non_null(strstr(err.text, "command"));
	assert_int_equal(parse("exec host-1 --", &args, &err), -EINVAL);
}

static void control_takes_a_node_and_maybe_a_program(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("kill host-1 wherryd", &args, &err), 0);
	assert_int_equal(args.verb, LAB_KILL);
	assert_string_equal(args.program, "wherryd");
	assert_int_equal(parse("pause host-1 --name x", &args, &err), 0);
	assert_int_equal(args.verb, LAB_PAUSE);
	assert_string_equal(args.node, "host-1");
	assert_string_equal(args.name, "x");
	assert_null(args.program);
	assert_int_equal(parse("resume a b c", &args, &err), -EINVAL);
	assert_int_equal(parse("start host-1", &args, &err), -EINVAL);
	assert_non_null(strstr(err.text, "program"));
}

static void names_cannot_lead_out_of_the_labs_directory(void **state)
{
	static const char *const lines[] = {"up --name ../x", "up --name .", "up --name a/b",
		"down --name=", "down --name -x", "up --name 123456789012345678901234567890123",
		"kill ../host-1", "exec a/b -- true", "kill host-1 ../wherryd"};
	struct lab_args args;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(parse(lines[i], &args, &err), -EINVAL);
		assert_string_not_equal(err.text, "");
	}
}

static void unknown_words_are_named_in_the_sentence(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("", &args, &err), -EINVAL);
	assert_int_equal(parse("frobnicate", &args, &err), -EINVAL);
	assert_non_null(strstr(err.text, "frobnicate"));
	assert_int_equal(parse("down --clients 2", &args, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--clients"));
	assert_int_equal(parse("down lab", &args, &err), -EINVAL);
	assert_int_equal(parse("down -j", &args, &err), -EINVAL);
}

static void help_wins_over_what_is_missing(void **state)
{
	static const char *const lines[] = {"help", "--help", "-h", "exec --help", "kill -h"};
	struct lab_args args;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(parse(lines[i], &args, &err), 0);
		assert_int_equal(args.verb, LAB_HELP);
	}
	/* but not after exec's node: there it is the command's */
	assert_int_equal(parse("exec host-1 ls --help", &args, &err), 0);
	assert_int_equal(args.verb, LAB_EXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(up_defaults_to_one_client_in_a_lab_called_lab),
		cmocka_unit_test(values_stand_after_a_blank_or_an_equals_sign),
		cmocka_unit_test(clients_out_of_range_are_refused),
		cmocka_unit_test(exec_passes_everything_after_the_node_on),
		cmocka_unit_test(exec_needs_no_dashes),
		cmocka_unit_test(exec_without_a_command_is_refused),
		cmocka_unit_test(control_takes_a_node_and_maybe_a_program),
		cmocka_unit_test(names_cannot_lead_out_of_the_labs_directory),
		cmocka_unit_test(unknown_words_are_named_in_the_sentence),
		cmocka_unit_test(help_wins_over_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
