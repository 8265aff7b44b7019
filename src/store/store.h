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

/* What a transaction did to one key. */
struct store_event {
	const char *key;
	const char *value; /* NULL: the key was deleted */
	size_t value_len;
};

/*
 * Called once for each committed transaction, by this or another client of the store, in revision
 * order, from store_dispatch() or from within store_txn(); large ones may come in several parts of
 * one revision. @events is NULL with @count 0 when the watcher has missed changes (what it watched
 * was compacted, or the store was restored) and must read everything again.
 */
typedef void store_watch_fn(
	void *arg, int64_t revision, const struct store_event *events, size_t count);

/*
 * Opens (makes, when absent) the embedded store in @path. Errors say what is wrong with the file
 * and what to do: corrupt, read-only, not ours, newer schema.
 */
int store_open_sqlite(struct store **out, const char *path, struct err *err);

/* How to reach etcd v3, by its JSON gateway. */
struct store_etcd_options {
	/*
	 * "etcd://HOST:PORT[,HOST:PORT...][/PREFIX]", etcds:// with TLS. Keys of the catalog stand
	 * below PREFIX/ in etcd, "wherry" by default.
	 */
	const char *url;
	const char *ca_file, *cert_file, *key_file; /* PEM; NULL: the system's, none */
};

/*
 * Opens the store of a fleet. Every call is answered, or fails, within 2 s (a range of megabytes:
 * 2 s for each page of it); while etcd is known to be away calls fail at once, with -EHOSTDOWN and
 * the endpoints in the sentence, and a connection is sought in the background (store_dispatch()).
 * A transaction that was sent and never answered is -EHOSTDOWN, too, and the sentence says that it
 * may have happened: it is never sent twice. Fails with -EHOSTDOWN when no endpoint answers
 * now; -EINVAL for a URL or file that cannot be used.
 */
int store_open_etcd(struct store **out, const struct store_etcd_options *options, struct err *err);

/* Checks the form of the URL alone. */
int store_check_etcd_url(const char *url, struct err *err);

/*
 * 0 while the store answers, else -EHOSTDOWN and why, in a sentence. An embedded store is never
 * away.
 */
int store_is_away(struct store *store, struct err *err);

/*
 * Puts @key now and keeps it there while this process lives and the store hears of it: a store of
 * many hosts deletes it @ttl_s seconds after they part; an embedded one when the store is closed.
 * Setting it again replaces the value. Comes back by itself when the store was away for longer.
 * When this fails, what was kept before stays as it was. Closing a store of many hosts does not
 * delete it: a daemon that restarts within @ttl_s sets it again and nobody notices.
 */
int store_keep_alive(struct store *store, const char *key, const char *value, unsigned int ttl_s,
	struct err *err);

/*
 * Called some times a second from within the calls below while they wait for an answer: for what
 * cannot wait as long. It must not use the store. NULL: nothing.
 */
typedef void store_wait_fn(void *arg);
void store_on_wait(struct store *store, store_wait_fn *fn, void *arg);

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

/*
 * Sets the one watcher; NULL removes it. It hears of what is committed after @revision, of
 * store_range() or store_txn(); 0: from now on.
 */
void store_watch(struct store *store, int64_t revision, store_watch_fn *fn, void *arg);

/* A descriptor that polls readable when store_dispatch() has work, or -1: none is needed. It stays
 * the same while the store is open. */
int store_watch_fd(struct store *store);
int store_dispatch(struct store *store, struct err *err);

void store_entry_clear(struct store_entry *entry);
void store_entries_clear(struct store_entries *entries);
