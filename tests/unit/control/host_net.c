/* SPDX-License-Identifier: Apache-2.0 */
/* In a network namespace of its own; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "control/host_net.h"

static void sh(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static char *output_of(const char *command)
{
	static char text[65536];
	FILE *pipe = popen(command, "r");
	size_t len;

	assert_non_null(pipe);
	len = fread(text, 1, sizeof(text) - 1, pipe);
	text[len] = '\0';
	pclose(pipe);
	return text;
}

static struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

/* hn0 192.0.2.2/24 and 2001:db8::2/64 with a default route by 192.0.2.1. */
static int make_host(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	sh("ip link set lo up; ip link add hn0 mtu 1400 type veth peer name hn1; ip link set hn0 "
	   "up;"
	   "ip link set hn1 up; ip addr add 192.0.2.2/24 dev hn0;"
	   "ip -6 addr add 2001:db8::2/64 dev hn0 nodad; ip route add default via 192.0.2.1");
	return 0;
}

#define MAX_POOLS 8

struct fixture {
	struct host_public public;
	struct prefix pools[MAX_POOLS];
	struct host_net_options options;
	struct err err;
};

static void fixture_clear(struct fixture *fixture)
{
	host_public_clear(&fixture->public);
}

static void use_pools(struct fixture *fixture, const char *const *texts, size_t count)
{
	host_public_clear(&fixture->public);
	assert_int_equal(host_net_find_public(NULL, &fixture->public, &fixture->err), 0);
	for (size_t i = 0; i < count; i++)
		fixture->pools[i] = prefix_of(texts[i]);
	fixture->options = (struct host_net_options){
		.public = &fixture->public,
		.pools = fixture->pools,
		.pool_count = count,
		.machine_pool = prefix_of("172.16.0.0/12"),
	};
}

#define POOLS(fixture, ...)                                                                        \
	use_pools(fixture, (const char *const[]){__VA_ARGS__},                                     \
		ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static void setup_ok(struct fixture *fixture)
{
	int r = host_net_setup(&fixture->options, &fixture->err);

	if (r < 0)
		fail_msg("%d: %s", r, fixture->err.text);
}

static void the_default_route_says_which_interface_is_public(void **state)
{
	struct host_public public _cleanup_(host_public_clear) = {};
	struct addr first = addr_of("192.0.2.2"), second = addr_of("2001:db8::2");

	(void)state;
	assert_int_equal(host_net_find_public(NULL, &public, NULL), 0);
	assert_string_equal(public.name, "hn0");
	assert_int_equal(public.mtu_bytes, 1400);
	assert_true(public.is_ethernet);
	assert_true(public.is_up);
	assert_int_equal(public.addr_count, 2);
	assert_true(addr_equal(&public.addrs[0], &first));
	assert_true(addr_equal(&public.addrs[1], &second));
}

static void the_default_route_of_the_lowest_metric_counts(void **state)
{
	struct host_public public _cleanup_(host_public_clear) = {};

	(void)state;
	sh("ip route del default; ip addr add 192.0.3.2/24 dev hn1;"
	   "ip route add default via 192.0.3.1 metric 50;"
	   "ip route add default via 192.0.2.1 metric 100");
	assert_int_equal(host_net_find_public(NULL, &public, NULL), 0);
	assert_string_equal(public.name, "hn1");
}

static void an_ipv6_default_route_will_do(void **state)
{
	struct host_public public _cleanup_(host_public_clear) = {};

	(void)state;
	sh("ip route del default; ip -6 route add default via 2001:db8::1 dev hn0");
	assert_int_equal(host_net_find_public(NULL, &public, NULL), 0);
	assert_string_equal(public.name, "hn0");
}

static void without_a_default_route_the_sentence_names_the_setting(void **state)
{
	struct host_public public _cleanup_(host_public_clear) = {};
	struct err err = {};

	(void)state;
	sh("ip route del default; ip link add wm-00000000ab type veth");
	assert_int_equal(host_net_find_public(NULL, &public, &err), -ENODEV);
	assert_non_null(strstr(err.text, "no default route"));
	assert_non_null(strstr(err.text, "set public_interface"));
	assert_non_null(strstr(err.text, "hn0"));
	assert_null(strstr(err.text, "wm-"));
}

static void an_interface_that_does_not_exist_is_told_with_those_that_do(void **state)
{
	struct host_public public _cleanup_(host_public_clear) = {};
	struct err err = {};

	(void)state;
	assert_int_equal(host_net_find_public("ens3", &public, &err), -ENODEV);
	assert_non_null(strstr(err.text, "ens3 does not exist; there are: "));
	assert_non_null(strstr(err.text, "hn1"));
}

static void without_pools_the_interface_addresses_are_the_pools(void **state)
{
	struct host_public public _cleanup_(host_public_clear) = {};
	_free_ struct prefix *pools = NULL;
	char text[PREFIX_TEXT_LEN];
	size_t count;

	(void)state;
	assert_int_equal(host_net_find_public(NULL, &public, NULL), 0);
	host_net_pools(NULL, 0, &public, &pools, &count);
	assert_int_equal(count, 2);
	assert_string_equal(prefix_format(&pools[0], text), "192.0.2.2/32");
	assert_string_equal(prefix_format(&pools[1], text), "2001:db8::2/128");
}

/* What takes packets to @text for the host's own. */
static bool is_local(const char *text)
{
	char command[128];

	snprintf(command, sizeof(command), "ip route get %s 2>&1", text);
	return strncmp(output_of(command), "local ", 6) == 0;
}

static void setup_makes_every_address_of_the_pools_local(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};
	char *route;

	(void)state;
	POOLS(&fixture, "203.0.113.0/24", "198.51.100.7/32", "2001:db8:ff::/64");
	assert_false(is_local("203.0.113.200"));
	setup_ok(&fixture);
	assert_true(is_local("203.0.113.200"));
	assert_true(is_local("198.51.100.7"));
	assert_true(is_local("2001:db8:ff::77"));
	assert_false(is_local("198.51.100.8"));
	route = output_of("ip route get 203.0.113.200");
	assert_non_null(strstr(route, "dev lo src 192.0.2.2"));
	assert_non_null(strstr(route, "mtu 1400"));
}

static void setup_switches_ipv4_forwarding_on_and_ipv6_forwarding_not(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};

	(void)state;
	sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
	sh("echo 0 > /proc/sys/net/ipv6/conf/all/forwarding");
	POOLS(&fixture, "203.0.113.0/24");
	setup_ok(&fixture);
	assert_string_equal(output_of("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
	assert_string_equal(output_of("cat /proc/sys/net/ipv6/conf/all/forwarding"), "0\n");
}

static void a_second_setup_writes_nothing(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};
	_free_ char *before = NULL;
	const char *look = "nft -a list ruleset; ip route show table all; ip -6 route show table "
			   "all proto 187";

	(void)state;
	POOLS(&fixture, "203.0.113.0/24", "2001:db8:ff::/64");
	setup_ok(&fixture);
	/* Handles count up when a table is made anew. */
	before = strdup(output_of(look));
	assert_non_null(strstr(before, "masquerade"));
	setup_ok(&fixture);
	assert_string_equal(output_of(look), before);
}

static void a_table_that_was_changed_by_hand_is_put_right(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};

	(void)state;
	POOLS(&fixture, "203.0.113.0/24");
	setup_ok(&fixture);
	sh("nft add rule ip wherry postrouting counter masquerade");
	setup_ok(&fixture);
	assert_string_equal(output_of("nft list ruleset | grep -c masquerade"), "1\n");
	sh("nft flush ruleset");
	setup_ok(&fixture);
	assert_string_equal(output_of("nft list ruleset | grep -c masquerade"), "1\n");
}

static void another_machine_pool_replaces_the_nat(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};

	(void)state;
	POOLS(&fixture, "203.0.113.0/24");
	setup_ok(&fixture);
	fixture.options.machine_pool = prefix_of("10.200.0.0/16");
	setup_ok(&fixture);
	assert_string_equal(output_of("nft list ruleset | grep -c masquerade"), "1\n");
	assert_string_equal(output_of("nft list ruleset | grep -c 10.200.0.0/16"), "3\n");
	assert_string_equal(output_of("nft list ruleset | grep -c 172.16.0.0/12"), "0\n");
}

static void pools_that_are_no_longer_wanted_are_no_longer_local(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};

	(void)state;
	sh("ip route add local 198.18.0.0/15 dev lo"); /* someone else's */
	POOLS(&fixture, "203.0.113.0/24", "198.51.100.0/28", "2001:db8:ff::/64");
	setup_ok(&fixture);
	POOLS(&fixture, "203.0.113.0/24");
	setup_ok(&fixture);
	assert_true(is_local("203.0.113.1"));
	assert_false(is_local("198.51.100.1"));
	assert_false(is_local("2001:db8:ff::1"));
	assert_true(is_local("198.18.0.1"));
}

static void the_routes_follow_the_interface_mtu_and_address(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};
	char *route;

	(void)state;
	POOLS(&fixture, "203.0.113.0/24");
	setup_ok(&fixture);
	sh("ip link set hn0 mtu 1300; ip addr del 192.0.2.2/24 dev hn0;"
	   "ip addr add 192.0.2.9/24 dev hn0; ip route add default via 192.0.2.1");
	POOLS(&fixture, "203.0.113.0/24");
	setup_ok(&fixture);
	route = output_of("ip route get 203.0.113.200");
	assert_non_null(strstr(route, "src 192.0.2.9"));
	assert_non_null(strstr(route, "mtu 1300"));
}

static void the_host_s_own_addresses_get_no_route_of_ours(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};
	_free_ char *before = strdup(output_of("ip route show table local"));

	(void)state;
	POOLS(&fixture, "192.0.2.2/32", "2001:db8::2/128");
	setup_ok(&fixture);
	assert_string_equal(output_of("ip route show table local"), before);
	assert_string_equal(output_of("ip -6 route show table all proto 187"), "");
}

static void an_address_that_became_the_host_s_own_loses_our_route_only(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};

	(void)state;
	POOLS(&fixture, "203.0.113.7/32");
	setup_ok(&fixture);
	sh("ip addr add 203.0.113.7/32 dev hn0");
	setup_ok(&fixture);
	assert_string_equal(output_of("ip route show table local proto 187"), "");
	assert_true(is_local("203.0.113.7"));
}

static void a_pool_with_the_gateway_in_it_is_refused_and_nothing_changes(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};

	(void)state;
	POOLS(&fixture, "203.0.113.0/24", "192.0.2.0/24");
	assert_int_equal(host_net_setup(&fixture.options, &fixture.err), -EINVAL);
	assert_non_null(strstr(fixture.err.text, "192.0.2.0/24 holds this host's gateway"));
	assert_string_equal(output_of("ip route show table local proto 187"), "");
}

static void teardown_leaves_nothing_of_ours(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};

	(void)state;
	POOLS(&fixture, "203.0.113.0/24", "2001:db8:ff::/64");
	setup_ok(&fixture);
	assert_int_equal(host_net_teardown(NULL), 0);
	assert_string_equal(output_of("ip route show table all proto 187"), "");
	assert_string_equal(output_of("ip -6 route show table all proto 187"), "");
	assert_string_equal(output_of("nft list ruleset"), "");
	assert_int_equal(host_net_teardown(NULL), 0);
}

static int current_namespace(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/*
 * A new namespace that @link of the current one is moved to as eth0, with @addr/24 and a default
 * route by @gateway. The caller closes it.
 */
static int put_into_namespace(const char *link, const char *addr, const char *gateway)
{
	_close_ int here = current_namespace();
	char command[512];
	int there;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	there = current_namespace();
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	snprintf(command, sizeof(command), "ip link set %s netns /proc/%d/fd/%d", link, getpid(),
		there);
	sh(command);
	assert_int_equal(setns(there, CLONE_NEWNET), 0);
	snprintf(command, sizeof(command),
		"ip link set %s name eth0; ip link set eth0 up; ip addr add %s/24 dev eth0; "
		"ip route add default via %s",
		link, addr, gateway);
	sh(command);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	return there;
}

static int udp_socket_in(int namespace, const char *text, uint16_t port)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval patience = {.tv_sec = 2};
	struct addr addr = addr_of(text);
	_close_ int here = current_namespace(), fd = -1;

	name.sin_addr.s_addr = addr_v4_be(&addr);
	assert_int_equal(setns(namespace, CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return take_fd(fd);
}

/* The source address a datagram from @from has when it arrives at @to, which is bound to @text. */
static const char *source_seen(int from, int to, const char *text, char seen[static ADDR_TEXT_LEN])
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(7000)}, source;
	socklen_t len = sizeof(source);
	struct addr addr = addr_of(text);
	char byte = 'x';

	name.sin_addr.s_addr = addr_v4_be(&addr);
	assert_int_equal(sendto(from, &byte, 1, 0, (struct sockaddr *)&name, sizeof(name)), 1);
	assert_int_equal(recvfrom(to, &byte, 1, 0, (struct sockaddr *)&source, &len), 1);
	addr = addr_from_v4(source.sin_addr.s_addr);
	return addr_format(&addr, seen);
}

static void machines_have_the_host_s_address_outside_and_their_own_among_themselves(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};
	_close_ int outside = -1, one = -1, two = -1;
	_close_ int at_outside = -1, at_one = -1, at_two = -1;
	char seen[ADDR_TEXT_LEN];

	(void)state;
	sh("ip link add wm-one type veth peer name one; ip link add wm-two type veth peer name two;"
	   "ip link set wm-one up; ip link set wm-two up; ip addr add 172.16.0.1/24 dev wm-one;"
	   "ip addr add 172.16.1.1/24 dev wm-two");
	outside = put_into_namespace("hn1", "192.0.2.1", "192.0.2.2");
	one = put_into_namespace("one", "172.16.0.2", "172.16.0.1");
	two = put_into_namespace("two", "172.16.1.2", "172.16.1.1");
	POOLS(&fixture, "203.0.113.0/24");
	setup_ok(&fixture);
	at_outside = udp_socket_in(outside, "192.0.2.1", 7000);
	at_one = udp_socket_in(one, "172.16.0.2", 7000);
	at_two = udp_socket_in(two, "172.16.1.2", 7000);
	assert_string_equal(source_seen(at_one, at_outside, "192.0.2.1", seen), "192.0.2.2");
	assert_string_equal(source_seen(at_one, at_two, "172.16.1.2", seen), "172.16.0.2");
}

static void pools_are_closed_but_for_the_host_s_own_addresses(void **state)
{
	struct fixture fixture _cleanup_(fixture_clear) = {};
	_free_ struct fabric_pool *pools = NULL;
	char text[PREFIX_TEXT_LEN];
	size_t count;

	(void)state;
	sh("ip addr add 203.0.113.9/32 dev lo; ip addr add 203.0.113.9/32 dev hn1");
	POOLS(&fixture, "203.0.113.0/24", "192.0.2.2/32", "2001:db8::/32");
	assert_int_equal(host_net_fabric_pools(&fixture.options, &pools, &count, NULL), 0);
	assert_int_equal(count, 5);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pools[i].kind, WHERRY_POOL_HOST);
	assert_int_equal(pools[3].kind, WHERRY_POOL_CLOSED);
	assert_string_equal(prefix_format(&pools[3].prefix, text), "203.0.113.0/24");
	assert_int_equal(pools[4].kind, WHERRY_POOL_CLOSED);
	assert_string_equal(prefix_format(&pools[4].prefix, text), "2001:db8::/32");
}

struct seen {
	char log[4096];
};

static void see(void *arg, unsigned int ifindex, const char *ifname, bool is_gone)
{
	struct seen *seen = arg;
	size_t len = strlen(seen->log);

	assert_true(ifindex > 0);
	snprintf(seen->log + len, sizeof(seen->log) - len, "%c%s ", is_gone ? '-' : '+', ifname);
}

static void links_that_come_and_go_are_told(void **state)
{
	_close_ int fd = host_net_watch_fd();
	struct seen seen = {};
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(host_net_watch_read(fd, see, &seen), 0);
	assert_string_equal(seen.log, "");
	sh("ip link add hnw0 type veth peer name hnw1; ip link del hnw0");
	assert_int_equal(poll(&poll_fd, 1, 1000), 1);
	assert_int_equal(host_net_watch_read(fd, see, &seen), 0);
	assert_non_null(strstr(seen.log, "+hnw0"));
	assert_non_null(strstr(seen.log, "-hnw0"));
}

static void a_link_that_leaves_a_bridge_is_not_gone(void **state)
{
	_close_ int fd = -1;
	struct seen seen = {};

	(void)state;
	if (system("ip link add hnb type bridge 2>/dev/null") != 0)
		skip(); /* a kernel without bridges */
	sh("ip link set hn1 master hnb");
	fd = host_net_watch_fd();
	sh("ip link set hn1 nomaster");
	assert_int_equal(host_net_watch_read(fd, see, &seen), 0);
	assert_non_null(strstr(seen.log, "+hn1"));
	assert_null(strstr(seen.log, "-hn1"));
}

static void messages_that_were_lost_are_told(void **state)
{
	_close_ int fd = host_net_watch_fd();
	struct seen seen = {};
	int bytes = 2048;

	(void)state;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	sh("for i in 1 2 3 4 5 6 7 8; do ip link set hn1 down; ip link set hn1 up; done");
	assert_int_equal(host_net_watch_read(fd, see, &seen), 1);
}

#define TEST(name) cmocka_unit_test_setup(name, make_host)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_default_route_says_which_interface_is_public),
		TEST(the_default_route_of_the_lowest_metric_counts),
		TEST(an_ipv6_default_route_will_do),
		TEST(without_a_default_route_the_sentence_names_the_setting),
		TEST(an_interface_that_does_not_exist_is_told_with_those_that_do),
		TEST(without_pools_the_interface_addresses_are_the_pools),
		TEST(setup_makes_every_address_of_the_pools_local),
		TEST(setup_switches_ipv4_forwarding_on_and_ipv6_forwarding_not),
		TEST(a_second_setup_writes_nothing),
		TEST(a_table_that_was_changed_by_hand_is_put_right),
		TEST(another_machine_pool_replaces_the_nat),
		TEST(pools_that_are_no_longer_wanted_are_no_longer_local),
		TEST(the_routes_follow_the_interface_mtu_and_address),
		TEST(the_host_s_own_addresses_get_no_route_of_ours),
		TEST(an_address_that_became_the_host_s_own_loses_our_route_only),
		TEST(a_pool_with_the_gateway_in_it_is_refused_and_nothing_changes),
		TEST(teardown_leaves_nothing_of_ours),
		TEST(machines_have_the_host_s_address_outside_and_their_own_among_themselves),
		TEST(pools_are_closed_but_for_the_host_s_own_addresses),
		TEST(links_that_come_and_go_are_told),
		TEST(a_link_that_leaves_a_bridge_is_not_gone),
		TEST(messages_that_were_lost_are_told),
	};

	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "skipped: cannot make a network namespace: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
