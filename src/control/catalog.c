/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog in memory. Everything that is read on the way of a call is here; the store is asked
 * once, at the start, and written first at every change: what is in memory was committed.
 */
#include "control/control_impl.h"

#include "base/buf.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

static void change_add(struct change *change, enum store_op_type type, char *key, char *value)
{
	struct store_op *ops = realloc(change->ops, (change->count + 1) * sizeof(*ops));

	if (ops)
		change->ops = ops;
	if (!ops || !key || (type == STORE_PUT && !value)) {
		change->is_broken = true;
		free(key);
		free(value);
		return;
	}
	ops[change->count++] = (struct store_op){.type = type, .key = key, .value = value};
}

static char *format_key(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *format_key(const char *format, ...)
{
	char *key = NULL;
	va_list ap;
	int len;

	va_start(ap, format);
	len = vasprintf(&key, format, ap);
	va_end(ap);
	return len < 0 ? NULL : key;
}

static void change_put(struct change *change, char *key, json_t *json)
{
	change_add(change, STORE_PUT, key, json ? json_dumps(json, JSON_COMPACT) : NULL);
	json_decref(json);
}

void change_put_app(struct change *change, const struct app_record *record)
{
	change_put(change, format_key("apps/%s", record->name), app_record_to_json(record));
}

static char *ip_key(const struct ip_record *record)
{
	char text[ADDR_TEXT_LEN];

	addr_format(&record->addr, text);
	return record->type == IP_SHARED_V4 ? format_key("ips/%s/%s", text, record->app)
					    : format_key("ips/%s", text);
}

void change_put_ip(struct change *change, const struct ip_record *record)
{
	change_put(change, ip_key(record), ip_record_to_json(record));
}

void change_delete_ip(struct change *change, const struct ip_record *record)
{
	change_add(change, STORE_DELETE, ip_key(record), NULL);
}

void change_put_release(struct change *change, const struct release_record *record)
{
	change_put(change, format_key("releases/%s/%010u", record->app, record->number),
		release_record_to_json(record));
}

void change_put_machine(struct change *change, struct machine_record *record)
{
	clock_stamp(record->updated_at);
	change_put(change, format_key("machines/%s", record->id), machine_record_to_json(record));
}

void change_put_state(struct change *change, const struct machine *machine)
{
	change_put(change, format_key("machine-state/%s", machine->record->id),
		machine_state_to_json(&machine->history));
}

void change_delete_machine(struct change *change, const char *id)
{
	change_add(change, STORE_DELETE, format_key("machines/%s", id), NULL);
	change_add(change, STORE_DELETE, format_key("machine-state/%s", id), NULL);
}

void change_delete_app(struct change *change, const struct app_record *record)
{
	change_add(change, STORE_DELETE, format_key("apps/%s", record->name), NULL);
	change_add(change, STORE_DELETE_PREFIX, format_key("releases/%s/", record->name), NULL);
}

void change_clear(struct change *change)
{
	for (size_t i = 0; i < change->count; i++) {
		free((char *)change->ops[i].key);
		free((char *)change->ops[i].value);
	}
	free(change->ops);
	*change = (struct change){};
}

int change_commit(struct control *control, struct change *change, struct err *err)
{
	int r = -ENOMEM;

	if (change->is_broken)
		err_errno(err, r, "cannot write to the catalog");
	else
		r = change->count ? store_txn(control->store, NULL, 0, change->ops, change->count,
					    NULL, err)
				  : 0;
	change_clear(change);
	return r;
}

/* Apps */

static size_t app_position(const struct control *control, const char *name)
{
	size_t low = 0, high = control->app_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(control->apps[middle]->record->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct app *catalog_find_app(const struct control *control, const char *name)
{
	size_t at = app_position(control, name);

	if (at < control->app_count && strcmp(control->apps[at]->record->name, name) == 0)
		return control->apps[at];
	return NULL;
}

/* Makes room for one more pointer at @at of the array *@items of @count. */
static int insert_pointer(void ***items, size_t *count, size_t at, void *item)
{
	void **bigger = realloc(*items, (*count + 1) * sizeof(**items));

	if (!bigger)
		return -ENOMEM;
	*items = bigger;
	memmove(&bigger[at + 1], &bigger[at], (*count - at) * sizeof(*bigger));
	bigger[at] = item;
	++*count;
	return 0;
}

static void app_free(struct app *app)
{
	app_record_free(app->record);
	release_record_free(app->release);
	config_free(app->config);
	free(app);
}

int catalog_add_app(struct control *control, struct app_record *record)
{
	struct app *app = calloc(1, sizeof(*app));

	if (!app || insert_pointer((void ***)&control->apps, &control->app_count,
			    app_position(control, record->name), app) < 0) {
		free(app);
		app_record_free(record);
		return -ENOMEM;
	}
	app->record = record;
	return 0;
}

void catalog_remove_app(struct control *control, struct app *app)
{
	size_t at = app_position(control, app->record->name);

	control->app_count--;
	memmove(&control->apps[at], &control->apps[at + 1],
		(control->app_count - at) * sizeof(*control->apps));
	app_free(app);
}

void app_set_release(struct app *app, struct release_record *release, struct app_config *config)
{
	release_record_free(app->release);
	config_free(app->config);
	app->release = release;
	app->config = config;
}

/* Addresses */

static int compare_ips(const struct ip_record *a, const struct ip_record *b)
{
	int order = addr_compare(&a->addr, &b->addr);

	return order ? order : strcmp(a->app, b->app);
}

int catalog_add_ip(struct control *control, struct ip_record *record)
{
	size_t at = 0;

	while (at < control->ip_count && compare_ips(control->ips[at], record) < 0)
		at++;
	if (insert_pointer((void ***)&control->ips, &control->ip_count, at, record) < 0) {
		ip_record_free(record);
		return -ENOMEM;
	}
	return 0;
}

void catalog_remove_ip(struct control *control, struct ip_record *record)
{
	for (size_t at = 0; at < control->ip_count; at++)
		if (control->ips[at] == record) {
			control->ip_count--;
			memmove(&control->ips[at], &control->ips[at + 1],
				(control->ip_count - at) * sizeof(*control->ips));
			ip_record_free(record);
			return;
		}
}

/* Loading */

typedef int load_fn(struct control *control, const char *key, const json_t *json, struct err *err);

static int load_app(struct control *control, const char *key, const json_t *json, struct err *err)
{
	struct app_record *record;
	int r = app_record_from_json(json, &record, err);

	(void)key;
	if (r < 0)
		return r;
	return catalog_add_app(control, record) < 0 ? err_errno(err, -ENOMEM, "cannot read an app")
						    : 0;
}

static int load_ip(struct control *control, const char *key, const json_t *json, struct err *err)
{
	struct ip_record *record;
	int r = ip_record_from_json(json, &record, err);

	(void)key;
	if (r < 0)
		return r;
	return catalog_add_ip(control, record) < 0
		       ? err_errno(err, -ENOMEM, "cannot read an address")
		       : 0;
}

static int load_release(
	struct control *control, const char *key, const json_t *json, struct err *err)
{
	_cleanup_(release_record_freep) struct release_record *record = NULL;
	struct diagnostics diags = {};
	struct app_config *config = NULL;
	struct app *app;
	int r = release_record_from_json(json, &record, err);

	(void)key;
	if (r < 0)
		return r;
	app = catalog_find_app(control, record->app);
	if (!app || app->record->release != record->number)
		return 0; /* an older one, kept for the record */
	r = config_parse(record->config_text, strlen(record->config_text), record->file_name,
		&config, &diags);
	if (r < 0)
		r = err_set(err, r, "release %u of app %s: %s", record->number, record->app,
			diags.count ? diags.items[0].message : "its fly.toml is invalid");
	diagnostics_clear(&diags);
	if (r == 0)
		app_set_release(app, take_ptr(record), config);
	return r;
}

static int load_machine(
	struct control *control, const char *key, const json_t *json, struct err *err)
{
	struct machine_record *record;
	int r = machine_record_from_json(json, &record, err);

	(void)key;
	if (r < 0)
		return r;
	return machine_add(control, record, NULL) < 0
		       ? err_errno(err, -ENOMEM, "cannot read a machine")
		       : 0;
}

static int load_state(struct control *control, const char *key, const json_t *json, struct err *err)
{
	struct machine *machine = machine_find(control, key + strlen("machine-state/"));

	return machine ? machine_state_from_json(json, &machine->history, err) : 0;
}

/*
 * A value that cannot be read is told and passed over: one bad record must not keep the others
 * from being served. It stays in the store as it is.
 */
static int load_prefix(struct control *control, const char *prefix, load_fn *load, struct err *err)
{
	_cleanup_(store_entries_clear) struct store_entries entries = {};
	int r = store_range(control->store, prefix, &entries, NULL, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < entries.count; i++) {
		json_t *json =
			json_loadb(entries.items[i].value, entries.items[i].value_len, 0, NULL);
		struct err why = {};

		r = json ? load(control, entries.items[i].key, json, &why)
			 : err_set(&why, -EBADMSG, "the value is not JSON");
		json_decref(json);
		if (r < 0)
			log_error("catalog-record-skipped", "key=%s reason=\"%s\"",
				entries.items[i].key, why.text);
	}
	return 0;
}

int catalog_load(struct control *control, struct err *err)
{
	static const struct {
		const char *prefix;
		load_fn *load;
	} parts[] = {
		{"apps/", load_app},
		{"ips/", load_ip},
		{"releases/", load_release},
		{"machines/", load_machine},
		{"machine-state/", load_state},
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		int r = load_prefix(control, parts[i].prefix, parts[i].load, err);

		if (r < 0)
			return r;
	}
	return 0;
}

void catalog_free(struct control *control)
{
	for (size_t i = 0; i < control->app_count; i++)
		app_free(control->apps[i]);
	for (size_t i = 0; i < control->ip_count; i++)
		ip_record_free(control->ips[i]);
	free(control->apps);
	free(control->ips);
}
