/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fabric/ports.h"

/* First failure only: 2^31 ranges would flood the log. */
static void assert_exact_cover(uint16_t first, uint16_t last)
{
	struct port_block blocks[PORTS_MAX_BLOCKS];
	size_t count = ports_split(first, last, blocks);
	uint32_t next = first;

	assert_in_range(count, 1, PORTS_MAX_BLOCKS);
	for (size_t i = 0; i < count; i++) {
		const uint32_t size = 1U << (16 - blocks[i].bits);

		if (blocks[i].port != next || blocks[i].port % size != 0)
			fail_msg("%u-%u: block %u/%u", first, last, blocks[i].port, blocks[i].bits);
		/* Fewest: two neighbours never make one larger aligned block. */
		if (i > 0 && blocks[i - 1].bits == blocks[i].bits &&
			blocks[i - 1].port % (size * 2) == 0)
			fail_msg("%u-%u: blocks at %u could be one", first, last, blocks[i].port);
		next += size;
	}
	if (next != (uint32_t)last + 1)
		fail_msg("%u-%u: covered to %u", first, last, next - 1);
}

static void every_range_of_a_few_ports_is_covered_exactly(void **state)
{
	(void)state;
	for (uint32_t first = 0; first <= 0xffff; first++)
		for (uint32_t last = first; last <= 0xffff && last < first + 16; last++)
			assert_exact_cover((uint16_t)first, (uint16_t)last);
}

static void ranges_of_every_size_are_covered_exactly(void **state)
{
	(void)state;
	for (uint32_t first = 0; first <= 0xffff; first += 257)
		for (uint32_t last = first; last <= 0xffff; last += 127)
			assert_exact_cover((uint16_t)first, (uint16_t)last);
	for (uint32_t port = 0; port <= 0xffff; port++) {
		assert_exact_cover(0, (uint16_t)port);
		assert_exact_cover(1, port ? (uint16_t)port : 1);
		assert_exact_cover((uint16_t)port, 0xffff);
		if (port <= 0xfffe)
			assert_exact_cover((uint16_t)port, 0xfffe);
	}
}

static void the_worst_range_fills_all_blocks(void **state)
{
	struct port_block blocks[PORTS_MAX_BLOCKS];

	(void)state;
	assert_int_equal(ports_split(1, 65534, blocks), PORTS_MAX_BLOCKS);
	assert_int_equal(ports_split(0, 65535, blocks), 1);
	assert_int_equal(blocks[0].bits, 0);
	assert_int_equal(ports_split(53, 53, blocks), 1);
	assert_int_equal(blocks[0].bits, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_range_of_a_few_ports_is_covered_exactly),
		cmocka_unit_test(ranges_of_every_size_are_covered_exactly),
		cmocka_unit_test(the_worst_range_fills_all_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
