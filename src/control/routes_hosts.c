/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's calls on hosts. Draining is a wish in the host's record and answers at once; what
 * follows from it is in drains.c, and the document of the host says what is left on it and why.
 */
#include "control/routes.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

static void refuse(struct api_request *req, int status, const char *code, const char *sentence)
{
	api_reply_error(req, status, code, sentence, NULL);
}

static struct host *find_host(struct control *control, struct api_request *req)
{
	const char *name = api_request_param(req, "host");
	struct host *host = host_find_named(control, name);
	struct err err;

	if (host && host->record)
		return host;
	err_set(&err, -ENOENT, "there is no host %s; wherry hosts list shows those there are",
		name);
	refuse(req, 404, "not_found", err.text);
	return NULL;
}

/* Documents */

static json_t *addr_or_null(const struct addr *addr)
{
	char text[ADDR_TEXT_LEN];

	return addr->family ? json_string(addr_format(addr, text)) : json_null();
}

static json_t *endpoint_or_null(const struct host_record *record)
{
	char text[ADDR_TEXT_LEN];
	const bool is_v6 = record->endpoint.family == AF_INET6;

	if (!record->endpoint.family)
		return json_null();
	addr_format(&record->endpoint, text);
	if (!record->endpoint_port) /* underlay plain */
		return json_string(text);
	return json_sprintf(
		"%s%s%s:%u", is_v6 ? "[" : "", text, is_v6 ? "]" : "", record->endpoint_port);
}

static json_t *prefixes(const struct prefix *list, size_t count)
{
	json_t *json = json_array();
	char text[PREFIX_TEXT_LEN];

	for (size_t i = 0; i < count; i++)
		json_array_append_new(json, json_string(prefix_format(&list[i], text)));
	return json;
}

static const char *status_of(const struct control *control, const struct host *host)
{
	if (host->id != control->host_id) {
		if (host_is_down(control, host))
			return "down";
		if (host->probe.state == PROBE_UNREACHABLE)
			return "unreachable";
		if (!host_is_alive(control, host))
			return host->probe.state == PROBE_REACHABLE ? "no daemon" : "unknown";
	}
	return host->record->is_draining ? "draining" : "ready";
}

static json_t *probe_json(const struct probe *probe)
{
	const bool is_measured = probe->rtt_us && probe->state == PROBE_REACHABLE;

	return json_pack("{s:s, s:o, s:i}", "state",
		probe->state == PROBE_REACHABLE	    ? "reachable"
		: probe->state == PROBE_UNREACHABLE ? "unreachable"
						    : "unknown",
		"rtt_us", is_measured ? json_integer(probe->rtt_us) : json_null(), "loss_permille",
		(int)probe->loss_permille);
}

/* What @from measured of @to, as far as it is known here; null: it is not. */
static json_t *measured(
	const struct control *control, const struct host *from, const struct host *to)
{
	const json_t *entry;
	char id[16];

	if (from->id == control->host_id)
		return probe_json(&to->probe);
	snprintf(id, sizeof(id), "%u", to->id);
	entry = json_object_get(from->measured, id);
	return entry ? json_deep_copy(entry) : json_null();
}

static json_t *links(const struct control *control, const struct host *host)
{
	json_t *list = json_array();

	for (size_t i = 0; i < control->host_count; i++) {
		const struct host *other = control->hosts[i];

		if (other->record && other != host)
			json_array_append_new(list,
				json_pack("{s:i, s:s, s:o, s:o}", "id", (int)other->id, "name",
					other->record->name, "to", measured(control, host, other),
					"from", measured(control, other, host)));
	}
	return list;
}

static int count_machines(const struct control *control, const struct host *host)
{
	int count = 0;

	for (size_t i = 0; i < control->machine_count; i++)
		count += control->machines[i]->record->host == host->id;
	return count;
}

static json_t *view_host(const struct control *control, const struct host *host)
{
	const struct host_record *record = host->record;
	const bool is_self = host->id == control->host_id;
	json_t *roles = json_array(), *json;

	if (record->is_edge)
		json_array_append_new(roles, json_string("edge"));
	if (record->is_worker)
		json_array_append_new(roles, json_string("worker"));
	json = json_pack("{s:i, s:s, s:s, s:o, s:s, s:b, s:b, s:o, s:s, s:o, s:o, s:o, s:o, s:i}",
		"id", (int)host->id, "name", record->name, "region", record->region, "roles", roles,
		"status", status_of(control, host), "draining", record->is_draining, "self",
		is_self, "endpoint", endpoint_or_null(record), "public_key", record->public_key,
		"mesh_v4", addr_or_null(&record->mesh_v4), "mesh_v6",
		addr_or_null(&record->mesh_v6), "slices",
		prefixes(record->slices, record->slice_count), "pools",
		prefixes(record->pools, record->pool_count), "machine_count",
		count_machines(control, host));
	json_object_set_new(json, "version",
		host->alive.version ? json_string(host->alive.version) : json_null());
	json_object_set_new(json, "started_at",
		*host->alive.started_at ? json_string(host->alive.started_at) : json_null());
	json_object_set_new(json, "joined_at", json_string(record->joined_at));
	json_object_set_new(json, "rtt_us",
		!is_self && host->probe.rtt_us && host->probe.state == PROBE_REACHABLE
			? json_integer(host->probe.rtt_us)
			: json_null());
	json_object_set_new(json, "loss_permille",
		is_self ? json_null() : json_integer(host->probe.loss_permille));
	return json;
}

/* Why the machine would stay on a host that drains; NULL: it moves. */
static const char *stays(struct control *control, const struct machine *machine,
	const struct host *host, struct err *err)
{
	const struct app *app = catalog_find_app(control, machine->record->app);
	const char *reason, *group = machine->record->group, *region = host->record->region;
	struct host *elsewhere;

	if (!move_is_possible(machine, &reason))
		return machine->record->wish == WISH_DESTROYED ? NULL : reason;
	if (!app_record_has_region(app->record, group, region))
		region = NULL;
	if (placement_choose(control, app->record, group, region, &elsewhere, err) < 0)
		return err->text;
	return move_failure(control, machine->record->app, host->id);
}

static json_t *machines_of(struct control *control, const struct host *host)
{
	json_t *list = json_array();

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *machine = control->machines[i];
		const struct machine_record *record = machine->record;
		struct err err = {};
		const char *reason;

		if (record->host != host->id)
			continue;
		reason = stays(control, machine, host, &err);
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "id", record->id, "app",
				      record->app, "process_group", record->group, "state",
				      machine_state_name(machine), "managed", record->is_managed,
				      "stays", reason ? json_string(reason) : json_null()));
	}
	return list;
}

static json_t *view_whole(struct control *control, const struct host *host)
{
	json_t *json = view_host(control, host);

	json_object_set_new(json, "links", links(control, host));
	json_object_set_new(json, "machines", machines_of(control, host));
	return json;
}

void routes_list_hosts(struct api_request *req, void *arg)
{
	const char *with_links = api_request_query(req, "links");
	const struct control *control = arg;
	json_t *hosts = json_array();

	for (size_t i = 0; i < control->host_count; i++) {
		const struct host *host = control->hosts[i];
		json_t *json;

		if (!host->record)
			continue;
		json = view_host(control, host);
		if (with_links && strcmp(with_links, "1") == 0)
			json_object_set_new(json, "links", links(control, host));
		json_array_append_new(hosts, json);
	}
	api_reply_json(req, 200, hosts);
}

void routes_get_host(struct api_request *req, void *arg)
{
	struct host *host = find_host(arg, req);

	if (host)
		api_reply_json(req, 200, view_whole(arg, host));
}

/* Drain and remove */

static void set_draining(struct control *control, struct api_request *req, bool is_draining)
{
	struct host *host = find_host(control, req);
	struct change change = {};
	struct err err;
	int r;

	if (!host)
		return;
	if (host->record->is_draining != is_draining) {
		host->record->is_draining = is_draining;
		change_put_host(&change, host->record);
		r = change_commit(control, &change, &err);
		if (r < 0) {
			host->record->is_draining = !is_draining;
			routes_refuse_change(req, r, &err);
			return;
		}
		log_info("host", "name=%s draining=%s", host->record->name,
			is_draining ? "true" : "false");
		fleet_update(control);
		serve(control);
	}
	api_reply_json(req, 200, view_whole(control, host));
}

void routes_drain_host(struct api_request *req, void *arg)
{
	set_draining(arg, req, true);
}

void routes_undrain_host(struct api_request *req, void *arg)
{
	set_draining(arg, req, false);
}

void routes_rotate_host_key(struct api_request *req, void *arg)
{
	struct control *control = arg;
	struct host *host = find_host(control, req);
	struct err err;
	int r;

	if (!host)
		return;
	if (host->id != control->host_id) {
		err_set(&err, -EINVAL, "the key of %s is made on %s; run this there",
			host->record->name, host->record->name);
		api_reply_error(req, 409, "conflict", err.text, NULL);
		return;
	}
	r = fleet_rotate_key(control, &err);
	if (r < 0) {
		routes_refuse_change(req, r, &err);
		return;
	}
	api_reply_json(req, 200, view_whole(control, host));
}

static int check_removal(
	const struct control *control, const struct host *host, bool is_forced, struct err *err)
{
	const char *name = host->record->name;
	const int machines = count_machines(control, host);

	if (host->id == control->host_id)
		return err_set(err, -EBUSY,
			"%s is this host itself; stop its wherryd, and remove it from another host",
			name);
	if (is_forced)
		return 0;
	if (host_is_alive(control, host))
		return err_set(err, -EBUSY,
			"host %s is alive; stop its wherryd first, or remove it with --force",
			name);
	if (machines)
		return err_set(err, -EBUSY,
			"host %s has %d machine%s; wherry hosts drain %s moves those that deploy "
			"made, and --force removes it with what is left",
			name, machines, machines == 1 ? "" : "s", name);
	return 0;
}

void routes_remove_host(struct api_request *req, void *arg)
{
	const char *force = api_request_query(req, "force");
	struct control *control = arg;
	struct host *host = find_host(control, req);
	struct err err;
	json_t *result;

	if (!host)
		return;
	if (check_removal(control, host, force && strcmp(force, "1") == 0, &err) < 0) {
		refuse(req, 409, "conflict", err.text);
		return;
	}
	if (store_is_away(control->store, &err) < 0) {
		refuse(req, 503, "unavailable", err.text);
		return;
	}
	result = view_host(control, host);
	json_object_set_new(result, "status", json_string("removed"));
	removal_begin(control, host, result, req);
}
