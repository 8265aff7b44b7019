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
	assert_int_equal(parse("start host-1", &args, &err), 0);
	assert_null(args.program);
}

static void a_lab_of_one_host_has_sqlite_and_no_underlay(void **state)
{
	static const char *const lines[] = {"up", "up --hosts 1", "up --store sqlite"};
	struct lab_args args;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(parse(lines[i], &args, &err), 0);
		assert_int_equal(args.hosts, 1);
		assert_int_equal(args.edges + args.workers, 0);
		assert_int_equal(args.store, LAB_SQLITE);
		assert_int_equal(args.underlay, LAB_NO_UNDERLAY);
		assert_null(args.regions);
	}
	assert_int_equal(parse("up --store etcd", &args, &err), 0);
	assert_int_equal(args.store, LAB_ETCD);
	assert_int_equal(args.underlay, LAB_NO_UNDERLAY);
}

static void a_fleet_has_etcd_and_wireguard(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("up --edges 2 --workers=3 --clients 4", &args, &err), 0);
	assert_int_equal(args.edges, 2);
	assert_int_equal(args.workers, 3);
	assert_int_equal(args.hosts, 0);
	assert_int_equal(args.store, LAB_ETCD);
	assert_int_equal(args.underlay, LAB_WIREGUARD);
	assert_int_equal(parse("up --hosts 2 --underlay plain", &args, &err), 0);
	assert_int_equal(args.hosts, 2);
	assert_int_equal(args.underlay, LAB_PLAIN);
	/* one of each is the least, and said by one of the two */
	assert_int_equal(parse("up --workers 2", &args, &err), 0);
	assert_int_equal(args.edges, 1);
	assert_int_equal(parse("up --edges 1 --underlay wireguard", &args, &err), 0);
	assert_int_equal(args.workers, 1);
	assert_int_equal(args.hosts, 0);
}

static void plans_that_contradict_themselves_are_refused(void **state)
{
	static const struct {
		const char *line, *word;
	} plans[] = {
		{"up --edges 1 --workers 1 --store sqlite", "sqlite"},
		{"up --store sqlite --hosts 2", "sqlite"},
		{"up --hosts 2 --edges 1", "--hosts"},
		{"up --hosts 2 --workers 1", "--hosts"},
		{"up --underlay plain", "--underlay"},
		{"up --edges 0 --workers 2", "--edges"},
		{"up --edges 41", "--edges"},
		{"up --hosts 41", "--hosts"},
		{"up --workers 201", "--workers"},
		{"up --hosts 2 --store mysql", "--store"},
		{"up --hosts 2 --store", "--store"},
		{"up --hosts 2 --underlay gre", "--underlay"},
		{"up --hosts 2 --regions", "--regions"},
		{"up --hosts 2 --regions=", "--regions"},
		{"up --hosts 2 --regions a,,b", "--regions"},
		{"up --hosts 2 --regions a,b,", "--regions"},
		{"up --hosts 2 --regions A", "--regions"},
		{"up --hosts 2 --regions -a", "--regions"},
		{"up --hosts 2 --regions a-,b", "--regions"},
		{"up --hosts 2 --regions a/b", "--regions"},
		{"up --hosts 2 --regions twelveletter", "--regions"},
		{"status --edges 2", "--edges"},
	};
	struct lab_args args;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		assert_int_equal(parse(plans[i].line, &args, &err), -EINVAL);
		assert_non_null(strstr(err.text, plans[i].word));
	}
}

static void regions_come_by_turns(void **state)
{
	char region[LAB_REGION_MAX + 1];
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("up --hosts 2 --regions eu-central1,b,c3", &args, &err), 0);
	assert_string_equal(lab_region_pick(args.regions, 0, region), "eu-central1");
	assert_string_equal(lab_region_pick(args.regions, 1, region), "b");
	assert_string_equal(lab_region_pick(args.regions, 2, region), "c3");
	assert_string_equal(lab_region_pick(args.regions, 3, region), "eu-central1");
	assert_string_equal(lab_region_pick(NULL, 5, region), "local");
}

static void route_takes_a_client_and_an_edge(void **state)
{
	struct lab_args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("route --name x client-1 edge-2", &args, &err), 0);
	assert_int_equal(args.verb, LAB_ROUTE);
	assert_string_equal(args.node, "client-1");
	assert_string_equal(args.edge, "edge-2");
	assert_null(args.program);
	assert_int_equal(parse("route client-1", &args, &err), -EINVAL);
	assert_non_null(strstr(err.text, "edge"));
	assert_int_equal(parse("route", &args, &err), -EINVAL);
	assert_int_equal(parse("route client-1 ../x", &args, &err), -EINVAL);
	assert_int_equal(parse("route client-1 edge-1 edge-2", &args, &err), -EINVAL);
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
		cmocka_unit_test(a_lab_of_one_host_has_sqlite_and_no_underlay),
		cmocka_unit_test(a_fleet_has_etcd_and_wireguard),
		cmocka_unit_test(plans_that_contradict_themselves_are_refused),
		cmocka_unit_test(regions_come_by_turns),
		cmocka_unit_test(route_takes_a_client_and_an_edge),
		cmocka_unit_test(names_cannot_lead_out_of_the_labs_directory),
		cmocka_unit_test(unknown_words_are_named_in_the_sentence),
		cmocka_unit_test(help_wins_over_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
