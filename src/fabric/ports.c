/* SPDX-License-Identifier: Apache-2.0 */
/* Port ranges as blocks; see ports.h. */
#include "fabric/ports.h"

size_t ports_split(uint16_t first, uint16_t last, struct port_block blocks[static PORTS_MAX_BLOCKS])
{
	uint32_t at = first;
	size_t count = 0;

	while (at <= last) {
		uint8_t bits = 16;

		/* Twice as large while it stays aligned and inside the range. */
		while (bits > 0 && !(at & ((1U << (17 - bits)) - 1)) &&
			at + (1U << (17 - bits)) - 1 <= last)
			bits--;
		blocks[count++] = (struct port_block){.port = (uint16_t)at, .bits = bits};
		at += 1U << (16 - bits);
	}
	return count;
}
