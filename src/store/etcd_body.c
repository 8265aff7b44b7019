/* SPDX-License-Identifier: Apache-2.0 */
/* The text of requests; see etcd_body.h. Out of memory aborts, as in a struct buf. */
#include "store/etcd_body.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "store/base64.h"

/* An operation and its place in the transaction. */
struct placed {
	const struct store_op *op;
	size_t place;
};

struct merger {
	struct buf *out;
	const char *prefix;
	int64_t lease;
	bool has_one;
	struct placed *prefixes; /* to be deleted; sorted, none within another */
	size_t prefix_count;
	struct placed *keys; /* the last operation on each key; sorted */
	size_t key_count;
};

/* Puts prefix, key and @end together; the caller clears. */
static struct buf whole_key(const char *prefix, const char *key, const char *end, size_t end_len)
{
	struct buf whole = {};

	buf_adds(&whole, prefix);
	buf_adds(&whole, key);
	buf_add(&whole, end, end_len);
	return whole;
}

/* The first key after all that start with @start. The prefix has a byte that can grow. */
static struct buf end_of(const struct buf *start)
{
	struct buf end = {};
	size_t len = start->len;

	while (len && (unsigned char)start->data[len - 1] == 0xff)
		len--;
	buf_add(&end, start->data, len);
	if (len)
		end.data[len - 1]++;
	return end;
}

static void add_bytes(struct buf *out, const char *name, const void *data, size_t len)
{
	buf_addf(out, "\"%s\":\"", name);
	base64_add(out, data, len);
	buf_adds(out, "\"");
}

void etcd_body_range(struct buf *out, const char *prefix, const char *key, const char *from,
	size_t from_len, size_t limit, int64_t revision)
{
	_cleanup_(buf_clear) struct buf start = whole_key(prefix, key, "", 0);
	_cleanup_(buf_clear) struct buf end = end_of(&start);

	buf_adds(out, "{");
	add_bytes(out, "key", from ? from : start.data, from ? from_len : start.len);
	buf_adds(out, ",");
	add_bytes(out, "range_end", end.data, end.len);
	buf_addf(out, ",\"limit\":\"%zu\",\"revision\":\"%lld\"}", limit, (long long)revision);
}

void etcd_body_get(struct buf *out, const char *prefix, const char *key)
{
	_cleanup_(buf_clear) struct buf whole = whole_key(prefix, key, "", 0);

	buf_adds(out, "{");
	add_bytes(out, "key", whole.data, whole.len);
	buf_adds(out, "}");
}

static int by_key(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	int r = strcmp(x->op->key, y->op->key);

	return r ? r : (x->place > y->place) - (x->place < y->place);
}

static bool starts_with(const char *key, const char *prefix)
{
	return strncmp(key, prefix, strlen(prefix)) == 0;
}

/* A prefix within another goes with it. The outer one sorts first; the same one twice is one. */
static void keep_outer_prefixes(struct merger *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->prefix_count; i++)
		if (!kept || !starts_with(m->prefixes[i].op->key, m->prefixes[kept - 1].op->key))
			m->prefixes[kept++] = m->prefixes[i];
	m->prefix_count = kept;
}

static bool is_deleted_later(
	const struct placed *key, const struct placed *prefixes, size_t prefix_count)
{
	for (size_t i = 0; i < prefix_count; i++)
		if (prefixes[i].place > key->place &&
			starts_with(key->op->key, prefixes[i].op->key))
			return true;
	return false;
}

static void keep_last_operations(struct merger *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->key_count; i++) {
		bool is_last = i + 1 == m->key_count ||
			       strcmp(m->keys[i].op->key, m->keys[i + 1].op->key) != 0;

		if (is_last && !is_deleted_later(&m->keys[i], m->prefixes, m->prefix_count))
			m->keys[kept++] = m->keys[i];
	}
	m->key_count = kept;
}

static void sort_operations(struct merger *m, const struct store_op *ops, size_t count)
{
	m->prefixes = calloc(count + 1, sizeof(*m->prefixes));
	m->keys = calloc(count + 1, sizeof(*m->keys));
	if (!m->prefixes || !m->keys)
		abort();
	for (size_t i = 0; i < count; i++) {
		if (ops[i].type == STORE_DELETE_PREFIX)
			m->prefixes[m->prefix_count++] = (struct placed){&ops[i], i};
		else
			m->keys[m->key_count++] = (struct placed){&ops[i], i};
	}
	qsort(m->prefixes, m->prefix_count, sizeof(*m->prefixes), by_key);
	qsort(m->keys, m->key_count, sizeof(*m->keys), by_key);
	keep_last_operations(m); /* asks for all prefixes' places */
	keep_outer_prefixes(m);
}

static void next_operation(struct merger *m)
{
	if (m->has_one)
		buf_adds(m->out, ",");
	m->has_one = true;
}

static void add_put(struct merger *m, const struct store_op *op)
{
	_cleanup_(buf_clear) struct buf whole = whole_key(m->prefix, op->key, "", 0);

	next_operation(m);
	buf_adds(m->out, "{\"request_put\":{");
	add_bytes(m->out, "key", whole.data, whole.len);
	buf_adds(m->out, ",");
	add_bytes(m->out, "value", op->value, strlen(op->value));
	if (m->lease)
		buf_addf(m->out, ",\"lease\":\"%lld\"", (long long)m->lease);
	buf_adds(m->out, "}}");
}

/* From @start up to @end, which may be NULL: the one key. */
static void add_delete(struct merger *m, const struct buf *start, const struct buf *end)
{
	if (end && start->len == end->len && memcmp(start->data, end->data, end->len) == 0)
		return;
	next_operation(m);
	buf_adds(m->out, "{\"request_delete_range\":{");
	add_bytes(m->out, "key", start->data, start->len);
	if (end) {
		buf_adds(m->out, ",");
		add_bytes(m->out, "range_end", end->data, end->len);
	}
	buf_adds(m->out, "}}");
}

/* Deletes what is below a prefix, around what is put there. Returns the first key after it. */
static size_t add_gaps(struct merger *m, const char *deleted, size_t at)
{
	struct buf start = whole_key(m->prefix, deleted, "", 0);
	_cleanup_(buf_clear) struct buf end = end_of(&start);

	for (; at < m->key_count && starts_with(m->keys[at].op->key, deleted); at++) {
		const struct store_op *op = m->keys[at].op;
		struct buf key;

		if (op->type != STORE_PUT)
			continue;
		key = whole_key(m->prefix, op->key, "", 0);
		add_delete(m, &start, &key);
		add_put(m, op);
		buf_clear(&start);
		buf_clear(&key);
		start = whole_key(m->prefix, op->key, "", 1);
	}
	add_delete(m, &start, &end);
	buf_clear(&start);
	return at;
}

static void add_key(struct merger *m, const struct store_op *op)
{
	_cleanup_(buf_clear) struct buf key = {};

	if (op->type == STORE_PUT) {
		add_put(m, op);
		return;
	}
	key = whole_key(m->prefix, op->key, "", 0);
	add_delete(m, &key, NULL);
}

static void add_operations(struct merger *m)
{
	size_t at = 0;

	for (size_t i = 0; i < m->prefix_count; i++) {
		const char *deleted = m->prefixes[i].op->key;

		while (at < m->key_count && strcmp(m->keys[at].op->key, deleted) < 0)
			add_key(m, m->keys[at++].op);
		at = add_gaps(m, deleted, at);
	}
	while (at < m->key_count)
		add_key(m, m->keys[at++].op);
}

void etcd_body_txn(struct buf *out, const char *prefix, const struct store_compare *compares,
	size_t compare_count, const struct store_op *ops, size_t op_count, int64_t lease)
{
	struct merger m = {.out = out, .prefix = prefix, .lease = lease};

	buf_adds(out, "{\"compare\":[");
	for (size_t i = 0; i < compare_count; i++) {
		_cleanup_(buf_clear) struct buf key = whole_key(prefix, compares[i].key, "", 0);

		buf_adds(out, i ? ",{" : "{");
		add_bytes(out, "key", key.data, key.len);
		buf_addf(out, ",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"%lld\"}",
			(long long)compares[i].mod_revision);
	}
	buf_adds(out, "],\"success\":[");
	sort_operations(&m, ops, op_count);
	add_operations(&m);
	free(m.prefixes);
	free(m.keys);
	buf_adds(out, "]}");
}

void etcd_body_grant(struct buf *out, unsigned int ttl_s)
{
	buf_addf(out, "{\"TTL\":\"%u\"}", ttl_s);
}

void etcd_body_keepalive(struct buf *out, int64_t lease)
{
	buf_addf(out, "{\"ID\":\"%lld\"}", (long long)lease);
}

void etcd_body_watch(struct buf *out, const char *prefix, int64_t revision)
{
	_cleanup_(buf_clear) struct buf start = whole_key(prefix, "", "", 0);
	_cleanup_(buf_clear) struct buf end = end_of(&start);

	buf_adds(out, "{\"create_request\":{");
	add_bytes(out, "key", start.data, start.len);
	buf_adds(out, ",");
	add_bytes(out, "range_end", end.data, end.len);
	buf_addf(out, ",\"start_revision\":\"%lld\",\"progress_notify\":true}}",
		(long long)revision);
}
