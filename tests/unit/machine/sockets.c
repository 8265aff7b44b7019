/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets are made in a namespace of their own ("there"), which is looked at from another one
 * ("here"); needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "machine/sockets.h"

#define PRIMARY "172.16.0.2"
#define SERVICE "172.16.0.3"

static int here = -1, there = -1;
static char path_there[64];

static int make_there(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	there = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(path_there, sizeof(path_there), "/proc/self/fd/%d", there);
	if (system("ip link set lo up && ip addr add " PRIMARY "/29 dev lo && ip addr add " SERVICE
		   "/29 dev lo") != 0)
		return -1;
	return setns(here, CLONE_NEWNET);
}

static int leave_there(void **state)
{
	(void)state;
	close(there);
	return 0;
}

static int bound_in_current(int type, const char *text, uint16_t port, bool is_v6only)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int on = 1, v6only = is_v6only, fd;

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		fd = socket(AF_INET, type, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		assert_int_equal(bind(fd, (struct sockaddr *)&v4, sizeof(v4)), 0);
		return fd;
	}
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	fd = socket(AF_INET6, type, 0);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
	assert_int_equal(bind(fd, (struct sockaddr *)&v6, sizeof(v6)), 0);
	return fd;
}

/* A socket of that namespace; it stays there when the thread comes back. */
static int bound(int type, const char *text, uint16_t port, bool is_v6only)
{
	int fd;

	assert_int_equal(setns(there, CLONE_NEWNET), 0);
	fd = bound_in_current(type, text, port, is_v6only);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	return fd;
}

struct view {
	struct machine_sockets *handle;
	struct machine_socket *list;
	size_t count;
};

static void view_clear(struct view *view)
{
	machine_sockets_close(view->handle);
	free(view->list);
}

static void look(struct view *view)
{
	struct err err = {};

	if (!view->handle && machine_sockets_open(&view->handle, path_there, &err) < 0)
		fail_msg("%s", err.text);
	free(view->list);
	view->list = NULL;
	if (machine_sockets_list(view->handle, &view->list, &view->count, &err) < 0)
		fail_msg("%s", err.text);
}

static bool serves(const struct view *view, uint16_t port)
{
	struct addr primary, service;

	assert_int_equal(addr_parse(PRIMARY, &primary), 0);
	assert_int_equal(addr_parse(SERVICE, &service), 0);
	return machine_sockets_serve(view->list, view->count, &primary, &service, port);
}

/* Whether one UDP socket bound like this is seen to serve. */
static bool serves_when_bound(const char *text, bool is_v6only)
{
	struct view view _cleanup_(view_clear) = {};
	_close_ int fd = bound(SOCK_DGRAM, text, 5000, is_v6only);

	assert_true(fd >= 0);
	look(&view);
	assert_false(serves(&view, 5001));
	return serves(&view, 5000);
}

static void a_namespace_without_sockets_lists_none(void **state)
{
	struct view view _cleanup_(view_clear) = {};

	(void)state;
	look(&view);
	assert_int_equal(view.count, 0);
	assert_false(serves(&view, 5000));
}

static void a_socket_on_the_service_or_primary_address_serves(void **state)
{
	(void)state;
	assert_true(serves_when_bound(SERVICE, false));
	assert_true(serves_when_bound(PRIMARY, false));
	assert_true(serves_when_bound("::ffff:" SERVICE, false));
}

static void a_wildcard_socket_of_either_family_serves(void **state)
{
	(void)state;
	assert_true(serves_when_bound("0.0.0.0", false));
	assert_true(serves_when_bound("::", false));
}

static void a_socket_that_no_ipv4_datagram_reaches_does_not_serve(void **state)
{
	(void)state;
	assert_false(serves_when_bound("::", true));
	assert_false(serves_when_bound("::1", false));
	assert_false(serves_when_bound("127.0.0.1", false));
}

static void a_connected_socket_is_listed_but_serves_nobody_new(void **state)
{
	struct view view _cleanup_(view_clear) = {};
	_close_ int fd = bound(SOCK_DGRAM, "0.0.0.0", 5000, false);
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(7)};

	(void)state;
	assert_int_equal(inet_pton(AF_INET, PRIMARY, &peer.sin_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), 0);
	look(&view);
	assert_int_equal(view.count, 1);
	assert_true(view.list[0].is_connected);
	assert_false(serves(&view, 5000));
}

static void tcp_shows_listeners_only_and_serves_no_udp(void **state)
{
	struct view view _cleanup_(view_clear) = {};
	_close_ int listener = bound(SOCK_STREAM, "0.0.0.0", 5000, false);
	_close_ int idle = bound(SOCK_STREAM, "0.0.0.0", 5001, false);

	(void)state;
	assert_true(idle >= 0);
	assert_int_equal(listen(listener, 8), 0);
	look(&view);
	assert_int_equal(view.count, 1);
	assert_int_equal(view.list[0].protocol, PROTOCOL_TCP);
	assert_int_equal(view.list[0].port, 5000);
	assert_false(serves(&view, 5000));
}

static void sockets_that_share_an_address_are_listed_once_and_in_order(void **state)
{
	struct view view _cleanup_(view_clear) = {};
	_close_ int a = bound(SOCK_DGRAM, SERVICE, 6000, false);
	_close_ int b = bound(SOCK_DGRAM, SERVICE, 6000, false);
	_close_ int c = bound(SOCK_DGRAM, SERVICE, 5000, false);

	(void)state;
	assert_true(a >= 0 && b >= 0 && c >= 0);
	look(&view);
	assert_int_equal(view.count, 2);
	assert_int_equal(view.list[0].port, 5000);
	assert_int_equal(view.list[1].port, 6000);
}

static void one_handle_sees_sockets_come_and_go(void **state)
{
	struct view view _cleanup_(view_clear) = {};
	int fd;

	(void)state;
	look(&view);
	assert_false(serves(&view, 5000));
	fd = bound(SOCK_DGRAM, SERVICE, 5000, false);
	look(&view);
	assert_true(serves(&view, 5000));
	close(fd);
	look(&view);
	assert_false(serves(&view, 5000));
}

static void sockets_of_another_namespace_are_not_seen(void **state)
{
	struct view view _cleanup_(view_clear) = {};
	_close_ int fd = bound_in_current(SOCK_DGRAM, "0.0.0.0", 5000, false);

	(void)state;
	assert_true(fd >= 0);
	look(&view);
	assert_int_equal(view.count, 0);
}

static ino_t current_namespace(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/thread-self/ns/net", &st), 0);
	return st.st_ino;
}

static void the_caller_stays_in_its_namespace(void **state)
{
	struct view view _cleanup_(view_clear) = {};
	ino_t before = current_namespace();

	(void)state;
	look(&view);
	assert_int_equal(current_namespace(), before);
}

static void a_namespace_that_is_not_there_is_told(void **state)
{
	struct machine_sockets *handle = NULL;
	struct err err = {};

	(void)state;
	assert_int_equal(machine_sockets_open(&handle, "/run/netns/wherry-no-such", &err), -ENOENT);
	assert_null(handle);
	assert_non_null(strstr(err.text, "/run/netns/wherry-no-such"));
}

/* More than one buffer of the dump holds: 300 sockets of some 100 bytes each. */
static void a_long_list_is_complete(void **state)
{
	struct view view _cleanup_(view_clear) = {};
	int fds[300];
	uint64_t start_ms;

	(void)state;
	for (int i = 0; i < 300; i++)
		fds[i] = bound(SOCK_DGRAM, SERVICE, (uint16_t)(10000 + i), false);
	start_ms = clock_now_ms();
	look(&view);
	/* It is asked for every 20 ms while a deploy waits. */
	assert_true(clock_now_ms() - start_ms < 500);
	assert_int_equal(view.count, 300);
	for (int i = 0; i < 300; i++) {
		assert_true(serves(&view, (uint16_t)(10000 + i)));
		close(fds[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_there, leave_there)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_namespace_without_sockets_lists_none),
		TEST(a_socket_on_the_service_or_primary_address_serves),
		TEST(a_wildcard_socket_of_either_family_serves),
		TEST(a_socket_that_no_ipv4_datagram_reaches_does_not_serve),
		TEST(a_connected_socket_is_listed_but_serves_nobody_new),
		TEST(tcp_shows_listeners_only_and_serves_no_udp),
		TEST(sockets_that_share_an_address_are_listed_once_and_in_order),
		TEST(one_handle_sees_sockets_come_and_go),
		TEST(sockets_of_another_namespace_are_not_seen),
		TEST(the_caller_stays_in_its_namespace),
		TEST(a_namespace_that_is_not_there_is_told),
		TEST(a_long_list_is_complete),
	};

	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "skipped: cannot make a network namespace: %s\n", strerror(errno));
		return 77;
	}
	here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
