/* SPDX-License-Identifier: Apache-2.0 */
/* Maglev hashing; see maglev.h. */
#include "fabric/maglev.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>

/* Where a backend stands in its own permutation of the table. */
struct turn {
	const struct maglev_backend *backend;
	uint32_t skip, next; /* the next entry it asks for */
};

/* FNV-1a, 64 bits, then a finaliser (MurmurHash3's): published, and the same on every host. */
static uint64_t hash_name(const char *name, uint64_t seed)
{
	uint64_t hash = 0xcbf29ce484222325ULL ^ seed;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3ULL;
	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 33;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return hash ^ hash >> 33;
}

static int compare_turns(const void *a, const void *b)
{
	const struct turn *left = a, *right = b;

	return strcmp(left->backend->name, right->backend->name);
}

int maglev_fill(uint16_t *table, uint32_t size, const struct maglev_backend *backends, size_t count)
{
	_free_ struct turn *turns = NULL;
	_free_ uint8_t *taken = NULL;
	uint32_t filled = 0;

	memset(table, 0, size * sizeof(*table));
	if (count == 0)
		return 0;
	turns = calloc(count, sizeof(*turns));
	taken = calloc(size, 1);
	if (!turns || !taken)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		turns[i].backend = &backends[i];
		turns[i].next = (uint32_t)(hash_name(backends[i].name, 0) % size);
		turns[i].skip = (uint32_t)(hash_name(backends[i].name, 0x9e3779b97f4a7c15ULL) %
					   (size - 1)) +
				1;
	}
	/* Backends take turns in an order that does not depend on the caller's. */
	qsort(turns, count, sizeof(*turns), compare_turns);
	for (;;) {
		for (size_t i = 0; i < count; i++) {
			while (taken[turns[i].next])
				turns[i].next = (turns[i].next + turns[i].skip) % size;
			taken[turns[i].next] = 1;
			table[turns[i].next] = turns[i].backend->value;
			if (++filled == size)
				return 0;
		}
	}
}
