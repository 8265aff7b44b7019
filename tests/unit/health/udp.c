/* SPDX-License-Identifier: Apache-2.0 */
/* UDP checks against real sockets in a namespace; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../lib/health.h"

#define ANY_ANSWER  UDP_SERVICE "udp_checks = {payload = \"ping\"}\n"
#define PONG_ANSWER UDP_SERVICE "udp_checks = {payload = \"ping\", expect = \"pong\"}\n"

static void *answer(void *arg)
{
	struct server *server = arg;

	while (server_wait(server, server->fd, -1)) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		ssize_t got = recvfrom(server->fd, server->request, sizeof(server->request), 0,
			(struct sockaddr *)&from, &len);

		if (got < 0)
			continue;
		__atomic_fetch_add(&server->count, 1, __ATOMIC_RELAXED);
		if (server->delay_ms && !server_wait(server, -1, (int)server->delay_ms))
			break;
		if (server->text)
			sendto(server->fd, server->text, server->len, 0, (struct sockaddr *)&from,
				len);
	}
	return NULL;
}

/* Answers once with something else, then with what was asked for. */
static void *answer_twice(void *arg)
{
	struct server *server = arg;

	while (server_wait(server, server->fd, -1)) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);

		if (recvfrom(server->fd, server->request, sizeof(server->request), 0,
			    (struct sockaddr *)&from, &len) < 0)
			continue;
		sendto(server->fd, "hello", 5, 0, (struct sockaddr *)&from, len);
		sendto(server->fd, server->text, server->len, 0, (struct sockaddr *)&from, len);
	}
	return NULL;
}

/* Never stops answering what is wrong. */
static void *answer_without_end(void *arg)
{
	struct server *server = arg;
	struct sockaddr_storage from = {};
	socklen_t len = 0;

	while (server_wait(server, server->fd, len ? 0 : -1)) {
		socklen_t size = sizeof(from);

		if (recvfrom(server->fd, server->request, sizeof(server->request), 0,
			    (struct sockaddr *)&from, &size) >= 0)
			len = size;
		if (len)
			sendto(server->fd, "x", 1, 0, (struct sockaddr *)&from, len);
	}
	return NULL;
}

static void check(const char *text, struct server *server, const char *addr,
	enum health_status status, const char *output)
{
	struct fixture f;

	if (server->text)
		server_start(server, machine_bound(SOCK_DGRAM, addr, 5000), answer, server->text);
	prepare(&f, text);
	start(&f);
	assert_int_equal(f.count, 1);
	assert_string_equal(f.results[0].type, "udp");
	assert_string_equal(f.results[0].name, "udp-5000");
	expect_result(&f, status, output);
	finish(&f);
	if (server->text)
		server_stop(server);
}

static void any_answer_passes_when_nothing_is_expected(void **state)
{
	struct server server = {.text = "whatever"};

	(void)state;
	check(ANY_ANSWER, &server, "0.0.0.0", HEALTH_PASSING, "answered 8 bytes");
	assert_true(server.count >= 1);
	assert_memory_equal(server.request, "ping", 5);
}

static void an_empty_answer_is_one(void **state)
{
	struct server server = {.fd = machine_bound(SOCK_DGRAM, "0.0.0.0", 5000), .text = ""};
	struct fixture f;

	(void)state;
	server_start(&server, server.fd, answer, "");
	prepare(&f, ANY_ANSWER);
	start(&f);
	expect_result(&f, HEALTH_PASSING, "answered 0 bytes");
	finish(&f);
	server_stop(&server);
}

static void an_answer_that_contains_what_is_expected_passes(void **state)
{
	struct server server = {.text = "<pong>"};

	(void)state;
	check(PONG_ANSWER, &server, "0.0.0.0", HEALTH_PASSING, "answered 6 bytes");
}

static void another_answer_fails_and_is_told_apart_from_none(void **state)
{
	struct server server = {.text = "<p ong>"};

	(void)state;
	check(PONG_ANSWER, &server, "0.0.0.0", HEALTH_CRITICAL,
		"the answer did not contain \"pong\"");
}

static void hex_is_sent_and_expected_byte_for_byte(void **state)
{
	struct server server = {.text = "\0\xff", .len = 2};

	(void)state;
	check(UDP_SERVICE "udp_checks = {payload = \"hex:00 01ff\", expect = \"hex:00ff\"}\n",
		&server, "0.0.0.0", HEALTH_PASSING, "answered 2 bytes");
	assert_memory_equal(server.request, "\x00\x01\xff\x00", 4);
}

static void what_was_expected_in_hex_is_named_in_hex(void **state)
{
	struct server server = {.text = "a"};

	(void)state;
	check(UDP_SERVICE "udp_checks = {payload = \"a\", expect = \"hex:00 0d\"}\n", &server,
		"0.0.0.0", HEALTH_CRITICAL, "the answer did not contain \"hex:000d\"");
}

static void a_late_right_answer_after_a_wrong_one_passes(void **state)
{
	struct server server = {};
	struct fixture f;

	(void)state;
	server_start(&server, machine_bound(SOCK_DGRAM, "0.0.0.0", 5000), answer_twice, "pong");
	prepare(&f, PONG_ANSWER);
	start(&f);
	expect_result(&f, HEALTH_PASSING, "answered 4 bytes");
	finish(&f);
	server_stop(&server);
}

static void endless_wrong_answers_fail_before_the_timeout(void **state)
{
	struct server server = {};
	struct fixture f;
	uint64_t before;

	(void)state;
	server_start(&server, machine_bound(SOCK_DGRAM, "0.0.0.0", 5000), answer_without_end, "x");
	prepare(&f, PONG_ANSWER);
	each_check(f.config, 60000, 60000, 0);
	before = clock_now_ms();
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "the answer did not contain \"pong\"");
	assert_true(clock_now_ms() - before < 20000);
	finish(&f);
	server_stop(&server);
}

static void no_answer_fails_at_the_timeout(void **state)
{
	int fd = machine_bound(SOCK_DGRAM, "0.0.0.0", 5000);
	struct server none = {};

	(void)state;
	check(ANY_ANSWER, &none, "", HEALTH_CRITICAL, "no answer within 300ms");
	close(fd);
}

static void an_answer_after_the_timeout_is_none(void **state)
{
	struct server server = {.text = "pong", .delay_ms = 450};

	(void)state;
	check(PONG_ANSWER, &server, "0.0.0.0", HEALTH_CRITICAL, "no answer within 300ms");
}

static void a_port_without_a_socket_fails_at_once(void **state)
{
	struct server none = {};
	struct fixture f;
	uint64_t before = clock_now_ms();

	(void)state;
	prepare(&f, ANY_ANSWER);
	each_check(f.config, 100, 60000, 0);
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "no socket is bound to UDP port 5000");
	assert_true(clock_now_ms() - before < 20000);
	finish(&f);
	check(PONG_ANSWER, &none, "", HEALTH_CRITICAL, "no socket is bound to UDP port 5000");
}

static void a_socket_bound_to_the_service_address_is_asked_there(void **state)
{
	struct server server = {.text = "pong"};

	(void)state;
	check(PONG_ANSWER, &server, SERVICE, HEALTH_PASSING, "answered 4 bytes");
}

static void a_socket_bound_to_the_primary_address_only_is_asked_there(void **state)
{
	struct server server = {.text = "pong"};

	(void)state;
	check(PONG_ANSWER, &server, PRIMARY, HEALTH_PASSING, "answered 4 bytes");
}

static void a_socket_bound_to_both_is_asked_at_the_service_address(void **state)
{
	struct server service = {}, primary = {};
	struct fixture f;

	(void)state;
	server_start(&service, machine_bound(SOCK_DGRAM, SERVICE, 5000), answer, "pong");
	server_start(&primary, machine_bound(SOCK_DGRAM, PRIMARY, 5000), answer, "pong");
	prepare(&f, PONG_ANSWER);
	start(&f);
	run_until(&f, HEALTH_PASSING);
	finish(&f);
	server_stop(&service);
	server_stop(&primary);
	assert_true(service.count > 0);
	assert_int_equal(primary.count, 0);
}

static void a_service_address_that_the_machine_lacks_is_not_asked(void **state)
{
	struct server server = {};
	struct fixture f;

	(void)state;
	server_start(&server, machine_bound(SOCK_DGRAM, PRIMARY, 5000), answer, "pong");
	prepare(&f, PONG_ANSWER);
	assert_int_equal(addr_parse("172.16.7.6", &f.target.service), 0);
	start(&f);
	expect_result(&f, HEALTH_PASSING, "answered 4 bytes");
	f.target.service = (struct addr){};
	finish(&f);

	prepare(&f, PONG_ANSWER);
	f.target.service = (struct addr){};
	start(&f);
	expect_result(&f, HEALTH_PASSING, "answered 4 bytes");
	finish(&f);
	server_stop(&server);
}

/* Asked on 5000, answers from 5001. */
static void *answer_from_elsewhere(void *arg)
{
	struct server *server = arg;
	int other = machine_bound(SOCK_DGRAM, PRIMARY, 5001);

	while (server_wait(server, server->fd, -1)) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);

		if (recvfrom(server->fd, server->request, sizeof(server->request), 0,
			    (struct sockaddr *)&from, &len) >= 0)
			sendto(other, server->text, server->len, 0, (struct sockaddr *)&from, len);
	}
	close(other);
	return NULL;
}

static void an_answer_from_another_port_is_none(void **state)
{
	struct server server = {};
	struct fixture f;

	(void)state;
	server_start(
		&server, machine_bound(SOCK_DGRAM, "0.0.0.0", 5000), answer_from_elsewhere, "pong");
	prepare(&f, PONG_ANSWER);
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "answered from other addresses and ports only");
	finish(&f);
	server_stop(&server);
}

static void a_check_may_ask_another_port_than_its_service(void **state)
{
	struct server server = {};
	struct fixture f;

	(void)state;
	server_start(&server, machine_bound(SOCK_DGRAM, "0.0.0.0", 5001), answer, "pong");
	prepare(&f, UDP_SERVICE "udp_checks = {payload = \"a\", port = 5001}\n");
	start(&f);
	expect_result(&f, HEALTH_PASSING, "answered 4 bytes");
	assert_string_equal(f.results[0].name, "udp-5001");
	finish(&f);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_answer_passes_when_nothing_is_expected),
		cmocka_unit_test(an_empty_answer_is_one),
		cmocka_unit_test(an_answer_that_contains_what_is_expected_passes),
		cmocka_unit_test(another_answer_fails_and_is_told_apart_from_none),
		cmocka_unit_test(hex_is_sent_and_expected_byte_for_byte),
		cmocka_unit_test(what_was_expected_in_hex_is_named_in_hex),
		cmocka_unit_test(a_late_right_answer_after_a_wrong_one_passes),
		cmocka_unit_test(endless_wrong_answers_fail_before_the_timeout),
		cmocka_unit_test(no_answer_fails_at_the_timeout),
		cmocka_unit_test(an_answer_after_the_timeout_is_none),
		cmocka_unit_test(a_port_without_a_socket_fails_at_once),
		cmocka_unit_test(a_socket_bound_to_the_service_address_is_asked_there),
		cmocka_unit_test(a_socket_bound_to_the_primary_address_only_is_asked_there),
		cmocka_unit_test(a_socket_bound_to_both_is_asked_at_the_service_address),
		cmocka_unit_test(a_service_address_that_the_machine_lacks_is_not_asked),
		cmocka_unit_test(an_answer_from_another_port_is_none),
		cmocka_unit_test(a_check_may_ask_another_port_than_its_service),
	};

	return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
