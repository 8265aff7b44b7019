/* SPDX-License-Identifier: Apache-2.0 */
/* wherry_worker: what machines send leaves from the right address, or not at all. */
#include "harness.h"

#define CLIENT_PORT 40000

static struct datagram from_machine(unsigned int n, uint32_t to, uint16_t sport, uint16_t dport)
{
	struct datagram datagram = {
		.from = lab.machines[n].primary,
		.to = to,
		.sport = sport,
		.dport = dport,
		.payload_len = 24,
	};

	return datagram;
}

static struct datagram answer(uint32_t from)
{
	struct datagram datagram = from_machine(1, CLIENT, PORT, CLIENT_PORT);

	datagram.from = from;
	return datagram;
}

static void assert_leaves_from(const struct outcome *outcome, unsigned int n, uint32_t from)
{
	struct frame expected = outcome->in;

	assert_redirected(*outcome);
	frame_ip(&expected)->saddr = htonl(from);
	frame_fix_ip(&expected);
	if (!(frame_ip(&expected)->frag_off & htons(0x1fff)))
		frame_l4(&expected)->check = frame_l4(&outcome->out)->check;
	assert_memory_equal(outcome->out.bytes, expected.bytes, expected.len);
	assert_int_equal(outcome->traffic[n].tx_packets, 1);
	assert_int_equal(outcome->traffic[n].tx_bytes, outcome->in.len - ETH_HLEN);
}

static void an_answer_leaves_from_the_public_address(void **state)
{
	struct datagram from_primary = answer(lab.machines[1].primary);
	struct datagram from_service = answer(lab.machines[1].service);
	struct outcome outcome;

	(void)state;
	lab_client_sends(CLIENT_PORT, PORT);
	outcome = lab_worker_udp(1, &from_primary);
	assert_leaves_from(&outcome, 1, PUBLIC);
	outcome = lab_worker_udp(1, &from_service);
	assert_leaves_from(&outcome, 1, PUBLIC);
}

static void an_answer_leaves_from_the_address_that_was_asked(void **state)
{
	const struct datagram ask = {
		.from = CLIENT, .to = PUBLIC_C, .sport = CLIENT_PORT, .dport = PORT_C};
	struct datagram datagram = from_machine(3, CLIENT, PORT_C, CLIENT_PORT);
	struct outcome outcome;

	(void)state;
	lab_edge_udp(&ask);
	outcome = lab_worker_udp(3, &datagram);
	assert_leaves_from(&outcome, 3, PUBLIC_C);
}

static void every_form_of_an_answer_keeps_right_checksums(void **state)
{
	struct datagram datagram = answer(lab.machines[1].primary);
	struct outcome outcome;
	struct frame frame;

	(void)state;
	lab_client_sends(CLIENT_PORT, PORT);
	for (size_t len = 0; len <= 1472; len += len < 20 ? 1 : 363) {
		datagram.payload_len = len;
		outcome = lab_worker_udp(1, &datagram);
		assert_leaves_from(&outcome, 1, PUBLIC);
	}
	for (datagram.ihl = 6; datagram.ihl <= 15; datagram.ihl++) {
		datagram.payload_len = 100;
		outcome = lab_worker_udp(1, &datagram);
		assert_leaves_from(&outcome, 1, PUBLIC);
	}
	datagram.ihl = 5;
	datagram.payload_len = 1200;
	frame = frame_udp(&datagram);
	outcome = lab_run_gso(PROGRAM_WORKER, lab.machines[1].ifindex, &frame, 300);
	assert_leaves_from(&outcome, 1, PUBLIC);
	datagram.no_check = true;
	outcome = lab_worker_udp(1, &datagram);
	assert_leaves_from(&outcome, 1, PUBLIC);
	assert_int_equal(frame_l4(&outcome.out)->check, 0);
}

static void own_traffic_of_the_primary_address_is_left_alone(void **state)
{
	struct datagram query = from_machine(1, ELSEWHERE, 33000, 53);
	struct frame tcp = frame_ipv4(lab.machines[1].primary, ELSEWHERE, IPPROTO_TCP);
	struct frame echo = frame_ipv4(lab.machines[1].primary, ELSEWHERE, IPPROTO_ICMP);
	struct outcome outcome = lab_worker_udp(1, &query);

	(void)state;
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
	assert_int_equal(outcome.traffic[1].tx_packets, 0);
	outcome = lab_worker(1, &tcp);
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
	outcome = lab_worker(1, &echo);
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
}

static void a_flow_of_another_port_makes_no_answer(void **state)
{
	struct datagram datagram = answer(lab.machines[1].primary);
	struct outcome outcome;

	(void)state;
	lab_client_sends(CLIENT_PORT, PORT);
	datagram.dport++;
	outcome = lab_worker_udp(1, &datagram);
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
}

static void what_leaves_the_service_address_unasked_is_answered(void **state)
{
	struct datagram datagram = from_machine(1, ELSEWHERE, 9000, 53);
	const struct datagram back = {
		.from = ELSEWHERE, .to = PUBLIC, .sport = 53, .dport = 9000, .payload_len = 9};
	struct datagram stranger = back;
	struct outcome outcome;

	(void)state;
	datagram.from = lab.machines[1].service;
	outcome = lab_worker_udp(1, &datagram);
	assert_leaves_from(&outcome, 1, PUBLIC);
	outcome = lab_edge_udp(&back);
	assert_redirected(outcome);
	assert_int_equal(lab_receiver(&outcome), 1);
	stranger.from = CLIENT;
	outcome = lab_edge_udp(&stranger);
	assert_left(outcome, WHERRY_NO_SERVICE);
}

/* Also at a port that a service spreads over machines, where the hash would choose the other. */
static void an_answer_to_a_service_port_comes_back_to_its_sender(void **state)
{
	(void)state;
	for (uint16_t port = 53; port < 53 + 16; port++) {
		unsigned int sender = 1 + port % 2;
		struct datagram datagram = from_machine(sender, ELSEWHERE, PORT_MANY, port);
		const struct datagram back = {
			.from = ELSEWHERE, .to = PUBLIC, .sport = port, .dport = PORT_MANY};
		struct outcome outcome;

		datagram.from = lab.machines[sender].service;
		outcome = lab_worker_udp(sender, &datagram);
		assert_leaves_from(&outcome, sender, PUBLIC);
		for (int i = 0; i < 2; i++) {
			outcome = lab_edge_udp(&back);
			assert_redirected(outcome);
			assert_int_equal(lab_receiver(&outcome), sender);
		}
	}
}

static void an_outflow_ends_with_its_machine(void **state)
{
	struct datagram datagram = from_machine(1, ELSEWHERE, 9000, 53);
	const struct datagram back = {.from = ELSEWHERE, .to = PUBLIC, .sport = 53, .dport = 9000};
	struct outcome outcome;

	(void)state;
	datagram.from = lab.machines[1].service;
	lab_worker_udp(1, &datagram);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	lab_machine_set(1); /* the same index, another life */
	outcome = lab_edge_udp(&back);
	assert_left(outcome, WHERRY_NO_SERVICE);
}

static void a_program_of_the_host_gets_its_answer_from_the_stack(void **state)
{
	const struct datagram ask = {
		.from = HOST, .to = PUBLIC, .sport = CLIENT_PORT, .dport = PORT};
	const struct frame frame = frame_udp(&ask);
	struct datagram datagram = from_machine(1, HOST, PORT, CLIENT_PORT);
	struct outcome outcome;

	(void)state;
	lab_run(PROGRAM_EDGE, 1, &frame);
	outcome = lab_worker_udp(1, &datagram);
	assert_int_equal(outcome.verdict, TCX_NEXT);
	assert_int_equal(outcome.counted[WHERRY_TO_HOST], 1);
	assert_int_equal(frame_from(&outcome.out), PUBLIC);
	assert_true(frame_sums_are_right(&outcome.out));
	/* The same for what the machine sends it unasked. */
	datagram.from = lab.machines[1].service;
	datagram.sport = 9000;
	outcome = lab_worker_udp(1, &datagram);
	assert_int_equal(outcome.verdict, TCX_NEXT);
	assert_int_equal(outcome.counted[WHERRY_TO_HOST], 1);
	assert_int_equal(frame_from(&outcome.out), PUBLIC);
}

static void another_source_address_is_spoofed(void **state)
{
	struct datagram datagram = answer(lab.machines[2].primary);
	struct frame tcp = frame_ipv4(PUBLIC, CLIENT, IPPROTO_TCP);
	struct outcome outcome;

	(void)state;
	lab_client_sends(CLIENT_PORT, PORT);
	outcome = lab_worker_udp(1, &datagram);
	assert_dropped(outcome, WHERRY_SPOOFED_SOURCE);
	datagram.from = PUBLIC;
	outcome = lab_worker_udp(1, &datagram);
	assert_dropped(outcome, WHERRY_SPOOFED_SOURCE);
	outcome = lab_worker(1, &tcp);
	assert_dropped(outcome, WHERRY_SPOOFED_SOURCE);
}

static void an_interface_without_machine_is_refused(void **state)
{
	struct datagram datagram = answer(lab.machines[1].primary);
	const struct frame frame = frame_udp(&datagram);
	struct outcome outcome = lab_run(PROGRAM_WORKER, lab.up_ifindex, &frame);

	(void)state;
	assert_dropped(outcome, WHERRY_UNKNOWN_INTERFACE);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	outcome = lab_worker(1, &frame);
	assert_dropped(outcome, WHERRY_UNKNOWN_INTERFACE);
}

static void only_the_links_own_ipv6_passes(void **state)
{
	static const char *const link_local[] = {"fe80::1", "febf::1", "ff02::1", "ff02::16"};
	static const char *const others[] = {"2001:db8::1", "fdaa::3", "fec0::1", "::1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(link_local); i++) {
		struct frame frame = frame_ipv6("fe80::2", link_local[i], IPPROTO_ICMPV6);
		struct outcome outcome = lab_worker(1, &frame);

		assert_not_ours(outcome);
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct frame frame = frame_ipv6("fe80::2", others[i], IPPROTO_UDP);
		struct outcome outcome = lab_worker(1, &frame);

		assert_dropped(outcome, WHERRY_NO_PRIVATE_NETWORK);
	}
}

static void arp_passes(void **state)
{
	struct frame frame = frame_ipv4(0, 0, 0);
	struct outcome outcome;

	(void)state;
	frame.bytes[13] = ETH_P_ARP & 0xff;
	outcome = lab_worker(1, &frame);
	assert_not_ours(outcome);
}

static void a_machine_reaches_another_ones_public_address_and_back(void **state)
{
	struct datagram ask = from_machine(1, PUBLIC_C, 9000, PORT_C);
	struct datagram reply = from_machine(3, lab.machines[1].primary, PORT_C, 9000);
	struct outcome outcome = lab_worker_udp(1, &ask);

	(void)state;
	assert_redirected(outcome);
	assert_int_equal(lab_receiver(&outcome), 3);
	assert_int_equal(frame_from(&outcome.out), lab.machines[1].primary);
	assert_int_equal(frame_to(&outcome.out), lab.machines[3].primary);
	outcome = lab_worker_udp(3, &reply);
	assert_leaves_from(&outcome, 3, PUBLIC_C);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].primary);
	assert_int_equal(lab_receiver(&outcome), 1);
}

static void a_machine_is_a_public_client_from_its_service_address(void **state)
{
	struct datagram ask = from_machine(1, PUBLIC_C, 9000, PORT_C);
	struct datagram reply = from_machine(3, PUBLIC, PORT_C, 9000);
	struct outcome outcome;

	(void)state;
	ask.from = lab.machines[1].service;
	lab_socket(1, lab.machines[1].service, 9000, 0, 0);
	outcome = lab_worker_udp(1, &ask);
	assert_redirected(outcome);
	assert_int_equal(lab_receiver(&outcome), 3);
	assert_int_equal(frame_from(&outcome.out), PUBLIC);
	assert_int_equal(frame_to(&outcome.out), lab.machines[3].primary);
	outcome = lab_worker_udp(3, &reply);
	assert_redirected(outcome);
	assert_int_equal(lab_receiver(&outcome), 1);
	assert_int_equal(frame_from(&outcome.out), PUBLIC_C);
	assert_int_equal(frame_to(&outcome.out), lab.machines[1].service);
}

/* The machine's kernel would drop it without a word: its own address comes in from outside. */
static void a_machine_that_meets_itself_is_dropped_by_name(void **state)
{
	struct datagram datagram = from_machine(1, PUBLIC, 9000, PORT);
	struct outcome outcome = lab_worker_udp(1, &datagram);

	(void)state;
	assert_dropped(outcome, WHERRY_HAIRPIN_TO_SELF);
	/* From the service address it comes back from the public one, which works. */
	datagram.from = lab.machines[1].service;
	outcome = lab_worker_udp(1, &datagram);
	assert_redirected(outcome);
	assert_int_equal(lab_receiver(&outcome), 1);
	assert_int_equal(frame_from(&outcome.out), PUBLIC);
}

static void a_closed_public_port_is_counted_once(void **state)
{
	struct datagram datagram = from_machine(1, PUBLIC_C, 9000, PORT_FREE);
	struct outcome outcome = lab_worker_udp(1, &datagram);

	(void)state;
	assert_left(outcome, WHERRY_NO_SERVICE);
}

/* A way past the host's filters otherwise: redirected packets do not meet them. */
static void other_machines_private_addresses_are_left_to_the_hosts_rules(void **state)
{
	struct datagram datagram = from_machine(1, lab.machines[3].primary, 9000, 80);
	struct outcome outcome;

	(void)state;
	datagram.from = lab.machines[1].service;
	outcome = lab_worker_udp(1, &datagram);
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
}

static void an_answer_to_a_machine_that_left_is_dropped_by_name(void **state)
{
	struct datagram ask = from_machine(1, PUBLIC_C, 9000, PORT_C);
	struct datagram reply = from_machine(3, lab.machines[1].primary, PORT_C, 9000);
	struct outcome outcome = lab_worker_udp(1, &ask);

	(void)state;
	assert_redirected(outcome);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	outcome = lab_worker_udp(3, &reply);
	assert_int_equal(outcome.verdict, TCX_DROP);
	assert_int_equal(outcome.counted[WHERRY_STALE_MACHINE], 1);
}

static void contradictory_headers_are_dropped_as_malformed(void **state)
{
	struct datagram datagram = answer(lab.machines[1].primary);
	struct frame good = frame_udp(&datagram), frame = good;
	struct outcome outcome;

	(void)state;
	frame_ip(&frame)->ihl = 4;
	outcome = lab_worker(1, &frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
	frame = good;
	frame_ip(&frame)->tot_len = htons(27);
	outcome = lab_worker(1, &frame);
	assert_dropped(outcome, WHERRY_MALFORMED);
	for (size_t len = ETH_HLEN + sizeof(struct ip_view); len < good.len; len++) {
		frame = good;
		frame.len = len;
		outcome = lab_worker(1, &frame);
		assert_dropped(outcome, WHERRY_MALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer_leaves_from_the_public_address),
		TEST(an_answer_leaves_from_the_address_that_was_asked),
		TEST(every_form_of_an_answer_keeps_right_checksums),
		TEST(own_traffic_of_the_primary_address_is_left_alone),
		TEST(a_flow_of_another_port_makes_no_answer),
		TEST(what_leaves_the_service_address_unasked_is_answered),
		TEST(an_answer_to_a_service_port_comes_back_to_its_sender),
		TEST(an_outflow_ends_with_its_machine),
		TEST(a_program_of_the_host_gets_its_answer_from_the_stack),
		TEST(another_source_address_is_spoofed),
		TEST(an_interface_without_machine_is_refused),
		TEST(only_the_links_own_ipv6_passes),
		TEST(arp_passes),
		TEST(a_machine_reaches_another_ones_public_address_and_back),
		TEST(a_machine_is_a_public_client_from_its_service_address),
		TEST(a_machine_that_meets_itself_is_dropped_by_name),
		TEST(a_closed_public_port_is_counted_once),
		TEST(other_machines_private_addresses_are_left_to_the_hosts_rules),
		TEST(an_answer_to_a_machine_that_left_is_dropped_by_name),
		TEST(contradictory_headers_are_dropped_as_malformed),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
