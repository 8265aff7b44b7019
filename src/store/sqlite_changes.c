/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction's changes; see sqlite_changes.h. Out of memory aborts, as in a struct buf. */
#include "store/sqlite_changes.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	const struct sqlite_change *x = a, *y = b;
	int r = strcmp(x->key, y->key);

	return r ? r : (x->place > y->place) - (x->place < y->place);
}

void sqlite_changes_add(struct sqlite_changes *changes, const char *key, const char *value)
{
	if (changes->count == changes->size) {
		changes->size = changes->size ? changes->size * 2 : 16;
		changes->items =
			reallocarray(changes->items, changes->size, sizeof(*changes->items));
		if (!changes->items)
			abort();
	}
	changes->items[changes->count] = (struct sqlite_change){
		.key = strdup(key),
		.value = value,
		.place = changes->count,
	};
	if (!changes->items[changes->count++].key)
		abort();
}

struct store_event *sqlite_changes_events(struct sqlite_changes *changes, size_t *count)
{
	struct store_event *events = calloc(changes->count + 1, sizeof(*events));

	if (!events)
		abort();
	*count = 0;
	if (changes->count)
		qsort(changes->items, changes->count, sizeof(*changes->items), compare);
	for (size_t i = 0; i < changes->count; i++) {
		const struct sqlite_change *change = &changes->items[i];

		if (i + 1 < changes->count && strcmp(change->key, change[1].key) == 0)
			continue;
		events[(*count)++] = (struct store_event){
			.key = change->key,
			.value = change->value,
			.value_len = change->value ? strlen(change->value) : 0,
		};
	}
	return events;
}

void sqlite_changes_clear(struct sqlite_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++)
		free(changes->items[i].key);
	free(changes->items);
	*changes = (struct sqlite_changes){};
}
