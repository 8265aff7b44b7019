/* SPDX-License-Identifier: Apache-2.0 */
/* wherry_edge: what comes from clients reaches the machine, with the right bytes. */
#include "harness.h"

static const struct datagram hello = {
	.from = CLIENT, .to = PUBLIC, .sport = 40000, .dport = PORT, .payload_len = 32};

/* All that may differ between what came in and what the machine gets. */
static void assert_only_destination_changed(const struct outcome *outcome, uint32_t to)
{
	struct frame expected = outcome->in;

	frame_ip(&expected)->daddr = htonl(to);
	frame_fix_ip(&expected);
	assert_int_equal(frame_to(&outcome->out), to);
	if (frame_ip(&expected)->protocol == IPPROTO_UDP)
		frame_l4(&expected)->check = frame_l4(&outcome->out)->check;
	assert_memory_equal(outcome->out.bytes, expected.bytes, expected.len);
}

static void a_datagram_for_a_service_goes_to_its_machine(void **state)
{
	struct outcome outcome = lab_edge_udp(&hello);

	(void)state;
	assert_redirected(outcome);
	assert_only_destination_changed(&outcome, lab.machines[1].primary);
	assert_int_equal(lab_receiver(&outcome), 1);
	assert_int_equal(outcome.traffic[1].rx_bytes, outcome.in.len - ETH_HLEN);
	assert_int_equal(outcome.traffic[1].tx_packets, 0);
}

static void a_port_without_service_is_left_to_the_kernel(void **state)
{
	struct outcome outcome = lab_client_sends(40000, PORT_FREE);

	(void)state;
	assert_left(outcome, WHERRY_NO_SERVICE);
}

static void a_group_without_machines_is_left_to_the_kernel(void **state)
{
	struct outcome outcome = lab_client_sends(40000, PORT_NONE);

	(void)state;
	assert_left(outcome, WHERRY_NO_MACHINE);
}

static void addresses_of_nobody_are_not_ours(void **state)
{
	struct datagram datagram = hello;
	struct outcome outcome;

	(void)state;
	datagram.to = HOST;
	outcome = lab_edge_udp(&datagram);
	assert_not_ours(outcome);
	datagram.to = PUBLIC_UNUSED;
	outcome = lab_edge_udp(&datagram);
	assert_left(outcome, WHERRY_NO_SERVICE);
}

static void other_protocols_are_not_ours(void **state)
{
	struct frame tcp = frame_ipv4(CLIENT, PUBLIC, IPPROTO_TCP);
	struct frame echo = frame_ipv4(CLIENT, PUBLIC, IPPROTO_ICMP); /* type 0 */
	struct frame ipv6 = frame_ipv6("2001:db8:100::10", "2001:db8:ff::5", IPPROTO_UDP);
	struct outcome outcome = lab_edge(&tcp);

	(void)state;
	assert_not_ours(outcome);
	outcome = lab_edge(&echo);
	assert_not_ours(outcome);
	outcome = lab_edge(&ipv6);
	assert_not_ours(outcome);
}

static void every_payload_length_passes_with_right_checksums(void **state)
{
	struct datagram datagram = hello;

	(void)state;
	for (size_t len = 0; len <= 1472; len += len < 40 ? 1 : 179) {
		struct outcome outcome;

		datagram.payload_len = len;
		outcome = lab_edge_udp(&datagram);
		assert_redirected(outcome);
		assert_only_destination_changed(&outcome, lab.machines[1].primary);
	}
}

static void a_udp_checksum_of_zero_stays_zero(void **state)
{
	struct datagram datagram = hello;
	struct outcome outcome;

	(void)state;
	datagram.no_check = true;
	outcome = lab_edge_udp(&datagram);
	assert_redirected(outcome);
	assert_int_equal(frame_l4(&outcome.out)->check, 0);
}

/* RFC 768: a sum that comes out as zero is sent as all ones, for zero means that there is none. */
static void a_udp_checksum_never_becomes_zero(void **state)
{
	struct datagram datagram = hello;
	bool seen = false;

	(void)state;
	datagram.payload_len = 2;
	for (uint32_t sport = 1; sport <= 0xffff && !seen; sport++) {
		struct frame frame;
		struct outcome outcome;

		/* Only the port whose sum is the difference of the addresses matters. */
		datagram.sport = (uint16_t)sport;
		datagram.to = lab.machines[1].primary;
		frame = frame_udp(&datagram);
		if (frame_l4(&frame)->check != 0xffff)
			continue;
		datagram.to = PUBLIC;
		outcome = lab_edge_udp(&datagram);
		assert_redirected(outcome);
		assert_int_equal(frame_l4(&outcome.out)->check, 0xffff);
		seen = true;
	}
	assert_true(seen);
}

static void ip_options_of_any_length_pass(void **state)
{
	struct datagram datagram = hello;

	(void)state;
	for (datagram.ihl = 6; datagram.ihl <= 15; datagram.ihl++) {
		struct outcome outcome = lab_edge_udp(&datagram);

		assert_redirected(outcome);
		assert_only_destination_changed(&outcome, lab.machines[1].primary);
	}
}

static void a_large_receive_offload_passes_whole(void **state)
{
	struct datagram datagram = hello;
	struct outcome outcome;
	struct frame frame;

	(void)state;
	datagram.payload_len = 1400;
	frame = frame_udp(&datagram);
	outcome = lab_run_gso(PROGRAM_EDGE, lab.up_ifindex, &frame, 200);
	assert_redirected(outcome);
	assert_only_destination_changed(&outcome, lab.machines[1].primary);
}

static void padding_of_short_frames_is_kept_and_harmless(void **state)
{
	struct datagram datagram = hello;
	struct outcome outcome;
	struct frame frame;

	(void)state;
	datagram.payload_len = 1;
	frame = frame_udp(&datagram);
	frame.len = 60;
	outcome = lab_edge(&frame);
	assert_redirected(outcome);
	assert_only_destination_changed(&outcome, lab.machines[1].primary);
}

static void the_service_address_is_used_where_a_socket_is_bound_to_it(void **state)
{
	struct outcome outcome;

	(void)state;
	lab_socket(1, lab.machines[1].service, PORT, 0, 0);
	outcome = lab_client_sends(40001, PORT);
	assert_redirected(outcome);
	assert_only_destination_changed(&outcome, lab.machines[1].service);
}

static void the_primary_address_is_used_for_wildcard_sockets(void **state)
{
	struct outcome outcome;

	(void)state;
	lab_socket(1, 0, PORT, 0, 0);
	outcome = lab_client_sends(40001, PORT);
	assert_redirected(outcome);
	assert_only_destination_changed(&outcome, lab.machines[1].primary);
}

/* iperf3's server: a wildcard socket that connects gets the primary address as its own. */
static void a_wildcard_socket_that_connected_is_reached(void **state)
{
	struct outcome outcome;

	(void)state;
	lab_socket(1, 0, PORT, CLIENT, 40001);
	outcome = lab_client_sends(40001, PORT);
	assert_redirected(outcome);
	assert_only_destination_changed(&outcome, lab.machines[1].primary);
}

static void a_connected_socket_on_the_service_address_is_reached_by_its_client(void **state)
{
	struct outcome outcome;

	(void)state;
	lab_socket(1, lab.machines[1].service, PORT, CLIENT, 40001);
	outcome = lab_client_sends(40001, PORT);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].service);
	outcome = lab_client_sends(40002, PORT);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].primary);
}

static void a_new_binding_is_seen_within_a_few_milliseconds(void **state)
{
	struct outcome outcome = lab_client_sends(40001, PORT);

	(void)state;
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].primary);
	lab_socket(1, lab.machines[1].service, PORT, 0, 0);
	usleep(20000);
	outcome = lab_client_sends(40001, PORT);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].service);
}

/* What comes by the loopback device has a route of the host on it and goes through the veth. */
static void a_program_of_the_host_is_sent_through_the_veth(void **state)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2, 1};
	const struct frame frame = frame_udp(&hello);
	struct outcome outcome = lab_run(PROGRAM_EDGE, 1, &frame);

	(void)state;
	assert_redirected(outcome);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].primary);
	assert_memory_equal(outcome.out.bytes, macs, sizeof(macs));
}

static void contradictory_headers_are_dropped_as_malformed(void **state)
{
	struct frame good = frame_udp(&hello), frame = good;
	struct outcome outcome;

	(void)state;
	frame_ip(&frame)->ihl = 4;
	outcome = lab_edge(&frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
	frame = good;
	frame_ip(&frame)->version = 5;
	outcome = lab_edge(&frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
	frame = good;
	frame_ip(&frame)->tot_len = htons((uint16_t)(good.len - ETH_HLEN + 1));
	outcome = lab_edge(&frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
	frame = good;
	frame_ip(&frame)->tot_len = htons(27); /* a byte less than the UDP header needs */
	outcome = lab_edge(&frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
	frame = good;
	frame_ip(&frame)->ihl = 14; /* the UDP header begins after the end */
	outcome = lab_edge(&frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
}

static void malformed_packets_for_others_are_not_ours_to_judge(void **state)
{
	struct datagram datagram = hello;
	struct frame frame;
	struct outcome outcome;

	(void)state;
	datagram.to = HOST;
	frame = frame_udp(&datagram);
	frame_ip(&frame)->tot_len = htons(2000);
	outcome = lab_edge(&frame);
	assert_not_ours(outcome);
}

static void a_datagram_cut_anywhere_is_dropped(void **state)
{
	const struct frame whole = frame_udp(&hello);

	(void)state;
	/* Less than an IP header is refused by the test run itself. */
	for (size_t len = ETH_HLEN + sizeof(struct ip_view); len < whole.len; len++) {
		struct frame frame = whole;
		struct outcome outcome;

		frame.len = len;
		outcome = lab_edge(&frame);
		assert_dropped(outcome, WHERRY_MALFORMED);
	}
}

/* One of these would keep two apps that echo, or one and itself, busy for ever. */
static void a_source_that_cannot_be_outside_is_a_martian(void **state)
{
	const uint32_t martians[] = {HOST, PUBLIC, PUBLIC_UNUSED, IP4(127, 0, 0, 1),
		IP4(224, 0, 0, 1), IP4(0, 0, 0, 0), IP4(255, 255, 255, 255),
		lab.machines[1].primary, lab.machines[2].service};

	(void)state;
	for (size_t i = 0; i < sizeof(martians) / sizeof(martians[0]); i++) {
		const struct datagram datagram = {
			.from = martians[i], .to = PUBLIC, .sport = PORT, .dport = PORT};
		struct outcome outcome = lab_edge_udp(&datagram);

		assert_dropped(outcome, WHERRY_MARTIAN_SOURCE);
		outcome = lab_edge_udp(&datagram); /* and no flow was learned */
		assert_dropped(outcome, WHERRY_MARTIAN_SOURCE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_source_that_cannot_be_outside_is_a_martian),
		TEST(a_datagram_for_a_service_goes_to_its_machine),
		TEST(a_port_without_service_is_left_to_the_kernel),
		TEST(a_group_without_machines_is_left_to_the_kernel),
		TEST(addresses_of_nobody_are_not_ours),
		TEST(other_protocols_are_not_ours),
		TEST(every_payload_length_passes_with_right_checksums),
		TEST(a_udp_checksum_of_zero_stays_zero),
		TEST(a_udp_checksum_never_becomes_zero),
		TEST(ip_options_of_any_length_pass),
		TEST(a_large_receive_offload_passes_whole),
		TEST(padding_of_short_frames_is_kept_and_harmless),
		TEST(the_service_address_is_used_where_a_socket_is_bound_to_it),
		TEST(the_primary_address_is_used_for_wildcard_sockets),
		TEST(a_wildcard_socket_that_connected_is_reached),
		TEST(a_connected_socket_on_the_service_address_is_reached_by_its_client),
		TEST(a_new_binding_is_seen_within_a_few_milliseconds),
		TEST(a_program_of_the_host_is_sent_through_the_veth),
		TEST(contradictory_headers_are_dropped_as_malformed),
		TEST(malformed_packets_for_others_are_not_ours_to_judge),
		TEST(a_datagram_cut_anywhere_is_dropped),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
