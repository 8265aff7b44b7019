/* SPDX-License-Identifier: Apache-2.0 */
/* wherry_accept: sockets of the host answer on its own addresses and not on the apps'. */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct fabric_pool pool(const char *text, enum wherry_pool kind)
{
	struct fabric_pool pool = {.kind = kind};

	assert_int_equal(prefix_parse(text, &pool.prefix), 0);
	return pool;
}

static void set_pools(void)
{
	const struct fabric_pool pools[] = {
		pool("203.0.113.0/24", WHERRY_POOL_CLOSED),
		pool("203.0.113.9", WHERRY_POOL_HOST),
		pool("2001:db8:ff::/64", WHERRY_POOL_CLOSED),
		pool("2001:db8:ff::9", WHERRY_POOL_HOST),
	};

	assert_int_equal(fabric_set_pools(lab.fabric, pools, ARRAY_LEN(pools), NULL), 0);
}

static int setup(void **state)
{
	set_pools();
	return lab_reset(state);
}

static int decide(const char *local, uint32_t protocol)
{
	struct bpf_sk_lookup ctx = {
		.protocol = protocol, .local_port = 53, .remote_port = htons(9)};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	struct addr addr;

	assert_int_equal(addr_parse(local, &addr), 0);
	ctx.family = addr.family;
	if (addr.family == AF_INET)
		memcpy(&ctx.local_ip4, addr.bytes, 4);
	else
		memcpy(ctx.local_ip6, addr.bytes, 16);
	if (bpf_prog_test_run_opts(lab.fabric->programs[PROGRAM_ACCEPT], &opts) < 0)
		fail_msg("the kernel refuses to run the program: %s", strerror(errno));
	return (int)opts.retval;
}

static void the_pools_addresses_refuse_the_hosts_sockets(void **state)
{
	(void)state;
	assert_int_equal(decide("203.0.113.0", IPPROTO_UDP), SK_DROP);
	assert_int_equal(decide("203.0.113.5", IPPROTO_TCP), SK_DROP);
	assert_int_equal(decide("203.0.113.255", IPPROTO_UDP), SK_DROP);
	assert_int_equal(decide("2001:db8:ff::5", IPPROTO_UDP), SK_DROP);
	assert_int_equal(decide("2001:db8:ff::ffff:0:1", IPPROTO_TCP), SK_DROP);
}

static void other_addresses_are_the_hosts(void **state)
{
	(void)state;
	assert_int_equal(decide("203.0.112.255", IPPROTO_UDP), SK_PASS);
	assert_int_equal(decide("203.0.114.0", IPPROTO_TCP), SK_PASS);
	assert_int_equal(decide("127.0.0.1", IPPROTO_UDP), SK_PASS);
	assert_int_equal(decide("2001:db8:fe::5", IPPROTO_UDP), SK_PASS);
	assert_int_equal(decide("::1", IPPROTO_TCP), SK_PASS);
}

static void the_hosts_own_address_inside_a_pool_stays_open(void **state)
{
	(void)state;
	assert_int_equal(decide("203.0.113.9", IPPROTO_TCP), SK_PASS);
	assert_int_equal(decide("2001:db8:ff::9", IPPROTO_UDP), SK_PASS);
}

static void pools_that_are_not_wanted_any_more_are_open(void **state)
{
	const struct fabric_pool only = pool("198.18.0.0/15", WHERRY_POOL_CLOSED);

	(void)state;
	assert_int_equal(fabric_set_pools(lab.fabric, &only, 1, NULL), 0);
	assert_int_equal(decide("203.0.113.5", IPPROTO_UDP), SK_PASS);
	assert_int_equal(decide("2001:db8:ff::5", IPPROTO_UDP), SK_PASS);
	assert_int_equal(decide("198.19.255.255", IPPROTO_UDP), SK_DROP);
	assert_int_equal(fabric_set_pools(lab.fabric, NULL, 0, NULL), 0);
	assert_int_equal(decide("198.19.255.255", IPPROTO_UDP), SK_PASS);
}

/* The program at work: a datagram to a wildcard socket, over the loopback device. */
static void a_wildcard_socket_is_closed_to_the_pools_once_attached(void **state)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5353)};
	struct sockaddr_in pool_addr = any, host_addr = any;
	_close_ int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	_close_ int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct err err = {};
	char byte;

	(void)state;
	pool_addr.sin_addr.s_addr = htonl(IP4(203, 0, 113, 5));
	host_addr.sin_addr.s_addr = htonl(IP4(203, 0, 113, 9));
	assert_int_equal(system("ip route replace local 203.0.113.0/24 dev lo"), 0);
	assert_int_equal(bind(server, (const struct sockaddr *)&any, sizeof(any)), 0);
	for (int i = 0; i < 2; i++) /* the second time replaces the program */
		if (fabric_attach_accept(lab.fabric, &err) < 0)
			fail_msg("%s", err.text);
	assert_int_equal(connect(client, (struct sockaddr *)&pool_addr, sizeof(pool_addr)), 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	assert_int_equal(recv(server, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(connect(client, (struct sockaddr *)&host_addr, sizeof(host_addr)), 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	assert_int_equal(recv(server, &byte, 1, MSG_DONTWAIT), 1);
}

#define TEST_POOLS(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_POOLS(the_pools_addresses_refuse_the_hosts_sockets),
		TEST_POOLS(other_addresses_are_the_hosts),
		TEST_POOLS(the_hosts_own_address_inside_a_pool_stays_open),
		TEST_POOLS(pools_that_are_not_wanted_any_more_are_open),
		TEST_POOLS(a_wildcard_socket_is_closed_to_the_pools_once_attached),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
