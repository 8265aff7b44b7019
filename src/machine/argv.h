/* SPDX-License-Identifier: Apache-2.0 */
/* An argument vector that is built up: items[count] is NULL once anything was added. */
#pragma once

#include <stddef.h>

struct argv {
	char **items;
	size_t count;
};

/* Appends a copy of @text. Running out of memory aborts, as in buf.h. */
void argv_add(struct argv *argv, const char *text);
void argv_addf(struct argv *argv, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Frees the items and makes it empty again; usable with _cleanup_. */
void argv_clear(struct argv *argv);

static inline const char *const *argv_items(const struct argv *argv)
{
	return (const char *const *)argv->items;
}
