/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of all kinds, half of them damaged: whatever comes in, the verdict is a known one, a
 * packet that is dropped or left is counted under exactly one name, and sums that were right stay
 * right. The seed is printed; FUZZ_SEED repeats a run.
 */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PACKETS 100000

static uint64_t random_state;

/* xorshift64*: the same everywhere, unlike random(3). */
static uint32_t random_below(uint32_t bound)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)(random_state * 2685821657736338717ULL >> 32) % bound;
}

static bool one_in(uint32_t odds)
{
	return random_below(odds) == 0;
}

static bool is_fleet; /* there is a mesh */

static int seed(void **state)
{
	const char *text = getenv("FUZZ_SEED");

	random_state = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	print_message("FUZZ_SEED=%llu\n", (unsigned long long)random_state);
	random_state = random_state * 0x9e3779b97f4a7c15ULL | 1;
	is_fleet = false;
	return lab_reset(state);
}

static int seed_fleet(void **state)
{
	int r = seed(state);

	is_fleet = true;
	lab_fleet(one_in(2) ? EDGE_B : 0);
	if (r == 0)
		r = lab_apply(1U << 1 | 1U << 4);
	return r < 0 ? r : lab_apply(1U << 2 | 1U << 4 | 1U << 5); /* 1 is a former one */
}

static uint32_t any_addr(void)
{
	const uint32_t addrs[] = {CLIENT, PUBLIC, PUBLIC, PUBLIC_C, PUBLIC_UNUSED, HOST, ELSEWHERE,
		lab.machines[1].primary, lab.machines[1].service, lab.machines[1].primary,
		lab.machines[3].primary, lab.machines[3].service, 0, 0xffffffff};

	return addrs[random_below(ARRAY_LEN(addrs))];
}

static uint16_t any_port(void)
{
	static const uint16_t ports[] = {PORT, PORT, PORT_MANY, PORT_RANGE + 7, PORT_FREE,
		PORT_NONE, 40000, 40001, 0, 0xffff};

	return ports[random_below(ARRAY_LEN(ports))];
}

/* One that gets past the first checks, mostly: from a client, or from machine @n when not 0. */
static void aim(unsigned int n, uint32_t *from, uint32_t *to)
{
	*from = any_addr();
	*to = any_addr();
	if (one_in(4))
		return;
	if (n)
		*from = one_in(2) ? lab.machines[n].primary : lab.machines[n].service;
	else
		*to = one_in(4) ? PUBLIC_C : PUBLIC;
	if (n && one_in(2))
		*to = CLIENT;
}

static struct frame any_datagram(unsigned int n)
{
	struct datagram datagram = {
		.sport = any_port(),
		.dport = any_port(),
		.payload_len = random_below(one_in(10) ? 1400 : 64),
		.ihl = one_in(8) ? 5 + random_below(11) : 5,
		.id = (uint16_t)random_below(4),
		.no_check = one_in(6),
		.more_fragments = one_in(6),
		.offset8 = one_in(6) ? 1 + random_below(100) : 0,
	};

	aim(n, &datagram.from, &datagram.to);
	return frame_udp(&datagram);
}

static struct frame any_frame(unsigned int n)
{
	static const uint8_t types[] = {3, 11, 12, 0, 8, 5};
	struct frame frame = any_datagram(n), outer;

	if (one_in(20))
		return frame_ipv4(any_addr(), any_addr(), (uint8_t)random_below(256));
	if (one_in(40))
		return frame_ipv6("fe80::2", one_in(2) ? "fe80::1" : "fdaa::3", IPPROTO_UDP);
	if (!one_in(4))
		return frame;
	outer = frame_icmp_error(any_addr(), any_addr(), types[random_below(ARRAY_LEN(types))],
		(uint8_t)random_below(16), &frame, random_below(one_in(2) ? 100 : 1400));
	if (one_in(4))
		return outer;
	/* The case that counts: what is quoted goes the other way round. */
	frame_ip(&outer)->saddr = frame_ip(&frame)->saddr;
	frame_ip(&outer)->daddr = frame_ip(&frame)->daddr;
	frame_fix_ip(&outer);
	if (frame.len >= ETH_HLEN + 20 && ntohs(frame_ip(&outer)->tot_len) >= 20 + 8 + 20) {
		struct ip_view *quoted = frame_quoted(&outer);
		uint32_t from = quoted->saddr;

		/* Neither the quoted header's sum nor the ICMP sum changes with the order. */
		quoted->saddr = quoted->daddr;
		quoted->daddr = from;
	}
	return outer;
}

static bool is_ipv4(const struct frame *frame)
{
	return frame->bytes[12] == ETH_P_IP >> 8 && frame->bytes[13] == (ETH_P_IP & 0xff);
}

/* From the mesh, by who may send and who may not. */
static struct frame any_encapsulated(void)
{
	const uint32_t senders[] = {EDGE, EDGE, WORKER, WORKER_C, STRANGER, lab.machines[4].service,
		lab.machines[6].service};
	const uint32_t receivers[] = {SELF, SELF, lab.machines[1].service, lab.machines[2].service,
		lab.machines[3].service, lab.machines[4].service, IP4(172, 16, 9, 3)};
	const uint32_t from = senders[random_below(ARRAY_LEN(senders))];
	const uint32_t to = receivers[random_below(ARRAY_LEN(receivers))];
	const bool is_answer = to == SELF;
	struct frame inside = any_frame(0);

	if (!is_ipv4(&inside))
		return inside;
	if (is_answer && one_in(2))
		inside = frame_readdressed(&inside, PUBLIC, CLIENT);
	else if (!is_answer && one_in(2))
		inside = frame_readdressed(&inside, CLIENT, PUBLIC);
	if (frame_ip(&inside)->ihl == 5 && one_in(2))
		return frame_minimal(&inside, from, to);
	return frame_ipip(&inside, from, to);
}

static void damage(struct frame *frame)
{
	for (uint32_t i = random_below(4); i > 0; i--)
		frame->bytes[ETH_HLEN + random_below(is_fleet ? 80 : 48)] ^=
			(uint8_t)(1 + random_below(255));
	if (one_in(3))
		frame->len = ETH_HLEN + 1 + random_below((uint32_t)frame->len - ETH_HLEN);
	if (one_in(8))
		frame->len += random_below(64);
}

static int run(enum fabric_program program, unsigned int ifindex, const struct frame *in,
	unsigned int gso_size, struct frame *out)
{
	struct __sk_buff ctx = {.ifindex = ifindex, .gso_size = gso_size};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->bytes,
		.data_size_in = (uint32_t)in->len, .data_out = out->bytes,
		.data_size_out = FRAME_MAX, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	/* The test run itself refuses frames without a whole IP header. */
	if (bpf_prog_test_run_opts(lab.fabric->programs[program], &opts) < 0)
		return errno == EINVAL && in->len < ETH_HLEN + 40 ? -EINVAL : -EIO;
	out->len = opts.data_size_out;
	return (int)opts.retval == TCX_NEXT ? 1000 : (int)opts.retval;
}

static void fail_on(const struct frame *frame, const char *what)
{
	for (size_t i = 0; i < frame->len; i++)
		fprintf(stderr, "%02x%s", frame->bytes[i], i % 16 == 15 ? "\n" : " ");
	fail_msg("\n%s", what);
}

/* What one packet did to the counters. */
static void check_counted(const struct frame *frame, int verdict, const uint64_t *before,
	const uint64_t *after, bool must_count)
{
	unsigned int drops = 0, passes = 0;

	for (int i = 0; i < WHERRY_VERDICT_COUNT; i++) {
		if (fabric_verdict_is_drop((enum wherry_verdict)i))
			drops += (unsigned int)(after[i] - before[i]);
		else
			passes += (unsigned int)(after[i] - before[i]);
	}
	if (verdict == TCX_DROP && (drops != 1 || passes != 0))
		fail_on(frame, "a drop is not counted under exactly one name");
	/* Passed on and resized packets are. */
	if (verdict == TCX_REDIRECT && (drops != 0 || passes > is_fleet))
		fail_on(frame, "a redirected packet is counted as dropped or left");
	if (verdict == 1000 && (drops != 0 || passes > 1 || (must_count && passes != 1)))
		fail_on(frame, "a packet that is left is not counted under exactly one name");
}

/* Left to a program of the host, without what was around it. */
static bool is_popped(int verdict, const struct frame *in)
{
	return is_fleet && verdict == 1000 && is_ipv4(in) &&
	       (frame_ip(in)->protocol == 55 || frame_ip(in)->protocol == IPPROTO_IPIP);
}

static void flood(enum fabric_program program)
{
	uint64_t before[WHERRY_VERDICT_COUNT], after[WHERRY_VERDICT_COUNT];
	unsigned int outcomes[3] = {0};
	struct frame in, out;

	fabric_verdicts(lab.fabric, before);
	for (unsigned int i = 0; i < PACKETS; i++) {
		unsigned int n = program == PROGRAM_WORKER ? 1 + random_below(MACHINES) : 0;
		unsigned int ifindex = n ? lab.machines[n].ifindex : one_in(4) ? 1 : lab.up_ifindex;
		bool is_damaged = one_in(2);
		int verdict;

		in = program == PROGRAM_MESH_PLAIN ? any_encapsulated() : any_frame(n);
		if (is_damaged)
			damage(&in);
		verdict = run(program, ifindex, &in, one_in(16) ? 100 : 0, &out);
		if (verdict == -EINVAL)
			continue;
		fabric_verdicts(lab.fabric, after);
		if (verdict != TCX_DROP && verdict != TCX_REDIRECT && verdict != 1000)
			fail_on(&in, "the verdict is not a known one");
		outcomes[verdict == TCX_DROP ? 0 : verdict == TCX_REDIRECT ? 1 : 2]++;
		check_counted(
			&in, verdict, before, after, program == PROGRAM_WORKER && is_ipv4(&in));
		if (out.len != in.len && !(is_fleet && verdict != 1000) && !is_popped(verdict, &in))
			fail_on(&in, "the length changed");
		if (!is_damaged && verdict != TCX_DROP && is_ipv4(&in) &&
			frame_sums_are_right(&in) && !frame_sums_are_right(&out))
			fail_on(&in, "a checksum is wrong");
		memcpy(before, after, sizeof(before));
	}
	print_message(
		"dropped %u, redirected %u, left %u\n", outcomes[0], outcomes[1], outcomes[2]);
	assert_true(outcomes[0] > PACKETS / 100);
	assert_true(outcomes[1] > PACKETS / 100);
	assert_true(outcomes[2] > PACKETS / 100);
}

static void the_edge_has_one_answer_to_every_packet(void **state)
{
	(void)state;
	flood(PROGRAM_EDGE);
}

static void the_worker_has_one_answer_to_every_packet(void **state)
{
	(void)state;
	/* Flows for its answers to be recognised by. */
	for (uint16_t port = 40000; port <= 40001; port++) {
		lab_client_sends(port, PORT);
		lab_client_sends(port, PORT_RANGE + 7);
	}
	flood(PROGRAM_WORKER);
}

/* The same with machines elsewhere. */
static void the_edge_of_a_fleet_has_one_answer_to_every_packet(void **state)
{
	(void)state;
	flood(PROGRAM_EDGE);
}

static void the_worker_of_a_fleet_has_one_answer_to_every_packet(void **state)
{
	const struct datagram hello = {
		.from = CLIENT, .to = PUBLIC, .sport = 40000, .dport = PORT, .payload_len = 9};
	const struct frame frame = frame_udp(&hello);
	const struct frame outer = frame_minimal(&frame, EDGE, lab.machines[1].service);

	(void)state;
	lab_mesh(&outer);
	lab_client_sends(40001, PORT);
	flood(PROGRAM_WORKER);
}

static void the_mesh_has_one_answer_to_every_packet(void **state)
{
	(void)state;
	flood(PROGRAM_MESH_PLAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_edge_has_one_answer_to_every_packet, seed),
		cmocka_unit_test_setup(the_worker_has_one_answer_to_every_packet, seed),
		cmocka_unit_test_setup(
			the_edge_of_a_fleet_has_one_answer_to_every_packet, seed_fleet),
		cmocka_unit_test_setup(
			the_worker_of_a_fleet_has_one_answer_to_every_packet, seed_fleet),
		cmocka_unit_test_setup(the_mesh_has_one_answer_to_every_packet, seed_fleet),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
