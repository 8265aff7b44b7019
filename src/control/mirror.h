/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which revision of each key of the store is the one in memory. A change compares with it, so that
 * it happens only to what its maker has seen; an event that is not newer than it is an echo.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mirror;

struct mirror *mirror_new(void); /* NULL: out of memory */
void mirror_free(struct mirror *mirror);

/* The revision that wrote @key last; 0: there is no such key. */
int64_t mirror_get(const struct mirror *mirror, const char *key);

/* Whether memory is what the key's revision says; a value that cannot be read leaves it as it was.
 */
bool mirror_is_read(const struct mirror *mirror, const char *key);
/* Until the key is set again. */
void mirror_mark_unread(struct mirror *mirror, const char *key);

/* @revision 0: the key was deleted. -ENOMEM. */
int mirror_set(struct mirror *mirror, const char *key, int64_t revision);

/* Forgets every key that starts with @prefix. */
void mirror_delete_prefix(struct mirror *mirror, const char *prefix);

/*
 * Calls @fn with every key that starts with @prefix; it may set keys that are there, and delete
 * none.
 */
void mirror_each(const struct mirror *mirror, const char *prefix,
	void (*fn)(void *arg, const char *key, int64_t revision), void *arg);
