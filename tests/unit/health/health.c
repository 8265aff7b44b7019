/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When checks look and what follows from it; what they look at is in the tests of each type. Needs
 * root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "../../lib/health.h"

#define CONNECT	  TCP_SERVICE "tcp_checks = {}\n"
#define TWO_CHECK TCP_SERVICE "tcp_checks = {}\nhttp_checks = {}\n"

static int listen_on(uint16_t port)
{
	return machine_bound(SOCK_STREAM, "0.0.0.0", port);
}

static void without_checks_of_the_group_there_is_no_health(void **state)
{
	static const char text[] = "[processes]\napp = \"\"\nweb = \"\"\n" TCP_SERVICE
				   "processes = [\"web\"]\ntcp_checks = {}\n"
				   "[checks.a]\ntype = \"tcp\"\nport = 1\nprocesses = [\"web\"]\n";
	struct fixture f;
	size_t count = 9;

	(void)state;
	prepare(&f, text);
	f.health = (struct health *)&f;
	start(&f);
	assert_null(f.health);
	assert_true(health_is_healthy(NULL));
	assert_null(health_results(NULL, &count));
	assert_int_equal(count, 0);
	finish(&f);
}

static void a_namespace_that_is_not_there_is_refused(void **state)
{
	struct health *health = NULL;
	struct err err = {};
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	f.target.netns_path = "/run/netns/wherry-health-none";
	assert_int_equal(health_start(&health, &f.loop, f.config, "app", &f.target, told, &f, &err),
		-ENOENT);
	assert_non_null(strstr(err.text, "wherry-health-none"));
	assert_null(health);
	finish(&f);
}

static void checks_are_those_of_the_group_and_have_names_of_their_own(void **state)
{
	static const char text[] =
		"[processes]\napp = \"\"\nweb = \"\"\n"
		"[[services]]\nprotocol = \"udp\"\nports = [{port = 53}]\nprocesses = [\"app\"]\n"
		"udp_checks = [{payload = \"a\"}, {payload = \"b\"}, {payload = \"c\", port = "
		"54}]\n"
		"[[services]]\nprotocol = \"tcp\"\nports = [{port = 1}]\nprocesses = [\"web\"]\n"
		"tcp_checks = {}\n"
		"[[services]]\nprotocol = \"tcp\"\nports = [{port = 2}]\nprocesses = [\"app\"]\n"
		"http_checks = {path = \"/up\"}\ntcp_checks = {}\n"
		"[checks.tcp-8080]\ntype = \"tcp\"\nport = 1\nprocesses = [\"app\"]\n"
		"[checks.other]\ntype = \"http\"\nport = 1\nprocesses = [\"web\"]\n";
	static const struct {
		const char *name, *type;
	} rows[] = {{"udp-53", "udp"}, {"udp-53-2", "udp"}, {"udp-54", "udp"}, {"tcp-8080", "tcp"},
		{"http-8080-/up", "http"}, {"tcp-8080-2", "tcp"}};
	struct fixture f;

	(void)state;
	prepare(&f, text);
	start(&f);
	assert_int_equal(f.count, ARRAY_LEN(rows));
	for (size_t i = 0; i < f.count; i++) {
		bool found = false;

		for (size_t k = 0; k < ARRAY_LEN(rows); k++)
			found |= !strcmp(f.results[i].name, rows[k].name) &&
				 !strcmp(f.results[i].type, rows[k].type);
		assert_true(found);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(f.results[i].name, f.results[k].name);
		assert_int_equal(f.results[i].status, HEALTH_WARNING);
		assert_string_equal(f.results[i].output, "not looked at yet");
		assert_int_equal(strlen(f.results[i].updated_at), CLOCK_STAMP_LEN - 1);
	}
	assert_true(health_is_healthy(f.health));
	finish(&f);
}

static void one_failure_is_critical_and_one_success_passing_again(void **state)
{
	char before[CLOCK_STAMP_LEN];
	struct fixture f;
	int fd;

	(void)state;
	prepare(&f, CONNECT);
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "connect: Connection refused");
	assert_int_equal(f.tell_count, 1);
	strcpy(before, f.results[0].updated_at);
	run_for(&f, 200);
	/* The same again is no change. */
	assert_int_equal(f.tell_count, 1);
	assert_string_equal(f.results[0].updated_at, before);

	fd = listen_on(8080);
	expect_result(&f, HEALTH_PASSING, "connected");
	assert_int_equal(f.tell_count, 2);
	assert_string_not_equal(f.results[0].updated_at, before);
	close(fd);
	expect_result(&f, HEALTH_CRITICAL, "connect: Connection refused");
	finish(&f);
}

static void another_reason_is_told_but_is_no_new_status(void **state)
{
	char before[CLOCK_STAMP_LEN];
	struct fixture f;
	int fd;

	(void)state;
	prepare(&f, TCP_SERVICE "http_checks = {}\n");
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "connect: Connection refused");
	strcpy(before, f.results[0].updated_at);
	fd = listen_on(8080);
	while (strcmp(f.results[0].output, "no answer within 300ms") != 0)
		run_for(&f, 5);
	assert_int_equal(f.tell_count, 2);
	assert_string_equal(f.results[0].updated_at, before);
	finish(&f);
	close(fd);
}

static void a_failure_in_the_grace_period_does_not_count(void **state)
{
	uint64_t began = clock_now_ms();
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	each_check(f.config, 50, 300, 1500);
	start(&f);
	while (strcmp(f.results[0].output, "connect: Connection refused") != 0)
		run_for(&f, 5);
	assert_int_equal(f.results[0].status, HEALTH_WARNING);
	assert_true(health_is_healthy(f.health));
	run_until(&f, HEALTH_CRITICAL);
	assert_true(clock_now_ms() - began >= 1500);
	finish(&f);
}

/* The interval is much longer: what failed is looked at again when the grace is over. */
static void the_end_of_the_grace_period_is_looked_at(void **state)
{
	uint64_t began = clock_now_ms(), took;
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	each_check(f.config, 60000, 300, 1500);
	start(&f);
	run_until(&f, HEALTH_CRITICAL);
	took = clock_now_ms() - began;
	assert_true(took >= 1500 && took < 15000);
	finish(&f);
}

static void the_first_success_ends_the_grace_period(void **state)
{
	int fd = listen_on(8080);
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	each_check(f.config, 50, 300, 60000);
	start(&f);
	expect_result(&f, HEALTH_PASSING, "connected");
	close(fd);
	expect_result(&f, HEALTH_CRITICAL, "connect: Connection refused");
	finish(&f);
}

static void checks_of_the_app_inform_and_do_not_make_it_unhealthy(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, "[checks.a]\ntype = \"tcp\"\nport = 8080\n");
	start(&f);
	run_until(&f, HEALTH_CRITICAL);
	assert_string_equal(f.results[0].name, "a");
	assert_true(health_is_healthy(f.health));
	finish(&f);
}

static void a_namespace_that_goes_makes_its_checks_critical(void **state)
{
	int fd = listen_on(8080);
	struct fixture f;

	(void)state;
	prepare(&f, TWO_CHECK);
	each_check(f.config, 50, 100, 0);
	start(&f);
	run_for(&f, 200);
	assert_int_equal(netns_remove(netns_name, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		uint64_t end = clock_now_ms() + 5000;

		while (!strstr(f.results[i].output, "does not exist") && clock_now_ms() < end)
			run_for(&f, 5);
		assert_int_equal(f.results[i].status, HEALTH_CRITICAL);
		assert_non_null(strstr(f.results[i].output, netns_name));
	}
	/* One that comes under the name again is found. */
	close(fd);
	assert_int_equal(fixture_begin(NULL), 0);
	fd = listen_on(8080);
	for (uint64_t end = clock_now_ms() + 5000; !strstr(f.results[0].output, "connected") &&
						   !strstr(f.results[1].output, "connected");) {
		assert_true(clock_now_ms() < end);
		run_for(&f, 5);
	}
	finish(&f);
	close(fd);
}

static void what_this_host_lacks_is_no_failure_of_the_machine(void **state)
{
	struct rlimit before, few;
	int fd = listen_on(8080);
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	start(&f);
	expect_result(&f, HEALTH_PASSING, "connected");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){0, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (!strstr(f.results[0].output, "Too many open files"))
		run_for(&f, 5);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f.results[0].status, HEALTH_PASSING);
	expect_result(&f, HEALTH_PASSING, f.results[0].output);
	while (strcmp(f.results[0].output, "connected") != 0)
		run_for(&f, 5);
	finish(&f);
	close(fd);
}

static void stopping_when_told_leaves_nothing(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, TWO_CHECK);
	f.stops_when_told = true;
	start(&f);
	while (f.health)
		run_for(&f, 5);
	run_for(&f, 300);
	assert_int_equal(f.tell_count, 1);
	finish(&f);
}

static void stopping_before_the_first_turn_of_the_loop_leaves_nothing(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, TWO_CHECK);
	start(&f);
	finish(&f);
	assert_int_equal(f.tell_count, 0);
}

static uint64_t told_at[200];
static size_t told_total;

static void told_when(void *arg)
{
	(void)arg;
	told_at[told_total++] = clock_now_ms();
}

static void checks_that_start_together_look_apart(void **state)
{
	struct health *healths[ARRAY_LEN(told_at)];
	unsigned int apart = 0;
	struct fixture f;
	struct err err;

	(void)state;
	prepare(&f, CONNECT);
	each_check(f.config, 60000, 300, 0);
	for (size_t i = 0; i < ARRAY_LEN(healths); i++)
		assert_int_equal(health_start(&healths[i], &f.loop, f.config, "app", &f.target,
					 told_when, &f, &err),
			0);
	for (int i = 0; i < 100 && told_total < ARRAY_LEN(told_at); i++)
		run_for(&f, 100);
	assert_int_equal(told_total, ARRAY_LEN(told_at));
	for (size_t i = 1; i < ARRAY_LEN(told_at); i++)
		apart += told_at[i] > told_at[i - 1];
	assert_true(apart > 20);
	for (size_t i = 0; i < ARRAY_LEN(healths); i++)
		health_stop(healths[i]);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_checks_of_the_group_there_is_no_health),
		cmocka_unit_test(a_namespace_that_is_not_there_is_refused),
		cmocka_unit_test(checks_are_those_of_the_group_and_have_names_of_their_own),
		cmocka_unit_test(one_failure_is_critical_and_one_success_passing_again),
		cmocka_unit_test(another_reason_is_told_but_is_no_new_status),
		cmocka_unit_test(a_failure_in_the_grace_period_does_not_count),
		cmocka_unit_test(the_end_of_the_grace_period_is_looked_at),
		cmocka_unit_test(the_first_success_ends_the_grace_period),
		cmocka_unit_test(checks_of_the_app_inform_and_do_not_make_it_unhealthy),
		cmocka_unit_test(a_namespace_that_goes_makes_its_checks_critical),
		cmocka_unit_test(what_this_host_lacks_is_no_failure_of_the_machine),
		cmocka_unit_test(stopping_when_told_leaves_nothing),
		cmocka_unit_test(stopping_before_the_first_turn_of_the_loop_leaves_nothing),
		cmocka_unit_test(checks_that_start_together_look_apart),
	};

	return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
