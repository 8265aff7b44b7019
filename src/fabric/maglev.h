/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): spreads the entries of a table evenly
 * over backends so that a change of backends moves few entries. The same names give the same
 * table on every host, whatever the order they are given in.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct maglev_backend {
	const char *name; /* what the backend's permutation follows from: the machine's id */
	uint16_t value;	  /* what stands in the table for it */
};

/*
 * Fills @table, whose @size is prime and larger than @count, with the backends' values; with 0
 * when @count is 0. Returns 0 or -ENOMEM.
 */
int maglev_fill(
	uint16_t *table, uint32_t size, const struct maglev_backend *backends, size_t count);
