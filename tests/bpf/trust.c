/* SPDX-License-Identifier: Apache-2.0 */
/* Off the mesh: who may send what, and what is forged. */
#include "crossing.h"

#include <stdlib.h>

static void hosts_that_may_not_send_are_refused(void **state)
{
	struct outcome outcome = hello_arrives(STRANGER, 1);

	(void)state;
	assert_dropped(outcome, WHERRY_MESH_UNKNOWN_HOST);
	outcome = hello_arrives(WORKER_C, 1);
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
	outcome = hello_arrives(lab.machines[4].service, 1);
	assert_dropped(outcome, WHERRY_MESH_UNKNOWN_HOST);
	outcome = hello_arrives(WORKER, 1); /* has machine 4, of the same app */
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
}

static void a_host_may_pass_on_for_an_app_as_long_as_it_has_machines_of_it(void **state)
{
	struct outcome outcome;

	(void)state;
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[4].id, NULL), 0);
	outcome = hello_arrives(WORKER, 1);
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
	outcome = hello_arrives(WORKER_B, 1);
	assert_int_equal(outcome.verdict, TCX_REDIRECT);
}

static void a_packet_for_another_app_s_address_is_refused(void **state)
{
	struct datagram datagram = hello;
	struct frame frame;
	struct outcome outcome;

	(void)state;
	datagram.to = PUBLIC_C;
	frame = frame_udp(&datagram);
	outcome = arrives(&frame, EDGE, 1);
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
	datagram.to = lab.machines[1].primary;
	frame = frame_udp(&datagram);
	outcome = arrives(&frame, EDGE, 1);
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
}

static void forged_clients_are_refused(void **state)
{
	const uint32_t sources[] = {0, IP4(127, 0, 0, 1), IP4(224, 0, 0, 5),
		lab.machines[1].primary, lab.machines[1].service, lab.machines[2].primary,
		lab.machines[4].primary};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct datagram datagram = hello;
		struct frame frame;
		struct outcome outcome;

		datagram.from = sources[i];
		frame = frame_udp(&datagram);
		outcome = arrives(&frame, EDGE, 1);
		assert_dropped(outcome, WHERRY_MARTIAN_SOURCE);
	}
}

static void assert_malformed(struct frame frame)
{
	struct outcome outcome = lab_mesh(&frame);

	assert_dropped(outcome, WHERRY_MESH_MALFORMED);
}

static void fix_minimal(struct frame *frame)
{
	uint8_t *minimal = (uint8_t *)(frame_ip(frame) + 1);
	uint32_t sum = 0;

	minimal[2] = minimal[3] = 0;
	for (int i = 0; i < 12; i += 2)
		sum += (uint32_t)minimal[i] << 8 | minimal[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	minimal[2] = (uint8_t)(sum >> 8);
	minimal[3] = (uint8_t)sum;
}

static struct frame good_minimal(void)
{
	const struct frame frame = frame_udp(&hello);

	return frame_minimal(&frame, EDGE, lab.machines[1].service);
}

static void forged_minimal_headers_are_malformed(void **state)
{
	struct frame frame;
	uint8_t *minimal;

	(void)state;
	for (size_t i = 0; i < 12; i++) { /* every byte is under the checksum */
		frame = good_minimal();
		((uint8_t *)(frame_ip(&frame) + 1))[i] ^= 0x41;
		assert_malformed(frame);
	}
	frame = good_minimal(); /* without the source */
	minimal = (uint8_t *)(frame_ip(&frame) + 1);
	minimal[1] = 0;
	fix_minimal(&frame);
	assert_malformed(frame);
	for (int i = 0; i < 2; i++) { /* encapsulated twice */
		frame = good_minimal();
		minimal = (uint8_t *)(frame_ip(&frame) + 1);
		minimal[0] = i ? 55 : 4;
		fix_minimal(&frame);
		assert_malformed(frame);
	}
	frame = good_minimal(); /* a fragment */
	frame_ip(&frame)->frag_off = htons(0x2000);
	frame_fix_ip(&frame);
	assert_malformed(frame);
	frame = good_minimal();
	frame_ip(&frame)->frag_off = htons(3);
	frame_fix_ip(&frame);
	assert_malformed(frame);
}

static void short_packets_are_malformed(void **state)
{
	const struct frame whole = frame_udp(&hello);

	(void)state;
	for (size_t len = 20; len < 20 + 12 + 8; len++) {
		struct frame frame = good_minimal();

		frame.len = ETH_HLEN + len;
		assert_malformed(frame); /* longer than what is there */
		frame_ip(&frame)->tot_len = htons((uint16_t)len);
		frame_fix_ip(&frame);
		assert_malformed(frame);
	}
	for (size_t len = 20; len < 20 + 20 + 8; len++) {
		struct frame frame = frame_ipip(&whole, EDGE, lab.machines[1].service);

		frame.len = ETH_HLEN + len;
		assert_malformed(frame);
		frame_ip(&frame)->tot_len = htons((uint16_t)len);
		frame_fix_ip(&frame);
		assert_malformed(frame);
	}
}

static void forged_inner_headers_are_malformed(void **state)
{
	const struct frame whole = frame_udp(&hello);
	const struct frame good = frame_ipip(&whole, EDGE, lab.machines[1].service);
	struct ip_view *inside;
	struct frame frame;

	(void)state;
	for (int what = 0; what < 7; what++) {
		frame = good;
		inside = frame_ip(&frame) + 1;
		switch (what) {
		case 0:
			inside->version = 6;
			break;
		case 1:
			inside->ihl = 4;
			break;
		case 2:
			inside->tot_len = htons((uint16_t)(ntohs(inside->tot_len) - 1));
			break;
		case 3:
			inside->tot_len = htons((uint16_t)(ntohs(inside->tot_len) + 1));
			break;
		case 4:
			inside->protocol = 4;
			break;
		case 5:
			inside->protocol = 55;
			break;
		case 6:
			inside->ihl = 15; /* the UDP header is beyond the end */
			break;
		}
		if (what == 6)
			frame.len = ETH_HLEN + 20 + 60;
		assert_malformed(frame);
	}
}

static void other_protocols_inside_are_refused(void **state)
{
	const struct frame tcp = frame_ipv4(CLIENT, PUBLIC, IPPROTO_TCP);
	struct outcome outcome = arrives(&tcp, EDGE, 1);

	(void)state;
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
}

static void a_flood_of_fragment_ids_breaks_no_flow(void **state)
{
	struct datagram datagram = hello;
	const uint32_t count = getenv("WHERRY_TEST_EMULATED") ? 1000 : 20000;
	struct outcome outcome;

	(void)state;
	datagram.more_fragments = true;
	for (uint32_t i = 0; i < count; i++) {
		struct frame frame;

		datagram.id = (uint16_t)i;
		datagram.from = CLIENT + i / 5000;
		frame = frame_udp(&datagram);
		outcome = arrives(&frame, EDGE, 1);
		assert_int_equal(outcome.verdict, TCX_REDIRECT);
	}
	outcome = hello_arrives(EDGE, 1);
	assert_int_equal(lab_receiver(&outcome), 1);
}

/* Around the fabric. */

static void what_is_not_encapsulated_is_for_this_host_alone(void **state)
{
	struct datagram datagram = {.from = WORKER, .sport = 1, .dport = PORT, .payload_len = 9};
	const uint32_t others[] = {lab.machines[1].service, lab.machines[1].primary,
		lab.machines[4].service, PUBLIC, ELSEWHERE, EDGE, IP4(224, 0, 0, 1)};
	struct frame frame;
	struct outcome outcome;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		datagram.to = others[i];
		frame = frame_udp(&datagram);
		outcome = lab_mesh(&frame);
		assert_dropped(outcome, WHERRY_BYPASS);
		frame = frame_ipv4(WORKER, others[i], IPPROTO_TCP);
		outcome = lab_mesh(&frame);
		assert_dropped(outcome, WHERRY_BYPASS);
	}
	datagram.to = SELF;
	frame = frame_udp(&datagram);
	outcome = lab_mesh(&frame);
	assert_not_ours(outcome);
	frame = frame_ipv4(WORKER, SELF, IPPROTO_ICMP);
	outcome = lab_mesh(&frame);
	assert_not_ours(outcome);
}

static void machines_are_not_reached_straight_from_outside(void **state)
{
	struct datagram datagram = {.from = CLIENT, .sport = 1, .dport = PORT, .payload_len = 9};
	const uint32_t addrs[] = {lab.machines[1].service, lab.machines[1].primary};
	struct outcome outcome;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
		struct frame frame = frame_ipv4(CLIENT, addrs[i], IPPROTO_TCP);

		outcome = lab_edge(&frame);
		assert_dropped(outcome, WHERRY_BYPASS);
		datagram.to = addrs[i];
		outcome = lab_edge_udp(&datagram);
		assert_dropped(outcome, WHERRY_BYPASS);
		datagram.offset8 = 2;
		outcome = lab_edge_udp(&datagram);
		assert_dropped(outcome, WHERRY_BYPASS);
		datagram.offset8 = 0;
	}
	datagram.to = HOST;
	outcome = lab_edge_udp(&datagram);
	assert_not_ours(outcome);
}

static void machines_do_not_reach_each_other_or_the_mesh_by_nat(void **state)
{
	const uint32_t others[] = {lab.machines[2].service, lab.machines[4].service,
		lab.machines[4].primary, WORKER, EDGE};
	const uint32_t own[] = {lab.machines[1].primary, lab.machines[1].service};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		for (size_t k = 0; k < ARRAY_LEN(own); k++) {
			const struct datagram datagram = {.from = own[k],
				.to = others[i],
				.sport = 900,
				.dport = PORT,
				.payload_len = 9};
			const struct frame frame = frame_ipv4(own[k], others[i], IPPROTO_TCP);
			struct outcome outcome = lab_worker_udp(1, &datagram);

			assert_dropped(outcome, WHERRY_BYPASS);
			outcome = lab_worker(1, &frame);
			assert_dropped(outcome, WHERRY_BYPASS);
		}
}

/* Edges. */

static void a_machine_speaks_for_its_own_app_s_addresses_only(void **state)
{
	struct datagram datagram = far_answer();
	struct frame frame = frame_udp(&datagram);
	struct frame outer = frame_minimal(&frame, lab.machines[6].service, SELF);
	struct outcome outcome = lab_mesh(&outer);

	(void)state;
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
	datagram.from = lab.machines[4].service; /* not public at all */
	frame = frame_udp(&datagram);
	outer = frame_minimal(&frame, lab.machines[4].service, SELF);
	outcome = lab_mesh(&outer);
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
	datagram.from = PUBLIC;
	frame = frame_udp(&datagram);
	outer = frame_minimal(&frame, lab.machines[1].service, SELF); /* is here */
	outcome = lab_mesh(&outer);
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
	outer = frame_minimal(&frame, WORKER, SELF);
	outcome = lab_mesh(&outer);
	assert_dropped(outcome, WHERRY_MESH_UNKNOWN_HOST);
	/* As if it gave back what it was asked about. */
	outer = frame_minimal(&frame, lab.machines[4].primary, SELF);
	outcome = lab_mesh(&outer);
	assert_dropped(outcome, WHERRY_MESH_NOT_ALLOWED);
}

static void addresses_of_the_mesh_are_no_clients(void **state)
{
	const uint32_t clients[] = {WORKER, EDGE, lab.machines[5].primary};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		struct datagram datagram = far_answer();
		struct frame frame, outer;
		struct outcome outcome;

		datagram.to = clients[i];
		frame = frame_udp(&datagram);
		outer = frame_minimal(&frame, lab.machines[4].service, SELF);
		outcome = lab_mesh(&outer);
		assert_int_equal(outcome.verdict, TCX_DROP);
		assert_int_equal(outcome.counted[WHERRY_MARTIAN_SOURCE], 1);
	}
}

#define WORKER_TEST(name) cmocka_unit_test_setup(name, a_worker)
#define EDGE_TEST(name)	  cmocka_unit_test_setup(name, an_edge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORKER_TEST(hosts_that_may_not_send_are_refused),
		WORKER_TEST(a_host_may_pass_on_for_an_app_as_long_as_it_has_machines_of_it),
		WORKER_TEST(a_packet_for_another_app_s_address_is_refused),
		WORKER_TEST(forged_clients_are_refused),
		WORKER_TEST(forged_minimal_headers_are_malformed),
		WORKER_TEST(short_packets_are_malformed),
		WORKER_TEST(forged_inner_headers_are_malformed),
		WORKER_TEST(other_protocols_inside_are_refused),
		WORKER_TEST(a_flood_of_fragment_ids_breaks_no_flow),
		WORKER_TEST(what_is_not_encapsulated_is_for_this_host_alone),
		WORKER_TEST(machines_are_not_reached_straight_from_outside),
		WORKER_TEST(machines_do_not_reach_each_other_or_the_mesh_by_nat),
		EDGE_TEST(a_machine_speaks_for_its_own_app_s_addresses_only),
		EDGE_TEST(addresses_of_the_mesh_are_no_clients),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
