/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing arrays without a capacity field: the capacity is the smallest power of two that holds
 * the count, so an array grows exactly when its count is a power of two.
 */
#include "model/config_memory.h"

#include <stdlib.h>
#include <string.h>

char *text_copy(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}

void *array_grow(void *items, size_t count, size_t item_size)
{
	char *grown = items;

	if ((count & (count - 1)) == 0) {
		grown = reallocarray(items, count ? count * 2 : 1, item_size);
		if (!grown)
			abort();
	}
	memset(grown + count * item_size, 0, item_size);
	return grown;
}
