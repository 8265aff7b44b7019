/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the store into memory: everything at the start, and later what other hosts changed. What
 * this host commits is in memory already, and comes back as an echo whose revision the mirror
 * knows. A value that cannot be read is told and passed over, and stays in the store as it is: one
 * bad record, or one of a newer version, must not keep the others from being served.
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

static int put_host(struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct host_record *record;
	struct host *host;
	int r = host_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	if (record->id != id_of(name)) {
		host_record_free(record);
		return err_set(err, -EBADMSG, "it is the record of another host");
	}
	host = host_add(control, record->id);
	if (!host) {
		host_record_free(record);
		return out_of_memory(err);
	}
	host_record_free(host->record);
	host->record = record;
	control->hosts_changed = true;
	return 0;
}

static void delete_host(struct control *control, const char *name)
{
	struct host *host = host_find(control, id_of(name));

	if (!host)
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
	struct host *host = host_add(control, id_of(name));
	int r = host ? host_alive_from_json(json, &alive, err) : out_of_memory(err);

	if (r < 0)
		return r;
	host_alive_clear(&host->alive);
	host->alive = alive;
	control->hosts_changed = true;
	return 0;
}

static void delete_alive(struct control *control, const char *name)
{
	struct host *host = host_find(control, id_of(name));

	if (host)
		host_alive_clear(&host->alive);
}

static int put_measured(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct host *host = host_add(control, id_of(name));

	if (!host)
		return out_of_memory(err);
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
	(void)name;
	return fleet_record_from_json(json, &control->fleet, err);
}

/* Apps, addresses, releases */

static int fetch_release(struct control *control, const struct app *app, struct err *err);

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
	if (!app)
		return catalog_add_app(control, record) < 0 ? out_of_memory(err) : 0;
	app_record_free(app->record);
	app->record = record;
	if (!record->release || (app->release && app->release->number == record->release))
		return 0;
	if (!app->next_release || app->next_release->number != record->release) {
		/* Its release was read, or written, at another time than this. */
		r = fetch_release(control, app, err);
		if (r < 0)
			return r;
	}
	app_set_release(control, app, take_ptr(app->next_release), take_ptr(app->next_config));
	return 0;
}

static void delete_app(struct control *control, const char *name)
{
	struct app *app = catalog_find_app(control, name);

	if (app)
		catalog_remove_app(control, app);
}

static struct ip_record *find_ip(const struct control *control, const char *name)
{
	const char *slash = strchr(name, '/');
	char text[ADDR_TEXT_LEN];
	struct addr addr;

	snprintf(
		text, sizeof(text), "%.*s", (int)(slash ? slash - name : (long)strlen(name)), name);
	if (addr_parse(text, &addr) < 0)
		return NULL;
	return catalog_find_ip(control, &addr, slash ? slash + 1 : NULL);
}

/* Machines send from their app's address. */
static void touch_machines(struct control *control, const char *app)
{
	size_t count;
	struct machine **machines = index_machines(control, app, &count);

	for (size_t i = 0; i < count; i++)
		machines[i]->needs_step = true;
}

static int put_ip(struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct ip_record *record, *known = find_ip(control, name);
	int r = ip_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	if (known)
		catalog_remove_ip(control, known);
	touch_machines(control, record->app);
	return catalog_add_ip(control, record) < 0 ? out_of_memory(err) : 0;
}

static void delete_ip(struct control *control, const char *name)
{
	struct ip_record *known = find_ip(control, name);

	if (!known)
		return;
	touch_machines(control, known->app);
	catalog_remove_ip(control, known);
}

/* Keeps the release for the record of its app that makes it the current one, or is there. */
static int take_release(struct control *control, const json_t *json, struct err *err)
{
	_cleanup_(release_record_freep) struct release_record *record = NULL;
	struct diagnostics diags = {};
	struct app_config *config = NULL;
	struct app *app;
	int r = release_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	app = catalog_find_app(control, record->app);
	if (!app || record->number < app->record->release)
		return 0; /* an older one, kept for the record */
	r = config_parse(record->config_text, strlen(record->config_text), record->file_name,
		&config, &diags);
	if (r < 0)
		r = err_set(err, r, "release %u of app %s: %s", record->number, record->app,
			diags.count ? diags.items[0].message : "its fly.toml is invalid");
	diagnostics_clear(&diags);
	if (r < 0)
		return r;
	if (record->number == app->record->release) {
		app_set_release(control, app, take_ptr(record), config);
		return 0;
	}
	release_record_free(app->next_release);
	config_free(app->next_config);
	app->next_release = take_ptr(record);
	app->next_config = config;
	return 0;
}

static int put_release(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	(void)name;
	return take_release(control, json, err);
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
	r = take_release(control, json, err);
	json_decref(json);
	return r;
}

/* Machines */

static int put_machine(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct machine *machine = machine_find(control, name);
	struct machine_record *record;
	int r = machine_record_from_json(json, &record, err);

	if (r < 0)
		return r;
	if (strcmp(record->id, name) != 0) {
		machine_record_free(record);
		return err_set(err, -EBADMSG, "it is the record of another machine");
	}
	if (!machine) {
		if (machine_add(control, record, &machine) < 0)
			return out_of_memory(err);
	} else {
		machine_record_free(machine->record);
		machine->record = record;
	}
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
	r = machine_state_from_json(json, &record, err);
	if (r == 0)
		machine_heard(machine, &record);
	return r;
}

static int put_settled(
	struct control *control, const char *name, const json_t *json, struct err *err)
{
	struct machine *machine = machine_find(control, name);

	(void)err;
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
} parts[] = {
	{"fleet", put_fleet, NULL},
	{"hosts/", put_host, delete_host},
	{"host-alive/", put_alive, delete_alive},
	{"host-probes/", put_measured, delete_measured},
	{"slices/", NULL, NULL},
	{"networks/", NULL, NULL},
	/* At a change the release stands before the app that takes it up. */
	{"releases/", put_release, NULL},
	{"apps/", put_app, delete_app},
	{"ips/", put_ip, delete_ip},
	{"machines/", put_machine, delete_machine},
	{"machine-state/", put_state, NULL},
	{"settled/", put_settled, NULL},
};

static bool is_of(const struct part *part, const char *key)
{
	return strncmp(key, part->prefix, strlen(part->prefix)) == 0;
}

/* @value NULL: the key is gone. */
static void apply(struct control *control, const struct part *part, const char *key,
	const char *value, size_t value_len)
{
	const char *name = key + strlen(part->prefix);
	struct err err = {};
	json_t *json;
	int r;

	if (!value) {
		if (part->deleted)
			part->deleted(control, name);
		return;
	}
	if (!part->put)
		return;
	json = json_loadb(value, value_len, JSON_DECODE_ANY, NULL);
	r = json ? part->put(control, name, json, &err)
		 : err_set(&err, -EBADMSG, "the value is not JSON");
	json_decref(json);
	if (r < 0)
		log_error("catalog-record-skipped", "key=%s reason=\"%s\"", key, err.text);
}

/* Machines whose record or addresses are new to the data plane. */
static void serve_changed(struct control *control)
{
	struct err err;

	for (size_t i = 0; i < control->machine_count; i++) {
		struct machine *machine = control->machines[i];

		if (machine->needs_step && (machine->is_served || !machine->is_local) &&
			serve_machine(machine, &err) < 0)
			log_error("data-plane-not-updated", "machine=%s reason=\"%s\"",
				machine->record->id, err.text);
	}
}

/* Memory is up to date: what follows from it is done. */
static void settle(uv_timer_t *timer)
{
	struct control *control = timer->data;

	if (control->hosts_changed)
		fleet_update(control);
	serve_changed(control);
	serve(control);
	for (size_t i = control->machine_count; i-- > 0;) {
		struct machine *machine = i < control->machine_count ? control->machines[i] : NULL;

		if (machine && machine->needs_step) {
			machine->needs_step = false;
			machine_step(machine);
		}
	}
	rollouts_machine_changed(control);
	waiters_machine_changed(control);
}

/* The start */

static int load_part(
	struct control *control, const struct part *part, int64_t *revision, struct err *err)
{
	_cleanup_(store_entries_clear) struct store_entries entries = {};
	int r = store_range(control->store, part->prefix, &entries, revision, err);

	for (size_t i = 0; r == 0 && i < entries.count; i++) {
		const struct store_entry *entry = &entries.items[i];

		if (mirror_set(control->mirror, entry->key, entry->mod_revision) < 0)
			return out_of_memory(err);
		apply(control, part, entry->key, entry->value, entry->value_len);
	}
	return r;
}

/* Releases after apps here: only the current one of each is wanted, and the app says which. */
static int load_all(struct control *control, struct err *err)
{
	const struct part *releases = NULL;
	int64_t revision = 0, first = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++) {
		if (parts[i].put == put_release) {
			releases = &parts[i];
			continue;
		}
		r = load_part(control, &parts[i], &revision, err);
		if (r == 0 && parts[i].put == put_app)
			r = load_part(control, releases, &revision, err);
		if (!first)
			first = revision;
	}
	/* What was written while the later parts were read comes again, and is known by then. */
	control->revision = first;
	return r;
}

int catalog_load(struct control *control, struct err *err)
{
	control->mirror = mirror_new();
	return control->mirror ? load_all(control, err) : out_of_memory(err);
}

/* Everything again */

struct reload {
	struct control *control;
	struct store_entries entries;
};

static int compare_entry(const void *key, const void *entry)
{
	return strcmp(key, ((const struct store_entry *)entry)->key);
}

static void drop_if_gone(void *arg, const char *key, int64_t revision)
{
	struct reload *reload = arg;
	struct control *control = reload->control;

	(void)revision;
	if (reload->entries.count && bsearch(key, reload->entries.items, reload->entries.count,
					     sizeof(*reload->entries.items), compare_entry))
		return;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (is_of(&parts[i], key))
			apply(control, &parts[i], key, NULL, 0);
	mirror_set(control->mirror, key, 0);
}

int catalog_reload(struct control *control, struct err *err)
{
	struct reload reload = {.control = control};
	int64_t revision;
	int r = store_range(control->store, "", &reload.entries, &revision, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (size_t e = 0; e < reload.entries.count; e++) {
			const struct store_entry *entry = &reload.entries.items[e];

			if (!is_of(&parts[i], entry->key) ||
				mirror_get(control->mirror, entry->key) == entry->mod_revision)
				continue;
			mirror_set(control->mirror, entry->key, entry->mod_revision);
			apply(control, &parts[i], entry->key, entry->value, entry->value_len);
		}
	mirror_each(control->mirror, "", drop_if_gone, &reload);
	store_entries_clear(&reload.entries);
	control->revision = revision;
	log_info("catalog-read-again", "revision=%jd", (intmax_t)revision);
	return 0;
}

/* What another host did, or the echo of what this one did. */
static bool is_news(
	const struct control *control, const struct store_event *event, int64_t revision)
{
	const int64_t known = mirror_get(control->mirror, event->key);

	return event->value ? known < revision : known && known < revision;
}

static void changed(void *arg, int64_t revision, const struct store_event *events, size_t count)
{
	struct control *control = arg;
	bool has_news = false;
	struct err err;

	if (!events) {
		if (catalog_reload(control, &err) < 0)
			log_error("catalog-not-read", "reason=\"%s\"", err.text);
		uv_timer_start(&control->settle_timer, settle, 0, 0);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (size_t e = 0; e < count; e++) {
			if (!is_of(&parts[i], events[e].key) ||
				!is_news(control, &events[e], revision))
				continue;
			mirror_set(control->mirror, events[e].key, events[e].value ? revision : 0);
			apply(control, &parts[i], events[e].key, events[e].value,
				events[e].value_len);
			has_news |= parts[i].put != put_measured;
		}
	control->revision = revision;
	if (has_news)
		uv_timer_start(&control->settle_timer, settle, 0, 0);
}

static void store_readable(uv_poll_t *poll, int status, int events)
{
	struct control *control = poll->data;
	const bool was_away = store_is_away(control->store, NULL) < 0;
	struct err err = {};
	bool is_away;

	(void)status;
	(void)events;
	if (store_dispatch(control->store, &err) < 0)
		log_debug("store", "reason=\"%s\"", err.text);
	is_away = store_is_away(control->store, &err) < 0;
	if (is_away && !was_away)
		log_warn("store-away", "reason=\"%s\"", err.text);
	else if (!is_away && was_away)
		log_info("store-back", "revision=%jd", (intmax_t)control->revision);
}

int catalog_follow(struct control *control, struct err *err)
{
	int fd = store_watch_fd(control->store);

	if (fd < 0)
		return 0; /* nobody else writes */
	uv_timer_init(control->loop, &control->settle_timer);
	control->settle_timer.data = control;
	store_watch(control->store, control->revision, changed, control);
	if (uv_poll_init(control->loop, &control->store_poll, fd) < 0)
		return err_set(err, -EIO, "cannot follow the catalog");
	control->store_poll.data = control;
	uv_poll_start(&control->store_poll, UV_READABLE, store_readable);
	return 0;
}

void catalog_unfollow(struct control *control)
{
	if (!control->store_poll.data)
		return;
	store_watch(control->store, 0, NULL, NULL);
	uv_close((uv_handle_t *)&control->store_poll, NULL);
	uv_close((uv_handle_t *)&control->settle_timer, NULL);
	control->store_poll.data = NULL;
}
