/* SPDX-License-Identifier: Apache-2.0 */
/* See crossing.h. */
#include "crossing.h"

const struct datagram hello = {
	.from = CLIENT, .to = PUBLIC, .sport = CLIENT_PORT, .dport = PORT, .payload_len = 32};

/* The answer of machine 4, elsewhere, as its host sends it. */
struct datagram far_answer(void)
{
	struct datagram datagram = {.from = PUBLIC,
		.to = CLIENT,
		.sport = PORT,
		.dport = CLIENT_PORT,
		.payload_len = 40};

	return datagram;
}

int a_worker(void **state)
{
	int r = lab_reset(state);

	lab_fleet(EDGE_B);
	return r;
}

int an_edge(void **state)
{
	int r = lab_reset(state);

	lab_fleet(0);
	return r < 0 ? r : lab_apply(1U << 4);
}

/* By the machine's service address. */
struct outcome arrives(const struct frame *inside, uint32_t from, unsigned int machine)
{
	const struct frame frame =
		frame_ip(inside)->ihl == 5 && !(frame_ip(inside)->frag_off & htons(0x3fff))
			? frame_minimal(inside, from, lab.machines[machine].service)
			: frame_ipip(inside, from, lab.machines[machine].service);

	return lab_mesh(&frame);
}

struct outcome hello_arrives(uint32_t from, unsigned int machine)
{
	const struct frame frame = frame_udp(&hello);

	return arrives(&frame, from, machine);
}
