/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the catalog that every store shares: limits, dispatch and what entries own. See
 * store.h for the promise and store_impl.h for what a store brings.
 */
#include "store/store.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "store/store_impl.h"

static int check_key(const char *key, struct err *err)
{
	size_t len = strlen(key);

	if (len == 0)
		return err_set(err, -EINVAL, "a key of the catalog is empty");
	if (len > STORE_KEY_MAX_BYTES)
		return err_set(err, -E2BIG,
			"the catalog's key %.40s... is %zu bytes long; %d are allowed", key, len,
			STORE_KEY_MAX_BYTES);
	return 0;
}

static int check_op(const struct store_op *op, struct err *err)
{
	int r;

	if (op->type == STORE_DELETE_PREFIX && !*op->key) /* everything */
		return 0;
	r = check_key(op->key, err);
	if (r < 0 || op->type != STORE_PUT)
		return r;
	if (strlen(op->value) > STORE_VALUE_MAX_BYTES)
		return err_set(err, -E2BIG,
			"the catalog cannot hold %zu bytes under %s; %d are allowed",
			strlen(op->value), op->key, STORE_VALUE_MAX_BYTES);
	return 0;
}

void store_close(struct store *store)
{
	if (store)
		store->ops->close(store);
}

int store_get(struct store *store, const char *key, struct store_entry *out, struct err *err)
{
	int r = check_key(key, err);

	return r < 0 ? r : store->ops->get(store, key, out, err);
}

int store_range(struct store *store, const char *prefix, struct store_entries *out,
	int64_t *revision, struct err *err)
{
	int r = *prefix ? check_key(prefix, err) : 0;

	return r < 0 ? r : store->ops->range(store, prefix, out, revision, err);
}

int store_txn(struct store *store, const struct store_compare *compares, size_t compare_count,
	const struct store_op *ops, size_t op_count, int64_t *revision, struct err *err)
{
	int64_t ignored;
	int r = 0;

	if (op_count > STORE_TXN_MAX_OPS || compare_count > STORE_TXN_MAX_OPS)
		return err_set(err, -E2BIG,
			"a change of %zu values is too large for the catalog; %d at a time are "
			"allowed",
			op_count > compare_count ? op_count : compare_count, STORE_TXN_MAX_OPS);
	for (size_t i = 0; r == 0 && i < compare_count; i++)
		r = check_key(compares[i].key, err);
	for (size_t i = 0; r == 0 && i < op_count; i++)
		r = check_op(&ops[i], err);
	if (r < 0)
		return r;
	return store->ops->txn(
		store, compares, compare_count, ops, op_count, revision ? revision : &ignored, err);
}

void store_on_wait(struct store *store, store_wait_fn *fn, void *arg)
{
	store->wait_fn = fn;
	store->wait_arg = arg;
}

void store_watch(struct store *store, int64_t revision, store_watch_fn *fn, void *arg)
{
	store->watch_fn = fn;
	store->watch_arg = arg;
	if (store->ops->watch)
		store->ops->watch(store, revision);
}

int store_is_away(struct store *store, struct err *err)
{
	return store->ops->is_away ? store->ops->is_away(store, err) : 0;
}

int store_keep_alive(struct store *store, const char *key, const char *value, unsigned int ttl_s,
	struct err *err)
{
	struct store_op op = {STORE_PUT, key, value};
	int r = check_op(&op, err);

	if (r < 0)
		return r;
	if (ttl_s == 0)
		return err_set(err, -EINVAL, "%s cannot be kept alive for 0 seconds", key);
	return store->ops->keep_alive(store, key, value, ttl_s, err);
}

int store_watch_fd(struct store *store)
{
	return store->ops->watch_fd ? store->ops->watch_fd(store) : -1;
}

int store_dispatch(struct store *store, struct err *err)
{
	return store->ops->dispatch ? store->ops->dispatch(store, err) : 0;
}

void store_tell(
	struct store *store, int64_t revision, const struct store_event *events, size_t count)
{
	if (store->watch_fn)
		store->watch_fn(store->watch_arg, revision, events, count);
}

void store_entries_add(struct store_entries *entries, size_t *size, const struct store_entry *entry)
{
	if (entries->count == *size) {
		*size = *size ? *size * 2 : 64;
		entries->items = reallocarray(entries->items, *size, sizeof(*entries->items));
		if (!entries->items)
			abort();
	}
	entries->items[entries->count++] = *entry;
}

void store_entry_clear(struct store_entry *entry)
{
	free(entry->key);
	free(entry->value);
	*entry = (struct store_entry){};
}

void store_entries_clear(struct store_entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		store_entry_clear(&entries->items[i]);
	free(entries->items);
	*entries = (struct store_entries){};
}
