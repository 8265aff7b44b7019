/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog: small values under ordered text keys. Every change belongs to a transaction that
 * either happens whole or not at all and advances the store's revision by one. Keys remember the
 * revision that changed them last, which is what compare-and-swap compares.
 *
 * One interface, several stores: struct store is an operations table that each store fills.
 * Calls block briefly and are made from one thread, the owner's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct err;
struct store;

struct store_entry {
	char *key;
	char *value; /* NUL-terminated text, JSON by convention */
	size_t value_len;
	int64_t mod_revision; /* of the transaction that wrote it; > 0 */
};

struct store_entries {
	struct store_entry *items; /* by key, ascending */
	size_t count;
};

enum store_op_type {
	STORE_PUT,
	STORE_DELETE,	     /* one key; an absent one is no error */
	STORE_DELETE_PREFIX, /* every key that starts with it */
};

struct store_op {
	enum store_op_type type;
	const char *key;
	const char *value; /* NUL-terminated; STORE_PUT only */
};

/* Holds when @key was last written by revision @mod_revision; 0: when there is no such key. */
struct store_compare {
	const char *key;
	int64_t mod_revision;
};

#define STORE_KEY_MAX_BYTES   512
#define STORE_VALUE_MAX_BYTES (1536 * 1024)
#define STORE_TXN_MAX_OPS     16384

/*
 * Called once for each committed transaction, by this or another client of the store, in revision
 * order, from store_dispatch() or from within store_txn(). @keys are what it put or deleted.
 * @keys is NULL with @count 0 when the watcher has missed changes and must read everything again.
 */
typedef void store_watch_fn(void *arg, int64_t revision, const char *const *keys, size_t count);

/*
 * Opens (makes, when absent) the embedded store in @path. Errors say what is wrong with the file
 * and what to do: corrupt, read-only, not ours, newer schema.
 */
int store_open_sqlite(struct store **out, const char *path, struct err *err);

void store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close)

/*
 * Reads one key. Returns 0 with an entry that the caller clears with store_entry_clear(), or 1
 * when there is no such key.
 */
int store_get(struct store *store, const char *key, struct store_entry *out, struct err *err);

/* Reads every key that starts with @prefix ("" for all), as of one revision. */
int store_range(struct store *store, const char *prefix, struct store_entries *out,
	int64_t *revision, struct err *err);

/*
 * Commits @ops when every compare holds. Returns 0 with the new revision, 1 when a compare did
 * not hold (nothing changed), or a negative errno (nothing changed; -ENOSPC disk full, -EROFS
 * read-only, -EBUSY locked by another program, -E2BIG over a limit above). A transaction that
 * changes no key (deletes of what is absent, no ops) leaves the revision as it is and is not
 * watched.
 */
int store_txn(struct store *store, const struct store_compare *compares, size_t compare_count,
	const struct store_op *ops, size_t op_count, int64_t *revision, struct err *err);

/* Sets the one watcher; NULL removes it. */
void store_watch(struct store *store, store_watch_fn *fn, void *arg);

/* A descriptor that polls readable when store_dispatch() has work, or -1: none is needed. */
int store_watch_fd(struct store *store);
int store_dispatch(struct store *store, struct err *err);

void store_entry_clear(struct store_entry *entry);
void store_entries_clear(struct store_entries *entries);
