/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exporting and importing a catalog; see transfer.h.
 *
 *	{"format": "wherry-catalog", "version": 1, "revision": 42, "count": 2}
 *	{"key": "apps/web", "value": "{...}"}
 *
 * Bytes that are not UTF-8 go as key_base64 and value_base64. The count tells a text that was cut
 * short. What one transaction may hold is set by the strictest store in its default setting: etcd,
 * 128 operations and 1.5 MiB.
 */
#include "store/transfer.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/base64.h"
#include "store/store.h"
#include "store/store_impl.h"

#define FORMAT		"wherry-catalog"
#define LINE_MAX_BYTES	((size_t)16 << 20)
#define BATCH_MAX_KEYS	100
#define BATCH_MAX_BYTES ((size_t)1 << 20)

struct reader {
	FILE *in;
	struct buf line;
	size_t number; /* of the line, from 1 */
	struct store_entries entries;
	size_t size; /* what entries has room for */
	size_t promised;
};

static void reader_clear(struct reader *reader)
{
	buf_clear(&reader->line);
	store_entries_clear(&reader->entries);
}

static void add_text(json_t *line, const char *name, const char *text, size_t len)
{
	_cleanup_(buf_clear) struct buf encoded = {}, other_name = {};
	json_t *plain = json_stringn(text, len);

	if (plain) {
		json_object_set_new(line, name, plain);
		return;
	}
	base64_add(&encoded, text, len);
	buf_addf(&other_name, "%s_base64", name);
	json_object_set_new(line, other_name.data, json_stringn(encoded.data, encoded.len));
}

static int write_line(FILE *out, json_t *line)
{
	int r = line ? json_dumpf(line, out, JSON_COMPACT) : -1;

	json_decref(line);
	return r < 0 || fputc('\n', out) == EOF ? -EIO : 0;
}

static bool is_skipped(const char *key, const char *const *skipped)
{
	for (; skipped && *skipped; skipped++)
		if (strncmp(key, *skipped, strlen(*skipped)) == 0)
			return true;
	return false;
}

static void drop_skipped(struct store_entries *entries, const char *const *skipped)
{
	size_t kept = 0;

	for (size_t i = 0; i < entries->count; i++) {
		if (is_skipped(entries->items[i].key, skipped))
			store_entry_clear(&entries->items[i]);
		else
			entries->items[kept++] = entries->items[i];
	}
	entries->count = kept;
}

static int write_all(FILE *out, const struct store_entries *entries, int64_t revision)
{
	int r = write_line(out, json_pack("{s:s, s:i, s:I, s:I}", "format", FORMAT, "version",
					STORE_TRANSFER_VERSION, "revision", (json_int_t)revision,
					"count", (json_int_t)entries->count));

	for (size_t i = 0; r == 0 && i < entries->count; i++) {
		const struct store_entry *entry = &entries->items[i];
		json_t *line = json_object();

		add_text(line, "key", entry->key, strlen(entry->key));
		add_text(line, "value", entry->value, entry->value_len);
		r = write_line(out, line);
	}
	return r == 0 && fflush(out) == 0 ? 0 : -EIO;
}

int store_export(
	struct store *store, FILE *out, const char *const *skipped, size_t *count, struct err *err)
{
	_cleanup_(store_entries_clear) struct store_entries entries = {};
	int64_t revision = 0;
	int r = store_range(store, "", &entries, &revision, err);

	if (r < 0)
		return r;
	drop_skipped(&entries, skipped);
	errno = 0;
	if (write_all(out, &entries, revision) < 0)
		return err_set(err, -EIO, "cannot write the export: %s",
			errno ? strerror(errno) : "the output failed");
	if (count)
		*count = entries.count;
	return 0;
}

static int refuse(const struct reader *reader, struct err *err, const char *what)
{
	return err_set(err, -EINVAL, "line %zu of the export %s; nothing was imported",
		reader->number, what);
}

/* Returns 1 at the end. */
static int next_line(struct reader *reader, struct err *err)
{
	char chunk[65536];

	reader->line.len = 0;
	reader->number++;
	while (fgets(chunk, sizeof(chunk), reader->in)) {
		buf_adds(&reader->line, chunk);
		if (chunk[0] && chunk[strlen(chunk) - 1] == '\n')
			return 0;
		if (reader->line.len > LINE_MAX_BYTES)
			return refuse(reader, err, "is too long for one");
	}
	if (ferror(reader->in))
		return err_set(err, -EIO, "cannot read the export: %s", strerror(errno));
	return reader->line.len ? 0 : 1;
}

static int load_line(struct reader *reader, json_t **out, struct err *err)
{
	int r = next_line(reader, err);

	if (r != 0)
		return r;
	*out = json_loadb(
		reader->line.data, reader->line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	if (!json_is_object(*out))
		return refuse(reader, err, "is no JSON object");
	return 0;
}

static int read_head(struct reader *reader, struct err *err)
{
	_cleanup_(json_decrefp) json_t *line = NULL;
	const char *format;
	json_t *version, *count;
	int r = load_line(reader, &line, err);

	if (r == 1)
		return err_set(
			err, -EINVAL, "the export is empty; wherry catalog export writes one");
	if (r < 0)
		return r;
	format = json_string_value(json_object_get(line, "format"));
	version = json_object_get(line, "version");
	count = json_object_get(line, "count");
	if (!format || strcmp(format, FORMAT) != 0 || !json_is_integer(version))
		return refuse(reader, err, "does not say that this is a catalog's export");
	if (json_integer_value(version) != STORE_TRANSFER_VERSION)
		return err_set(err, -EINVAL,
			"the export is of version %lld and this program knows version %d; export "
			"again, or import with the program that is as new",
			(long long)json_integer_value(version), STORE_TRANSFER_VERSION);
	if (!json_is_integer(count) || json_integer_value(count) < 0)
		return refuse(reader, err, "does not say how many keys follow");
	reader->promised = (size_t)json_integer_value(count);
	return 0;
}

/* Returns 1 when there is no such text. The result is the caller's. */
static int get_text(const json_t *line, const char *name, char **out, size_t *len)
{
	_cleanup_(buf_clear) struct buf other_name = {};
	const json_t *field = json_object_get(line, name);

	if (json_is_string(field)) {
		*len = json_string_length(field);
		*out = strdup(json_string_value(field));
		return *out ? strlen(*out) != *len : -ENOMEM;
	}
	buf_addf(&other_name, "%s_base64", name);
	field = json_object_get(line, other_name.data);
	if (!json_is_string(field))
		return 1;
	if (base64_decode(json_string_value(field), json_string_length(field), out, len) < 0)
		return 1;
	return strlen(*out) != *len;
}

static int read_entry(struct reader *reader, const json_t *line, struct err *err)
{
	_free_ char *key = NULL, *value = NULL;
	size_t key_len = 0, value_len = 0;
	struct store_entry entry;

	if (get_text(line, "key", &key, &key_len) != 0)
		return refuse(reader, err, "has no key");
	if (get_text(line, "value", &value, &value_len) != 0)
		return refuse(reader, err, "has no value");
	if (key_len == 0 || key_len > STORE_KEY_MAX_BYTES)
		return refuse(reader, err, "has a key that is empty or too long");
	if (value_len > STORE_VALUE_MAX_BYTES)
		return refuse(reader, err, "has a value that is too large for a catalog");
	entry = (struct store_entry){
		.key = take_ptr(key),
		.value = take_ptr(value),
		.value_len = value_len,
	};
	store_entries_add(&reader->entries, &reader->size, &entry);
	return 0;
}

/* A daemon that finds its host in the catalog takes it for whole: hosts come last. */
static int compare_entries(const void *a, const void *b)
{
	const char *left = ((const struct store_entry *)a)->key;
	const char *right = ((const struct store_entry *)b)->key;
	const int left_is_host = strncmp(left, "hosts/", 6) == 0;
	const int right_is_host = strncmp(right, "hosts/", 6) == 0;

	return left_is_host != right_is_host ? left_is_host - right_is_host : strcmp(left, right);
}

static int check_whole(struct reader *reader, struct err *err)
{
	struct store_entries *entries = &reader->entries;

	if (entries->count != reader->promised)
		return err_set(err, -EINVAL,
			"the export has %zu of the %zu keys that it promises; it was cut short or "
			"edited, and nothing was imported",
			entries->count, reader->promised);
	if (entries->count)
		qsort(entries->items, entries->count, sizeof(*entries->items), compare_entries);
	for (size_t i = 1; i < entries->count; i++)
		if (strcmp(entries->items[i - 1].key, entries->items[i].key) == 0)
			return err_set(err, -EINVAL,
				"the export has the key %s twice; nothing was imported",
				entries->items[i].key);
	return 0;
}

static int read_all(struct reader *reader, struct err *err)
{
	int r = read_head(reader, err);

	while (r == 0) {
		_cleanup_(json_decrefp) json_t *line = NULL;

		r = load_line(reader, &line, err);
		if (r == 0)
			r = read_entry(reader, line, err);
	}
	return r < 0 ? r : check_whole(reader, err);
}

static int check_empty(struct store *store, struct err *err)
{
	_cleanup_(store_entries_clear) struct store_entries entries = {};
	int r = store_range(store, "", &entries, NULL, err);

	if (r < 0 || !entries.count)
		return r;
	return err_set(err, -EEXIST,
		"the store that is to take the catalog has %zu keys already (%.80s is the first); "
		"import into an empty one, or force it to put the keys beside and over them",
		entries.count, entries.items[0].key);
}

/* Puts what fits into one transaction. Returns how many keys, or a negative errno. */
static int put_batch(struct store *store, const struct store_entry *items, size_t left,
	bool is_forced, struct err *err)
{
	struct store_compare compares[BATCH_MAX_KEYS];
	struct store_op ops[BATCH_MAX_KEYS];
	size_t bytes = 0, count = 0;
	int r;

	while (count < left && count < BATCH_MAX_KEYS) {
		bytes += strlen(items[count].key) + items[count].value_len;
		if (count && bytes > BATCH_MAX_BYTES)
			break;
		compares[count] = (struct store_compare){items[count].key, 0};
		ops[count] = (struct store_op){STORE_PUT, items[count].key, items[count].value};
		count++;
	}
	r = store_txn(store, compares, is_forced ? 0 : count, ops, count, NULL, err);
	if (r == 1)
		return err_set(err, -EEXIST, "another program writes to the store; stop it");
	return r < 0 ? r : (int)count;
}

int store_import(struct store *store, FILE *in, bool is_forced, size_t *count, struct err *err)
{
	_cleanup_(reader_clear) struct reader reader = {.in = in};
	size_t done = 0;
	int r = read_all(&reader, err);

	if (r == 0 && !is_forced)
		r = check_empty(store, err);
	if (r < 0)
		return r;
	while (done < reader.entries.count) {
		r = put_batch(store, reader.entries.items + done, reader.entries.count - done,
			is_forced, err);
		if (r < 0)
			return err_wrap(err, r,
				"%zu of the %zu keys were imported, then it failed (force the "
				"import when it is repeated)",
				done, reader.entries.count);
		done += (size_t)r;
	}
	if (count)
		*count = done;
	return 0;
}
