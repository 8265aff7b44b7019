/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog in memory. Everything that is read on the way of a call is here; the store is asked
 * once, at the start, and written first at every change: what is in memory was committed.
 */
#include "control/control_impl.h"

#include "base/buf.h"

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
	change_add(change, STORE_PUT, key,
		json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL);
	json_decref(json);
}

void change_put_app(struct change *change, const struct app_record *record)
{
	change_put(change, format_key("apps/%s", record->name), app_record_to_json(record));
}

char *catalog_ip_key(const struct ip_record *record)
{
	char text[ADDR_TEXT_LEN];

	addr_format(&record->addr, text);
	return record->type == IP_SHARED_V4 ? format_key("ips/%s/%s", text, record->app)
					    : format_key("ips/%s", text);
}

void change_put_ip(struct change *change, const struct ip_record *record)
{
	change_put(change, catalog_ip_key(record), ip_record_to_json(record));
}

void change_delete_ip(struct change *change, const struct ip_record *record)
{
	change_add(change, STORE_DELETE, catalog_ip_key(record), NULL);
}

void change_put_release(struct change *change, const struct release_record *record)
{
	change_put(change, format_key("releases/%s/%010u", record->app, record->number),
		release_record_to_json(record));
}

static char *network_key(const struct machine_record *record)
{
	char text[ADDR_TEXT_LEN];

	return format_key("networks/%s", addr_format(&record->network.addr, text));
}

void change_put_machine(struct change *change, struct machine_record *record)
{
	clock_stamp(record->updated_at);
	change_put(change, format_key("machines/%s", record->id), machine_record_to_json(record));
}

void change_claim_network(struct change *change, const struct machine_record *record)
{
	change_put(change, network_key(record), json_string(record->id));
}

void change_put_state(struct change *change, const struct machine *machine)
{
	change_put(change, format_key("machine-state/%s", machine->record->id),
		machine_state_to_json(&machine->history));
}

void change_delete_machine(struct change *change, const struct machine_record *record)
{
	change_add(change, STORE_DELETE, format_key("machines/%s", record->id), NULL);
	change_add(change, STORE_DELETE, format_key("machine-state/%s", record->id), NULL);
	change_add(change, STORE_DELETE, format_key("settled/%s", record->id), NULL);
	change_add(change, STORE_DELETE, network_key(record), NULL);
}

static char *slice_key(const struct prefix *slice)
{
	char text[ADDR_TEXT_LEN];

	return format_key("slices/%s", addr_format(&slice->addr, text));
}

bool catalog_has_slice(const struct control *control, const struct prefix *slice)
{
	_free_ char *key = slice_key(slice);

	return !key || mirror_get(control->mirror, key) != 0;
}

bool catalog_has_host(const struct control *control, unsigned int id)
{
	_free_ char *key = format_key("hosts/%05u", id);

	return !key || mirror_get(control->mirror, key) != 0;
}

void change_put_alive(struct change *change, unsigned int id, const struct host_alive *alive)
{
	change_put(change, format_key("host-alive/%05u", id), host_alive_to_json(alive));
	change_put(change, format_key("joins"), json_integer(id));
}

void change_put_host(struct change *change, const struct host_record *record)
{
	change_put(change, format_key("hosts/%05u", record->id), host_record_to_json(record));
	for (size_t i = 0; i < record->slice_count; i++)
		change_put(change, slice_key(&record->slices[i]), json_integer(record->id));
}

void change_delete_host(struct change *change, const struct host_record *record)
{
	change_add(change, STORE_DELETE, format_key("hosts/%05u", record->id), NULL);
	change_add(change, STORE_DELETE, format_key("host-alive/%05u", record->id), NULL);
	change_add(change, STORE_DELETE, format_key("host-probes/%05u", record->id), NULL);
	for (size_t i = 0; i < record->slice_count; i++)
		change_add(change, STORE_DELETE, slice_key(&record->slices[i]), NULL);
}

void change_put_settled(struct change *change, const char *id, json_t *settled)
{
	change_put(change, format_key("settled/%s", id), json_incref(settled));
}

void change_put_fleet(struct change *change, const struct fleet_record *record)
{
	change_put(change, format_key("fleet"), fleet_record_to_json(record));
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

/* Every value that is written was seen as it is, or seen not to be there. */
static struct store_compare *make_compares(
	const struct control *control, const struct change *change, size_t *count)
{
	struct store_compare *compares = calloc(change->count + 1, sizeof(*compares));

	*count = 0;
	for (size_t i = 0; compares && i < change->count; i++)
		if (change->ops[i].type != STORE_DELETE_PREFIX)
			compares[(*count)++] = (struct store_compare){
				.key = change->ops[i].key,
				.mod_revision = mirror_get(control->mirror, change->ops[i].key),
			};
	return compares;
}

static void mirror_change(struct control *control, const struct change *change, int64_t revision)
{
	for (size_t i = 0; i < change->count; i++) {
		const struct store_op *op = &change->ops[i];

		if (op->type == STORE_DELETE_PREFIX)
			mirror_delete_prefix(control->mirror, op->key);
		else
			mirror_set(control->mirror, op->key, op->type == STORE_PUT ? revision : 0);
	}
}

/* Nothing is written over what this version could not read. */
static int check_read(const struct control *control, const struct change *change, struct err *err)
{
	for (size_t i = 0; i < change->count; i++) {
		const struct store_op *op = &change->ops[i];

		if (op->type == STORE_PUT && !mirror_is_read(control->mirror, op->key) &&
			!catalog_is_report(op->key))
			return err_set(err, -EBADMSG,
				"the catalog holds \"%s\" in a form that this version cannot read, "
				"and is not changed there; the log of wherryd says why",
				op->key);
	}
	return 0;
}

static int commit(struct control *control, const struct change *change, struct err *err)
{
	size_t count;
	_free_ struct store_compare *compares = make_compares(control, change, &count);
	int64_t revision = 0;
	int r;

	if (!compares)
		return err_errno(err, -ENOMEM, "cannot write to the catalog");
	r = check_read(control, change, err);
	if (r < 0)
		return r;
	r = store_txn(control->store, compares, count, change->ops, change->count, &revision, err);
	if (r == 1)
		return err_set(err, -EAGAIN,
			"another host changed the catalog at the same moment; ask again");
	if (r == 0)
		mirror_change(control, change, revision);
	return r;
}

int change_commit(struct control *control, struct change *change, struct err *err)
{
	int r = -ENOMEM;

	if (change->is_broken)
		err_errno(err, r, "cannot write to the catalog");
	else
		r = change->count ? commit(control, change, err) : 0;
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
	release_record_free(app->next_release);
	config_free(app->next_config);
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

	checks_stop_app(control, app->record->name);
	control->app_count--;
	memmove(&control->apps[at], &control->apps[at + 1],
		(control->app_count - at) * sizeof(*control->apps));
	app_free(app);
}

void app_set_release(struct control *control, struct app *app, struct release_record *release,
	struct app_config *config)
{
	checks_stop_app(control, app->record->name);
	release_record_free(app->release);
	config_free(app->config);
	app->release = release;
	app->config = config;
}

/* Addresses */

/* Where an address stands, or would; @app "": its first. */
static size_t ip_position(const struct control *control, const struct addr *addr, const char *app)
{
	size_t low = 0, high = control->ip_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = addr_compare(&control->ips[middle]->addr, addr);

		if (order < 0 || (order == 0 && strcmp(control->ips[middle]->app, app) < 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct ip_record *catalog_find_ip(
	const struct control *control, const struct addr *addr, const char *app)
{
	size_t at = ip_position(control, addr, app ? app : "");

	if (at == control->ip_count || !addr_equal(&control->ips[at]->addr, addr) ||
		(app && strcmp(control->ips[at]->app, app) != 0))
		return NULL;
	return control->ips[at];
}

int catalog_add_ip(struct control *control, struct ip_record *record)
{
	size_t at = ip_position(control, &record->addr, record->app);

	control->index->is_old = true;
	if (insert_pointer((void ***)&control->ips, &control->ip_count, at, record) < 0) {
		ip_record_free(record);
		return -ENOMEM;
	}
	return 0;
}

void catalog_remove_ip(struct control *control, struct ip_record *record)
{
	size_t at = ip_position(control, &record->addr, record->app);

	if (at == control->ip_count || control->ips[at] != record)
		return;
	control->index->is_old = true;
	control->ip_count--;
	memmove(&control->ips[at], &control->ips[at + 1],
		(control->ip_count - at) * sizeof(*control->ips));
	ip_record_free(record);
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
