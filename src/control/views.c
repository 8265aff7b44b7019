/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents of the API (docs/api.md). Field names are flyctl's where it has them.
 */
#include "control/control_impl.h"

#include "base/buf.h"

#include <string.h>

static json_t *text_of(const struct addr *addr)
{
	char text[ADDR_TEXT_LEN];

	return json_string(addr_format(addr, text));
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

json_t *view_ip(const struct ip_record *record)
{
	return json_pack("{s:o, s:o, s:s, s:s, s:s}", "ID", text_of(&record->addr), "Address",
		text_of(&record->addr), "Type", ip_type_name(record->type), "Region", "global",
		"CreatedAt", record->created_at);
}

static bool is_of(const struct machine *machine, const struct app *app)
{
	return strcmp(machine->record->app, app->record->name) == 0;
}

static const char *app_status(const struct control *control, const struct app *app)
{
	if (!app->release)
		return "pending";
	for (size_t i = 0; i < control->machine_count; i++)
		if (is_of(control->machines[i], app) &&
			control->machines[i]->state == STATE_STARTED)
			return "deployed";
	return "suspended";
}

json_t *view_app(const struct control *control, const struct app *app, bool with_machines)
{
	const struct app_record *record = app->record;
	json_t *json = json_pack("{s:s, s:s, s:s, s:b, s:s, s:{s:s}, s:o, s:o, s:s}", "ID",
		record->name, "Name", record->name, "Status", app_status(control, app), "Deployed",
		app->release != NULL, "Hostname", "", "Organization", "Slug", "personal",
		"CurrentRelease", record->release ? json_integer(record->release) : json_null(),
		"ImageRef", text_or_null(app->release ? app->release->image : NULL), "CreatedAt",
		record->created_at);
	json_t *machines;

	json_object_set_new(json, "Counts", app_record_counts_to_json(record));
	if (!with_machines)
		return json;
	machines = json_array();
	for (size_t i = 0; i < control->machine_count; i++)
		if (is_of(control->machines[i], app))
			json_array_append_new(machines, view_machine(control->machines[i]));
	json_object_set_new(json, "Machines", machines);
	return json;
}

/* "registry/name:tag@sha256:..." as its parts. */
static json_t *image_ref(const char *image)
{
	_free_ char *repository = strdup(image ? image : "");
	char *digest, *tag, *slash;
	json_t *json;

	if (!image || !repository)
		return json_null();
	digest = strchr(repository, '@');
	if (digest)
		*digest++ = '\0';
	slash = strrchr(repository, '/');
	tag = strrchr(slash ? slash : repository, ':');
	if (tag)
		*tag++ = '\0';
	json = json_pack("{s:s, s:s, s:s}", "repository", repository, "tag", tag ? tag : "latest",
		"digest", digest ? digest : "");
	return json;
}

static json_t *machine_config(const struct machine_record *record)
{
	json_t *env = json_object(), *command = json_array();

	for (size_t i = 0; i < record->env_count; i++)
		json_object_set_new(env, record->env[i].name, json_string(record->env[i].value));
	for (size_t i = 0; i < record->command.count; i++)
		json_array_append_new(command, json_string(record->command.items[i]));
	return json_pack("{s:o, s:o, s:{s:o}, s:{s:s}}", "image", text_or_null(record->image),
		"env", env, "init", "cmd", command, "restart", "policy", "on-failure");
}

static json_t *machine_events(const struct machine *machine)
{
	json_t *history = machine_state_to_json(&machine->history);
	json_t *events = json_incref(json_object_get(history, "events"));

	json_decref(history);
	return events;
}

static json_t *machine_addresses(const struct machine_record *record)
{
	struct addr gateway = network_gateway(&record->network);
	struct addr primary = network_primary(&record->network);
	struct addr service = network_service(&record->network);
	char network[PREFIX_TEXT_LEN];

	return json_pack("{s:o, s:o, s:o, s:s}", "primary", text_of(&primary), "service",
		text_of(&service), "gateway", text_of(&gateway), "network",
		prefix_format(&record->network, network));
}

char *view_netns_path(const struct machine *machine)
{
	char name[MACHINE_NETNS_LEN], *path = NULL;

	if (machine->record->kind == MACHINE_ATTACHED)
		return machine->record->netns ? strdup(machine->record->netns) : NULL;
	if (asprintf(&path, "/run/netns/%s", machine_netns_name(machine->record->id, name)) < 0)
		return NULL;
	return path;
}

static json_t *machine_sockets(const struct machine *machine)
{
	_cleanup_(machine_sockets_closep) struct machine_sockets *sockets = NULL;
	_free_ struct machine_socket *list = NULL;
	_free_ char *path = view_netns_path(machine);
	json_t *json = json_array();
	size_t count = 0;

	if (!machine->is_local || machine->state != STATE_STARTED || !path ||
		machine_sockets_open(&sockets, path, NULL) < 0 ||
		machine_sockets_list(sockets, &list, &count, NULL) < 0)
		return json;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(
			json, json_pack("{s:s, s:o, s:i}", "protocol",
				      list[i].protocol == PROTOCOL_UDP ? "udp" : "tcp", "address",
				      text_of(&list[i].addr), "port", list[i].port));
	return json;
}

static const char *machine_region(const struct machine *machine)
{
	const struct host *host = host_find(machine->control, machine->record->host);

	return host && host->record ? host->record->region : "unknown";
}

json_t *view_machine(const struct machine *machine)
{
	const struct machine_record *record = machine->record;
	const struct machine_state_record *history = &machine->history;
	const bool has_program = record->kind != MACHINE_ATTACHED;
	_free_ char *path = view_netns_path(machine);
	char container[32];
	json_t *json;

	snprintf(container, sizeof(container), "wherry-%s", record->id);
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:i}", "id",
		record->id, "name", record->name, "state", machine_state_name(machine), "region",
		machine_region(machine), "app", record->app, "kind",
		machine_kind_name(record->kind), "process_group", record->group, "instance_id",
		record->id, "private_ip", text_of(&record->private_v6), "created_at",
		record->created_at, "updated_at", record->updated_at, "release", record->release);
	json_object_set_new(json, "host", json_string(host_name(machine->control, record->host)));
	json_object_set_new(json, "local", json_boolean(machine->is_local));
	json_object_set_new(json, "image_ref", image_ref(record->image));
	json_object_set_new(json, "config", machine_config(record));
	json_object_set_new(json, "addresses", machine_addresses(record));
	json_object_set_new(json, "netns", text_or_null(path));
	json_object_set_new(json, "pid",
		machine->is_local && machine->run.pid && machine->state == STATE_STARTED &&
				has_program
			? json_integer(machine->run.pid)
			: json_null());
	json_object_set_new(json, "container",
		record->kind == MACHINE_IMAGE ? json_string(container) : json_null());
	json_object_set_new(json, "managed", json_boolean(record->is_managed));
	json_object_set_new(json, "draining", json_boolean(machine->is_draining));
	json_object_set_new(json, "restarts", json_integer(history->restarts));
	json_object_set_new(json, "exit_code",
		history->has_exit_code ? json_integer(history->exit_code) : json_null());
	json_object_set_new(json, "failure", text_or_null(machine->failure));
	json_object_set_new(
		json, "checks", history->checks ? json_incref(history->checks) : json_array());
	json_object_set_new(json, "sockets", machine_sockets(machine));
	json_object_set_new(json, "events", machine_events(machine));
	return json;
}

static json_t *service_ports(const struct service *service)
{
	json_t *ports = json_array();

	for (size_t i = 0; i < service->port_count; i++) {
		const struct port_range range = service->ports[i].range;

		json_array_append_new(ports,
			range.first == range.last ? json_sprintf("%u", range.first)
						  : json_sprintf("%u-%u", range.first, range.last));
	}
	return ports;
}

static json_t *service_handlers(const struct service *service, bool *force_https)
{
	static const struct {
		enum handler handler;
		const char *name;
	} names[] = {
		{HANDLER_TLS, "TLS"},
		{HANDLER_HTTP, "HTTP"},
		{HANDLER_PG_TLS, "PG_TLS"},
		{HANDLER_PROXY_PROTO, "PROXY_PROTO"},
	};
	json_t *handlers = json_array();
	unsigned int all = 0;

	*force_https = false;
	for (size_t i = 0; i < service->port_count; i++) {
		all |= service->ports[i].handlers;
		*force_https |= service->ports[i].force_https;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (all & names[i].handler)
			json_array_append_new(handlers, json_string(names[i].name));
	return handlers;
}

static bool is_in(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach((json_t *)list, i,
		item) if (strcmp(json_string_value(item), text) == 0) return true;
	return false;
}

/* How many machines the service has, and the regions that they are in. */
static unsigned int service_machines(const struct control *control, const struct app *app,
	const struct service *service, json_t *regions)
{
	unsigned int count = 0;

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *machine = control->machines[i];

		if (!is_of(machine, app) || machine->state != STATE_STARTED ||
			machine->record->is_held ||
			!service_in_group(service, machine->record->group))
			continue;
		count++;
		if (!is_in(regions, machine_region(machine)))
			json_array_append_new(regions, json_string(machine_region(machine)));
	}
	return count;
}

static json_t *view_service(
	const struct control *control, const struct app *app, const struct service *service)
{
	const bool is_udp = service->protocol == PROTOCOL_UDP;
	const struct ip_record *dedicated = addresses_find(control, app->record->name, IP_V4);
	_cleanup_(buf_clear) struct buf groups = {};
	json_t *addresses = json_array(), *regions = json_array(), *handlers;
	const unsigned int machines = service_machines(control, app, service, regions);
	const char *note = "";
	bool force_https;

	for (size_t i = 0; i < service->processes.count; i++)
		buf_addf(&groups, "%s%s", i ? "," : "", service->processes.items[i]);
	for (size_t i = 0; is_udp && i < control->ip_count; i++)
		if (control->ips[i]->type == IP_V4 &&
			strcmp(control->ips[i]->app, app->record->name) == 0)
			json_array_append_new(addresses, text_of(&control->ips[i]->addr));
	if (!is_udp)
		note = "TCP is not served yet: this version forwards UDP";
	else if (!dedicated)
		note = "UDP needs a dedicated IPv4; wherry ips allocate-v4 gives one";
	handlers = service_handlers(service, &force_https);
	return json_pack("{s:s, s:o, s:i, s:o, s:b, s:s, s:o, s:i, s:o, s:b, s:s}", "Protocol",
		is_udp ? "udp" : "tcp", "Ports", service_ports(service), "InternalPort",
		service->internal_port, "Handlers", handlers, "ForceHTTPS", force_https,
		"ProcessGroup", groups.data ? groups.data : "", "Regions", regions, "Machines",
		machines, "Addresses", addresses, "Served", is_udp && dedicated, "Note", note);
}

json_t *view_services(const struct control *control, const struct app *app)
{
	json_t *services = json_array();

	for (size_t s = 0; app->config && s < app->config->service_count; s++)
		json_array_append_new(
			services, view_service(control, app, &app->config->services[s]));
	return services;
}

json_t *view_counters(const struct control *control)
{
	uint64_t verdicts[WHERRY_VERDICT_COUNT] = {};
	json_t *drops = json_object(), *passed = json_object(), *machines = json_object();
	json_t *reasons = json_object();

	fabric_verdicts(control->fabric, verdicts);
	for (unsigned int i = 0; i < WHERRY_VERDICT_COUNT; i++) {
		json_object_set_new(fabric_verdict_is_drop(i) ? drops : passed,
			fabric_verdict_name(i), json_integer((json_int_t)verdicts[i]));
		json_object_set_new(
			reasons, fabric_verdict_name(i), json_string(fabric_verdict_sentence(i)));
	}
	for (size_t i = 0; i < control->machine_count; i++) {
		const char *id = control->machines[i]->record->id;
		struct wherry_traffic traffic;

		if (fabric_machine_traffic(control->fabric, id, &traffic) == 0)
			json_object_set_new(machines, id,
				json_pack("{s:I, s:I, s:I, s:I}", "rx_packets",
					(json_int_t)traffic.rx_packets, "rx_bytes",
					(json_int_t)traffic.rx_bytes, "tx_packets",
					(json_int_t)traffic.tx_packets, "tx_bytes",
					(json_int_t)traffic.tx_bytes));
	}
	return json_pack("{s:o, s:o, s:o, s:o}", "drops", drops, "passed", passed, "reasons",
		reasons, "machines", machines);
}

/* Where the catalog is, and, in a sentence, why it cannot be written now. */
static json_t *view_store(const struct control *control)
{
	struct err err;
	const bool is_away = store_is_away(control->store, &err) < 0;

	return json_pack("{s:s, s:o}", "url", control->config.store, "away",
		is_away ? json_string(err.text) : json_null());
}

json_t *view_info(const struct control *control)
{
	json_t *roles = json_array(), *json;

	if (control->config.is_edge)
		json_array_append_new(roles, json_string("edge"));
	if (control->config.is_worker)
		json_array_append_new(roles, json_string("worker"));
	json = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:o, s:s, s:o}", "name", "wherryd",
		"version", WHERRY_VERSION, "commit", WHERRY_COMMIT, "pid", (int)getpid(), "host",
		control->config.host_name, "region", control->config.region, "roles", roles,
		"started_at", control->started_at, "config", host_config_to_json(&control->config));
	json_object_set_new(json, "host_id", json_integer(control->host_id));
	json_object_set_new(json, "store", view_store(control));
	return json;
}
