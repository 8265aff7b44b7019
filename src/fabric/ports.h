/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port ranges as aligned blocks of a power of two ports, which is how the maps hold them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* No range needs more blocks. */
#define PORTS_MAX_BLOCKS 30

struct port_block {
	uint16_t port; /* host byte order; the low 16 - bits bits are zero */
	uint8_t bits;  /* 16: one port */
};

/* Cuts first..last (inclusive) into the fewest blocks, ascending. Returns how many. */
size_t ports_split(
	uint16_t first, uint16_t last, struct port_block blocks[static PORTS_MAX_BLOCKS]);
