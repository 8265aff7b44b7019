/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array. Since no two of its prefixes overlap, one that overlaps another is either the
 * last that does not begin after it, or the next one; see prefix_set.h.
 */
#include "base/prefix_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void prefix_set_clear(struct prefix_set *set)
{
	free(set->items);
	*set = (struct prefix_set){};
}

/* The first item that begins after @addr. */
static size_t position(const struct prefix_set *set, const struct addr *addr)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (addr_compare(&set->items[middle].prefix.addr, addr) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct prefix_claim *prefix_set_find(
	const struct prefix_set *set, const struct prefix *prefix)
{
	const size_t at = position(set, &prefix->addr);

	if (at > 0 && prefix_contains(&set->items[at - 1].prefix, &prefix->addr))
		return &set->items[at - 1];
	if (at < set->count && prefix_contains(prefix, &set->items[at].prefix.addr))
		return &set->items[at];
	return NULL;
}

int prefix_set_add(struct prefix_set *set, const struct prefix *prefix, unsigned int owner)
{
	const size_t at = position(set, &prefix->addr);

	if (set->count == set->size) {
		const size_t size = set->size ? set->size * 2 : 16;
		struct prefix_claim *items = reallocarray(set->items, size, sizeof(*items));

		if (!items)
			return -ENOMEM;
		set->items = items;
		set->size = size;
	}
	memmove(&set->items[at + 1], &set->items[at], (set->count - at) * sizeof(*set->items));
	set->items[at] = (struct prefix_claim){.prefix = *prefix, .owner = owner};
	set->count++;
	return 0;
}
