/* SPDX-License-Identifier: Apache-2.0 */
/* Onto the mesh: what goes to machines elsewhere and to edges is encapsulated, to the byte. */
#include "harness.h"

#include <bpf/bpf.h>

#define CLIENT_PORT 40000

static const struct datagram hello = {
	.from = CLIENT, .to = PUBLIC, .sport = CLIENT_PORT, .dport = PORT_MANY, .payload_len = 32};

/* This host is an edge; PORT_MANY is served by machine 4 alone. */
static int an_edge(void **state)
{
	int r = lab_reset(state);

	lab_fleet(0);
	return r < 0 ? r : lab_apply(1U << 4);
}

static void a_datagram_for_a_machine_elsewhere_is_encapsulated(void **state)
{
	const struct frame frame = frame_udp(&hello);
	const struct frame expected = frame_minimal(&frame, SELF, lab.machines[4].service);
	struct outcome outcome = lab_edge(&frame);

	(void)state;
	assert_sent(outcome, expected);
	assert_int_equal(lab_receiver(&outcome), 4);
	assert_int_equal(outcome.traffic[4].rx_bytes, 20 + 8 + 32);
}

static void every_payload_length_is_encapsulated(void **state)
{
	struct datagram datagram = hello;

	(void)state;
	for (size_t len = 0; len <= 1400; len += len < 40 ? 1 : 170) {
		struct frame frame, expected;
		struct outcome outcome;

		datagram.payload_len = len;
		frame = frame_udp(&datagram);
		expected = frame_minimal(&frame, SELF, lab.machines[4].service);
		outcome = lab_edge(&frame);
		assert_sent(outcome, expected);
	}
}

static void padding_of_short_frames_is_left_out(void **state)
{
	struct datagram datagram = hello;
	struct frame frame, expected;
	struct outcome outcome;

	(void)state;
	datagram.payload_len = 1;
	frame = frame_udp(&datagram);
	expected = frame_minimal(&frame, SELF, lab.machines[4].service);
	frame.len = 60;
	outcome = lab_edge(&frame);
	assert_sent(outcome, expected);
}

static void ip_options_are_encapsulated_by_ip_in_ip(void **state)
{
	struct datagram datagram = hello;

	(void)state;
	for (datagram.ihl = 6; datagram.ihl <= 15; datagram.ihl++) {
		const struct frame frame = frame_udp(&datagram);
		const struct frame expected = frame_ipip(&frame, SELF, lab.machines[4].service);
		struct outcome outcome = lab_edge(&frame);

		assert_sent(outcome, expected);
	}
}

static void the_field_of_service_class_is_on_the_outside_too(void **state)
{
	struct datagram datagram = hello;
	struct frame frame, expected;
	struct outcome outcome;

	(void)state;
	for (datagram.ihl = 5; datagram.ihl <= 6; datagram.ihl++) {
		frame = frame_udp(&datagram);
		frame_ip(&frame)->tos = 0xb9; /* EF, ECT(1) */
		frame_fix_ip(&frame);
		expected = datagram.ihl == 5 ? frame_minimal(&frame, SELF, lab.machines[4].service)
					     : frame_ipip(&frame, SELF, lab.machines[4].service);
		assert_int_equal(frame_ip(&expected)->tos, 0xb9);
		outcome = lab_edge(&frame);
		assert_sent(outcome, expected);
	}
}

static void fragments_follow_the_first_one(void **state)
{
	struct datagram first = hello, last = hello;
	struct frame frame, expected;
	struct outcome outcome;

	(void)state;
	first.id = last.id = 77;
	first.more_fragments = true;
	last.offset8 = 5;
	last.payload_len = 3;
	frame = frame_udp(&last);
	outcome = lab_edge(&frame);
	assert_dropped(outcome, WHERRY_FRAGMENT_UNKNOWN);
	frame = frame_udp(&first);
	expected = frame_ipip(&frame, SELF, lab.machines[4].service);
	outcome = lab_edge(&frame);
	assert_sent(outcome, expected);
	frame = frame_udp(&last);
	expected = frame_ipip(&frame, SELF, lab.machines[4].service);
	outcome = lab_edge(&frame);
	assert_sent(outcome, expected);
}

static void an_icmp_error_follows_the_packet_it_quotes(void **state)
{
	const struct datagram answer = {.from = PUBLIC,
		.to = CLIENT,
		.sport = PORT_MANY,
		.dport = CLIENT_PORT,
		.payload_len = 20};
	const struct frame quoted = frame_udp(&answer);
	const struct frame error = frame_icmp_error(ROUTER, PUBLIC, 3, 4, &quoted, 28);
	const struct frame expected = frame_minimal(&error, SELF, lab.machines[4].service);
	struct outcome outcome = lab_edge(&error);

	(void)state;
	assert_sent(outcome, expected);
}

static void an_edge_keeps_no_flow_of_machines_elsewhere(void **state)
{
	uint8_t key[sizeof(struct wherry_flow_key)];
	struct outcome outcome = lab_edge_udp(&hello);

	(void)state;
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
	assert_int_not_equal(bpf_map_get_next_key(lab.flows, NULL, key), 0);
}

static void sources_that_are_nobody_s_are_not_sent_over_the_mesh(void **state)
{
	const uint32_t sources[] = {0, IP4(127, 0, 0, 1), IP4(224, 0, 0, 1), 0xffffffff, HOST,
		PUBLIC, PUBLIC_UNUSED, lab.machines[1].primary, lab.machines[1].service,
		lab.machines[4].primary, lab.machines[5].service};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct datagram datagram = hello;
		struct outcome outcome;

		datagram.from = sources[i];
		for (int twice = 0; twice < 2; twice++) {
			outcome = lab_edge_udp(&datagram);
			assert_dropped(outcome, WHERRY_MARTIAN_SOURCE);
		}
	}
}

static void with_affinity_to_clients_all_ports_lead_to_one_machine(void **state)
{
	const char *const machines[] = {
		lab.machines[1].id, lab.machines[2].id, lab.machines[4].id, lab.machines[5].id};
	const struct fabric_group group = {"lab/new", machines, ARRAY_LEN(machines)};
	const struct addr public = addr_from_v4(htonl(PUBLIC));
	struct fabric_service services[] = {{public, PROTOCOL_UDP, {100, 100}, 0, true},
		{public, PROTOCOL_UDP, {200, 200}, 0, true},
		{public, PROTOCOL_UDP, {300, 300}, 0, false}};
	const struct fabric_address addr = {public, "lab"};
	unsigned int seen_by_client = 0, seen = 0;

	(void)state;
	assert_int_equal(fabric_apply(lab.fabric, &group, 1, services, 3, &addr, 1, NULL), 0);
	for (uint32_t client = 0; client < 50; client++) {
		unsigned int chosen = 0;

		for (uint16_t i = 0; i < 6; i++) {
			struct datagram datagram = hello;
			struct outcome outcome;

			datagram.from = CLIENT + client;
			datagram.sport = 5000 + i * 77;
			datagram.dport = i & 1 ? 100 : 200;
			outcome = lab_edge_udp(&datagram);
			assert_int_not_equal(lab_receiver(&outcome), 0);
			assert_true(!chosen || lab_receiver(&outcome) == chosen);
			chosen = lab_receiver(&outcome);
			datagram.dport = 300;
			outcome = lab_edge_udp(&datagram);
			seen |= 1U << lab_receiver(&outcome);
		}
		seen_by_client |= 1U << chosen;
	}
	assert_int_equal(seen_by_client, 0x36);
	assert_int_equal(seen, 0x36);
}

/* The frame that goes to the resizer: as it came, but for the Ethernet addresses. */
static struct frame for_resizer(const struct frame *frame)
{
	static const uint8_t mac[6] = RESIZER_MAC;
	struct frame expected = *frame;

	memcpy(expected.bytes, mac, sizeof(mac));
	memcpy(expected.bytes + 6, mac, sizeof(mac));
	return expected;
}

static void what_is_too_large_goes_to_the_resizer_as_it_is(void **state)
{
	struct datagram datagram = hello;
	struct frame frame, expected;
	struct outcome outcome;

	(void)state;
	datagram.payload_len = MESH_MTU - 12 - 28;
	frame = frame_udp(&datagram);
	expected = frame_minimal(&frame, SELF, lab.machines[4].service);
	outcome = lab_edge(&frame);
	assert_sent(outcome, expected);
	datagram.payload_len++;
	frame = frame_udp(&datagram);
	expected = for_resizer(&frame);
	outcome = lab_edge(&frame);
	assert_sent_as(outcome, expected, WHERRY_RESIZED);
	assert_int_equal(lab_receiver(&outcome), 0);
	frame_ip(&frame)->frag_off = htons(0x4000);
	frame_fix_ip(&frame);
	expected = for_resizer(&frame);
	outcome = lab_edge(&frame);
	assert_sent_as(outcome, expected, WHERRY_RESIZED);
	/* A fragment has 8 bytes less. */
	datagram.payload_len = MESH_MTU - 20 - 28;
	datagram.more_fragments = true;
	frame = frame_udp(&datagram);
	expected = frame_ipip(&frame, SELF, lab.machines[4].service);
	outcome = lab_edge(&frame);
	assert_sent(outcome, expected);
	datagram.payload_len++;
	frame = frame_udp(&datagram);
	expected = for_resizer(&frame);
	outcome = lab_edge(&frame);
	assert_sent_as(outcome, expected, WHERRY_RESIZED);
}

/* Test runs have GSO packets of no type, which the kernel refuses to encapsulate. */
static void the_size_of_a_segment_decides_and_not_that_of_all(void **state)
{
	struct datagram datagram = hello;
	struct frame frame, expected;
	struct outcome outcome;

	(void)state;
	datagram.payload_len = 1900;
	frame = frame_udp(&datagram);
	outcome = lab_run_gso(PROGRAM_EDGE, lab.up_ifindex, &frame, MESH_MTU - 20 - 28);
	assert_dropped(outcome, WHERRY_REWRITE_FAILED);
	expected = for_resizer(&frame);
	outcome = lab_run_gso(PROGRAM_EDGE, lab.up_ifindex, &frame, MESH_MTU - 20 - 28 + 1);
	assert_sent_as(outcome, expected, WHERRY_RESIZED);
}

static void without_a_resizer_what_is_too_large_is_dropped(void **state)
{
	const struct fabric_mesh mesh = {.ifindex = lab.mesh_ifindex,
		.addr = addr_from_v4(htonl(SELF)),
		.mtu_bytes = MESH_MTU};
	struct datagram datagram = hello;
	struct outcome outcome;

	(void)state;
	assert_int_equal(fabric_set_mesh(lab.fabric, &mesh, NULL), 0);
	datagram.payload_len = 1450;
	outcome = lab_edge_udp(&datagram);
	assert_dropped(outcome, WHERRY_TOO_BIG);
}

static void what_comes_back_and_is_still_too_large_is_dropped(void **state)
{
	struct datagram datagram = hello;
	struct frame frame;
	struct outcome outcome;

	(void)state;
	datagram.payload_len = 1450;
	frame = frame_udp(&datagram);
	outcome = lab_run(PROGRAM_RESIZED, lab.pieces_ifindex, &frame);
	assert_dropped(outcome, WHERRY_TOO_BIG);
}

static void pieces_from_the_resizer_go_on_to_the_machine(void **state)
{
	struct datagram first = hello, last = hello;
	struct frame frame, expected;
	struct outcome outcome;

	(void)state;
	first.id = last.id = 5;
	first.more_fragments = true;
	first.payload_len = 1400 - 28;
	last.offset8 = 1380 / 8;
	last.payload_len = 80;
	frame = frame_udp(&first);
	expected = frame_ipip(&frame, SELF, lab.machines[4].service);
	outcome = lab_run(PROGRAM_RESIZED, lab.pieces_ifindex, &frame);
	assert_sent(outcome, expected);
	frame = frame_udp(&last);
	expected = frame_ipip(&frame, SELF, lab.machines[4].service);
	outcome = lab_run(PROGRAM_RESIZED, lab.pieces_ifindex, &frame);
	assert_sent(outcome, expected);
}

static void a_refusal_reaches_the_client_as_from_the_public_address(void **state)
{
	struct datagram datagram = hello;
	struct frame quoted, error, expected;
	struct outcome outcome;

	(void)state;
	datagram.payload_len = 1450;
	quoted = frame_udp(&datagram);
	error = frame_icmp_error(RESIZER, CLIENT, 3, 4, &quoted, 548);
	expected = frame_readdressed(&error, PUBLIC, 0);
	outcome = lab_run(PROGRAM_RESIZED, lab.whole_ifindex, &error);
	assert_sent(outcome, expected);
}

static void a_refusal_reaches_the_machine_that_sent(void **state)
{
	struct datagram datagram = {.from = lab.machines[1].service,
		.to = CLIENT,
		.sport = PORT,
		.dport = CLIENT_PORT,
		.payload_len = 1450};
	const struct frame quoted = frame_udp(&datagram);
	const struct frame error =
		frame_icmp_error(RESIZER, lab.machines[1].service, 3, 4, &quoted, 548);
	struct outcome outcome = lab_run(PROGRAM_RESIZED, lab.whole_ifindex, &error);

	(void)state;
	assert_sent(outcome, error);
	assert_int_equal(lab_receiver(&outcome), 1);
}

#define EDGE_TEST(name) cmocka_unit_test_setup(name, an_edge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EDGE_TEST(a_datagram_for_a_machine_elsewhere_is_encapsulated),
		EDGE_TEST(every_payload_length_is_encapsulated),
		EDGE_TEST(padding_of_short_frames_is_left_out),
		EDGE_TEST(ip_options_are_encapsulated_by_ip_in_ip),
		EDGE_TEST(the_field_of_service_class_is_on_the_outside_too),
		EDGE_TEST(fragments_follow_the_first_one),
		EDGE_TEST(an_icmp_error_follows_the_packet_it_quotes),
		EDGE_TEST(an_edge_keeps_no_flow_of_machines_elsewhere),
		EDGE_TEST(sources_that_are_nobody_s_are_not_sent_over_the_mesh),
		EDGE_TEST(with_affinity_to_clients_all_ports_lead_to_one_machine),
		EDGE_TEST(what_is_too_large_goes_to_the_resizer_as_it_is),
		EDGE_TEST(the_size_of_a_segment_decides_and_not_that_of_all),
		EDGE_TEST(without_a_resizer_what_is_too_large_is_dropped),
		EDGE_TEST(what_comes_back_and_is_still_too_large_is_dropped),
		EDGE_TEST(pieces_from_the_resizer_go_on_to_the_machine),
		EDGE_TEST(a_refusal_reaches_the_client_as_from_the_public_address),
		EDGE_TEST(a_refusal_reaches_the_machine_that_sent),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
