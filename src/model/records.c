/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and their JSON; see records.h. Reading is strict about what it needs and lenient about
 * what it does not know: a newer version may have written more.
 */
#include "model/records.h"

#include "base/err.h"

#include <errno.h>
#include <string.h>

#define MACHINE_NETWORK_BITS 29
#define SIGNAL_MAX	     64 /* of Linux, real-time ones too */

static const char *const ip_type_names[] = {
	[IP_V4] = "v4",
	[IP_SHARED_V4] = "shared_v4",
	[IP_V6] = "v6",
};

static const char *const kind_names[] = {
	[MACHINE_IMAGE] = "image",
	[MACHINE_ROOTFS] = "rootfs",
	[MACHINE_ATTACHED] = "attached",
};

static const char *const wish_names[] = {
	[WISH_STARTED] = "started",
	[WISH_STOPPED] = "stopped",
	[WISH_DESTROYED] = "destroyed",
};

static int find_name(const char *const *names, size_t count, const char *text)
{
	for (size_t i = 0; text && i < count; i++)
		if (strcmp(names[i], text) == 0)
			return (int)i;
	return -EINVAL;
}

const char *ip_type_name(enum ip_type type)
{
	return ip_type_names[type];
}

int ip_type_parse(const char *text, enum ip_type *out)
{
	int r = find_name(ip_type_names, ARRAY_LEN(ip_type_names), text);

	if (r >= 0)
		*out = (enum ip_type)r;
	return r < 0 ? r : 0;
}

const char *machine_kind_name(enum machine_kind kind)
{
	return kind_names[kind];
}

int machine_kind_parse(const char *text, enum machine_kind *out)
{
	int r = find_name(kind_names, ARRAY_LEN(kind_names), text);

	if (r >= 0)
		*out = (enum machine_kind)r;
	return r < 0 ? r : 0;
}

/* Member access; an absent or mistyped member reads as NULL or 0. */

static const char *get_text(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static char *copy_text(const json_t *json, const char *key)
{
	const char *text = get_text(json, key);

	return text ? strdup(text) : NULL;
}

static void copy_stamp(const json_t *json, const char *key, char stamp[static CLOCK_STAMP_LEN])
{
	const char *text = get_text(json, key);

	snprintf(stamp, CLOCK_STAMP_LEN, "%s", text ? text : "");
}

static unsigned int get_uint(const json_t *json, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(json, key));

	return value < 0 || value > UINT32_MAX ? 0 : (unsigned int)value;
}

static void set_text(json_t *json, const char *key, const char *text)
{
	if (text)
		json_object_set_new(json, key, json_string(text));
}

/* A record that lacks what it cannot do without. */
static int incomplete(struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "the catalog holds %s that this version cannot read", what);
}

json_t *ip_record_to_json(const struct ip_record *record)
{
	char text[ADDR_TEXT_LEN];

	return json_pack("{s:s, s:s, s:s, s:s}", "address", addr_format(&record->addr, text),
		"type", ip_type_name(record->type), "app", record->app, "created_at",
		record->created_at);
}

int ip_record_from_json(const json_t *json, struct ip_record **out, struct err *err)
{
	_cleanup_(ip_record_freep) struct ip_record *record = calloc(1, sizeof(*record));
	const char *addr = get_text(json, "address");

	if (!record)
		return err_errno(err, -ENOMEM, "cannot read an address");
	record->app = copy_text(json, "app");
	if (!record->app || !addr || addr_parse(addr, &record->addr) < 0 ||
		ip_type_parse(get_text(json, "type"), &record->type) < 0)
		return incomplete(err, "an address");
	copy_stamp(json, "created_at", record->created_at);
	*out = take_ptr(record);
	return 0;
}

void ip_record_free(struct ip_record *record)
{
	if (!record)
		return;
	free(record->app);
	free(record);
}

static void set_image(json_t *json, const char *image, const char *id, unsigned int host)
{
	set_text(json, "image", image);
	set_text(json, "image_id", id);
	if (host)
		json_object_set_new(json, "image_host", json_integer(host));
}

json_t *release_record_to_json(const struct release_record *record)
{
	json_t *json = json_pack("{s:i, s:s, s:s}", "number", record->number, "app", record->app,
		"created_at", record->created_at);

	set_image(json, record->image, record->image_id, record->image_host);
	set_text(json, "config", record->config_text);
	set_text(json, "file_name", record->file_name);
	return json;
}

int release_record_from_json(const json_t *json, struct release_record **out, struct err *err)
{
	_cleanup_(release_record_freep) struct release_record *record = calloc(1, sizeof(*record));

	if (!record)
		return err_errno(err, -ENOMEM, "cannot read a release");
	record->number = get_uint(json, "number");
	record->app = copy_text(json, "app");
	record->image = copy_text(json, "image");
	record->image_id = copy_text(json, "image_id");
	record->image_host = get_uint(json, "image_host");
	record->config_text = copy_text(json, "config");
	record->file_name =
		get_text(json, "file_name") ? copy_text(json, "file_name") : strdup("fly.toml");
	copy_stamp(json, "created_at", record->created_at);
	if (!record->number || !record->app || !record->config_text || !record->file_name)
		return incomplete(err, "a release");
	*out = take_ptr(record);
	return 0;
}

void release_record_free(struct release_record *record)
{
	if (!record)
		return;
	free(record->app);
	free(record->image);
	free(record->image_id);
	free(record->config_text);
	free(record->file_name);
	free(record);
}

static json_t *ports_to_json(const struct machine_record *record)
{
	json_t *ports = json_array();

	for (size_t i = 0; i < record->await_port_count; i++)
		json_array_append_new(ports, json_integer(record->await_ports[i]));
	return ports;
}

json_t *machine_record_to_json(const struct machine_record *record)
{
	json_t *json, *command = json_array(), *env = json_object();
	char network[PREFIX_TEXT_LEN], private_v6[ADDR_TEXT_LEN];

	for (size_t i = 0; i < record->command.count; i++)
		json_array_append_new(command, json_string(record->command.items[i]));
	for (size_t i = 0; i < record->env_count; i++)
		json_object_set_new(env, record->env[i].name, json_string(record->env[i].value));
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:i, s:o, s:o, s:s, s:s, s:i, "
			 "s:i, s:s, s:s}",
		"id", record->id, "name", record->name, "app", record->app, "group", record->group,
		"kind", machine_kind_name(record->kind), "wish", wish_names[record->wish],
		"managed", record->is_managed, "held", record->is_held, "release", record->release,
		"command", command, "env", env, "network", prefix_format(&record->network, network),
		"private_v6", addr_format(&record->private_v6, private_v6), "kill_signal",
		record->kill_signal, "kill_timeout_s", record->kill_timeout_s, "created_at",
		record->created_at, "updated_at", record->updated_at);
	set_image(json, record->image, record->image_id, record->image_host);
	set_text(json, "rootfs", record->rootfs);
	set_text(json, "netns", record->netns);
	json_object_set_new(json, "host", json_integer(record->host));
	if (record->start_count)
		json_object_set_new(json, "start_count", json_integer(record->start_count));
	if (record->held_by)
		json_object_set_new(json, "held_by", json_integer(record->held_by));
	if (record->await_port_count)
		json_object_set_new(json, "await_ports", ports_to_json(record));
	return json;
}

static int read_await_ports(const json_t *json, struct machine_record *record)
{
	size_t count = json_array_size(json);

	record->await_ports = calloc(count + 1, sizeof(*record->await_ports));
	if (!record->await_ports)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		json_int_t port = json_integer_value(json_array_get(json, i));

		if (port > 0 && port <= UINT16_MAX)
			record->await_ports[record->await_port_count++] = (uint16_t)port;
	}
	return 0;
}

static int read_command(const json_t *json, struct strings *out)
{
	size_t count = json_array_size(json);

	out->items = calloc(count + 1, sizeof(*out->items));
	if (!out->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(json, i));

		out->items[out->count] = text ? strdup(text) : NULL;
		if (!out->items[out->count])
			return text ? -ENOMEM : -EBADMSG;
		out->count++;
	}
	return 0;
}

static int read_env(json_t *json, struct env_var **out, size_t *out_count)
{
	const char *name;
	json_t *value;

	*out = calloc(json_object_size(json) + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	json_object_foreach(json, name, value)
	{
		const char *text = json_string_value(value);
		struct env_var var = {strdup(name), strdup(text ? text : "")};

		(*out)[(*out_count)++] = var;
		if (!var.name || !var.value)
			return -ENOMEM;
	}
	return 0;
}

/* They become names of files and of interfaces. */
static bool is_machine_id(const char *id)
{
	return strlen(id) == MACHINE_ID_LEN - 1 &&
	       strspn(id, "0123456789abcdef") == MACHINE_ID_LEN - 1;
}

static bool is_label(const char *name)
{
	const size_t len = strlen(name);

	return len > 0 && len <= APP_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

int machine_record_from_json(const json_t *json, struct machine_record **out, struct err *err)
{
	_cleanup_(machine_record_freep) struct machine_record *record = calloc(1, sizeof(*record));
	const char *id = get_text(json, "id"), *network = get_text(json, "network");
	const char *private_v6 = get_text(json, "private_v6");
	int wish, r;

	if (!record)
		return err_errno(err, -ENOMEM, "cannot read a machine");
	record->name = copy_text(json, "name");
	record->app = copy_text(json, "app");
	record->group = copy_text(json, "group");
	wish = find_name(wish_names, ARRAY_LEN(wish_names), get_text(json, "wish"));
	if (!id || !is_machine_id(id) || !record->name || !record->app || !is_label(record->app) ||
		!record->group || wish < 0 ||
		machine_kind_parse(get_text(json, "kind"), &record->kind) < 0 || !network ||
		prefix_parse(network, &record->network) < 0 ||
		record->network.addr.family != AF_INET ||
		record->network.len_bits != MACHINE_NETWORK_BITS)
		return incomplete(err, "a machine");
	snprintf(record->id, sizeof(record->id), "%s", id);
	record->wish = (enum machine_wish)wish;
	if (private_v6 && *private_v6 &&
		(addr_parse(private_v6, &record->private_v6) < 0 ||
			record->private_v6.family != AF_INET6))
		return incomplete(err, "a machine");
	record->is_managed = json_is_true(json_object_get(json, "managed"));
	record->is_held = json_is_true(json_object_get(json, "held"));
	/* Catalogs of one host had no word for it. */
	record->host = get_uint(json, "host") ? get_uint(json, "host") : 1;
	record->held_by = get_uint(json, "held_by");
	record->release = get_uint(json, "release");
	record->start_count = get_uint(json, "start_count");
	record->kill_signal = (int)get_uint(json, "kill_signal");
	record->kill_timeout_s = get_uint(json, "kill_timeout_s");
	record->image = copy_text(json, "image");
	record->image_id = copy_text(json, "image_id");
	record->image_host = get_uint(json, "image_host");
	record->rootfs = copy_text(json, "rootfs");
	record->netns = copy_text(json, "netns");
	if ((record->kind == MACHINE_IMAGE && !record->image) ||
		(record->kind == MACHINE_ROOTFS && !record->rootfs) ||
		(record->kind == MACHINE_ATTACHED && !record->netns) ||
		record->kill_signal > SIGNAL_MAX || record->kill_signal < 0)
		return incomplete(err, "a machine");
	copy_stamp(json, "created_at", record->created_at);
	copy_stamp(json, "updated_at", record->updated_at);
	r = read_command(json_object_get(json, "command"), &record->command);
	if (r == 0)
		r = read_env(json_object_get(json, "env"), &record->env, &record->env_count);
	if (r == 0)
		r = read_await_ports(json_object_get(json, "await_ports"), record);
	if (r == -EBADMSG)
		return incomplete(err, "a machine");
	if (r < 0)
		return err_errno(err, r, "cannot read a machine");
	*out = take_ptr(record);
	return 0;
}

void machine_record_free(struct machine_record *record)
{
	if (!record)
		return;
	for (size_t i = 0; i < record->command.count; i++)
		free(record->command.items[i]);
	free(record->command.items);
	for (size_t i = 0; i < record->env_count; i++) {
		free(record->env[i].name);
		free(record->env[i].value);
	}
	free(record->env);
	free(record->await_ports);
	free(record->name);
	free(record->app);
	free(record->group);
	free(record->image);
	free(record->image_id);
	free(record->rootfs);
	free(record->netns);
	free(record);
}

static json_t *event_to_json(const struct machine_event *event)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "type", event->type, "status",
		event->status, "source", event->source, "timestamp", event->timestamp);

	set_text(json, "message", event->message);
	return json;
}

json_t *machine_state_to_json(const struct machine_state_record *record)
{
	json_t *events = json_array(), *json;

	for (size_t i = 0; i < record->event_count; i++)
		json_array_append_new(events, event_to_json(&record->events[i]));
	json = json_pack("{s:s, s:b, s:b, s:i, s:o, s:i, s:o}", "state", record->state, "up",
		record->is_up, "unhealthy", record->is_unhealthy, "unbound_port",
		record->unbound_port, "events", events, "restarts", record->restarts, "exit_code",
		record->has_exit_code ? json_integer(record->exit_code) : json_null());
	set_text(json, "failure", record->failure);
	if (json_array_size(record->checks))
		json_object_set(json, "checks", record->checks);
	return json;
}

int machine_state_from_json(const json_t *json, struct machine_state_record *out, struct err *err)
{
	json_t *events = json_object_get(json, "events"), *exit_code;
	const char *state = get_text(json, "state");
	size_t count = json_array_size(events);

	if (!json_is_object(json))
		return incomplete(err, "a machine's events");
	*out = (struct machine_state_record){.restarts = get_uint(json, "restarts")};
	snprintf(out->state, sizeof(out->state), "%s", state ? state : "");
	out->is_up = json_is_true(json_object_get(json, "up"));
	out->is_unhealthy = json_is_true(json_object_get(json, "unhealthy"));
	out->unbound_port = get_uint(json, "unbound_port");
	out->failure = copy_text(json, "failure");
	if (json_is_array(json_object_get(json, "checks")))
		out->checks = json_deep_copy(json_object_get(json, "checks"));
	exit_code = json_object_get(json, "exit_code");
	out->has_exit_code = json_is_integer(exit_code);
	out->exit_code = (int)json_integer_value(exit_code);
	for (size_t i = 0; i < count && i < MACHINE_EVENTS_MAX; i++) {
		const json_t *item = json_array_get(events, i);
		struct machine_event *event = &out->events[out->event_count++];
		const char *type = get_text(item, "type"), *status = get_text(item, "status");
		const char *source = get_text(item, "source");

		snprintf(event->type, sizeof(event->type), "%s", type ? type : "");
		snprintf(event->status, sizeof(event->status), "%s", status ? status : "");
		snprintf(event->source, sizeof(event->source), "%s", source ? source : "");
		copy_stamp(item, "timestamp", event->timestamp);
		event->message = copy_text(item, "message");
	}
	return 0;
}

void machine_state_clear(struct machine_state_record *record)
{
	for (size_t i = 0; i < record->event_count; i++)
		free(record->events[i].message);
	free(record->failure);
	json_decref(record->checks);
	*record = (struct machine_state_record){};
}

void machine_state_add(struct machine_state_record *record, const char *type, const char *status,
	const char *source, const char *message)
{
	struct machine_event *event;

	if (record->event_count == MACHINE_EVENTS_MAX) {
		free(record->events[0].message);
		memmove(record->events, record->events + 1,
			(MACHINE_EVENTS_MAX - 1) * sizeof(*record->events));
		record->event_count--;
	}
	event = &record->events[record->event_count++];
	snprintf(event->type, sizeof(event->type), "%s", type);
	snprintf(event->status, sizeof(event->status), "%s", status);
	snprintf(event->source, sizeof(event->source), "%s", source);
	clock_stamp(event->timestamp);
	event->message = message ? strdup(message) : NULL;
}
