/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams in pieces, both ways: the later ones have no ports and follow the first. */
#include "harness.h"

#define CLIENT_PORT 40000

/* Towards the machine. */
static const struct datagram first = {
	.from = CLIENT,
	.to = PUBLIC,
	.sport = CLIENT_PORT,
	.dport = PORT,
	.payload_len = 472,
	.id = 77,
	.more_fragments = true,
};
static const struct datagram middle = {.from = CLIENT,
	.to = PUBLIC,
	.payload_len = 480,
	.id = 77,
	.more_fragments = true,
	.offset8 = 60};
static const struct datagram last = {
	.from = CLIENT, .to = PUBLIC, .payload_len = 1, .id = 77, .offset8 = 120};

static void fragments_after_the_first_follow_it(void **state)
{
	const struct datagram *const pieces[] = {&first, &last, &middle};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct outcome outcome = lab_edge_udp(pieces[i]);
		struct frame expected = outcome.in;

		assert_redirected(outcome);
		assert_int_equal(lab_receiver(&outcome), 1);
		frame_ip(&expected)->daddr = htonl(lab.machines[1].primary);
		frame_fix_ip(&expected);
		if (i == 0)
			frame_l4(&expected)->check = frame_l4(&outcome.out)->check;
		assert_memory_equal(outcome.out.bytes, expected.bytes, expected.len);
	}
}

/* The first fragment's checksum is of the whole: it must change by the addresses' difference. */
static void the_first_fragments_checksum_moves_with_the_address(void **state)
{
	struct datagram to_machine = first;
	struct outcome outcome = lab_edge_udp(&first);
	struct frame expected;

	(void)state;
	to_machine.to = lab.machines[1].primary;
	expected = frame_udp(&to_machine);
	assert_int_equal(frame_l4(&outcome.out)->check, frame_l4(&expected)->check);
}

static void a_later_fragment_before_the_first_is_dropped_by_name(void **state)
{
	struct outcome outcome = lab_edge_udp(&last);

	(void)state;
	assert_dropped(outcome, WHERRY_FRAGMENT_UNKNOWN);
}

static void fragments_of_others_do_not_follow(void **state)
{
	struct datagram other = last;
	struct outcome outcome;

	(void)state;
	lab_edge_udp(&first);
	other.id++;
	outcome = lab_edge_udp(&other);
	assert_dropped(outcome, WHERRY_FRAGMENT_UNKNOWN);
	other = last;
	other.from++;
	outcome = lab_edge_udp(&other);
	assert_dropped(outcome, WHERRY_FRAGMENT_UNKNOWN);
}

static void fragments_for_addresses_of_nobody_are_not_ours(void **state)
{
	struct datagram other = last;
	struct outcome outcome;

	(void)state;
	other.to = HOST;
	outcome = lab_edge_udp(&other);
	assert_not_ours(outcome);
	other = first;
	other.to = HOST;
	outcome = lab_edge_udp(&other);
	assert_not_ours(outcome);
}

/* The host may have servers of its own on an address that apps share with it. */
static void fragments_for_no_service_reach_the_kernel_whole(void **state)
{
	struct datagram begin = first;
	struct outcome outcome;

	(void)state;
	begin.dport = PORT_FREE;
	outcome = lab_edge_udp(&begin);
	assert_left(outcome, WHERRY_NO_SERVICE);
	outcome = lab_edge_udp(&middle);
	assert_left(outcome, WHERRY_NO_SERVICE);
	/* The same id again, for a service this time. */
	lab_edge_udp(&first);
	outcome = lab_edge_udp(&last);
	assert_redirected(outcome);
}

static void a_first_fragment_without_ports_is_malformed(void **state)
{
	struct frame frame = frame_udp(&first);
	struct outcome outcome;

	(void)state;
	frame_ip(&frame)->tot_len = htons(20 + 4);
	frame.len = ETH_HLEN + 20 + 4;
	outcome = lab_edge(&frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
}

static void fragments_for_a_machine_that_left_are_dropped_by_name(void **state)
{
	struct outcome outcome;

	(void)state;
	lab_edge_udp(&first);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	outcome = lab_edge_udp(&last);
	assert_dropped(outcome, WHERRY_STALE_MACHINE);
}

static void fragments_never_reach_the_next_machine_in_the_same_place(void **state)
{
	const uint32_t primary = lab.machines[1].primary;
	struct outcome outcome;

	(void)state;
	lab_edge_udp(&first);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	lab.machines[1].primary = primary + 2; /* another machine's life at this index */
	lab_machine_set(1);
	lab.machines[1].primary = primary;
	outcome = lab_edge_udp(&last);
	assert_dropped(outcome, WHERRY_STALE_MACHINE);
}

static struct datagram reversed(struct datagram piece, unsigned int n, uint32_t to)
{
	piece.from = lab.machines[n].primary;
	piece.to = to;
	piece.sport = PORT;
	piece.dport = CLIENT_PORT;
	return piece;
}

static void an_answer_in_fragments_leaves_from_the_public_address(void **state)
{
	const struct datagram *const pieces[] = {&first, &middle, &last};

	(void)state;
	lab_client_sends(CLIENT_PORT, PORT);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct datagram piece = reversed(*pieces[i], 1, CLIENT);
		struct outcome outcome = lab_worker_udp(1, &piece);

		assert_redirected(outcome);
		assert_int_equal(frame_from(&outcome.out), PUBLIC);
		assert_int_equal(outcome.traffic[1].tx_packets, 1);
	}
}

static void own_traffic_in_fragments_is_left_alone(void **state)
{
	struct datagram begin = reversed(first, 1, ELSEWHERE), end = reversed(last, 1, ELSEWHERE);
	struct outcome outcome = lab_worker_udp(1, &begin);

	(void)state;
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
	outcome = lab_worker_udp(1, &end);
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
}

static void fragments_pass_from_machine_to_machine(void **state)
{
	struct datagram begin = reversed(first, 1, PUBLIC_C), end = reversed(last, 1, PUBLIC_C);
	struct outcome outcome;

	(void)state;
	begin.dport = PORT_C;
	for (int service = 0; service <= 1; service++) {
		begin.from = end.from = service ? lab.machines[1].service : lab.machines[1].primary;
		begin.id = end.id = (uint16_t)(100 + service);
		outcome = lab_worker_udp(1, &begin);
		assert_redirected(outcome);
		assert_int_equal(lab_receiver(&outcome), 3);
		outcome = lab_worker_udp(1, &end);
		assert_redirected(outcome);
		assert_int_equal(lab_receiver(&outcome), 3);
		assert_int_equal(frame_to(&outcome.out), lab.machines[3].primary);
		assert_int_equal(
			frame_from(&outcome.out), service ? PUBLIC : lab.machines[1].primary);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fragments_after_the_first_follow_it),
		TEST(the_first_fragments_checksum_moves_with_the_address),
		TEST(a_later_fragment_before_the_first_is_dropped_by_name),
		TEST(fragments_of_others_do_not_follow),
		TEST(fragments_for_addresses_of_nobody_are_not_ours),
		TEST(fragments_for_no_service_reach_the_kernel_whole),
		TEST(a_first_fragment_without_ports_is_malformed),
		TEST(fragments_for_a_machine_that_left_are_dropped_by_name),
		TEST(fragments_never_reach_the_next_machine_in_the_same_place),
		TEST(an_answer_in_fragments_leaves_from_the_public_address),
		TEST(own_traffic_in_fragments_is_left_alone),
		TEST(fragments_pass_from_machine_to_machine),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
