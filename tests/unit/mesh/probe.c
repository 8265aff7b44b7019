/* SPDX-License-Identifier: Apache-2.0 */
/* Probes between network namespaces on a bridge. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../../lib/mesh.h"
#include "mesh/probe.h"

static atomic_int changes;

static void note_change(void *arg)
{
	(void)arg;
	atomic_fetch_add(&changes, 1);
}

struct start {
	struct probes *probes;
	struct err err;
};

static int start_probes(void *arg)
{
	struct start *start = arg;

	return probes_start(&start->probes, note_change, NULL, &start->err);
}

/* Starts probes in the node. */
static struct probes *start_in(const struct node *node)
{
	struct start start = {};

	atomic_store(&changes, 0);
	check(netns_call(node->netns, start_probes, &start), &start.err);
	return start.probes;
}

static struct probe get(struct probes *probes, const char *addr)
{
	struct addr key = addr_of(addr);
	struct probe probe;

	assert_true(probes_get(probes, &key, &probe));
	return probe;
}

static void set_one(struct probes *probes, const char *text)
{
	struct addr addr = addr_of(text);

	assert_int_equal(probes_set(probes, &addr, 1), 0);
}

/* Returns how long it took in ms, or fails after @timeout_ms. */
static int await(struct probes *probes, const char *addr, enum probe_state state, int timeout_ms)
{
	uint64_t start_ms = clock_now_ms();

	while (get(probes, addr).state != state) {
		if (clock_now_ms() - start_ms > (uint64_t)timeout_ms)
			fail_msg("%s is %u after %d ms", addr, get(probes, addr).state, timeout_ms);
		usleep(5000);
	}
	return (int)(clock_now_ms() - start_ms);
}

static void await_loss(struct probes *probes, const char *addr, uint32_t from, uint32_t to)
{
	uint32_t loss = 0;

	for (int i = 0; i < 500; i++) {
		loss = get(probes, addr).loss_permille;
		if (loss >= from && loss <= to)
			return;
		usleep(10000);
	}
	fail_msg("the loss is %u permille", loss);
}

static void nodes_new(struct node *nodes, int count)
{
	for (int i = 0; i < count; i++)
		node_new(&nodes[i], i + 1);
}

static void nodes_free(struct node *nodes, int count)
{
	for (int i = 0; i < count; i++)
		node_free(&nodes[i]);
}

static void drop_echoes(const struct node *node)
{
	node_sh(node, "nft 'table ip t { chain c { type filter hook input priority 0; "
		      "icmp type echo-request drop; }; }'");
}

static void a_host_that_answers_is_reachable_and_has_a_round_trip_time(void **state)
{
	struct node nodes[2];
	struct probes *probes;
	struct probe probe;

	(void)state;
	nodes_new(nodes, 2);
	probes = start_in(&nodes[0]);
	set_one(probes, "10.77.0.2");
	assert_int_equal(get(probes, "10.77.0.2").state, PROBE_UNKNOWN);
	/* At the first answer. */
	await(probes, "10.77.0.2", PROBE_REACHABLE, 900);
	sleep(1);
	probe = get(probes, "10.77.0.2");
	assert_true(probe.rtt_us > 0);
	assert_true(probe.rtt_us < 100000);
	assert_true(probe.rtt_min_us <= probe.rtt_us && probe.rtt_us <= probe.rtt_max_us);
	assert_int_equal(probe.loss_permille, 0);
	assert_true(probe.changed_ms <= clock_now_ms());
	assert_int_equal(atomic_load(&changes), 1);
	probes_stop(probes);
	nodes_free(nodes, 2);
}

static void a_host_that_falls_silent_is_unreachable_within_1500_ms(void **state)
{
	struct node nodes[2];
	struct probes *probes;
	int lost_ms, back_ms;

	(void)state;
	nodes_new(nodes, 2);
	probes = start_in(&nodes[0]);
	set_one(probes, "10.77.0.2");
	await(probes, "10.77.0.2", PROBE_REACHABLE, 1000);
	drop_echoes(&nodes[1]);
	lost_ms = await(probes, "10.77.0.2", PROBE_UNREACHABLE, 1500);
	/* It answered just before: less than PROBE_LOST_MS is not long enough. */
	assert_true(lost_ms > 700);
	assert_int_equal(atomic_load(&changes), 2);
	await_loss(probes, "10.77.0.2", 300, 1000);
	node_sh(&nodes[1], "nft delete table ip t");
	back_ms = await(probes, "10.77.0.2", PROBE_REACHABLE, 2000);
	/* Three answers are two intervals apart. */
	assert_true(back_ms >= (PROBE_BACK_COUNT - 1) * PROBE_INTERVAL_MS - 50);
	assert_int_equal(atomic_load(&changes), 3);
	/* What was lost is still in the window. */
	assert_true(get(probes, "10.77.0.2").loss_permille > 0);
	probes_stop(probes);
	nodes_free(nodes, 2);
}

static void a_link_that_goes_down_makes_the_host_unreachable(void **state)
{
	struct node nodes[2];
	struct probes *probes;

	(void)state;
	nodes_new(nodes, 2);
	probes = start_in(&nodes[0]);
	set_one(probes, "10.77.0.2");
	await(probes, "10.77.0.2", PROBE_REACHABLE, 1000);
	/* Ours: sending fails with ENETUNREACH, and that counts as lost. */
	node_sh(&nodes[0], "ip link set eth0 down");
	await(probes, "10.77.0.2", PROBE_UNREACHABLE, 1500);
	await_loss(probes, "10.77.0.2", 300, 1000);
	node_sh(&nodes[0], "ip link set eth0 up");
	await(probes, "10.77.0.2", PROBE_REACHABLE, 3000);
	probes_stop(probes);
	nodes_free(nodes, 2);
}

static void a_host_that_never_answered_is_unknown_and_then_unreachable(void **state)
{
	struct node nodes[2];
	struct probes *probes;
	int ms;

	(void)state;
	nodes_new(nodes, 2);
	probes = start_in(&nodes[0]);
	set_one(probes, "10.77.0.9");
	ms = await(probes, "10.77.0.9", PROBE_UNREACHABLE, 1500);
	assert_true(ms >= PROBE_LOST_MS - 50);
	assert_int_equal(get(probes, "10.77.0.9").rtt_us, 0);
	probes_stop(probes);
	nodes_free(nodes, 2);
}

static void single_losses_are_counted_and_change_nothing(void **state)
{
	struct node nodes[2];
	struct probes *probes;

	(void)state;
	nodes_new(nodes, 2);
	node_sh(&nodes[1], "nft 'table ip t { chain c { type filter hook input priority 0; "
			   "icmp type echo-request numgen inc mod 2 == 0 drop; }; }'");
	probes = start_in(&nodes[0]);
	set_one(probes, "10.77.0.2");
	await(probes, "10.77.0.2", PROBE_REACHABLE, 1500);
	sleep(4);
	assert_int_equal(get(probes, "10.77.0.2").state, PROBE_REACHABLE);
	await_loss(probes, "10.77.0.2", 400, 600);
	assert_int_equal(atomic_load(&changes), 1);
	probes_stop(probes);
	nodes_free(nodes, 2);
}

static void each_host_is_judged_by_itself_and_keeps_what_was_measured(void **state)
{
	struct node nodes[3];
	struct probes *probes;
	struct addr addrs[3] = {addr_of("10.77.0.3"), addr_of("10.77.0.2"), addr_of("10.77.0.3")};
	struct addr v6 = addr_of("fd77::2");
	struct probe before, after;

	(void)state;
	nodes_new(nodes, 3);
	drop_echoes(&nodes[2]);
	probes = start_in(&nodes[0]);
	assert_int_equal(probes_set(probes, addrs, 3), 0);
	await(probes, "10.77.0.3", PROBE_UNREACHABLE, 2000);
	assert_int_equal(get(probes, "10.77.0.2").state, PROBE_REACHABLE);
	before = get(probes, "10.77.0.2");
	assert_int_equal(probes_set(probes, &v6, 1), -EINVAL);
	assert_int_equal(probes_set(probes, &addrs[1], 1), 0);
	after = get(probes, "10.77.0.2");
	assert_int_equal(before.changed_ms, after.changed_ms);
	assert_int_equal(after.state, PROBE_REACHABLE);
	assert_false(probes_get(probes, &addrs[0], &after));
	assert_int_equal(probes_set(probes, NULL, 0), 0);
	assert_false(probes_get(probes, &addrs[1], &after));
	probes_stop(probes);
	nodes_free(nodes, 3);
}

static uint16_t checksum_of(const void *data, size_t len)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

enum forgery {
	FORGE_NONCE,
	FORGE_ID,
	FORGE_SEQUENCE,
	FORGE_SHORT,
	FORGE_NOTHING,
	FORGE_LATE,
};

static atomic_bool is_forging;
static enum forgery forgery;

/* Reads the requests and answers them in the kernel's place, each answer wrong in one way. */
static int answer_wrongly(void *arg)
{
	_close_ int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	uint8_t packet[256];

	(void)arg;
	while (atomic_load(&is_forging)) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		struct sockaddr_in to = {.sin_family = AF_INET};
		struct icmphdr *icmp = (void *)(packet + sizeof(struct iphdr));
		size_t len;
		ssize_t got;

		if (poll(&poll_fd, 1, 50) <= 0)
			continue;
		got = recv(fd, packet, sizeof(packet), 0);
		if (got < 36 || icmp->type != ICMP_ECHO)
			continue;
		len = (size_t)got - sizeof(struct iphdr);
		memcpy(&to.sin_addr, packet + 12, 4);
		icmp->type = ICMP_ECHOREPLY;
		if (forgery == FORGE_NONCE)
			packet[got - 1] ^= 1;
		if (forgery == FORGE_ID)
			icmp->un.echo.id ^= 1;
		if (forgery == FORGE_SEQUENCE)
			icmp->un.echo.sequence ^= htons(1);
		if (forgery == FORGE_SHORT)
			len -= 2;
		if (forgery == FORGE_LATE)
			usleep(PROBE_LOST_MS * 1000 + 100000);
		icmp->checksum = 0;
		icmp->checksum = checksum_of(icmp, len);
		sendto(fd, icmp, len, 0, (struct sockaddr *)&to, sizeof(to));
	}
	return 0;
}

static void *forge(void *arg)
{
	netns_call(((struct node *)arg)->netns, answer_wrongly, NULL);
	return NULL;
}

static void forged_and_late_answers_count_for_nothing(void **state)
{
	struct node nodes[2];

	(void)state;
	nodes_new(nodes, 2);
	node_sh(&nodes[1], "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all");
	for (forgery = FORGE_NONCE; forgery <= FORGE_LATE; forgery++) {
		struct probes *probes;
		pthread_t thread;

		atomic_store(&is_forging, true);
		assert_int_equal(pthread_create(&thread, NULL, forge, &nodes[1]), 0);
		usleep(100000);
		probes = start_in(&nodes[0]);
		set_one(probes, "10.77.0.2");
		usleep(1500000);
		/* Without a forgery it is an answer: the forger works. */
		if (get(probes, "10.77.0.2").state !=
			(forgery == FORGE_NOTHING ? PROBE_REACHABLE : PROBE_UNREACHABLE))
			fail_msg("forgery %u: state %u", forgery, get(probes, "10.77.0.2").state);
		if (forgery != FORGE_NOTHING)
			assert_int_equal(get(probes, "10.77.0.2").rtt_us, 0);
		atomic_store(&is_forging, false);
		pthread_join(thread, NULL);
		probes_stop(probes);
	}
	nodes_free(nodes, 2);
}

/* In a process of its own, which is stopped and goes on. Returns its exit status. */
static int probe_in_child(const struct node *from, const char *to, int stop_ms, bool falls_silent,
	const struct node *peer)
{
	int ready[2], status;
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct probes *probes = start_in(from);

		set_one(probes, to);
		await(probes, to, PROBE_REACHABLE, 2000);
		usleep(500000);
		if (write(ready[1], "x", 1) != 1)
			_exit(2);
		usleep((useconds_t)(stop_ms + 700) * 1000);
		if (falls_silent)
			await(probes, to, PROBE_UNREACHABLE, 2000);
		status = atomic_load(&changes) == (falls_silent ? 2 : 1) ? 0 : 1;
		if (!falls_silent && get(probes, to).loss_permille)
			status = 3;
		_exit(status);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	if (falls_silent)
		drop_echoes(peer);
	usleep((useconds_t)stop_ms * 1000);
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(ready[0]);
	close(ready[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void a_prober_that_was_away_takes_nobody_for_dead(void **state)
{
	struct node nodes[2];

	(void)state;
	nodes_new(nodes, 2);
	assert_int_equal(probe_in_child(&nodes[0], "10.77.0.2", 600, false, NULL), 0);
	assert_int_equal(probe_in_child(&nodes[0], "10.77.0.2", 3000, false, NULL), 0);
	/* And who died meanwhile is noticed. */
	assert_int_equal(probe_in_child(&nodes[0], "10.77.0.2", 2000, true, &nodes[1]), 0);
	nodes_free(nodes, 2);
}

static void fifty_hosts_cost_little(void **state)
{
	struct node nodes[2];
	struct probes *probes;
	struct addr addrs[50];
	struct timespec before, after;
	double used_ms;
	clockid_t clock;

	(void)state;
	nodes_new(nodes, 2);
	for (int i = 0; i < 50; i++) {
		char text[32];

		snprintf(text, sizeof(text), "10.77.0.%d", 100 + i);
		addrs[i] = addr_of(text);
		node_sh(&nodes[1], "ip addr add %s/24 dev eth0", text);
	}
	probes = start_in(&nodes[0]);
	assert_int_equal(probes_set(probes, addrs, 50), 0);
	for (int i = 0; i < 50; i++) {
		char text[ADDR_TEXT_LEN];

		await(probes, addr_format(&addrs[i], text), PROBE_REACHABLE, 2000);
	}
	/* The process does nothing else meanwhile: the softirqs that answer are in it, too. */
	assert_int_equal(clock_getcpuclockid(0, &clock), 0);
	clock_gettime(clock, &before);
	sleep(2);
	clock_gettime(clock, &after);
	used_ms = (double)(after.tv_sec - before.tv_sec) * 1000 +
		  (double)(after.tv_nsec - before.tv_nsec) / 1e6;
	if (used_ms > 200)
		fail_msg("500 probes took %.0f ms of CPU", used_ms);
	for (int i = 0; i < 50; i++) {
		char text[ADDR_TEXT_LEN];

		assert_int_equal(get(probes, addr_format(&addrs[i], text)).loss_permille, 0);
	}
	probes_stop(probes);
	nodes_free(nodes, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_that_answers_is_reachable_and_has_a_round_trip_time),
		cmocka_unit_test(a_host_that_falls_silent_is_unreachable_within_1500_ms),
		cmocka_unit_test(a_link_that_goes_down_makes_the_host_unreachable),
		cmocka_unit_test(a_host_that_never_answered_is_unknown_and_then_unreachable),
		cmocka_unit_test(single_losses_are_counted_and_change_nothing),
		cmocka_unit_test(each_host_is_judged_by_itself_and_keeps_what_was_measured),
		cmocka_unit_test(forged_and_late_answers_count_for_nothing),
		cmocka_unit_test(a_prober_that_was_away_takes_nobody_for_dead),
		cmocka_unit_test(fifty_hosts_cost_little),
	};

	mesh_fixture_begin("probe");
	return mesh_fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
