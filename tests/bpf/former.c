/* SPDX-License-Identifier: Apache-2.0 */
/* Former machines on many hosts: flows stay where they are known, others are passed on. */
#include "harness.h"

#include <stdio.h>
#include <unistd.h>

#define CLIENT_PORT 40000
#define TTL	    64

static int a_worker(void **state)
{
	int r = lab_reset(state);

	lab_fleet(EDGE_B);
	return r < 0 ? r : lab_apply(1U << 1);
}

static int an_edge(void **state)
{
	int r = lab_reset(state);

	lab_fleet(0);
	return r < 0 ? r : lab_apply(1U << 4);
}

static struct frame from_client(uint16_t client_port)
{
	const struct datagram datagram = {.from = CLIENT,
		.to = PUBLIC,
		.sport = client_port,
		.dport = PORT_MANY,
		.payload_len = 20};

	return frame_udp(&datagram);
}

static struct frame with_ttl(const struct frame *frame, uint8_t ttl)
{
	struct frame other = *frame;

	frame_ip(&other)->ttl = ttl;
	frame_fix_ip(&other);
	return other;
}

static struct outcome arrives(uint16_t client_port, uint32_t from, uint32_t service)
{
	const struct frame frame = from_client(client_port);
	const struct frame outer = frame_minimal(&frame, from, service);

	return lab_mesh(&outer);
}

static struct outcome machine_1_answers(uint16_t client_port)
{
	const struct datagram datagram = {.from = lab.machines[1].primary,
		.to = CLIENT,
		.sport = PORT_MANY,
		.dport = client_port,
		.payload_len = 20};

	return lab_worker_udp(1, &datagram);
}

static void a_former_machine_keeps_the_flows_that_it_knows(void **state)
{
	struct outcome outcome = arrives(CLIENT_PORT, EDGE, lab.machines[1].service);

	(void)state;
	assert_int_equal(lab_receiver(&outcome), 1);
	assert_int_equal(lab_apply(1U << 4), 0);
	outcome = arrives(CLIENT_PORT, EDGE, lab.machines[1].service);
	assert_int_equal(lab_receiver(&outcome), 1);
	assert_int_equal(outcome.counted[WHERRY_PASSED_ON], 0);
}

static void a_flow_that_it_does_not_know_is_passed_on(void **state)
{
	const struct frame frame = from_client(CLIENT_PORT), next = with_ttl(&frame, TTL - 1);
	const struct frame expected = frame_minimal(&next, SELF, lab.machines[4].service);
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	outcome = arrives(CLIENT_PORT, EDGE, lab.machines[1].service);
	assert_sent_as(outcome, expected, WHERRY_PASSED_ON);
}

static void one_that_is_asked_gives_back_what_it_does_not_know(void **state)
{
	const struct frame frame = from_client(CLIENT_PORT), next = with_ttl(&frame, TTL - 1);
	const struct frame expected = frame_minimal(&next, lab.machines[1].primary, EDGE_B);
	struct outcome outcome = arrives(CLIENT_PORT, EDGE_B, lab.machines[1].primary);

	/* Its own table says that the flow is its: of that, an edge of another region knows more.
	 */
	(void)state;
	assert_sent_as(outcome, expected, WHERRY_RETURNED);
	outcome = arrives(CLIENT_PORT, EDGE_B, lab.machines[1].service);
	assert_int_equal(lab_receiver(&outcome), 1);
	outcome = arrives(CLIENT_PORT, EDGE_B, lab.machines[1].primary);
	assert_int_equal(lab_receiver(&outcome), 1);
}

static void what_is_given_back_goes_to_the_slot_s_machine(void **state)
{
	const struct frame frame = from_client(CLIENT_PORT), next = with_ttl(&frame, TTL - 1);
	const struct frame outer = frame_minimal(&frame, lab.machines[5].primary, SELF);
	const struct frame expected = frame_minimal(&next, SELF, lab.machines[4].service);
	const struct outcome outcome = lab_mesh(&outer);

	(void)state;
	assert_sent_as(outcome, expected, WHERRY_PASSED_ON);
}

static void what_another_host_passed_on_is_taken(void **state)
{
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	outcome = arrives(CLIENT_PORT, WORKER, lab.machines[1].service);
	assert_int_equal(lab_receiver(&outcome), 1);
	assert_int_equal(outcome.counted[WHERRY_PASSED_ON], 0);
}

static void ip_in_ip_is_passed_on_with_the_ttl_inside_one_less(void **state)
{
	const struct frame frame = from_client(CLIENT_PORT), next = with_ttl(&frame, TTL - 1);
	const struct frame outer = frame_ipip(&frame, EDGE, lab.machines[1].service);
	const struct frame expected = frame_ipip(&next, SELF, lab.machines[4].service);
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	outcome = lab_mesh(&outer);
	assert_sent_as(outcome, expected, WHERRY_PASSED_ON);
}

static void what_is_passed_on_to_a_machine_of_this_host_is_delivered(void **state)
{
	const struct frame frame = from_client(CLIENT_PORT);
	const struct frame expected = frame_readdressed(&frame, 0, lab.machines[2].primary);
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 2), 0);
	outcome = arrives(CLIENT_PORT, EDGE, lab.machines[1].service);
	assert_sent_as(outcome, expected, WHERRY_PASSED_ON);
	assert_int_equal(lab_receiver(&outcome), 2);
}

static void a_machine_of_the_slot_takes_new_flows_whoever_was_there_before(void **state)
{
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 2), 0);
	outcome = arrives(CLIENT_PORT, EDGE, lab.machines[2].service);
	assert_int_equal(lab_receiver(&outcome), 2);
	assert_int_equal(outcome.counted[WHERRY_PASSED_ON], 0);
}

/* An edge that is behind, or ahead: this host's tables need not agree with it. */
static void a_machine_that_is_addressed_takes_the_flow_if_it_is_no_former_one(void **state)
{
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	outcome = arrives(CLIENT_PORT, EDGE, lab.machines[2].service);
	assert_int_equal(lab_receiver(&outcome), 2);
}

static void fragments_are_passed_on_after_the_first_one(void **state)
{
	struct datagram datagram = {.from = CLIENT,
		.to = PUBLIC,
		.sport = CLIENT_PORT,
		.dport = PORT_MANY,
		.payload_len = 24,
		.id = 8,
		.more_fragments = true};

	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	for (int i = 0; i < 2; i++) {
		const struct frame frame = frame_udp(&datagram), next = with_ttl(&frame, TTL - 1);
		const struct frame outer = frame_ipip(&frame, EDGE, lab.machines[1].service);
		const struct frame expected = frame_ipip(&next, SELF, lab.machines[4].service);
		struct outcome outcome = lab_mesh(&outer);

		assert_sent_as(outcome, expected, WHERRY_PASSED_ON);
		datagram.more_fragments = false;
		datagram.offset8 = 4;
	}
}

static void an_icmp_error_of_an_unknown_flow_is_passed_on(void **state)
{
	const struct datagram answer = {.from = PUBLIC,
		.to = CLIENT,
		.sport = PORT_MANY,
		.dport = CLIENT_PORT,
		.payload_len = 20};
	const struct frame quoted = frame_udp(&answer);
	const struct frame error = frame_icmp_error(ROUTER, PUBLIC, 3, 4, &quoted, 28);
	const struct frame outer = frame_minimal(&error, EDGE, lab.machines[1].service);
	const struct frame next = with_ttl(&error, TTL - 1);
	const struct frame expected = frame_minimal(&next, SELF, lab.machines[4].service);
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	outcome = lab_mesh(&outer);
	assert_sent_as(outcome, expected, WHERRY_PASSED_ON);
}

static void hosts_that_disagree_stop_at_the_ttl(void **state)
{
	(void)state;
	assert_int_equal(lab_apply(1U << 4), 0);
	for (uint8_t ttl = 0; ttl <= 2; ttl++) {
		const struct frame frame = from_client(CLIENT_PORT), worn = with_ttl(&frame, ttl);
		const struct frame minimal = frame_minimal(&worn, EDGE, lab.machines[1].service);
		const struct frame ipip = frame_ipip(&worn, EDGE, lab.machines[1].service);
		const struct frame outers[] = {minimal, ipip};

		for (int i = 0; i < 2; i++) {
			struct outcome outcome = lab_mesh(&outers[i]);

			assert_int_equal(outcome.verdict, ttl <= 1 ? TCX_DROP : TCX_REDIRECT);
			assert_int_equal(outcome.counted[WHERRY_MESH_LOOP], ttl <= 1);
		}
	}
}

static void what_was_passed_on_is_answered_by_the_nearest_edge(void **state)
{
	struct outcome outcome = arrives(CLIENT_PORT, WORKER, lab.machines[1].service);

	(void)state;
	assert_int_equal(lab_receiver(&outcome), 1);
	outcome = machine_1_answers(CLIENT_PORT);
	assert_int_equal(frame_to(&outcome.out), EDGE_B);
	arrives(CLIENT_PORT, EDGE, lab.machines[1].service);
	outcome = machine_1_answers(CLIENT_PORT);
	assert_int_equal(frame_to(&outcome.out), EDGE);
	arrives(CLIENT_PORT, WORKER, lab.machines[1].service); /* not news */
	outcome = machine_1_answers(CLIENT_PORT);
	assert_int_equal(frame_to(&outcome.out), EDGE);
}

struct stale {
	unsigned int count;
	struct addr edge, service;
};

static void note_stale(void *arg, const struct addr *edge, const struct addr *service)
{
	struct stale *stale = arg;

	stale->count++;
	stale->edge = *edge;
	stale->service = *service;
}

static struct stale take_stale(void)
{
	struct stale stale = {};

	assert_int_equal(fabric_stale_take(lab.fabric, note_stale, &stale, NULL), 0);
	return stale;
}

#define GONE IP4(172, 16, 9, 3)

static void an_edge_that_is_behind_is_served_and_reported(void **state)
{
	const uint32_t services[] = {GONE, lab.machines[5].service};
	const struct frame frame = from_client(CLIENT_PORT), next = with_ttl(&frame, TTL - 1);
	const struct frame expected = frame_minimal(&next, SELF, lab.machines[4].service);

	(void)state;
	take_stale();
	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		struct outcome outcome;
		struct stale stale;

		assert_int_equal(lab_apply(1U << 1), 0);
		outcome = arrives(CLIENT_PORT + 1, EDGE, services[i]);
		assert_int_equal(lab_receiver(&outcome), 1);
		assert_int_equal(outcome.counted[WHERRY_STALE_ROUTE], 1);
		assert_int_equal(lab_apply(1U << 4), 0);
		outcome = arrives(CLIENT_PORT, EDGE, services[i]);
		assert_sent_as(outcome, expected, WHERRY_STALE_ROUTE);
		stale = take_stale();
		assert_int_equal(stale.count, 1);
		assert_int_equal(ntohl(addr_v4_be(&stale.edge)), EDGE);
		assert_int_equal(ntohl(addr_v4_be(&stale.service)), services[i]);
		assert_int_equal(take_stale().count, 0);
	}
}

static void only_an_edge_may_be_behind(void **state)
{
	struct outcome outcome = arrives(CLIENT_PORT, WORKER, GONE);

	(void)state;
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
	outcome = arrives(CLIENT_PORT, STRANGER, GONE);
	assert_dropped(outcome, WHERRY_MESH_UNKNOWN_HOST);
	assert_int_equal(take_stale().count, 0);
}

static void a_packet_that_no_machine_serves_any_more_is_dropped(void **state)
{
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(0), 0);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	outcome = arrives(CLIENT_PORT, EDGE, lab.machines[1].service);
	assert_dropped(outcome, WHERRY_MESH_NO_MACHINE);
}

/* Edges. */

static unsigned int receiver_of(uint16_t client_port)
{
	const struct frame frame = from_client(client_port);
	struct outcome outcome = lab_edge(&frame);

	return outcome.verdict == TCX_REDIRECT ? lab_receiver(&outcome) : 0;
}

static void a_former_machine_elsewhere_gets_the_packet_first(void **state)
{
	(void)state;
	assert_int_equal(receiver_of(CLIENT_PORT), 4);
	assert_int_equal(lab_apply(1U << 5), 0);
	assert_int_equal(receiver_of(CLIENT_PORT), 4);
	assert_int_equal(fabric_machine_forget_former(lab.fabric, lab.machines[4].id, NULL), 0);
	assert_int_equal(receiver_of(CLIENT_PORT), 5);
}

static void a_former_machine_here_decides_by_what_it_knows(void **state)
{
	(void)state;
	assert_int_equal(lab_apply(1U << 1), 0);
	assert_int_equal(fabric_machine_forget_former(lab.fabric, lab.machines[4].id, NULL), 0);
	assert_int_equal(receiver_of(CLIENT_PORT), 1);
	assert_int_equal(lab_apply(1U << 5), 0);
	assert_int_equal(receiver_of(CLIENT_PORT), 1);
	assert_int_equal(receiver_of(CLIENT_PORT + 1), 5);
}

/* A client that moved from another edge, or a flow passed on to here before. */
static void a_machine_of_the_slot_that_knows_the_flow_is_not_asked_about_elsewhere(void **state)
{
	const struct frame frame = from_client(CLIENT_PORT);
	const struct frame outer = frame_minimal(&frame, WORKER, lab.machines[1].service);
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 1), 0);
	outcome = lab_mesh(&outer);
	assert_int_equal(lab_receiver(&outcome), 1);
	assert_int_equal(receiver_of(CLIENT_PORT), 1);
	assert_int_equal(receiver_of(CLIENT_PORT + 1), 4);
}

struct formers {
	unsigned int count;
	char text[256];
};

static void note_former(void *arg, const char *group, const char *id)
{
	struct formers *formers = arg;

	formers->count++;
	snprintf(formers->text, sizeof(formers->text), "%s %s", group, id);
}

static void former_machines_and_their_flows_are_counted(void **state)
{
	const unsigned int many = 1U << 1 | 1U << 2;
	const char *id = lab.machines[1].id;
	struct formers formers = {};
	size_t count = 99;

	(void)state;
	assert_int_equal(lab_apply(many), 0);
	assert_int_equal(fabric_machine_forget_former(lab.fabric, lab.machines[4].id, NULL), 0);
	for (uint16_t i = 0; i < 200; i++)
		receiver_of(20000 + i);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/many", id), 0);
	assert_int_equal(
		fabric_group_former_flows(lab.fabric, "lab/many", id, 10, &count, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(fabric_formers_each(lab.fabric, note_former, &formers, NULL), 0);
	assert_int_equal(formers.count, 0);

	assert_int_equal(lab_apply(1U << 2 | 1U << 3), 0);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/many", id), 1);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/one", id), 0);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/nobody", id), 0);
	assert_int_equal(
		fabric_group_former_flows(lab.fabric, "lab/many", id, 10, &count, NULL), 0);
	assert_in_range(count, 60, 140); /* a half of them */
	assert_int_equal(fabric_group_former_flows(lab.fabric, "lab/one", id, 10, &count, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(fabric_formers_each(lab.fabric, note_former, &formers, NULL), 0);
	assert_in_range(formers.count, 1, 2); /* machine 2 may have given slots to 3 */
	usleep(1100000);
	assert_int_equal(fabric_group_former_flows(lab.fabric, "lab/many", id, 1, &count, NULL), 0);
	assert_int_equal(count, 0);

	assert_int_equal(fabric_machine_forget_former(lab.fabric, id, NULL), 0);
	assert_int_equal(fabric_machine_forget_former(lab.fabric, lab.machines[2].id, NULL), 0);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/many", id), 0);
	formers = (struct formers){};
	assert_int_equal(fabric_formers_each(lab.fabric, note_former, &formers, NULL), 0);
	assert_int_equal(formers.count, 0);
}

static void a_group_of_one_has_its_former_machine_too(void **state)
{
	struct formers formers = {};
	size_t count = 99;

	(void)state;
	assert_int_equal(lab_apply(1U << 1), 0);
	assert_int_equal(fabric_machine_forget_former(lab.fabric, lab.machines[4].id, NULL), 0);
	assert_int_equal(receiver_of(CLIENT_PORT), 1);
	assert_int_equal(lab_apply(1U << 5), 0);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/many", lab.machines[1].id), 1);
	assert_int_equal(fabric_group_former_flows(
				 lab.fabric, "lab/many", lab.machines[1].id, 10, &count, NULL),
		0);
	assert_int_equal(count, 1);
	assert_int_equal(fabric_formers_each(lab.fabric, note_former, &formers, NULL), 0);
	assert_int_equal(formers.count, 1);
	assert_string_equal(formers.text, "lab/many machine-1");
}

#define WORKER_TEST(name) cmocka_unit_test_setup(name, a_worker)
#define EDGE_TEST(name)	  cmocka_unit_test_setup(name, an_edge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORKER_TEST(a_former_machine_keeps_the_flows_that_it_knows),
		WORKER_TEST(a_flow_that_it_does_not_know_is_passed_on),
		WORKER_TEST(one_that_is_asked_gives_back_what_it_does_not_know),
		EDGE_TEST(what_is_given_back_goes_to_the_slot_s_machine),
		WORKER_TEST(what_another_host_passed_on_is_taken),
		WORKER_TEST(ip_in_ip_is_passed_on_with_the_ttl_inside_one_less),
		WORKER_TEST(what_is_passed_on_to_a_machine_of_this_host_is_delivered),
		WORKER_TEST(a_machine_of_the_slot_takes_new_flows_whoever_was_there_before),
		WORKER_TEST(a_machine_that_is_addressed_takes_the_flow_if_it_is_no_former_one),
		WORKER_TEST(fragments_are_passed_on_after_the_first_one),
		WORKER_TEST(an_icmp_error_of_an_unknown_flow_is_passed_on),
		WORKER_TEST(hosts_that_disagree_stop_at_the_ttl),
		WORKER_TEST(what_was_passed_on_is_answered_by_the_nearest_edge),
		WORKER_TEST(an_edge_that_is_behind_is_served_and_reported),
		WORKER_TEST(only_an_edge_may_be_behind),
		WORKER_TEST(a_packet_that_no_machine_serves_any_more_is_dropped),
		EDGE_TEST(a_former_machine_elsewhere_gets_the_packet_first),
		EDGE_TEST(a_former_machine_here_decides_by_what_it_knows),
		EDGE_TEST(a_machine_of_the_slot_that_knows_the_flow_is_not_asked_about_elsewhere),
		EDGE_TEST(former_machines_and_their_flows_are_counted),
		EDGE_TEST(a_group_of_one_has_its_former_machine_too),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
