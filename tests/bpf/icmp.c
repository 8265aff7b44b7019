/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors about UDP, both ways: addresses change outside and inside, sums stay right. */
#include "harness.h"

#include <bpf/bpf.h>

#define CLIENT_PORT 40000

/* An answer as a client saw it. */
static struct frame answer_seen(unsigned int ihl)
{
	const struct datagram datagram = {
		.from = PUBLIC,
		.to = CLIENT,
		.sport = PORT,
		.dport = CLIENT_PORT,
		.payload_len = 40,
		.ihl = ihl,
	};

	return frame_udp(&datagram);
}

/* A client's packet as machine 1 saw it. */
static struct frame request_seen(uint32_t to)
{
	const struct datagram datagram = {
		.from = CLIENT,
		.to = to,
		.sport = CLIENT_PORT,
		.dport = PORT,
		.payload_len = 40,
	};

	return frame_udp(&datagram);
}

static void assert_addresses(
	const struct outcome *outcome, uint32_t from, uint32_t to, uint32_t qfrom, uint32_t qto)
{
	struct frame expected = outcome->in;

	assert_redirected(*outcome);
	assert_int_equal(frame_from(&outcome->out), from);
	assert_int_equal(frame_to(&outcome->out), to);
	assert_int_equal(ntohl(frame_quoted(&outcome->out)->saddr), qfrom);
	assert_int_equal(ntohl(frame_quoted(&outcome->out)->daddr), qto);
	/* Nothing else changed, the ICMP checksum and what the quoted packet carried included. */
	frame_ip(&expected)->saddr = frame_ip(&outcome->out)->saddr;
	frame_ip(&expected)->daddr = frame_ip(&outcome->out)->daddr;
	frame_quoted(&expected)->saddr = frame_quoted(&outcome->out)->saddr;
	frame_quoted(&expected)->daddr = frame_quoted(&outcome->out)->daddr;
	frame_quoted(&expected)->check = frame_quoted(&outcome->out)->check;
	frame_fix_ip(&expected);
	assert_memory_equal(outcome->out.bytes, expected.bytes, expected.len);
}

static void errors_from_clients_and_routers_reach_the_machine(void **state)
{
	static const uint8_t types[] = {3, 11, 12};

	(void)state;
	lab_client_sends(CLIENT_PORT, PORT);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		for (unsigned int ihl = 5; ihl <= 15; ihl++) {
			const struct frame seen = answer_seen(ihl);
			const struct frame error =
				frame_icmp_error(ROUTER, PUBLIC, types[i], 3, &seen, ihl * 4 + 8);
			struct outcome outcome = lab_edge(&error);

			assert_addresses(&outcome, ROUTER, lab.machines[1].primary,
				lab.machines[1].primary, CLIENT);
			assert_int_equal(lab_receiver(&outcome), 1);
		}
	}
}

static void an_error_goes_to_where_the_socket_is(void **state)
{
	const struct frame seen = answer_seen(5);
	const struct frame error = frame_icmp_error(CLIENT, PUBLIC, 3, 3, &seen, 68);
	struct outcome outcome;

	(void)state;
	lab_socket(1, lab.machines[1].service, PORT, 0, 0);
	/* Without a flow, and then with one. */
	for (int i = 0; i < 2; i++) {
		outcome = lab_edge(&error);
		assert_addresses(
			&outcome, CLIENT, lab.machines[1].service, lab.machines[1].service, CLIENT);
		lab_client_sends(CLIENT_PORT, PORT);
	}
}

/* What a router says is no sign of the client. */
static void an_error_makes_no_flow(void **state)
{
	const struct frame seen = answer_seen(5);
	const struct frame error = frame_icmp_error(CLIENT, PUBLIC, 3, 3, &seen, 68);
	uint8_t key[16];
	struct outcome outcome = lab_edge(&error);

	(void)state;
	assert_redirected(outcome);
	assert_true(bpf_map_get_next_key(lab.flows, NULL, key) < 0);
}

static void errors_about_nothing_of_ours_are_left_to_the_kernel(void **state)
{
	struct datagram datagram = {.from = PUBLIC, .to = CLIENT, .sport = PORT_FREE, .dport = 9};
	struct frame seen = frame_udp(&datagram);
	struct frame error = frame_icmp_error(ROUTER, PUBLIC, 3, 3, &seen, 68);
	struct outcome outcome = lab_edge(&error);

	(void)state;
	assert_left(outcome, WHERRY_NO_SERVICE);
	/* The quoted packet was not sent by whom the error is for. */
	datagram.from = ELSEWHERE;
	seen = frame_udp(&datagram);
	error = frame_icmp_error(ROUTER, PUBLIC, 3, 3, &seen, 68);
	outcome = lab_edge(&error);
	assert_left(outcome, WHERRY_NO_SERVICE);
	/* About TCP, and about a later fragment: it quotes no ports. */
	seen = frame_ipv4(PUBLIC, CLIENT, IPPROTO_TCP);
	error = frame_icmp_error(ROUTER, PUBLIC, 3, 3, &seen, 68);
	outcome = lab_edge(&error);
	assert_not_ours(outcome);
	datagram = (struct datagram){.from = PUBLIC, .to = CLIENT, .offset8 = 5, .payload_len = 9};
	seen = frame_udp(&datagram);
	error = frame_icmp_error(ROUTER, PUBLIC, 3, 3, &seen, 68);
	outcome = lab_edge(&error);
	assert_not_ours(outcome);
	/* For the host itself. */
	datagram = (struct datagram){.from = HOST, .to = CLIENT, .sport = 53, .dport = 9};
	seen = frame_udp(&datagram);
	error = frame_icmp_error(ROUTER, HOST, 3, 3, &seen, 68);
	outcome = lab_edge(&error);
	assert_not_ours(outcome);
}

static void a_short_quote_is_malformed(void **state)
{
	const struct frame seen = answer_seen(5);

	(void)state;
	for (size_t len = 0; len < 24; len++) {
		struct frame error = frame_icmp_error(ROUTER, PUBLIC, 3, 3, &seen, len);
		struct outcome outcome = lab_edge(&error);

		assert_dropped(outcome, WHERRY_MALFORMED);
		/* What comes after the end of the packet is not part of it. */
		error.len += 40;
		outcome = lab_edge(&error);
		assert_dropped(outcome, WHERRY_MALFORMED);
	}
}

static void a_quote_that_contradicts_itself_is_malformed(void **state)
{
	struct frame seen = answer_seen(5), error;
	struct outcome outcome;

	(void)state;
	frame_ip(&seen)->ihl = 4;
	error = frame_icmp_error(ROUTER, PUBLIC, 3, 3, &seen, 68);
	outcome = lab_edge(&error);
	assert_dropped(outcome, WHERRY_MALFORMED);
	frame_ip(&seen)->ihl = 5;
	frame_ip(&seen)->version = 6;
	error = frame_icmp_error(ROUTER, PUBLIC, 3, 3, &seen, 68);
	outcome = lab_edge(&error);
	assert_dropped(outcome, WHERRY_MALFORMED);
}

static void a_machines_error_leaves_from_the_public_address(void **state)
{
	(void)state;
	lab_client_sends(CLIENT_PORT, PORT);
	for (int service = 0; service <= 1; service++) {
		const uint32_t local = service ? lab.machines[1].service : lab.machines[1].primary;
		const struct frame seen = request_seen(local);
		const struct frame error = frame_icmp_error(local, CLIENT, 3, 3, &seen, 68);
		struct outcome outcome = lab_worker(1, &error);

		assert_addresses(&outcome, PUBLIC, CLIENT, CLIENT, PUBLIC);
		assert_int_equal(outcome.traffic[1].tx_packets, 1);
	}
}

static void a_machines_error_about_its_own_traffic_is_left_alone(void **state)
{
	const struct datagram datagram = {
		.from = ELSEWHERE, .to = lab.machines[1].primary, .sport = 53, .dport = 33000};
	const struct frame seen = frame_udp(&datagram);
	const struct frame error =
		frame_icmp_error(lab.machines[1].primary, ELSEWHERE, 3, 3, &seen, 68);
	struct outcome outcome = lab_worker(1, &error);

	(void)state;
	assert_left(outcome, WHERRY_OWN_TRAFFIC);
}

/* Machine 1 asked machine 3 from its primary address and closed the socket before the answer. */
static void an_error_passes_from_machine_to_machine(void **state)
{
	const struct datagram ask = {
		.from = lab.machines[1].primary, .to = PUBLIC_C, .sport = 9000, .dport = PORT_C};
	const struct datagram reply = {
		.from = PUBLIC_C, .to = lab.machines[1].primary, .sport = PORT_C, .dport = 9000};
	const struct frame seen = frame_udp(&reply);
	const struct frame error =
		frame_icmp_error(lab.machines[1].primary, PUBLIC_C, 3, 3, &seen, 68);
	struct outcome outcome = lab_worker_udp(1, &ask);

	(void)state;
	assert_redirected(outcome);
	outcome = lab_worker(1, &error);
	assert_addresses(&outcome, lab.machines[1].primary, lab.machines[3].primary,
		lab.machines[3].primary, lab.machines[1].primary);
	assert_int_equal(lab_receiver(&outcome), 3);
}

/* The other way round: machine 3 had no socket for what machine 1 asked. */
static void a_closed_port_is_told_from_machine_to_machine(void **state)
{
	struct datagram ask = {
		.from = lab.machines[1].primary, .to = PUBLIC_C, .sport = 9000, .dport = PORT_C};

	(void)state;
	for (int service = 0; service <= 1; service++) {
		uint32_t client = service ? PUBLIC : lab.machines[1].primary;
		struct outcome outcome;
		struct frame error;

		ask.from = service ? lab.machines[1].service : lab.machines[1].primary;
		outcome = lab_worker_udp(1, &ask);
		assert_redirected(outcome);
		error = frame_icmp_error(lab.machines[3].primary, client, 3, 3, &outcome.out, 68);
		outcome = lab_worker(3, &error);
		assert_addresses(&outcome, PUBLIC_C, lab.machines[1].primary,
			lab.machines[1].primary, PUBLIC_C);
		assert_int_equal(lab_receiver(&outcome), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(errors_from_clients_and_routers_reach_the_machine),
		TEST(an_error_goes_to_where_the_socket_is),
		TEST(an_error_makes_no_flow),
		TEST(errors_about_nothing_of_ours_are_left_to_the_kernel),
		TEST(a_short_quote_is_malformed),
		TEST(a_quote_that_contradicts_itself_is_malformed),
		TEST(a_machines_error_leaves_from_the_public_address),
		TEST(a_machines_error_about_its_own_traffic_is_left_alone),
		TEST(an_error_passes_from_machine_to_machine),
		TEST(a_closed_port_is_told_from_machine_to_machine),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
