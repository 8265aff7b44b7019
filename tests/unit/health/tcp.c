/* SPDX-License-Identifier: Apache-2.0 */
/* TCP checks against sockets in a namespace; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../lib/health.h"

#define CONNECT TCP_SERVICE "tcp_checks = {}\n"

static void a_listener_that_accepts_nothing_yet_passes(void **state)
{
	int fd = machine_bound(SOCK_STREAM, "0.0.0.0", 8080);
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	start(&f);
	assert_string_equal(f.results[0].name, "tcp-8080");
	assert_string_equal(f.results[0].type, "tcp");
	expect_result(&f, HEALTH_PASSING, "connected");
	finish(&f);
	close(fd);
}

static void a_closed_port_fails_at_once(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	each_check(f.config, 50, 60000, 0);
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "connect: Connection refused");
	finish(&f);
}

static void a_listener_on_loopback_alone_is_out_of_reach_as_for_clients(void **state)
{
	int fd = machine_bound(SOCK_STREAM, "127.0.0.1", 8080);
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "connect: Connection refused");
	finish(&f);
	close(fd);
}

static void a_full_backlog_fails_at_the_timeout(void **state)
{
	int fd = machine_bound(SOCK_STREAM, "0.0.0.0", 8080), waiting[4];
	struct sockaddr_storage to;
	struct fixture f;
	socklen_t len;

	(void)state;
	prepare(&f, CONNECT);
	len = health_sockaddr(&f.target.primary, 8080, &to);
	assert_int_equal(listen(fd, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
		waiting[i] = health_socket(netns_path, AF_INET, SOCK_STREAM, 0, NULL);
		connect(waiting[i], (struct sockaddr *)&to, len);
	}
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "no connection within 300ms");
	finish(&f);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
		close(waiting[i]);
	close(fd);
}

static void an_address_without_a_route_fails_at_once(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, CONNECT);
	assert_int_equal(addr_parse("203.0.113.1", &f.target.primary), 0);
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "connect: Network is unreachable");
	finish(&f);
}

static void stopping_while_a_connection_is_being_made_leaves_nothing(void **state)
{
	int fd = machine_bound(SOCK_STREAM, "0.0.0.0", 8080), waiting[4];
	struct sockaddr_storage to;
	struct fixture f;
	socklen_t len;

	(void)state;
	prepare(&f, CONNECT);
	each_check(f.config, 50, 60000, 0);
	len = health_sockaddr(&f.target.primary, 8080, &to);
	assert_int_equal(listen(fd, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
		waiting[i] = health_socket(netns_path, AF_INET, SOCK_STREAM, 0, NULL);
		connect(waiting[i], (struct sockaddr *)&to, len);
	}
	start(&f);
	run_for(&f, 150);
	assert_int_equal(f.tell_count, 0);
	finish(&f);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
		close(waiting[i]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_that_accepts_nothing_yet_passes),
		cmocka_unit_test(a_closed_port_fails_at_once),
		cmocka_unit_test(a_listener_on_loopback_alone_is_out_of_reach_as_for_clients),
		cmocka_unit_test(a_full_backlog_fails_at_the_timeout),
		cmocka_unit_test(an_address_without_a_route_fails_at_once),
		cmocka_unit_test(stopping_while_a_connection_is_being_made_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
