/* SPDX-License-Identifier: Apache-2.0 */
/* What a transaction of the embedded store has done so far, key by key, to tell the watcher. */
#pragma once

#include <stddef.h>

#include "store/store.h"

struct sqlite_changes {
	struct sqlite_change {
		char *key;	   /* owned */
		const char *value; /* the operation's, NULL for a delete */
		size_t place;	   /* among the transaction's changes */
	} * items;
	size_t count;
	size_t size;
};

/* @value must live as long as @changes. */
void sqlite_changes_add(struct sqlite_changes *changes, const char *key, const char *value);

/* One event for each key, by key: the last change wins. The caller frees the array alone. */
struct store_event *sqlite_changes_events(struct sqlite_changes *changes, size_t *count);

void sqlite_changes_clear(struct sqlite_changes *changes);
