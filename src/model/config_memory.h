/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the parts of a config. Running out of it ends the process, as in base/buf.h: a config
 * is small and bounded by CONFIG_MAX_BYTES.
 */
#pragma once

#include <stddef.h>

/* Returns a copy of @text, which the caller frees. */
char *text_copy(const char *text);

/* Returns @items, reallocated, with a zeroed element more than the @count there are. */
void *array_grow(void *items, size_t count, size_t item_size);

/* Appends a zeroed element to the array @items of @count; its value is a pointer to it. */
#define array_add(items, count)                                                                    \
	({                                                                                         \
		(items) = array_grow((items), (count), sizeof(*(items)));                          \
		&(items)[(count)++];                                                               \
	})
