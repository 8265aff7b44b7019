/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store must bring. Each embeds struct store as its first member and fills the operations;
 * store.c has checked the limits and tells the watcher through store_tell(). The operations mean
 * what the functions of the same name in store.h promise.
 */
#pragma once

#include "store/store.h"

struct store_ops {
	void (*close)(struct store *store);
	int (*get)(struct store *store, const char *key, struct store_entry *out, struct err *err);
	int (*range)(struct store *store, const char *prefix, struct store_entries *out,
		int64_t *revision, struct err *err);
	int (*txn)(struct store *store, const struct store_compare *compares, size_t compare_count,
		const struct store_op *ops, size_t op_count, int64_t *revision, struct err *err);
	int (*keep_alive)(struct store *store, const char *key, const char *value,
		unsigned int ttl_s, struct err *err);
	int (*is_away)(struct store *store, struct err *err);  /* NULL: never */
	void (*watch)(struct store *store, int64_t revision);  /* NULL: nothing to do */
	int (*watch_fd)(struct store *store);		       /* NULL: -1 */
	int (*dispatch)(struct store *store, struct err *err); /* NULL: nothing to do */
};

struct store {
	const struct store_ops *ops;
	store_watch_fn *watch_fn;
	void *watch_arg;
	store_wait_fn *wait_fn; /* or NULL */
	void *wait_arg;
};

void store_tell(
	struct store *store, int64_t revision, const struct store_event *events, size_t count);

/* Adds an entry, of which it takes over the key and the value. @size is the allocated length. */
void store_entries_add(
	struct store_entries *entries, size_t *size, const struct store_entry *entry);
