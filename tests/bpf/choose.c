/* SPDX-License-Identifier: Apache-2.0 */
/* Which service and which machine: exact ports, ranges, Maglev tables, former machines. */
#include "harness.h"

#include <stdlib.h>

#include <bpf/bpf.h>

#define FLOWS 2000

static void assert_served(uint16_t port, bool expected)
{
	struct outcome outcome = lab_client_sends(40000, port);

	if (expected)
		assert_redirected(outcome);
	else
		assert_left(outcome, WHERRY_NO_SERVICE);
}

static void a_range_serves_its_ports_and_no_others(void **state)
{
	(void)state;
	for (uint16_t port = PORT_RANGE - 20; port <= PORT_RANGE + 120; port++)
		assert_served(port, port >= PORT_RANGE && port <= PORT_RANGE + 100);
}

static void serve(struct port_range range, size_t extra_count, const struct fabric_service *extra)
{
	struct fabric_group groups[] = {
		{"lab/range", (const char *const[]){lab.machines[1].id}, 1},
		{"lab/extra", (const char *const[]){lab.machines[2].id}, 1},
	};
	const struct addr addr = addr_from_v4(htonl(PUBLIC));
	struct fabric_service services[4] = {{addr, PROTOCOL_UDP, range, 0, false}};
	const struct fabric_address addrs[] = {{addr, "lab"}};
	struct err err = {};

	for (size_t i = 0; i < extra_count; i++)
		services[1 + i] = extra[i];
	if (fabric_apply(lab.fabric, groups, 2, services, 1 + extra_count, addrs, 1, &err) < 0)
		fail_msg("%s", err.text);
}

static void ranges_of_every_alignment_are_exact(void **state)
{
	static const struct port_range ranges[] = {{1, 65535}, {1, 65534}, {32768, 65535},
		{1023, 1025}, {9999, 20001}, {65535, 65535}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		const struct port_range range = ranges[i];
		const uint16_t edges[] = {range.first, range.last, (uint16_t)(range.first + 1),
			(uint16_t)(range.last - 1), (uint16_t)(range.first - 1),
			(uint16_t)(range.last + 1), 1, 65535, 32767, 32768};

		serve(range, 0, NULL);
		for (size_t j = 0; j < ARRAY_LEN(edges); j++)
			assert_served(edges[j], edges[j] >= range.first && edges[j] <= range.last);
	}
}

static void a_port_of_its_own_wins_over_the_range_around_it(void **state)
{
	const struct fabric_service extra = {
		addr_from_v4(htonl(PUBLIC)), PROTOCOL_UDP, {6050, 6050}, 1, false};
	struct outcome outcome;

	(void)state;
	serve((struct port_range){6000, 6100}, 1, &extra);
	outcome = lab_client_sends(40000, 6049);
	assert_int_equal(lab_receiver(&outcome), 1);
	outcome = lab_client_sends(40000, 6050);
	assert_int_equal(lab_receiver(&outcome), 2);
	outcome = lab_client_sends(40000, 6051);
	assert_int_equal(lab_receiver(&outcome), 1);
}

static void a_tcp_service_does_not_serve_udp(void **state)
{
	const struct fabric_service extra[] = {
		{addr_from_v4(htonl(PUBLIC)), PROTOCOL_TCP, {443, 443}, 0, false},
		{addr_from_v4(htonl(PUBLIC)), PROTOCOL_TCP, {8000, 8100}, 0, false},
	};

	(void)state;
	serve((struct port_range){53, 53}, ARRAY_LEN(extra), extra);
	assert_served(53, true);
	assert_served(443, false);
	assert_served(8050, false);
}

static unsigned int receiver_of(uint16_t client_port)
{
	struct outcome outcome = lab_client_sends(client_port, PORT_MANY);

	assert_redirected(outcome);
	return lab_receiver(&outcome);
}

static void flows_spread_over_machines_and_stay_put(void **state)
{
	unsigned int counts[MACHINES + 1] = {0}, receivers[FLOWS];

	(void)state;
	for (uint16_t i = 0; i < FLOWS; i++)
		counts[receivers[i] = receiver_of(10000 + i)]++;
	assert_int_equal(counts[0] + counts[3], 0);
	assert_in_range(counts[1], FLOWS * 45 / 100, FLOWS * 55 / 100);
	for (uint16_t i = 0; i < FLOWS; i++)
		assert_int_equal(receiver_of(10000 + i), receivers[i]);
}

/* The choice must not hang on memory of flows: a flood evicts it. */
static void a_forgotten_flow_comes_to_the_same_machine(void **state)
{
	unsigned int receivers[200];
	uint8_t key[16];

	(void)state;
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++)
		receivers[i] = receiver_of(10000 + i);
	while (bpf_map_get_next_key(lab.flows, NULL, key) == 0)
		bpf_map_delete_elem(lab.flows, key);
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++)
		assert_int_equal(receiver_of(10000 + i), receivers[i]);
}

static void a_former_machine_keeps_its_flows_and_gets_no_new_ones(void **state)
{
	unsigned int receivers[200];

	(void)state;
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++)
		receivers[i] = receiver_of(10000 + i);
	assert_int_equal(lab_apply(1U << 2 | 1U << 3), 0); /* 1 leaves, 3 comes */
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++) {
		assert_int_equal(receiver_of(10000 + i), receivers[i]);
		assert_int_not_equal(receiver_of(20000 + i), 1);
	}
}

static void removing_the_former_machine_moves_its_flows_on(void **state)
{
	unsigned int receivers[200], moved = 0;

	(void)state;
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++)
		receivers[i] = receiver_of(10000 + i);
	assert_int_equal(lab_apply(1U << 2), 0);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++) {
		assert_int_equal(receiver_of(10000 + i), 2);
		moved += receivers[i] == 1;
	}
	assert_true(moved > 0);
}

static void a_group_of_one_hands_over_as_larger_ones_do(void **state)
{
	(void)state;
	assert_int_equal(lab_apply(1U << 1), 0);
	assert_int_equal(receiver_of(10000), 1);
	assert_int_equal(lab_apply(1U << 2), 0);
	assert_int_equal(receiver_of(10000), 1);
	assert_int_equal(receiver_of(10001), 2);
	/* And back again: whoever knows a flow keeps it. */
	assert_int_equal(lab_apply(1U << 1), 0);
	assert_int_equal(receiver_of(10000), 1);
	assert_int_equal(receiver_of(10001), 2);
	assert_int_equal(receiver_of(10002), 1);
}

static void a_drained_group_serves_known_flows_only(void **state)
{
	struct outcome outcome;

	(void)state;
	assert_int_equal(lab_apply(1U << 1), 0);
	assert_int_equal(receiver_of(10000), 1);
	assert_int_equal(lab_apply(0), 0);
	assert_int_equal(receiver_of(10000), 1);
	outcome = lab_client_sends(10001, PORT_MANY);
	assert_left(outcome, WHERRY_NO_MACHINE);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	outcome = lab_client_sends(10000, PORT_MANY);
	assert_left(outcome, WHERRY_NO_MACHINE);
}

static void a_machine_that_comes_in_takes_its_share_only(void **state)
{
	unsigned int receivers[FLOWS], counts[MACHINES + 1] = {0}, moved = 0;
	uint8_t key[16];

	(void)state;
	for (uint16_t i = 0; i < FLOWS; i++)
		receivers[i] = receiver_of(10000 + i);
	while (bpf_map_get_next_key(lab.flows, NULL, key) == 0)
		bpf_map_delete_elem(lab.flows, key);
	assert_int_equal(lab_apply(1U << 1 | 1U << 2 | 1U << 3), 0);
	for (uint16_t i = 0; i < FLOWS; i++) {
		unsigned int now = receiver_of(10000 + i);

		counts[now]++;
		moved += now != receivers[i];
	}
	for (unsigned int n = 1; n <= MACHINES; n++)
		assert_in_range(counts[n], FLOWS * 28 / 100, FLOWS * 39 / 100);
	assert_in_range(moved, FLOWS * 28 / 100, FLOWS * 40 / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_range_serves_its_ports_and_no_others),
		TEST(ranges_of_every_alignment_are_exact),
		TEST(a_port_of_its_own_wins_over_the_range_around_it),
		TEST(a_tcp_service_does_not_serve_udp),
		TEST(flows_spread_over_machines_and_stay_put),
		TEST(a_forgotten_flow_comes_to_the_same_machine),
		TEST(a_former_machine_keeps_its_flows_and_gets_no_new_ones),
		TEST(removing_the_former_machine_moves_its_flows_on),
		TEST(a_group_of_one_hands_over_as_larger_ones_do),
		TEST(a_drained_group_serves_known_flows_only),
		TEST(a_machine_that_comes_in_takes_its_share_only),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
