/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real packets over two hosts, by both underlays: what test runs cannot show, such as devices
 * without Ethernet headers, segmentation offloads, fragmentation and path MTU discovery.
 */
#include "live.h"

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static void need_wireguard(void)
{
	if (live.is_wireguard && !live.has_wireguard)
		skip();
}

static void print_drops(const char *host, struct fabric *fabric)
{
	uint64_t sums[WHERRY_VERDICT_COUNT];

	fabric_verdicts(fabric, sums);
	for (int i = 0; i < WHERRY_VERDICT_COUNT; i++)
		if (sums[i])
			print_error("%s: %s %d\n", host,
				fabric_verdict_name((enum wherry_verdict)i), (int)sums[i]);
}

static void fail_with_counters(const char *what, size_t len)
{
	print_drops("edge", live.edge);
	print_drops("worker", live.worker);
	fail_msg("%s of %zu bytes: %s", what, len, strerror(errno));
}

static uint8_t *pattern(size_t len)
{
	static uint8_t bytes[65536];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 13 + len);
	return bytes;
}

/* The app gets @len bytes, sent by the client, from the client's own address; returns that. */
static struct sockaddr_in app_receives(size_t len)
{
	static uint8_t buffer[65536];
	struct sockaddr_in from = {};
	socklen_t from_len = sizeof(from);
	char text[INET_ADDRSTRLEN];
	ssize_t n =
		recvfrom(live.app, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &from_len);

	if (n < 0)
		fail_with_counters("the app did not receive a datagram", len);
	assert_int_equal(n, len);
	assert_memory_equal(buffer, pattern(len), len);
	inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text));
	assert_string_equal(text, CLIENT);
	return from;
}

/* The client's socket is connected: it hears the public address only. */
static void client_receives(size_t len)
{
	static uint8_t buffer[65536];
	ssize_t n = recv(live.client, buffer, sizeof(buffer), 0);

	if (n < 0)
		fail_with_counters("the client did not receive an answer", len);
	assert_int_equal(n, len);
	assert_memory_equal(buffer, pattern(len), len);
}

static void echo(size_t len)
{
	struct sockaddr_in client;

	if (send(live.client, pattern(len), len, 0) < 0)
		fail_with_counters("cannot send", len);
	client = app_receives(len);
	if (sendto(live.app, pattern(len), len, 0, (struct sockaddr *)&client, sizeof(client)) < 0)
		fail_with_counters("cannot answer", len);
	client_receives(len);
}

static void set_option(int fd, int level, int option, int value)
{
	assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
}

static void datagrams_of_all_sizes_are_echoed(void **state)
{
	static const size_t lens[] = {0, 1, 2, 17, 18, 19, 100, 1000, 1379, 1380, 1392};

	(void)state;
	need_wireguard();
	for (size_t i = 0; i < ARRAY_LEN(lens); i++)
		echo(lens[i]);
}

static void datagrams_without_checksum_are_echoed(void **state)
{
	(void)state;
	need_wireguard();
	set_option(live.client, SOL_SOCKET, SO_NO_CHECK, 1);
	set_option(live.app, SOL_SOCKET, SO_NO_CHECK, 1);
	echo(33);
	echo(1200);
}

static void datagrams_that_need_fragments_are_echoed(void **state)
{
	static const size_t lens[] = {1393, 1400, 1401, 1450, 1472, 1473, 1600, 3000, 20000, 65000};

	(void)state;
	need_wireguard();
	set_option(live.client, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	set_option(live.app, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	for (size_t i = 0; i < ARRAY_LEN(lens); i++)
		echo(lens[i]);
}

/* A machine whose link takes more than the mesh does. */
static void answers_too_large_for_the_mesh_are_cut(void **state)
{
	(void)state;
	need_wireguard();
	assert_int_equal(shell("ip -n m link set eth0 mtu 1500"), 0);
	set_option(live.client, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	set_option(live.app, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	echo(1472);
	echo(5000);
}

static int path_mtu(int fd)
{
	int mtu = 0;
	socklen_t len = sizeof(mtu);

	assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &len), 0);
	return mtu;
}

static void a_client_learns_the_path_mtu(void **state)
{
	const size_t len = live.mtu_bytes - 12 - 28;
	int r = 0;

	(void)state;
	need_wireguard();
	set_option(live.client, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	for (int i = 0; i < 20 && r >= 0; i++) {
		r = (int)send(live.client, pattern(1472), 1472, 0);
		usleep(10000);
	}
	assert_int_equal(r, -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(path_mtu(live.client), live.mtu_bytes - 12);
	while (send(live.client, pattern(len), len, 0) < 0)
		assert_int_equal(errno, EMSGSIZE); /* one for each refusal that came in */
	app_receives(len);
}

static void an_app_learns_the_path_mtu(void **state)
{
	struct sockaddr_in client;
	int r = 0;

	(void)state;
	need_wireguard();
	assert_int_equal(shell("ip -n m link set eth0 mtu 1500"), 0);
	echo(10);
	assert_int_equal(send(live.client, pattern(11), 11, 0), 11);
	client = app_receives(11);
	assert_int_equal(connect(live.app, (struct sockaddr *)&client, sizeof(client)), 0);
	set_option(live.app, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	for (int i = 0; i < 20 && r >= 0; i++) {
		r = (int)send(live.app, pattern(1472), 1472, 0);
		usleep(10000);
	}
	assert_int_equal(r, -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(path_mtu(live.app), live.mtu_bytes - 12);
}

static void segmentation_offloads_arrive_as_datagrams(void **state)
{
	static const int sizes[] = {100, 1000, 1352};
	struct sockaddr_in client = {};

	(void)state;
	need_wireguard();
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		const size_t size = (size_t)sizes[i];
		uint8_t bytes[8 * 1400];

		for (int k = 0; k < 8; k++)
			memcpy(bytes + k * size, pattern(size), size);
		set_option(live.client, SOL_UDP, UDP_SEGMENT, sizes[i]);
		assert_int_equal(send(live.client, bytes, 8 * size, 0), 8 * size);
		for (int k = 0; k < 8; k++)
			client = app_receives(size);
		set_option(live.app, SOL_UDP, UDP_SEGMENT, sizes[i]);
		assert_int_equal(sendto(live.app, bytes, 8 * size, 0, (struct sockaddr *)&client,
					 sizeof(client)),
			8 * size);
		for (int k = 0; k < 8; k++)
			client_receives(size);
		set_option(live.app, SOL_UDP, UDP_SEGMENT, 0);
		set_option(live.client, SOL_UDP, UDP_SEGMENT, 0);
	}
}

/* Segments of 1420 bytes with their headers fit with RFC 2004 only: the resizer makes them. */
static void segments_that_fit_only_by_themselves_arrive(void **state)
{
	const size_t size = live.mtu_bytes - 12 - 28;
	uint8_t bytes[4 * 1500];

	(void)state;
	need_wireguard();
	for (int k = 0; k < 4; k++)
		memcpy(bytes + k * size, pattern(size), size);
	set_option(live.client, SOL_UDP, UDP_SEGMENT, (int)size);
	assert_int_equal(send(live.client, bytes, 4 * size, 0), 4 * size);
	for (int k = 0; k < 4; k++)
		app_receives(size);
}

static void a_closed_port_of_the_machine_is_refused_to_the_client(void **state)
{
	struct sockaddr_in server = live.server;
	char byte;

	(void)state;
	need_wireguard();
	server.sin_port = htons(PORT + 7);
	assert_int_equal(connect(live.client, (struct sockaddr *)&server, sizeof(server)), 0);
	assert_int_equal(send(live.client, "x", 1, 0), 1);
	assert_int_equal(recv(live.client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
}

static void a_closed_port_of_the_client_is_refused_to_the_app(void **state)
{
	struct sockaddr_in client;
	char byte;

	(void)state;
	need_wireguard();
	assert_int_equal(send(live.client, pattern(9), 9, 0), 9);
	client = app_receives(9);
	assert_int_equal(connect(live.app, (struct sockaddr *)&client, sizeof(client)), 0);
	close(live.client);
	live.client = -1;
	assert_int_equal(send(live.app, "x", 1, 0), 1);
	assert_int_equal(recv(live.app, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
}

/* A socket of the app's own port, to a server outside: by the nearest edge, and back. */
static void what_the_app_sends_first_is_answered(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(5353)};
	struct sockaddr_in local = to, from = {};
	struct sockaddr_in app = {.sin_family = AF_INET, .sin_port = htons(9999)};
	socklen_t len = sizeof(from);
	char text[INET_ADDRSTRLEN];
	uint8_t buffer[64];

	(void)state;
	need_wireguard();
	close(live.client);
	close(live.app);
	inet_pton(AF_INET, CLIENT, &to.sin_addr);
	inet_pton(AF_INET, SERVICE, &app.sin_addr);
	enter(live.netns[CLIENT_NS]);
	live.client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(live.client, (struct sockaddr *)&local, sizeof(local)), 0);
	enter(live.netns[MACHINE_NS]);
	live.app = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(live.app, (struct sockaddr *)&app, sizeof(app)), 0);
	set_timeouts();
	assert_int_equal(sendto(live.app, pattern(5), 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	assert_int_equal(
		recvfrom(live.client, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &len),
		5);
	inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text));
	assert_string_equal(text, PUBLIC);
	assert_int_equal(ntohs(from.sin_port), 9999);
	assert_int_equal(
		sendto(live.client, pattern(6), 6, 0, (struct sockaddr *)&from, sizeof(from)), 6);
	app_receives(6);
}

#define BOTH(test)                                                                                 \
	{#test " by plain", test, by_plain, stop, NULL},                                           \
	{                                                                                          \
#test " by WireGuard", test, by_wireguard, stop, NULL                              \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(datagrams_of_all_sizes_are_echoed),
		BOTH(datagrams_without_checksum_are_echoed),
		BOTH(datagrams_that_need_fragments_are_echoed),
		BOTH(answers_too_large_for_the_mesh_are_cut),
		BOTH(a_client_learns_the_path_mtu),
		BOTH(an_app_learns_the_path_mtu),
		BOTH(segmentation_offloads_arrive_as_datagrams),
		BOTH(segments_that_fit_only_by_themselves_arrive),
		BOTH(a_closed_port_of_the_machine_is_refused_to_the_client),
		BOTH(a_closed_port_of_the_client_is_refused_to_the_app),
		BOTH(what_the_app_sends_first_is_answered),
	};

	return cmocka_run_group_tests(tests, up, down);
}
