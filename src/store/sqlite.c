/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store: one SQLite file, one process that writes it. The watcher is told from within
 * the transaction's call, after the commit, when every statement is at rest: it may use the store.
 *
 * Another process may write the file, too (a person with sqlite3, say). The next transaction
 * notices by the revision and has the watcher read everything again.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/sqlite_changes.h"
#include "store/sqlite_impl.h"
#include "store/store_impl.h"

enum statement {
	BEGIN_READ,
	BEGIN_WRITE,
	COMMIT,
	ROLLBACK,
	GET_REVISION,
	SET_REVISION,
	GET,
	RANGE,
	PUT,
	DELETE,
	STATEMENT_COUNT,
};

/* A prefix is the keys from it up to a bound; a blob, which sorts after all text, is no bound. */
static const char *const statements[STATEMENT_COUNT] = {
	[BEGIN_READ] = "BEGIN",
	[BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[GET_REVISION] = "SELECT revision FROM meta WHERE one = 1",
	[SET_REVISION] = "UPDATE meta SET revision = ?1 WHERE one = 1",
	[GET] = "SELECT key, value, mod_revision FROM entry WHERE key = ?1",
	[RANGE] = "SELECT key, value, mod_revision FROM entry WHERE key >= ?1 AND key < ?2 "
		  "ORDER BY key",
	[PUT] = "INSERT INTO entry (key, value, mod_revision) VALUES (?1, ?2, ?3) "
		"ON CONFLICT (key) DO UPDATE SET value = ?2, mod_revision = ?3",
	[DELETE] = "DELETE FROM entry WHERE key >= ?1 AND key < ?2 RETURNING key",
};

struct sqlite_store {
	struct store base;
	sqlite3 *db;
	char *path;
	int64_t revision; /* the last one seen */
	sqlite3_stmt *statements[STATEMENT_COUNT];
	char **kept; /* keys that go when the store is closed; owned */
	size_t kept_count;
};

static int failed(struct sqlite_store *s, int rc, struct err *err)
{
	return sqlite_file_error(s->db, rc, s->path, err);
}

/* Statements are at rest between calls: a statement at work would hold its transaction open. */
static void rest(sqlite3_stmt **stmt)
{
	sqlite3_reset(*stmt);
	sqlite3_clear_bindings(*stmt);
}

static int run(struct sqlite_store *s, enum statement which, struct err *err)
{
	_cleanup_(rest) sqlite3_stmt *stmt = s->statements[which];
	int rc = sqlite3_step(stmt);

	return rc == SQLITE_DONE ? 0 : failed(s, rc, err);
}

static void bind_text(sqlite3_stmt *stmt, int place, const char *text)
{
	/* Cannot fail: the places exist, and static text is not copied. */
	sqlite3_bind_text(stmt, place, text, -1, SQLITE_STATIC);
}

/* Up to the first text after all that starts with @prefix: its last byte that can grow, grown. */
static void bind_prefix(sqlite3_stmt *stmt, const char *prefix)
{
	char bound[STORE_KEY_MAX_BYTES];
	size_t len = strlen(prefix);

	assert(len <= sizeof(bound));
	bind_text(stmt, 1, prefix);
	while (len && (unsigned char)prefix[len - 1] == 0xff)
		len--;
	if (!len) {
		sqlite3_bind_zeroblob(stmt, 2, 0);
		return;
	}
	memcpy(bound, prefix, len);
	bound[len - 1]++;
	sqlite3_bind_text(stmt, 2, bound, (int)len, SQLITE_TRANSIENT);
}

/* Up to the next text that a key could be. */
static void bind_one_key(sqlite3_stmt *stmt, const char *key)
{
	char bound[STORE_KEY_MAX_BYTES + 2];

	snprintf(bound, sizeof(bound), "%s\x01", key);
	bind_text(stmt, 1, key);
	sqlite3_bind_text(stmt, 2, bound, -1, SQLITE_TRANSIENT);
}

static int read_entry(sqlite3_stmt *stmt, struct store_entry *out)
{
	const char *key = (const char *)sqlite3_column_text(stmt, 0);
	const char *value = (const char *)sqlite3_column_text(stmt, 1);

	*out = (struct store_entry){
		.key = key ? strdup(key) : NULL,
		.value = value ? strdup(value) : NULL,
		.mod_revision = sqlite3_column_int64(stmt, 2),
	};
	if (!out->key || !out->value) {
		store_entry_clear(out);
		return -ENOMEM;
	}
	out->value_len = strlen(out->value);
	return 0;
}

static int read_revision(struct sqlite_store *s, int64_t *out, struct err *err)
{
	_cleanup_(rest) sqlite3_stmt *stmt = s->statements[GET_REVISION];
	int rc = sqlite3_step(stmt);

	if (rc != SQLITE_ROW)
		return failed(s, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, err);
	*out = sqlite3_column_int64(stmt, 0);
	return 0;
}

/* Returns 1 when there is no such key. */
static int get_entry(
	struct sqlite_store *s, const char *key, struct store_entry *out, struct err *err)
{
	_cleanup_(rest) sqlite3_stmt *stmt = s->statements[GET];
	int rc;

	bind_text(stmt, 1, key);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_DONE)
		return 1;
	if (rc != SQLITE_ROW)
		return failed(s, rc, err);
	if (read_entry(stmt, out) < 0)
		return failed(s, SQLITE_NOMEM, err);
	return 0;
}

static int read_range(
	struct sqlite_store *s, const char *prefix, struct store_entries *out, struct err *err)
{
	_cleanup_(rest) sqlite3_stmt *stmt = s->statements[RANGE];
	size_t size = 0;
	int rc;

	bind_prefix(stmt, prefix);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct store_entry entry;

		if (read_entry(stmt, &entry) < 0)
			return failed(s, SQLITE_NOMEM, err);
		store_entries_add(out, &size, &entry);
	}
	return rc == SQLITE_DONE ? 0 : failed(s, rc, err);
}

/* Some failures end the transaction by themselves. */
static void roll_back(struct sqlite_store *s)
{
	if (!sqlite3_get_autocommit(s->db))
		run(s, ROLLBACK, NULL);
}

/* Returns 1 when one does not hold. */
static int check_compares(
	struct sqlite_store *s, const struct store_compare *compares, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct store_entry entry = {};
		int r = get_entry(s, compares[i].key, &entry, err);
		int64_t revision = entry.mod_revision;

		store_entry_clear(&entry);
		if (r < 0)
			return r;
		if (revision != compares[i].mod_revision)
			return 1;
	}
	return 0;
}

static int put(struct sqlite_store *s, const struct store_op *op, int64_t revision, struct err *err)
{
	_cleanup_(rest) sqlite3_stmt *stmt = s->statements[PUT];
	int rc;

	bind_text(stmt, 1, op->key);
	bind_text(stmt, 2, op->value);
	sqlite3_bind_int64(stmt, 3, revision);
	rc = sqlite3_step(stmt);
	return rc == SQLITE_DONE ? 0 : failed(s, rc, err);
}

static int delete_keys(struct sqlite_store *s, const struct store_op *op,
	struct sqlite_changes *changes, struct err *err)
{
	_cleanup_(rest) sqlite3_stmt *stmt = s->statements[DELETE];
	int rc;

	if (op->type == STORE_DELETE_PREFIX)
		bind_prefix(stmt, op->key);
	else
		bind_one_key(stmt, op->key);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(stmt, 0);

		if (!key)
			return failed(s, SQLITE_NOMEM, err);
		sqlite_changes_add(changes, key, NULL);
	}
	return rc == SQLITE_DONE ? 0 : failed(s, rc, err);
}

static int apply(struct sqlite_store *s, const struct store_op *ops, size_t count, int64_t revision,
	struct sqlite_changes *changes, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		if (ops[i].type != STORE_PUT) {
			r = delete_keys(s, &ops[i], changes, err);
			continue;
		}
		r = put(s, &ops[i], revision, err);
		sqlite_changes_add(changes, ops[i].key, ops[i].value);
	}
	if (r < 0 || !changes->count)
		return r;
	sqlite3_bind_int64(s->statements[SET_REVISION], 1, revision);
	return run(s, SET_REVISION, err);
}

static int sqlite_get(
	struct store *store, const char *key, struct store_entry *out, struct err *err)
{
	return get_entry((struct sqlite_store *)store, key, out, err);
}

static int sqlite_range(struct store *store, const char *prefix, struct store_entries *out,
	int64_t *revision, struct err *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct store_entries entries = {};
	int64_t seen = 0;
	int r;

	r = run(s, BEGIN_READ, err);
	if (r < 0)
		return r;
	r = read_revision(s, &seen, err);
	if (r == 0)
		r = read_range(s, prefix, &entries, err);
	roll_back(s); /* nothing was written */
	if (r < 0) {
		store_entries_clear(&entries);
		return r;
	}
	*out = entries;
	if (revision)
		*revision = seen;
	return 0;
}

static int sqlite_txn(struct store *store, const struct store_compare *compares,
	size_t compare_count, const struct store_op *ops, size_t op_count, int64_t *revision,
	struct err *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	_cleanup_(sqlite_changes_clear) struct sqlite_changes changes = {};
	int64_t before = 0;
	size_t count;
	bool has_missed;
	int r;

	r = run(s, BEGIN_WRITE, err);
	if (r < 0)
		return r;
	r = read_revision(s, &before, err);
	if (r == 0)
		r = check_compares(s, compares, compare_count, err);
	if (r == 0)
		r = apply(s, ops, op_count, before + 1, &changes, err);
	if (r == 0)
		r = run(s, COMMIT, err);
	if (r != 0) {
		roll_back(s);
		return r;
	}
	*revision = before + (changes.count ? 1 : 0);
	has_missed = before != s->revision;
	s->revision = *revision;
	if (has_missed) {
		store_tell(store, *revision, NULL, 0);
	} else if (changes.count) {
		_free_ struct store_event *events = sqlite_changes_events(&changes, &count);

		store_tell(store, *revision, events, count);
	}
	return 0;
}

static int sqlite_keep_alive(struct store *store, const char *key, const char *value,
	unsigned int ttl_s, struct err *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct store_op op = {STORE_PUT, key, value};
	int64_t revision;
	int r;

	(void)ttl_s;
	r = sqlite_txn(store, NULL, 0, &op, 1, &revision, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->kept_count; i++)
		if (strcmp(s->kept[i], key) == 0)
			return 0;
	s->kept = reallocarray(s->kept, s->kept_count + 1, sizeof(*s->kept));
	if (!s->kept)
		abort();
	s->kept[s->kept_count] = strdup(key);
	if (!s->kept[s->kept_count++])
		abort();
	return 0;
}

/* A file that cannot be written keeps them; whoever opens it next sets its own anew. */
static void delete_kept(struct sqlite_store *s)
{
	_free_ struct store_op *ops = calloc(s->kept_count + 1, sizeof(*ops));
	int64_t revision;

	for (size_t i = 0; ops && i < s->kept_count; i++)
		ops[i] = (struct store_op){STORE_DELETE, s->kept[i], NULL};
	s->base.watch_fn = NULL;
	if (ops && s->kept_count)
		sqlite_txn(&s->base, NULL, 0, ops, s->kept_count, &revision, NULL);
	for (size_t i = 0; i < s->kept_count; i++)
		free(s->kept[i]);
	free(s->kept);
}

static void sqlite_close(struct store *store)
{
	struct sqlite_store *s = (struct sqlite_store *)store;

	delete_kept(s);
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close_v2(s->db);
	free(s->path);
	free(s);
}

static const struct store_ops ops_of_sqlite = {
	.close = sqlite_close,
	.get = sqlite_get,
	.range = sqlite_range,
	.txn = sqlite_txn,
	.keep_alive = sqlite_keep_alive,
};

int store_open_sqlite(struct store **out, const char *path, struct err *err)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	_cleanup_(store_closep) struct store *store = NULL;
	int rc = SQLITE_OK, r;

	if (!s)
		return err_errno(err, -ENOMEM, "cannot open the catalog %s", path);
	s->base.ops = &ops_of_sqlite;
	store = &s->base;
	s->path = strdup(path);
	if (!s->path)
		return err_errno(err, -ENOMEM, "cannot open the catalog %s", path);
	r = sqlite_file_open(&s->db, path, err);
	if (r < 0)
		return r;
	for (size_t i = 0; rc == SQLITE_OK && i < STATEMENT_COUNT; i++)
		rc = sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
			&s->statements[i], NULL);
	if (rc != SQLITE_OK)
		return failed(s, rc, err);
	r = read_revision(s, &s->revision, err);
	if (r < 0)
		return r;
	*out = take_ptr(store);
	return 0;
}
