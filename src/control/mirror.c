/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table with open addressing; see mirror.h. A deleted key leaves its place with revision 0,
 * to be used again by the same key or to go when the table grows.
 */
#include "control/mirror.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>

struct entry {
	char *key; /* NULL: free */
	int64_t revision;
	bool is_unread; /* of this revision */
};

struct mirror {
	struct entry *entries;
	size_t size, used; /* a power of two; places that have a key */
};

#define FIRST_SIZE 1024

/* FNV-1a: keys are short and nobody's to choose but ours. */
static size_t hash(const char *key)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *key; key++)
		h = (h ^ (uint8_t)*key) * 0x100000001b3ULL;
	return (size_t)(h ^ h >> 32);
}

struct mirror *mirror_new(void)
{
	struct mirror *mirror = calloc(1, sizeof(*mirror));

	if (!mirror)
		return NULL;
	mirror->size = FIRST_SIZE;
	mirror->entries = calloc(mirror->size, sizeof(*mirror->entries));
	if (!mirror->entries)
		free(take_ptr(mirror));
	return mirror;
}

void mirror_free(struct mirror *mirror)
{
	if (!mirror)
		return;
	for (size_t i = 0; i < mirror->size; i++)
		free(mirror->entries[i].key);
	free(mirror->entries);
	free(mirror);
}

/* The key's place, or the free one where it would be. */
static struct entry *find(const struct mirror *mirror, const char *key)
{
	size_t at = hash(key) & (mirror->size - 1);

	while (mirror->entries[at].key && strcmp(mirror->entries[at].key, key) != 0)
		at = (at + 1) & (mirror->size - 1);
	return &mirror->entries[at];
}

int64_t mirror_get(const struct mirror *mirror, const char *key)
{
	const struct entry *entry = find(mirror, key);

	return entry->key ? entry->revision : 0;
}

bool mirror_is_read(const struct mirror *mirror, const char *key)
{
	const struct entry *entry = find(mirror, key);

	return !entry->key || !entry->is_unread;
}

void mirror_mark_unread(struct mirror *mirror, const char *key)
{
	struct entry *entry = find(mirror, key);

	if (entry->key)
		entry->is_unread = true;
}

static int grow(struct mirror *mirror)
{
	struct mirror larger = {.size = mirror->size * 2};

	larger.entries = calloc(larger.size, sizeof(*larger.entries));
	if (!larger.entries)
		return -ENOMEM;
	for (size_t i = 0; i < mirror->size; i++) {
		struct entry *entry = &mirror->entries[i];

		if (entry->key && entry->revision) {
			*find(&larger, entry->key) = *entry;
			larger.used++;
		} else {
			free(entry->key);
		}
	}
	free(mirror->entries);
	*mirror = larger;
	return 0;
}

int mirror_set(struct mirror *mirror, const char *key, int64_t revision)
{
	struct entry *entry = find(mirror, key);

	if (entry->key) {
		entry->revision = revision;
		entry->is_unread = false;
		return 0;
	}
	if (!revision)
		return 0;
	if ((mirror->used + 1) * 4 > mirror->size * 3) {
		if (grow(mirror) < 0)
			return -ENOMEM;
		entry = find(mirror, key);
	}
	entry->key = strdup(key);
	if (!entry->key)
		return -ENOMEM;
	entry->revision = revision;
	entry->is_unread = false;
	mirror->used++;
	return 0;
}

void mirror_delete_prefix(struct mirror *mirror, const char *prefix)
{
	const size_t len = strlen(prefix);

	for (size_t i = 0; i < mirror->size; i++)
		if (mirror->entries[i].key && strncmp(mirror->entries[i].key, prefix, len) == 0) {
			mirror->entries[i].revision = 0;
			mirror->entries[i].is_unread = false;
		}
}

void mirror_each(const struct mirror *mirror, const char *prefix,
	void (*fn)(void *arg, const char *key, int64_t revision), void *arg)
{
	const size_t len = strlen(prefix);

	for (size_t i = 0; i < mirror->size; i++) {
		const struct entry *entry = &mirror->entries[i];

		if (entry->key && entry->revision && strncmp(entry->key, prefix, len) == 0)
			fn(arg, entry->key, entry->revision);
	}
}
