/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd's answers; see etcd_json.h. Keys that are not text (one with a NUL in it) are not the
 * catalog's, whoever wrote them, and are passed over; keys outside the prefix were never asked for
 * and spoil the answer.
 */
#include "store/etcd_json.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "store/base64.h"
#include "store/store_impl.h"

static int refuse(struct err *err, const char *what)
{
	return err_set(err, -EPROTO, "its answer is not etcd's: %s", what);
}

static int load(const char *text, size_t len, json_t **out, struct err *err)
{
	json_t *json = json_loadb(len ? text : "", len, JSON_ALLOW_NUL, NULL);

	if (!json)
		return refuse(err, "it is not JSON");
	if (!json_is_object(json)) {
		json_decref(json);
		return refuse(err, "it is no JSON object");
	}
	*out = json;
	return 0;
}

/* An int64 or uint64 as digits; absent is 0. */
static int get_number(const json_t *object, const char *name, bool is_signed, uint64_t *out)
{
	const json_t *field = json_object_get(object, name);
	const char *text = json_string_value(field);
	char *end = NULL;

	*out = 0;
	if (!field)
		return 0;
	if (json_is_integer(field)) {
		*out = (uint64_t)json_integer_value(field);
		return 0;
	}
	if (!text || !*text || strspn(text, "-0123456789") != json_string_length(field))
		return -EPROTO;
	errno = 0;
	*out = is_signed ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
	return errno || *end ? -EPROTO : 0;
}

static int get_int64(const json_t *object, const char *name, int64_t *out, struct err *err)
{
	uint64_t number;

	if (get_number(object, name, true, &number) < 0 || (int64_t)number < 0)
		return refuse(err, "a number is none");
	*out = (int64_t)number;
	return 0;
}

static int get_bool(const json_t *object, const char *name, bool *out, struct err *err)
{
	const json_t *field = json_object_get(object, name);

	if (field && !json_is_boolean(field))
		return refuse(err, "a truth value is none");
	*out = json_is_true(field);
	return 0;
}

/* Absent bytes are none: etcd leaves empty values out. */
static int get_bytes(
	const json_t *object, const char *name, char **out, size_t *len, struct err *err)
{
	const json_t *field = json_object_get(object, name);

	if (field && !json_is_string(field))
		return refuse(err, "a key or value is no string");
	if (base64_decode(
		    field ? json_string_value(field) : "", json_string_length(field), out, len) < 0)
		return refuse(err, "a key or value is not base64");
	return 0;
}

static int get_header(const json_t *answer, struct etcd_header *out, struct err *err)
{
	const json_t *header = json_object_get(answer, "header");

	if (!json_is_object(header))
		return refuse(err, "it has no header");
	if (get_number(header, "cluster_id", false, &out->cluster_id) < 0 || !out->cluster_id)
		return refuse(err, "it names no cluster");
	return get_int64(header, "revision", &out->revision, err);
}

/* The elements of an array that may be absent. */
static int get_array(const json_t *object, const char *name, const json_t **out, struct err *err)
{
	*out = json_object_get(object, name);
	if (*out && !json_is_array(*out))
		return refuse(err, "a list is none");
	return 0;
}

/*
 * One key and its value. Returns 1 for a key that is not the catalog's. @raw_key is the key as etcd
 * has it, owned by the caller.
 */
static int get_entry(const json_t *kv, const char *prefix, struct store_entry *out, char **raw_key,
	size_t *raw_len, struct err *err)
{
	size_t skip = strlen(prefix);
	_free_ char *key = NULL;
	char *value = NULL;
	size_t len = 0, value_len = 0;
	int64_t revision = 0;
	int r;

	if (!json_is_object(kv))
		return refuse(err, "a key is no object");
	r = get_bytes(kv, "key", &key, &len, err);
	if (r == 0)
		r = get_int64(kv, "mod_revision", &revision, err);
	if (r < 0)
		return r;
	if (len < skip || memcmp(key, prefix, skip) != 0)
		return refuse(err, "it has keys that were not asked for");
	if (revision == 0)
		return refuse(err, "a key has no revision");
	r = get_bytes(kv, "value", &value, &value_len, err);
	if (r < 0)
		return r;
	*out = (struct store_entry){
		.key = strdup(key + skip),
		.value = value,
		.value_len = value_len,
		.mod_revision = revision,
	};
	if (!out->key)
		abort();
	r = len == skip || strlen(key) != len;
	*raw_key = take_ptr(key);
	*raw_len = len;
	return r;
}

static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
			*text = '?';
}

static void set_failure(struct etcd_failure *out, int64_t code, const char *message)
{
	out->code = code >= 0 && code < 1000 ? (int)code : 0;
	strncpy(out->message, message, sizeof(out->message) - 1);
	out->message[sizeof(out->message) - 1] = '\0';
	make_printable(out->message);
}

int etcd_json_failure(const char *text, size_t len, struct etcd_failure *out)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	const char *message;
	int64_t code = 0;

	if (load(text, len, &json, NULL) < 0)
		return -EPROTO;
	message = json_string_value(json_object_get(json, "message"));
	if (!message)
		message = json_string_value(json_object_get(json, "error"));
	if (!message || get_int64(json, "code", &code, NULL) < 0)
		return -EPROTO;
	set_failure(out, code, message);
	return 0;
}

/* A page that is spoiled leaves nothing behind: another endpoint may be asked for it. */
static int spoil_page(struct etcd_range_answer *out, size_t before, int code)
{
	while (out->entries.count > before)
		store_entry_clear(&out->entries.items[--out->entries.count]);
	return code;
}

static int add_page(const json_t *kvs, bool has_more, const char *prefix,
	struct etcd_range_answer *out, struct err *err)
{
	_free_ char *last = NULL;
	size_t last_len = 0, before = out->entries.count;

	for (size_t i = 0; i < json_array_size(kvs); i++) {
		struct store_entry entry = {};
		char *raw = NULL;
		int r = get_entry(json_array_get(kvs, i), prefix, &entry, &raw, &last_len, err);

		if (r < 0)
			return spoil_page(out, before, r);
		free(last);
		last = raw;
		if (r == 0)
			store_entries_add(&out->entries, &out->size, &entry);
		else
			store_entry_clear(&entry);
	}
	if (has_more && !last)
		return refuse(err, "a page of keys is empty");
	free(out->last_key);
	out->last_key = has_more ? take_ptr(last) : NULL;
	out->last_key_len = last_len;
	return 0;
}

int etcd_json_range(const char *text, size_t len, const char *prefix, struct etcd_range_answer *out,
	struct err *err)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	const json_t *kvs = NULL;
	bool has_more = false;
	int r;

	r = load(text, len, &json, err);
	if (r == 0)
		r = get_header(json, &out->header, err);
	if (r == 0)
		r = get_array(json, "kvs", &kvs, err);
	if (r == 0)
		r = get_bool(json, "more", &has_more, err);
	return r < 0 ? r : add_page(kvs, has_more, prefix, out, err);
}

int etcd_json_txn(const char *text, size_t len, struct etcd_txn_answer *out, struct err *err)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	int r;

	r = load(text, len, &json, err);
	if (r == 0)
		r = get_header(json, &out->header, err);
	return r < 0 ? r : get_bool(json, "succeeded", &out->has_succeeded, err);
}

/* A stream wraps each answer, and may say an error instead. */
static int unwrap(const json_t *json, const json_t **out, struct err *err)
{
	const json_t *error = json_object_get(json, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	struct etcd_failure failure;

	if (error) {
		set_failure(&failure, 0, message ? message : "an error");
		return err_set(err, -EIO, "etcd says: %s", failure.message);
	}
	*out = json_object_get(json, "result");
	return json_is_object(*out) ? 0 : refuse(err, "it has no result");
}

int etcd_json_lease(const char *text, size_t len, struct etcd_lease_answer *out, struct err *err)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	const json_t *answer;
	int r;

	r = load(text, len, &json, err);
	if (r < 0)
		return r;
	answer = json;
	if (!json_object_get(json, "header"))
		r = unwrap(json, &answer, err);
	if (r == 0)
		r = get_header(answer, &out->header, err);
	if (r == 0)
		r = get_int64(answer, "ID", &out->id, err);
	if (r == 0)
		r = get_int64(answer, "TTL", &out->ttl_s, err);
	return r;
}

/* Returns 1 for an event that is passed over. */
static int get_change(
	const json_t *event, const char *prefix, struct etcd_change *out, struct err *err)
{
	const json_t *type = json_object_get(event, "type");
	const char *name = json_string_value(type);
	struct store_entry entry = {};
	char *raw = NULL;
	size_t raw_len;
	bool is_delete;
	int r;

	if (type && (!name || (strcmp(name, "PUT") != 0 && strcmp(name, "DELETE") != 0)))
		return refuse(err, "an event is of no known type");
	is_delete = name && strcmp(name, "DELETE") == 0;
	r = get_entry(json_object_get(event, "kv"), prefix, &entry, &raw, &raw_len, err);
	free(raw);
	if (r != 0) {
		store_entry_clear(&entry);
		return r;
	}
	if (is_delete) {
		free(entry.value);
		entry.value = NULL;
		entry.value_len = 0;
	}
	*out = (struct etcd_change){
		.event = {.key = entry.key, .value = entry.value, .value_len = entry.value_len},
		.revision = entry.mod_revision,
	};
	return 0;
}

static int get_changes(
	const json_t *events, const char *prefix, struct etcd_watch_answer *out, struct err *err)
{
	int64_t before = 0;

	if (!json_array_size(events))
		return 0;
	out->changes = calloc(json_array_size(events), sizeof(*out->changes));
	if (!out->changes)
		abort();
	for (size_t i = 0; i < json_array_size(events); i++) {
		struct etcd_change *change = &out->changes[out->count];
		int r = get_change(json_array_get(events, i), prefix, change, err);

		if (r < 0)
			return r;
		if (r > 0)
			continue;
		out->count++;
		if (change->revision < before)
			return refuse(err, "its events are out of order");
		before = change->revision;
	}
	return 0;
}

int etcd_json_watch(const char *text, size_t len, const char *prefix, struct etcd_watch_answer *out,
	struct err *err)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	_cleanup_(etcd_watch_answer_clear) struct etcd_watch_answer answer = {};
	const json_t *result = NULL, *events = NULL;
	int r;

	r = load(text, len, &json, err);
	if (r == 0)
		r = unwrap(json, &result, err);
	if (r == 0)
		r = get_header(result, &answer.header, err);
	if (r == 0)
		r = get_bool(result, "created", &answer.is_created, err);
	if (r == 0)
		r = get_bool(result, "canceled", &answer.is_canceled, err);
	if (r == 0)
		r = get_int64(result, "compact_revision", &answer.compact_revision, err);
	if (r == 0)
		r = get_array(result, "events", &events, err);
	if (r == 0)
		r = get_changes(events, prefix, &answer, err);
	if (r < 0)
		return r;
	*out = answer;
	answer = (struct etcd_watch_answer){};
	return 0;
}

void etcd_range_answer_clear(struct etcd_range_answer *answer)
{
	store_entries_clear(&answer->entries);
	free(answer->last_key);
	*answer = (struct etcd_range_answer){};
}

void etcd_watch_answer_clear(struct etcd_watch_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++) {
		free((char *)answer->changes[i].event.key);
		free((char *)answer->changes[i].event.value);
	}
	free(answer->changes);
	*answer = (struct etcd_watch_answer){};
}
