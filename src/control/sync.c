/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the store into memory: everything at the start, and later what other hosts changed. What
 * this host commits is in memory already, and comes back as an echo whose revision the mirror
 * knows. What each key does there is in apply.c.
 *
 * A catalog in which this host is not any more is another one, or an empty one: a store that lost
 * its data must not end what runs, so it is not followed.
 */
#include "control/control_impl.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

#define RETRY_MS 1000 /* of what could not be read */

static int out_of_memory(struct err *err)
{
	return err_errno(err, -ENOMEM, "cannot read the catalog");
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

/* What could not be said while the store was away, or was overwritten. */
static void publish_again(struct control *control)
{
	if (store_is_away(control->store, NULL) < 0)
		return;
	for (size_t i = 0; i < control->machine_count; i++)
		if (control->machines[i]->is_unpublished)
			machine_publish(control->machines[i]);
}

/* Tried again and again; why it fails is said once. */
static void read_again(struct control *control)
{
	struct err err;
	int r = catalog_reload(control, &err);

	if (r < 0 && r != control->reload_failure)
		log_error("catalog-not-read", "reason=\"%s\"", err.text);
	control->reload_failure = r;
}

/* Memory is up to date: what follows from it is done. */
static void settle(uv_timer_t *timer)
{
	struct control *control = timer->data;

	if (control->must_reload)
		read_again(control);
	if (control->must_reload)
		uv_timer_start(timer, settle, RETRY_MS, 0);
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
	publish_again(control);
	rollouts_machine_changed(control);
	waiters_machine_changed(control);
}

static void settle_soon(struct control *control)
{
	uv_timer_start(&control->settle_timer, settle, 0, 0);
}

/* The start */

static int load_part(struct control *control, int rank, int64_t *revision, struct err *err)
{
	_cleanup_(store_entries_clear) struct store_entries entries = {};
	const char *prefix = catalog_prefix(rank);
	int r = store_range(control->store, prefix, &entries, revision, err);

	for (size_t i = 0; r == 0 && i < entries.count; i++)
		catalog_apply(control, entries.items[i].key, entries.items[i].value,
			entries.items[i].value_len, entries.items[i].mod_revision);
	return r;
}

/* Releases after apps here: only the current one of each is wanted, and the app says which. */
static int load_all(struct control *control, struct err *err)
{
	const int releases = catalog_rank("releases/"), apps = catalog_rank("apps/");
	int64_t revision = 0, first = 0;
	int r = 0;

	for (int rank = 0; r == 0 && catalog_prefix(rank); rank++) {
		if (rank == releases)
			continue;
		r = load_part(control, rank, &revision, err);
		if (r == 0 && rank == apps)
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
	int r;

	control->mirror = mirror_new();
	if (!control->mirror)
		return out_of_memory(err);
	control->is_reading = true;
	r = load_all(control, err);
	control->is_reading = false;
	return r;
}

/* Everything again */

struct reload {
	struct control *control;
	struct store_entries entries;
	char **gone; /* keys */
	size_t gone_count;
	bool is_broken; /* out of memory on the way */
};

static int compare_entry(const void *key, const void *entry)
{
	return strcmp(key, ((const struct store_entry *)entry)->key);
}

static const struct store_entry *find_entry(const struct reload *reload, const char *key)
{
	if (!reload->entries.count)
		return NULL;
	return bsearch(key, reload->entries.items, reload->entries.count,
		sizeof(*reload->entries.items), compare_entry);
}

static void reload_clear(struct reload *reload)
{
	for (size_t i = 0; i < reload->gone_count; i++)
		free(reload->gone[i]);
	free(reload->gone);
	store_entries_clear(&reload->entries);
}

/* Collected first: what forgets a key may use the mirror. */
static void note_if_gone(void *arg, const char *key, int64_t revision)
{
	struct reload *reload = arg;
	char **gone;

	(void)revision;
	if (find_entry(reload, key))
		return;
	gone = realloc(reload->gone, (reload->gone_count + 1) * sizeof(*gone));
	if (gone)
		reload->gone = gone;
	if (gone)
		gone[reload->gone_count] = strdup(key);
	if (gone && gone[reload->gone_count])
		reload->gone_count++;
	else
		reload->is_broken = true;
}

/* Before it has joined a host takes any catalog for its own. */
static int check_catalog(const struct reload *reload, struct err *err)
{
	const struct control *control = reload->control;
	char key[32];

	if (!control->host_id)
		return 0;
	snprintf(key, sizeof(key), "hosts/%05u", control->host_id);
	if (find_entry(reload, key))
		return 0;
	return err_set(err, -ESTALE,
		"this host is not in the catalog any more; it goes on as it is. If the store lost "
		"its data, restore it (wherry catalog import); if the host was removed, start "
		"wherryd again");
}

static void apply_entry(struct control *control, const struct store_entry *entry)
{
	if (mirror_get(control->mirror, entry->key) == entry->mod_revision &&
		mirror_is_read(control->mirror, entry->key))
		return;
	catalog_apply(control, entry->key, entry->value, entry->value_len, entry->mod_revision);
}

/* Releases that were read before their app was known. */
static void complete_apps(struct reload *reload)
{
	struct control *control = reload->control;

	for (size_t i = 0; i < control->app_count; i++) {
		const struct app *app = control->apps[i];
		const struct store_entry *entry;
		char key[STORE_KEY_MAX_BYTES];

		if (!app->record->release ||
			(app->release && app->release->number == app->record->release))
			continue;
		snprintf(key, sizeof(key), "releases/%s/%010u", app->record->name,
			app->record->release);
		entry = find_entry(reload, key);
		if (entry)
			catalog_apply(control, entry->key, entry->value, entry->value_len,
				entry->mod_revision);
	}
}

static int reload_all(struct reload *reload, struct err *err)
{
	struct control *control = reload->control;
	int64_t revision;
	int r = store_range(control->store, "", &reload->entries, &revision, err);

	if (r == 0)
		r = check_catalog(reload, err);
	if (r == 0) {
		mirror_each(control->mirror, "", note_if_gone, reload);
		if (reload->is_broken)
			r = out_of_memory(err);
	}
	if (r < 0)
		return r;
	control->must_reload = false;
	for (size_t i = 0; i < reload->gone_count; i++)
		catalog_forget(control, reload->gone[i]);
	for (int rank = 0; catalog_prefix(rank); rank++)
		for (size_t e = 0; e < reload->entries.count; e++)
			if (catalog_rank(reload->entries.items[e].key) == rank)
				apply_entry(control, &reload->entries.items[e]);
	complete_apps(reload);
	control->revision = revision;
	log_info("catalog-read-again", "revision=%jd", (intmax_t)revision);
	return 0;
}

int catalog_reload(struct control *control, struct err *err)
{
	_cleanup_(reload_clear) struct reload reload = {.control = control};
	int r;

	control->is_reading = true;
	r = reload_all(&reload, err);
	control->is_reading = false;
	return r;
}

/* What another host did, or the echo of what this one did. */
static bool is_news(
	const struct control *control, const struct store_event *event, int64_t revision)
{
	const int64_t known = mirror_get(control->mirror, event->key);

	return event->value ? known < revision : known && known < revision;
}

static void take_event(
	struct control *control, const struct store_event *event, int64_t revision, bool *has_news)
{
	if (!is_news(control, event, revision))
		return;
	if (event->value)
		catalog_apply(control, event->key, event->value, event->value_len, revision);
	else
		catalog_forget(control, event->key);
	/* Round trips are for people. */
	*has_news |= strncmp(event->key, "host-probes/", 12) != 0;
}

static void changed(void *arg, int64_t revision, const struct store_event *events, size_t count)
{
	struct control *control = arg;
	bool has_news = !events;

	if (!events)
		control->must_reload = true;
	for (int rank = 0; events && catalog_prefix(rank); rank++)
		for (size_t e = 0; e < count; e++)
			if (catalog_rank(events[e].key) == rank)
				take_event(control, &events[e], revision, &has_news);
	control->revision = revision;
	if (has_news || control->must_reload)
		settle_soon(control);
}

void catalog_read_again(struct control *control)
{
	control->must_reload = true;
	settle_soon(control);
}

static void store_readable(uv_poll_t *poll, int status, int events)
{
	struct control *control = poll->data;
	struct err err = {};
	bool is_away;

	(void)status;
	(void)events;
	if (store_dispatch(control->store, &err) < 0)
		log_debug("store", "reason=\"%s\"", err.text);
	is_away = store_is_away(control->store, &err) < 0;
	if (is_away == control->is_store_away)
		return;
	control->is_store_away = is_away;
	if (is_away) {
		log_warn("store-away", "reason=\"%s\"", err.text);
	} else {
		log_info("store-back", "revision=%jd", (intmax_t)control->revision);
		settle_soon(control);
	}
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
