/* SPDX-License-Identifier: Apache-2.0 */
/* Off the mesh: what reaches machines and clients, and the way back. */
#include "crossing.h"

/* The answer of machine 1, as it sends it. */
static struct datagram answer(void)
{
	struct datagram datagram = {.from = lab.machines[1].service,
		.to = CLIENT,
		.sport = PORT,
		.dport = CLIENT_PORT,
		.payload_len = 40};

	return datagram;
}

static void a_datagram_from_an_edge_reaches_the_machine(void **state)
{
	const struct frame frame = frame_udp(&hello);
	struct outcome outcome = hello_arrives(EDGE, 1);
	struct frame expected = frame_readdressed(&frame, 0, lab.machines[1].primary);

	(void)state;
	assert_sent(outcome, expected);
	assert_int_equal(lab_receiver(&outcome), 1);
	lab_socket(1, lab.machines[1].service, PORT, 0, 0);
	usleep(20000);
	expected = frame_readdressed(&frame, 0, lab.machines[1].service);
	outcome = hello_arrives(EDGE, 1);
	assert_sent(outcome, expected);
}

static void both_formats_carry_every_payload_length(void **state)
{
	struct datagram datagram = hello;

	(void)state;
	for (size_t len = 0; len <= 1400; len += len < 30 ? 1 : 170) {
		struct frame frame, outer, expected;
		struct outcome outcome;

		datagram.payload_len = len;
		frame = frame_udp(&datagram);
		expected = frame_readdressed(&frame, 0, lab.machines[1].primary);
		outer = frame_minimal(&frame, EDGE, lab.machines[1].service);
		outcome = lab_mesh(&outer);
		assert_sent(outcome, expected);
		outer = frame_ipip(&frame, EDGE, lab.machines[1].service);
		outcome = lab_mesh(&outer);
		assert_sent(outcome, expected);
	}
}

static void ip_options_arrive(void **state)
{
	struct datagram datagram = hello;

	(void)state;
	for (datagram.ihl = 6; datagram.ihl <= 15; datagram.ihl++) {
		const struct frame frame = frame_udp(&datagram);
		const struct frame expected = frame_readdressed(&frame, 0, lab.machines[1].primary);
		struct outcome outcome = arrives(&frame, EDGE, 1);

		assert_sent(outcome, expected);
	}
}

static void fragments_arrive_after_the_first_one(void **state)
{
	struct datagram first = hello, last = hello;
	struct frame frame, expected;
	struct outcome outcome;

	(void)state;
	first.id = last.id = 9;
	first.more_fragments = true;
	last.offset8 = 5;
	last.payload_len = 1;
	frame = frame_udp(&last);
	outcome = arrives(&frame, EDGE, 1);
	assert_dropped(outcome, WHERRY_FRAGMENT_UNKNOWN);
	frame = frame_udp(&first);
	outcome = arrives(&frame, EDGE, 1);
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].primary);
	assert_int_equal(outcome.out.len, frame.len);
	frame = frame_udp(&last);
	expected = frame_readdressed(&frame, 0, lab.machines[1].primary);
	outcome = arrives(&frame, EDGE, 1);
	assert_sent(outcome, expected);
}

static void an_answer_goes_to_the_edge_that_it_came_by(void **state)
{
	struct datagram datagram = answer();
	const struct frame frame = frame_udp(&datagram);
	const struct frame inside = frame_readdressed(&frame, PUBLIC, 0);
	struct frame expected = frame_minimal(&inside, lab.machines[1].service, EDGE);
	struct outcome outcome;

	(void)state;
	hello_arrives(EDGE, 1);
	outcome = lab_worker(1, &frame);
	assert_sent(outcome, expected);
	assert_int_equal(outcome.traffic[1].tx_packets, 1);
	hello_arrives(EDGE_B, 1);
	expected = frame_minimal(&inside, lab.machines[1].service, EDGE_B);
	outcome = lab_worker(1, &frame);
	assert_sent(outcome, expected);
}

/* EDGE_B is the nearest one. */
static void an_answer_goes_to_the_nearest_edge_when_the_first_is_gone(void **state)
{
	const struct fabric_host hosts[] = {{addr_from_v4(htonl(EDGE_B)), true, false, false}};
	struct datagram datagram = answer();
	const struct frame frame = frame_udp(&datagram);
	const struct frame inside = frame_readdressed(&frame, PUBLIC, 0);
	const struct frame expected = frame_minimal(&inside, lab.machines[1].service, EDGE_B);
	struct outcome outcome;

	(void)state;
	hello_arrives(EDGE, 1);
	assert_int_equal(fabric_set_hosts(lab.fabric, hosts, 1, NULL), 0);
	outcome = lab_worker(1, &frame);
	assert_sent(outcome, expected);
}

static void without_an_edge_an_answer_is_dropped(void **state)
{
	struct datagram datagram = answer();
	struct outcome outcome;

	(void)state;
	hello_arrives(EDGE, 1);
	lab_fleet(0);
	assert_int_equal(fabric_set_hosts(lab.fabric, NULL, 0, NULL), 0);
	outcome = lab_worker_udp(1, &datagram);
	assert_dropped(outcome, WHERRY_NO_EDGE);
}

static void every_form_of_an_answer_is_encapsulated(void **state)
{
	struct datagram datagram = answer();
	struct frame frame, inside, expected;
	struct outcome outcome;

	(void)state;
	hello_arrives(EDGE, 1);
	for (datagram.ihl = 6; datagram.ihl <= 15; datagram.ihl++) {
		frame = frame_udp(&datagram);
		inside = frame_readdressed(&frame, PUBLIC, 0);
		expected = frame_ipip(&inside, lab.machines[1].service, EDGE);
		outcome = lab_worker(1, &frame);
		assert_sent(outcome, expected);
	}
	datagram.ihl = 5;
	datagram.no_check = true;
	frame = frame_udp(&datagram);
	inside = frame_readdressed(&frame, PUBLIC, 0);
	expected = frame_minimal(&inside, lab.machines[1].service, EDGE);
	outcome = lab_worker(1, &frame);
	assert_sent(outcome, expected);
}

static void fragments_of_an_answer_follow_the_first_one(void **state)
{
	struct datagram first = answer(), last = answer();
	struct frame frame, inside, expected;
	struct outcome outcome;

	(void)state;
	hello_arrives(EDGE, 1);
	first.id = last.id = 3;
	first.more_fragments = true;
	last.offset8 = 6;
	last.payload_len = 7;
	frame = frame_udp(&first);
	outcome = lab_worker(1, &frame);
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
	assert_int_equal(outcome.out.len, frame.len + 20);
	frame = frame_udp(&last);
	inside = frame_readdressed(&frame, PUBLIC, 0);
	expected = frame_ipip(&inside, lab.machines[1].service, EDGE);
	outcome = lab_worker(1, &frame);
	assert_sent(outcome, expected);
}

/* As the machine sent it: refused or cut, it comes back and is an answer then. */
static void an_answer_too_large_goes_to_the_resizer_as_it_is(void **state)
{
	struct datagram datagram = answer();
	struct outcome outcome;
	struct frame frame, inside, expected;

	(void)state;
	hello_arrives(EDGE, 1);
	datagram.payload_len = MESH_MTU - 12 - 28 + 1;
	frame = frame_udp(&datagram);
	outcome = lab_worker(1, &frame);
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
	assert_int_equal(outcome.counted[WHERRY_RESIZED], 1);
	assert_memory_equal(outcome.out.bytes + 12, frame.bytes + 12, frame.len - 12);
	assert_int_equal(outcome.traffic[1].tx_packets, 0);
	datagram.payload_len = 100;
	frame = frame_udp(&datagram);
	inside = frame_readdressed(&frame, PUBLIC, 0);
	expected = frame_minimal(&inside, lab.machines[1].service, EDGE);
	outcome = lab_run(PROGRAM_RESIZED, lab.pieces_ifindex, &frame);
	assert_sent(outcome, expected);
}

static void what_leaves_the_service_address_unasked_goes_by_the_nearest_edge(void **state)
{
	struct datagram datagram = answer();
	const struct datagram back = {
		.from = ELSEWHERE, .to = PUBLIC, .sport = 53, .dport = 9000, .payload_len = 9};
	struct frame frame, inside, expected;
	struct outcome outcome;

	(void)state;
	datagram.to = ELSEWHERE;
	datagram.sport = 9000;
	datagram.dport = 53;
	frame = frame_udp(&datagram);
	inside = frame_readdressed(&frame, PUBLIC, 0);
	expected = frame_minimal(&inside, lab.machines[1].service, EDGE_B);
	outcome = lab_worker(1, &frame);
	assert_sent(outcome, expected);
	frame = frame_udp(&back);
	expected = frame_readdressed(&frame, 0, lab.machines[1].primary);
	outcome = arrives(&frame, EDGE_B, 1);
	assert_sent(outcome, expected);
}

static void own_traffic_to_a_public_address_elsewhere_is_left_to_nat(void **state)
{
	struct datagram datagram = answer();
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	datagram.from = lab.machines[1].primary;
	datagram.to = PUBLIC;
	datagram.dport = PORT_MANY;
	outcome = lab_worker_udp(1, &datagram);
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
	datagram.to = PUBLIC_C;
	datagram.dport = PORT_C; /* machine 3, here */
	outcome = lab_worker_udp(1, &datagram);
	assert_redirected(outcome);
	assert_int_equal(lab_receiver(&outcome), 3);
}

static void an_icmp_error_inside_reaches_the_machine(void **state)
{
	const struct datagram sent = far_answer();
	const struct frame quoted = frame_udp(&sent);
	const struct frame error = frame_icmp_error(ROUTER, PUBLIC, 3, 4, &quoted, 28);
	struct outcome outcome;

	(void)state;
	hello_arrives(EDGE, 1);
	outcome = arrives(&error, EDGE, 1);
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
	assert_int_equal(outcome.out.len, error.len);
	assert_true(frame_sums_are_right(&outcome.out));
	assert_int_equal(frame_from(&outcome.out), ROUTER);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].primary);
	assert_int_equal(ntohl(frame_quoted(&outcome.out)->saddr), lab.machines[1].primary);
}

static void a_machine_s_icmp_error_goes_to_the_edge(void **state)
{
	struct datagram received = hello;
	struct frame quoted, error, expected;
	struct outcome outcome;

	(void)state;
	hello_arrives(EDGE, 1);
	received.to = lab.machines[1].primary;
	quoted = frame_udp(&received);
	error = frame_icmp_error(lab.machines[1].primary, CLIENT, 3, 3, &quoted, 28);
	quoted = frame_udp(&hello);
	/* The quoted UDP checksum stays that of the machine's address. */
	frame_l4(&quoted)->check = ((struct udp_view *)(frame_quoted(&error) + 1))->check;
	expected = frame_icmp_error(PUBLIC, CLIENT, 3, 3, &quoted, 28);
	expected = frame_minimal(&expected, lab.machines[1].service, EDGE);
	outcome = lab_worker(1, &error);
	assert_sent(outcome, expected);
}

static void the_rest_of_the_mesh_s_traffic_is_the_kernel_s(void **state)
{
	const struct frame probe = frame_ipv4(EDGE, SELF, IPPROTO_ICMP);
	const struct frame ipv6 = frame_ipv6("fdaa::1", "fdaa::2", IPPROTO_UDP);
	struct outcome outcome = lab_mesh(&probe);

	(void)state;
	assert_not_ours(outcome);
	outcome = lab_mesh(&ipv6);
	assert_not_ours(outcome);
	outcome = lab_edge_udp(&hello);
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
}

/* Edges. */

static void an_answer_from_elsewhere_leaves_to_the_client(void **state)
{
	const struct datagram datagram = far_answer();
	const struct frame frame = frame_udp(&datagram);
	const struct frame minimal = frame_minimal(&frame, lab.machines[4].service, SELF);
	const struct frame ipip = frame_ipip(&frame, lab.machines[4].service, SELF);
	struct outcome outcome = lab_mesh(&minimal);

	(void)state;
	assert_sent(outcome, frame);
	assert_int_equal(outcome.traffic[4].tx_packets, 1);
	assert_int_equal(outcome.traffic[4].tx_bytes, 20 + 8 + 40);
	outcome = lab_mesh(&ipip);
	assert_sent(outcome, frame);
}

static void an_answer_to_a_program_of_the_host_is_left_to_it(void **state)
{
	struct datagram datagram = far_answer();
	struct frame frame, outer;
	struct outcome outcome;

	(void)state;
	datagram.to = HOST;
	frame = frame_udp(&datagram);
	outer = frame_minimal(&frame, lab.machines[4].service, SELF);
	outcome = lab_mesh(&outer);
	assert_int_equal(outcome.verdict, TCX_NEXT);
	assert_int_equal(outcome.counted[WHERRY_TO_HOST], 1);
	assert_int_equal(outcome.out.len, frame.len);
	assert_memory_equal(outcome.out.bytes, frame.bytes, frame.len);
}

static void a_machine_of_an_edge_talks_to_one_elsewhere(void **state)
{
	struct datagram datagram = {.from = lab.machines[1].primary,
		.to = PUBLIC,
		.sport = 3000,
		.dport = PORT_MANY,
		.payload_len = 8};
	struct frame frame = frame_udp(&datagram), expected, outer;
	struct outcome outcome = lab_worker(1, &frame);

	(void)state;
	expected = frame_minimal(&frame, SELF, lab.machines[4].service);
	assert_sent(outcome, expected);
	datagram = far_answer();
	datagram.to = lab.machines[1].primary;
	frame = frame_udp(&datagram);
	outer = frame_minimal(&frame, lab.machines[4].service, SELF);
	outcome = lab_mesh(&outer);
	assert_sent(outcome, frame);
	assert_int_equal(lab_receiver(&outcome), 1);
}

/* What machine 4 sent first, from a port that no service has. */
static void what_a_machine_elsewhere_sent_first_is_answered(void **state)
{
	const struct datagram out = {
		.from = PUBLIC, .to = ELSEWHERE, .sport = 9000, .dport = 53, .payload_len = 8};
	const struct datagram back = {
		.from = ELSEWHERE, .to = PUBLIC, .sport = 53, .dport = 9000, .payload_len = 9};
	struct frame frame = frame_udp(&out), expected;
	struct frame outer = frame_minimal(&frame, lab.machines[4].service, SELF);
	struct outcome outcome = lab_edge_udp(&back);

	(void)state;
	assert_left(outcome, WHERRY_NO_SERVICE);
	outcome = lab_mesh(&outer);
	assert_sent(outcome, frame);
	frame = frame_udp(&back);
	expected = frame_minimal(&frame, SELF, lab.machines[4].service);
	outcome = lab_edge(&frame);
	assert_sent(outcome, expected);
}

/* From a port whose service is machine 1's. */
static void what_was_sent_first_from_another_s_port_is_answered_to_its_sender(void **state)
{
	const struct datagram out = {
		.from = PUBLIC, .to = ELSEWHERE, .sport = PORT, .dport = 53, .payload_len = 8};
	const struct datagram back = {
		.from = ELSEWHERE, .to = PUBLIC, .sport = 53, .dport = PORT, .payload_len = 9};
	struct frame frame = frame_udp(&out);
	const struct frame outer = frame_minimal(&frame, lab.machines[4].service, SELF);
	struct outcome outcome = lab_mesh(&outer);

	(void)state;
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
	for (int i = 0; i < 2; i++) {
		outcome = lab_edge_udp(&back);
		assert_int_equal(lab_receiver(&outcome), 4);
		outcome = lab_edge_udp(&hello);
		assert_int_equal(lab_receiver(&outcome), 1);
		/* A change of the service does not forget it. */
		assert_int_equal(lab_apply(1U << 4 | 1U << 5), 0);
	}
}

#define WORKER_TEST(name) cmocka_unit_test_setup(name, a_worker)
#define EDGE_TEST(name)	  cmocka_unit_test_setup(name, an_edge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORKER_TEST(a_datagram_from_an_edge_reaches_the_machine),
		WORKER_TEST(both_formats_carry_every_payload_length),
		WORKER_TEST(ip_options_arrive),
		WORKER_TEST(fragments_arrive_after_the_first_one),
		WORKER_TEST(an_answer_goes_to_the_edge_that_it_came_by),
		WORKER_TEST(an_answer_goes_to_the_nearest_edge_when_the_first_is_gone),
		WORKER_TEST(without_an_edge_an_answer_is_dropped),
		WORKER_TEST(every_form_of_an_answer_is_encapsulated),
		WORKER_TEST(fragments_of_an_answer_follow_the_first_one),
		WORKER_TEST(an_answer_too_large_goes_to_the_resizer_as_it_is),
		WORKER_TEST(what_leaves_the_service_address_unasked_goes_by_the_nearest_edge),
		WORKER_TEST(own_traffic_to_a_public_address_elsewhere_is_left_to_nat),
		WORKER_TEST(an_icmp_error_inside_reaches_the_machine),
		WORKER_TEST(a_machine_s_icmp_error_goes_to_the_edge),
		WORKER_TEST(the_rest_of_the_mesh_s_traffic_is_the_kernel_s),
		EDGE_TEST(an_answer_from_elsewhere_leaves_to_the_client),
		EDGE_TEST(an_answer_to_a_program_of_the_host_is_left_to_it),
		EDGE_TEST(a_machine_of_an_edge_talks_to_one_elsewhere),
		EDGE_TEST(what_a_machine_elsewhere_sent_first_is_answered),
		EDGE_TEST(what_was_sent_first_from_another_s_port_is_answered_to_its_sender),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
