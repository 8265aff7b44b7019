/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines away from a host: because the operator drains it, because it is down and their app asks
 * for that, or because it is taken out of the fleet. Each app's machines move by a rollout of their
 * own, one app after the other. Nothing of this is remembered: the wish is in the host's record,
 * and what is left to do is looked up once a second, so that any daemon can go on with it.
 *
 * One host of the fleet does it: the host itself while it lives, else that with the lowest id.
 */
#include "control/control_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

#define LOST_MS	 30000 /* down for so long: its machines are made elsewhere */
#define RETRY_MS 10000 /* after a move that failed */

struct failed_move {
	struct failed_move *next;
	char *app;
	unsigned int from_host;
	uint64_t at_ms;
	char *sentence;
};

/* A host on its way out of the fleet, for the client that asked. */
struct removal {
	struct removal *next;
	unsigned int host_id;
	struct api_stream *stream;
	json_t *result;
	json_t *tried; /* apps whose machines were moved, or could not be */
};

bool move_is_possible(const struct machine *machine, const char **reason)
{
	const struct machine_record *record = machine->record;
	const struct app *app = catalog_find_app(machine->control, record->app);

	*reason = NULL;
	if (!record->is_managed)
		*reason = "deploy did not make it; destroy it, or detach it";
	else if (!app || !app->release || !app->release->image)
		*reason = "its app has no release with an image";
	else if (record->wish == WISH_STOPPED)
		*reason = "it is stopped; start it, or destroy it";
	else if (machine->state == STATE_STOPPED && machine->has_finished)
		*reason = "its program has finished; start it, or destroy it";
	else if (record->wish == WISH_DESTROYED)
		*reason = "it is leaving";
	return !*reason;
}

/* Failures */

static struct failed_move **find_failed(
	struct control *control, const char *app, unsigned int from_host)
{
	struct failed_move **at = &control->failed_moves;

	while (*at && ((*at)->from_host != from_host || strcmp((*at)->app, app) != 0))
		at = &(*at)->next;
	return at;
}

const char *move_failure(const struct control *control, const char *app, unsigned int from_host)
{
	const struct failed_move *failed = *find_failed((struct control *)control, app, from_host);

	return failed ? failed->sentence : NULL;
}

static void forget_failed(struct failed_move **at)
{
	struct failed_move *failed = *at;

	*at = failed->next;
	free(failed->app);
	free(failed->sentence);
	free(failed);
}

void move_ended(
	struct control *control, const char *app, unsigned int from_host, const char *failure)
{
	struct failed_move **at = find_failed(control, app, from_host), *failed = *at;

	if (failed)
		forget_failed(at);
	if (!failure)
		return;
	for (struct removal *removal = control->removals; removal; removal = removal->next)
		if (removal->host_id == from_host)
			api_stream_warning(removal->stream,
				"the machines of app %s are not made elsewhere: %s", app, failure);
	failed = calloc(1, sizeof(*failed));
	if (!failed)
		return;
	*failed = (struct failed_move){
		.next = control->failed_moves,
		.app = strdup(app),
		.from_host = from_host,
		.at_ms = clock_now_ms(),
		.sentence = strdup(failure),
	};
	control->failed_moves = failed;
	if (!failed->app || !failed->sentence)
		forget_failed(&control->failed_moves);
}

/* Moving */

static bool has_movable(const struct control *control, const struct app *app, unsigned int host_id)
{
	const char *reason;

	for (size_t i = 0; i < control->machine_count; i++)
		if (control->machines[i]->record->host == host_id &&
			strcmp(control->machines[i]->record->app, app->record->name) == 0 &&
			move_is_possible(control->machines[i], &reason))
			return true;
	return false;
}

/* Returns true when it is under way. */
static bool begin_move(struct control *control, struct app *app, const struct host *host)
{
	struct rollout_request request = {
		.kind = ROLLOUT_MOVE,
		.app = app,
		.from_host = host->id,
	};
	const char *code;
	struct err err;

	log_info("move", "app=%s from=%s", app->record->name,
		host->record ? host->record->name : "unknown");
	if (rollout_begin(control, &request, NULL, &code, &err) == 0)
		return true;
	log_warn("move-refused", "app=%s reason=\"%s\"", app->record->name, err.text);
	move_ended(control, app->record->name, host->id, err.text);
	return false;
}

static bool must_wait(struct control *control, const struct app *app, const struct host *host)
{
	const struct failed_move *failed = *find_failed(control, app->record->name, host->id);

	return rollout_is_active(control, app->record->name) ||
	       (failed && clock_now_ms() - failed->at_ms < RETRY_MS);
}

static bool move_next(struct control *control, const struct host *host)
{
	for (size_t i = 0; i < control->app_count; i++) {
		struct app *app = control->apps[i];

		/* Of a host that is only down, those that ask for it. */
		if (!host->record->is_draining && !(app->config && app->config->restarts_elsewhere))
			continue;
		if (has_movable(control, app, host->id) && !must_wait(control, app, host) &&
			begin_move(control, app, host))
			return true;
	}
	return false;
}

/* Whether this host is the one that does it. The store tells all hosts the same of who lives. */
static bool is_ours(const struct control *control, const struct host *host)
{
	if (host_is_alive(control, host))
		return host->id == control->host_id;
	for (size_t i = 0; i < control->host_count; i++)
		if (control->hosts[i]->record && host_is_alive(control, control->hosts[i]))
			return control->hosts[i]->id == control->host_id;
	return false;
}

static bool is_lost(const struct control *control, struct host *host)
{
	const uint64_t now_ms = clock_now_ms();

	if (!host_is_down(control, host)) {
		host->down_since_ms = 0;
		return false;
	}
	if (!host->down_since_ms)
		host->down_since_ms = now_ms;
	return now_ms - host->down_since_ms >= LOST_MS;
}

/* Removal */

static void free_removal(struct removal *removal)
{
	json_decref(removal->result);
	json_decref(removal->tried);
	free(removal);
}

static void forget_host(struct control *control, struct host *host)
{
	for (size_t i = control->machine_count; i-- > 0;)
		if (control->machines[i]->record->host == host->id)
			machine_drop(control->machines[i]);
	host_record_free(take_ptr(host->record));
	host_alive_clear(&host->alive);
	json_decref(take_ptr(host->measured));
	host->probe = (struct probe){};
	fleet_update(control);
	serve(control);
	rollouts_machine_changed(control);
	waiters_machine_changed(control);
}

static int commit_removal(struct control *control, const struct host *host, struct err *err)
{
	struct change change = {};

	for (size_t i = 0; i < control->machine_count; i++)
		if (control->machines[i]->record->host == host->id)
			change_delete_machine(&change, control->machines[i]->record);
	change_delete_host(&change, host->record);
	return change_commit(control, &change, err);
}

/* Returns true when it is over. */
static bool step_removal(struct control *control, struct removal *removal)
{
	struct host *host = host_find(control, removal->host_id);
	struct err err;
	int r;

	if (rollout_is_moving(control))
		return false;
	for (size_t i = 0; host && i < control->app_count; i++) {
		struct app *app = control->apps[i];
		const char *name = app->record->name;

		if (json_object_get(removal->tried, name) || !has_movable(control, app, host->id))
			continue;
		json_object_set_new(removal->tried, name, json_true());
		api_stream_progress(
			removal->stream, "Making the machines of app %s on other hosts", name);
		if (begin_move(control, app, host))
			return false;
	}
	if (!host || !host->record) {
		api_stream_done(removal->stream, json_incref(removal->result));
		return true;
	}
	r = commit_removal(control, host, &err);
	if (r < 0) {
		api_stream_fail(removal->stream, r == -EAGAIN ? 409 : 503,
			r == -EAGAIN ? "conflict" : "unavailable", err.text, NULL);
		return true;
	}
	log_info("host", "name=%s state=removed", host->record->name);
	forget_host(control, host);
	api_stream_done(removal->stream, json_incref(removal->result));
	return true;
}

static void step_removals(struct control *control)
{
	struct removal **at = &control->removals;

	while (*at) {
		struct removal *removal = *at;

		if (!step_removal(control, removal)) {
			at = &removal->next;
			continue;
		}
		*at = removal->next;
		free_removal(removal);
	}
}

void removal_begin(
	struct control *control, struct host *host, json_t *result, struct api_request *req)
{
	struct removal *removal = calloc(1, sizeof(*removal));

	if (!removal) {
		json_decref(result);
		api_reply_error(req, 500, "failed", "out of memory", NULL);
		return;
	}
	*removal = (struct removal){
		.next = control->removals,
		.host_id = host->id,
		.stream = api_stream_begin(req),
		.result = result,
		.tried = json_object(),
	};
	control->removals = removal;
	step_removals(control);
}

void drains_tick(struct control *control)
{
	if (!control->is_ready || store_is_away(control->store, NULL) < 0)
		return;
	step_removals(control);
	for (size_t i = 0; i < control->host_count; i++) {
		struct host *host = control->hosts[i];
		const bool lost = is_lost(control, host);

		if (host->record && (host->record->is_draining || lost) && is_ours(control, host) &&
			!rollout_is_moving(control))
			move_next(control, host);
	}
}

void drains_free(struct control *control)
{
	while (control->removals) {
		struct removal *removal = control->removals;

		control->removals = removal->next;
		api_stream_fail(removal->stream, 503, "unavailable",
			"wherryd is being stopped; the host was not removed, ask again", NULL);
		free_removal(removal);
	}
	while (control->failed_moves)
		forget_failed(&control->failed_moves);
}
