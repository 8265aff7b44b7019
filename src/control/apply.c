/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key of the store into memory: what each kind of record changes there. A value that cannot be
 * read, or that says what cannot be, is told and passed over: memory stays as it was, the store
 * too. Such a key is marked in the mirror, and nothing is written over it: it may be the record of
 * a newer version.
 */
#include "control/control_impl.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

typedef int put_fn(struct control *control, const char *name, const json_t *json, struct err *err);
typedef void delete_fn(struct control *control, const char *name);

static int out_of_memory(struct err *err)
{
	return err_errno(err, -ENOMEM, "cannot read the catalog");
}

/* Hosts */

static unsigned int id_of(const char *name)
{
	char *end;
	unsigned long id = strtoul(name, &end, 10);

	return *end || id > HOST_ID_MAX ? 0 : (unsigned int)id;
}

static int add_host(struct control *control, const char *name, struct host **out, struct err *err)
{
	const unsigned int id = id_of(name);

	if (!id)
		return err_set(err, -EBADMSG, "%s is not the id of a host", name);
	*out = host_add(control, id);
	return *out ? 0 : out_of_memory(err);
}

/* Of this host only the operator's wishes and more slices come from others. */
static int check_own(
	const struct host_record *own, const struct host_record *record, struct err *err)
{
	if (strcmp(own->identity, record->identity) != 0)
		return err_set(err, -EEXIST,
			"another installation took the id of this host; start wherryd again, and "
			"it joins anew");
	if (!addr_equal(&own->endpoint, &record->endpoint) ||
		!addr_equal(&own->mesh_v4, &record->mesh_v4) ||
		strcmp(own->public_key, record->public_key) != 0)
		return err_set(err, -EEXIST,
			"another host with the identity of this one says that it is at another "
			"place; one of them is a copy, whose state directory has to go");
	return 0;
}

static int put_host(struct control *control, const char *name, const json_t *json, struct err *err)
{
	_cleanup_(host_record_freep) struct host_record *record = NULL;
	struct host *host;
	int r = host_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	if (record->id != id_of(name))
		return err_set(err, -EBADMSG, "it is the record of another host");
	r = add_host(control, name, &host, err);
	if (r == 0 && host->id == control->host_id && host->record)
		r = check_own(host->record, record, err);
	if (r == 0)
		r = host_claims_check(control, record, err);
	if (r < 0)
		return r;
	host_record_free(host->record);
	host->record = take_ptr(record);
	control->hosts_changed = true;
	return 0;
}

static void delete_host(struct control *control, const char *name)
{
	struct host *host = host_find(control, id_of(name));

	if (!host || !host->record)
		return;
	/* It goes on as it is, for the clients it has; when it starts again it joins anew. */
	if (host->id == control->host_id) {
		log_error("removed-from-the-fleet", "host=%u", host->id);
		return;
	}
	host_record_free(take_ptr(host->record));
	control->hosts_changed = true;
}

static int put_alive(struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct host_alive alive;
	struct host *host;
	int r = add_host(control, name, &host, err);

	if (r == 0)
		r = host_alive_from_json(json, &alive, err);
	if (r < 0)
		return r;
	if (host->id == control->host_id && host->alive.endpoint &&
		(strcmp(host->alive.endpoint, alive.endpoint) != 0 ||
			strcmp(host->alive.started_at, alive.started_at) != 0)) {
		r = err_set(err, -EEXIST,
			"another wherryd, at %s since %s, has the identity of this host; one of "
			"them is a copy, whose state directory has to go",
			alive.endpoint, alive.started_at);
		host_alive_clear(&alive);
		return r;
	}
	host_alive_clear(&host->alive);
	host->alive = alive;
	control->hosts_changed = true;
	return 0;
}

static void delete_alive(struct control *control, const char *name)
{
	struct host *host = host_find(control, id_of(name));

	/* Of its own life this host knows better. */
	if (host && host->id != control->host_id)
		host_alive_clear(&host->alive);
}

static int put_measured(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct host *host;
	int r = add_host(control, name, &host, err);

	if (r < 0)
		return r;
	if (!json_is_object(json))
		return err_set(err, -EBADMSG, "it is not what a host measured");
	json_decref(host->measured);
	host->measured = json_deep_copy(json);
	return 0;
}

static void delete_measured(struct control *control, const char *name)
{
	struct host *host = host_find(control, id_of(name));

	if (host)
		json_decref(take_ptr(host->measured));
}

static int put_fleet(struct control *control, const char *name, const json_t *json, struct err *err)
{
	if (*name)
		return err_set(err, -EBADMSG, "there is no such record");
	return fleet_record_from_json(json, &control->fleet, err);
}

/* Apps and releases */

static void drop_next_release(struct app *app)
{
	release_record_free(take_ptr(app->next_release));
	config_free(take_ptr(app->next_config));
}

/* What its record lacked was its release. */
static void mark_app_read(struct control *control, const struct app *app)
{
	char key[STORE_KEY_MAX_BYTES];

	snprintf(key, sizeof(key), "apps/%s", app->record->name);
	mirror_set(control->mirror, key, mirror_get(control->mirror, key));
}

/* Keeps the release for the record of its app that makes it the current one, or is there. */
static int take_release(struct control *control, struct release_record *read, struct err *err)
{
	_cleanup_(release_record_freep) struct release_record *record = read;
	struct diagnostics diags = {};
	struct app_config *config = NULL;
	struct app *app = catalog_find_app(control, record->app);
	int r;

	if (!app || record->number < app->record->release)
		return 0; /* an older one, kept for the record */
	r = config_parse(record->config_text, strlen(record->config_text), record->file_name,
		&config, &diags);
	if (r < 0)
		r = err_set(err, -EBADMSG, "release %u of app %s: %s", record->number, record->app,
			diags.count ? diags.items[0].message : "its fly.toml is invalid");
	diagnostics_clear(&diags);
	if (r < 0)
		return r;
	if (record->number == app->record->release) {
		app_set_release(control, app, take_ptr(record), config);
		mark_app_read(control, app);
		return 0;
	}
	drop_next_release(app);
	app->next_release = take_ptr(record);
	app->next_config = config;
	return 0;
}

static int put_release(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct release_record *record;
	char expected[STORE_KEY_MAX_BYTES];
	int r = release_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	snprintf(expected, sizeof(expected), "%s/%010u", record->app, record->number);
	if (strcmp(expected, name) == 0)
		return take_release(control, record, err);
	release_record_free(record);
	return err_set(err, -EBADMSG, "it is the record of another release");
}

static int fetch_release(struct control *control, const struct app *app, struct err *err)
{
	_cleanup_(store_entry_clear) struct store_entry entry = {};
	char key[STORE_KEY_MAX_BYTES];
	json_t *json;
	int r;

	snprintf(key, sizeof(key), "releases/%s/%010u", app->record->name, app->record->release);
	r = store_get(control->store, key, &entry, err);
	if (r < 0)
		return r;
	json = r == 0 ? json_loadb(entry.value, entry.value_len, 0, NULL) : NULL;
	if (!json)
		return err_set(err, -EBADMSG, "release %u of the app is not in the catalog",
			app->record->release);
	r = put_release(control, key + strlen("releases/"), json, err);
	json_decref(json);
	return r;
}

/* Makes the release current that the app's record says. */
static int follow_release(struct control *control, struct app *app, struct err *err)
{
	const unsigned int wanted = app->record->release;

	if (!wanted && app->release)
		app_set_release(control, app, NULL, NULL); /* another app of the same name */
	if (!wanted || (app->release && app->release->number == wanted))
		return 0;
	if (app->next_release && app->next_release->number == wanted) {
		app_set_release(
			control, app, take_ptr(app->next_release), take_ptr(app->next_config));
		return 0;
	}
	if (control->is_reading)
		return 0; /* it is read next */
	return fetch_release(control, app, err);
}

static int put_app(struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct app_record *record;
	struct app *app = catalog_find_app(control, name);
	int r = app_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	if (strcmp(record->name, name) != 0) {
		app_record_free(record);
		return err_set(err, -EBADMSG, "it is the record of another app");
	}
	if (!app) {
		if (catalog_add_app(control, record) < 0)
			return out_of_memory(err);
		app = catalog_find_app(control, name);
	} else {
		app_record_free(app->record);
		app->record = record;
	}
	r = follow_release(control, app, err);
	if (app->next_release && app->next_release->number <= app->record->release)
		drop_next_release(app);
	return r;
}

static void delete_app(struct control *control, const char *name)
{
	struct app *app = catalog_find_app(control, name);

	if (app)
		catalog_remove_app(control, app);
}

/* Addresses */

static struct ip_record *find_ip(const struct control *control, const char *name)
{
	const char *slash = strchr(name, '/');
	struct ip_record *record;
	char text[ADDR_TEXT_LEN];
	struct addr addr;

	snprintf(
		text, sizeof(text), "%.*s", (int)(slash ? slash - name : (long)strlen(name)), name);
	if (addr_parse(text, &addr) < 0)
		return NULL;
	record = catalog_find_ip(control, &addr, slash ? slash + 1 : NULL);
	return record && (record->type == IP_SHARED_V4) == !!slash ? record : NULL;
}

/* Machines send from their app's address. */
static void touch_machines(struct control *control, const char *app)
{
	size_t count;
	struct machine **machines = index_machines(control, app, &count);

	for (size_t i = 0; i < count; i++)
		machines[i]->needs_step = true;
}

static void delete_ip(struct control *control, const char *name)
{
	struct ip_record *known = find_ip(control, name);

	if (!known)
		return;
	touch_machines(control, known->app);
	catalog_remove_ip(control, known);
}

static int put_ip(struct control *control, const char *name, const json_t *json, struct err *err)
{
	_cleanup_(mem_freep) char *key = NULL;
	struct ip_record *record;
	int r = ip_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	key = catalog_ip_key(record);
	if (!key || strcmp(key, name - strlen("ips/")) != 0) {
		ip_record_free(record);
		return err_set(err, -EBADMSG, "it is the record of another address");
	}
	delete_ip(control, name);
	touch_machines(control, record->app);
	return catalog_add_ip(control, record) < 0 ? out_of_memory(err) : 0;
}

/* Machines */

/* What a machine is from its beginning to its end. */
static int check_same(
	const struct machine_record *was, const struct machine_record *is, struct err *err)
{
	if (strcmp(was->app, is->app) == 0 && was->host == is->host && was->kind == is->kind &&
		addr_equal(&was->network.addr, &is->network.addr))
		return 0;
	return err_set(err, -EBADMSG, "a machine keeps its app, its host and its network");
}

static int put_machine(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	_cleanup_(machine_record_freep) struct machine_record *record = NULL;
	struct machine *machine = machine_find(control, name);
	bool is_asked;
	int r = machine_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	if (strcmp(record->id, name) != 0)
		return err_set(err, -EBADMSG, "it is the record of another machine");
	if (!machine) {
		if (machine_add(control, take_ptr(record), &machine) < 0)
			return out_of_memory(err);
		machine->needs_step = true;
		return 0;
	}
	r = check_same(machine->record, record, err);
	if (r < 0)
		return r;
	is_asked = record->start_count != machine->record->start_count;
	machine_record_free(machine->record);
	machine->record = take_ptr(record);
	/* Somebody asked another host for it: now, not at the next try. */
	machine->must_retry = false;
	if (is_asked)
		machine_ask_start(machine);
	machine->needs_step = true;
	return 0;
}

static void delete_machine(struct control *control, const char *name)
{
	struct machine *machine = machine_find(control, name);

	if (!machine)
		return;
	if (!machine->is_local) {
		machine_drop(machine);
		return;
	}
	/* Somebody took it out of the catalog without asking; nothing of it is to stay. */
	machine->record->wish = WISH_DESTROYED;
	machine->needs_step = true;
}

static int put_state(struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct machine *machine = machine_find(control, name);
	struct machine_state_record record;
	int r;

	if (!machine)
		return 0;
	/* Of its own machines this host knows better, and says so again. */
	if (machine->is_local && control->is_ready) {
		machine->is_unpublished = true;
		return 0;
	}
	r = machine_state_from_json(json, &record, err);
	if (r == 0)
		machine_heard(machine, &record);
	return r;
}

static int put_settled(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct machine *machine = machine_find(control, name);

	if (!json_is_object(json))
		return err_set(err, -EBADMSG, "it is not what a host says of a machine's groups");
	if (machine) {
		json_decref(machine->settled);
		machine->settled = json_deep_copy(json);
	}
	return 0;
}

/* In the order in which they are read: who refers to what stands after it. */
static const struct part {
	const char *prefix;
	put_fn *put;	    /* NULL: the key alone matters */
	delete_fn *deleted; /* NULL: nothing to do */
	bool is_report;	    /* what one host sees, and writes anew whatever stands there */
} parts[] = {
	{"fleet", put_fleet, NULL, false},
	{"hosts/", put_host, delete_host, false},
	{"host-alive/", put_alive, delete_alive, true},
	{"host-probes/", put_measured, delete_measured, true},
	{"joins", NULL, NULL, false},
	{"slices/", NULL, NULL, false},
	{"networks/", NULL, NULL, false},
	/* At a change the release stands before the app that takes it up. */
	{"releases/", put_release, NULL, false},
	{"apps/", put_app, delete_app, false},
	{"ips/", put_ip, delete_ip, false},
	{"machines/", put_machine, delete_machine, false},
	{"machine-state/", put_state, NULL, true},
	{"settled/", put_settled, NULL, true},
};

int catalog_rank(const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (strncmp(key, parts[i].prefix, strlen(parts[i].prefix)) == 0)
			return (int)i;
	return -1;
}

const char *catalog_prefix(int rank)
{
	return rank < (int)ARRAY_LEN(parts) ? parts[rank].prefix : NULL;
}

bool catalog_is_report(const char *key)
{
	const int rank = catalog_rank(key);

	return rank >= 0 && parts[rank].is_report;
}

void catalog_forget(struct control *control, const char *key)
{
	const int rank = catalog_rank(key);

	mirror_set(control->mirror, key, 0);
	if (rank >= 0 && parts[rank].deleted)
		parts[rank].deleted(control, key + strlen(parts[rank].prefix));
}

void catalog_apply(struct control *control, const char *key, const char *value, size_t value_len,
	int64_t revision)
{
	const int rank = catalog_rank(key);
	const bool was_read = mirror_is_read(control->mirror, key);
	struct err err = {};
	json_t *json;
	int r;

	if (rank < 0)
		return;
	if (mirror_set(control->mirror, key, revision) < 0) {
		/* Not known is not seen: what is written over it is refused. */
		control->must_reload = true;
		return;
	}
	if (!parts[rank].put)
		return;
	json = json_loadb(value, value_len, JSON_DECODE_ANY, NULL);
	r = json ? parts[rank].put(control, key + strlen(parts[rank].prefix), json, &err)
		 : err_set(&err, -EBADMSG, "the value is not JSON");
	json_decref(json);
	if (r == 0)
		return;
	mirror_mark_unread(control->mirror, key);
	/* What is not the value's fault may be better later. */
	if (r != -EBADMSG && r != -EEXIST)
		control->must_reload = true;
	/* Once: it may be written again and again. */
	if (was_read)
		log_error("catalog-record-skipped", "key=%s reason=\"%s\"", key, err.text);
	else
		log_debug("catalog-record-skipped", "key=%s reason=\"%s\"", key, err.text);
}
