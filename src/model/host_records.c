/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a fleet's hosts and their JSON; see records.h. A host's record is read by all
 * others, so an address that is not one, or a key of another length, is refused here.
 */
#include "model/records.h"

#include "base/err.h"

#include <errno.h>
#include <string.h>

static const char *get_text(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static int incomplete(struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "the catalog holds %s that this version cannot read", what);
}

static json_t *addr_to_json(const struct addr *addr)
{
	char text[ADDR_TEXT_LEN];

	return json_string(addr_format(addr, text));
}

/* An absent or empty one is no address. @family 0: of any. */
static bool read_addr(const json_t *json, const char *key, int family, struct addr *out)
{
	const char *text = get_text(json, key);

	*out = (struct addr){};
	if (!text || !*text)
		return true;
	return addr_parse(text, out) == 0 && (!family || out->family == family);
}

static bool read_prefix(const json_t *json, const char *key, struct prefix *out)
{
	const char *text = get_text(json, key);

	return text && prefix_parse(text, out) == 0 && out->addr.family == AF_INET;
}

static bool is_identity(const char *text)
{
	return strlen(text) == HOST_IDENTITY_LEN - 1 &&
	       strspn(text, "0123456789abcdef") == HOST_IDENTITY_LEN - 1;
}

static json_t *prefixes_to_json(const struct prefix *prefixes, size_t count)
{
	json_t *list = json_array();
	char text[PREFIX_TEXT_LEN];

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(prefix_format(&prefixes[i], text)));
	return list;
}

static int read_prefixes(
	const json_t *json, const char *key, int family, struct prefix **out, size_t *out_count)
{
	json_t *list = json_object_get(json, key);
	size_t count = json_array_size(list);

	*out = calloc(count + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || prefix_parse(text, &(*out)[i]) < 0 ||
			(family && (*out)[i].addr.family != family))
			return -EBADMSG;
	}
	*out_count = count;
	return 0;
}

json_t *fleet_record_to_json(const struct fleet_record *record)
{
	char machine_pool[PREFIX_TEXT_LEN], mesh_pool[PREFIX_TEXT_LEN];

	return json_pack("{s:s, s:s}", "machine_pool",
		prefix_format(&record->machine_pool, machine_pool), "mesh_pool",
		prefix_format(&record->mesh_pool, mesh_pool));
}

int fleet_record_from_json(const json_t *json, struct fleet_record *out, struct err *err)
{
	struct fleet_record record = {};

	if (!read_prefix(json, "machine_pool", &record.machine_pool) ||
		!read_prefix(json, "mesh_pool", &record.mesh_pool))
		return incomplete(err, "a description of the fleet");
	*out = record;
	return 0;
}

json_t *host_record_to_json(const struct host_record *record)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:i, s:o, s:o, s:b, s:b, s:b, s:o, s:o, "
			 "s:s}",
		"id", (int)record->id, "name", record->name, "region", record->region, "identity",
		record->identity, "public_key", record->public_key, "endpoint",
		addr_to_json(&record->endpoint), "endpoint_port", record->endpoint_port, "mesh_v4",
		addr_to_json(&record->mesh_v4), "mesh_v6", addr_to_json(&record->mesh_v6), "edge",
		record->is_edge, "worker", record->is_worker, "draining", record->is_draining,
		"slices", prefixes_to_json(record->slices, record->slice_count), "pools",
		prefixes_to_json(record->pools, record->pool_count), "joined_at",
		record->joined_at);
}

int host_record_from_json(const json_t *json, struct host_record **out, struct err *err)
{
	_cleanup_(host_record_freep) struct host_record *record = calloc(1, sizeof(*record));
	const char *name = get_text(json, "name"), *region = get_text(json, "region");
	const char *identity = get_text(json, "identity"), *key = get_text(json, "public_key");
	const char *joined_at = get_text(json, "joined_at");
	json_int_t id = json_integer_value(json_object_get(json, "id"));
	json_int_t port = json_integer_value(json_object_get(json, "endpoint_port"));

	if (!record)
		return err_errno(err, -ENOMEM, "cannot read a host");
	if (id < 1 || id > HOST_ID_MAX || !name || !*name || !region || !*region || !identity ||
		!is_identity(identity) || !key || (*key && strlen(key) != HOST_KEY_LEN - 1) ||
		port < 0 || port > UINT16_MAX ||
		!read_addr(json, "endpoint", 0, &record->endpoint) ||
		!read_addr(json, "mesh_v4", AF_INET, &record->mesh_v4) ||
		!read_addr(json, "mesh_v6", AF_INET6, &record->mesh_v6) ||
		read_prefixes(json, "slices", AF_INET, &record->slices, &record->slice_count) < 0 ||
		read_prefixes(json, "pools", 0, &record->pools, &record->pool_count) < 0)
		return incomplete(err, "a host");
	record->id = (unsigned int)id;
	record->name = strdup(name);
	record->region = strdup(region);
	strcpy(record->identity, identity);
	strcpy(record->public_key, key);
	record->endpoint_port = (uint16_t)port;
	record->is_edge = json_is_true(json_object_get(json, "edge"));
	record->is_worker = json_is_true(json_object_get(json, "worker"));
	record->is_draining = json_is_true(json_object_get(json, "draining"));
	snprintf(record->joined_at, sizeof(record->joined_at), "%s", joined_at ? joined_at : "");
	if (!record->name || !record->region)
		return err_errno(err, -ENOMEM, "cannot read a host");
	*out = take_ptr(record);
	return 0;
}

void host_record_free(struct host_record *record)
{
	if (!record)
		return;
	free(record->name);
	free(record->region);
	free(record->slices);
	free(record->pools);
	free(record);
}

json_t *host_alive_to_json(const struct host_alive *alive)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "identity", alive->identity, "endpoint",
		alive->endpoint, "version", alive->version, "started_at", alive->started_at);
}

int host_alive_from_json(const json_t *json, struct host_alive *out, struct err *err)
{
	const char *identity = get_text(json, "identity"), *endpoint = get_text(json, "endpoint");
	const char *version = get_text(json, "version");
	const char *started_at = get_text(json, "started_at");

	if (!identity || !is_identity(identity) || !endpoint)
		return incomplete(err, "a sign of life of a host");
	*out = (struct host_alive){
		.endpoint = strdup(endpoint), .version = strdup(version ? version : "")};
	strcpy(out->identity, identity);
	snprintf(out->started_at, sizeof(out->started_at), "%s", started_at ? started_at : "");
	if (!out->endpoint || !out->version) {
		host_alive_clear(out);
		return err_errno(err, -ENOMEM, "cannot read a sign of life of a host");
	}
	return 0;
}

void host_alive_clear(struct host_alive *alive)
{
	free(alive->endpoint);
	free(alive->version);
	*alive = (struct host_alive){};
}
