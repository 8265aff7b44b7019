/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rollout: new machines are made and come up out of service, one after the other; when all are
 * up, one transaction puts them into service, makes the release current and lets the old machines
 * go; those drain and end. Before that transaction nothing that serves has changed, so a rollout
 * that fails only takes its own machines away again.
 *
 * It goes on when the client that asked for it is gone. When the daemon dies before the
 * transaction, its machines are still held and are taken away by the next daemon.
 */
#include "control/rollout_impl.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "machine/logs.h"

#include <errno.h>
#include <string.h>

#define TICK_MS	    20
#define CLASHES_MAX 100

static void tick(uv_timer_t *timer);

static void free_rollout(struct rollout *rollout)
{
	for (size_t i = 0; i < rollout->fresh_count; i++)
		free(rollout->fresh[i].group), free(rollout->fresh[i].region);
	for (size_t i = 0; i < rollout->new_ip_count; i++)
		ip_record_free(rollout->new_ips[i]);
	free(rollout->new_ips);
	free(rollout->fresh);
	free(rollout->leaving);
	free(rollout->app_name);
	app_record_free(rollout->record);
	release_record_free(rollout->release);
	config_free(rollout->config);
	machine_record_free(rollout->template);
	free(rollout);
}

static void tick_closed(uv_handle_t *handle)
{
	free_rollout(handle->data);
}

/* Takes the rollout out of the list; its memory goes when the timer is closed. */
static void end(struct rollout *rollout)
{
	struct rollout **at = &rollout->control->rollouts;

	while (*at != rollout)
		at = &(*at)->next;
	*at = rollout->next;
	rollout->is_over = true;
	rollout_image_forget(rollout);
	uv_close((uv_handle_t *)&rollout->tick, tick_closed);
}

static int status_of(const char *code)
{
	static const struct {
		const char *code;
		int status;
	} codes[] = {
		{"invalid_request", 400},
		{"invalid_config", 422},
		{"unavailable", 503},
		{"failed", 500},
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].status;
	return 409;
}

/* Puts a wish into the catalog. Without one, held_let_go() sees to machines on other hosts. */
static void wish_destroyed(struct control *control, const char *id)
{
	struct machine *machine = machine_find(control, id);
	struct change change = {};
	struct err err;

	if (!machine)
		return;
	machine->record->wish = WISH_DESTROYED;
	change_put_machine(&change, machine->record);
	if (change_commit(control, &change, &err) < 0) {
		log_warn("catalog-write-failed", "machine=%s reason=\"%s\"", id, err.text);
		if (!machine->is_local)
			machine->record->wish = WISH_STARTED;
	}
	machine_step(machine);
}

static void fail(struct rollout *rollout, const char *code, const char *sentence)
{
	struct control *control = rollout->control;
	struct app *app = catalog_find_app(control, rollout->app_name);
	char text[sizeof(((struct err *)0)->text) + 64];

	if (rollout->kind == ROLLOUT_MOVE)
		move_ended(control, rollout->app_name, rollout->from_host, sentence);
	if (app && app->record->release && rollout->kind == ROLLOUT_DEPLOY)
		snprintf(text, sizeof(text), "%s; release v%u goes on serving", sentence,
			app->record->release);
	else
		snprintf(text, sizeof(text), "%s", sentence);
	log_warn("rollout-failed", "app=%s reason=\"%s\"", rollout->app_name, sentence);
	api_stream_fail(take_ptr(rollout->stream), status_of(code), code, text, NULL);
	for (size_t i = 0; i < rollout->fresh_count; i++)
		if (rollout->fresh[i].id[0])
			wish_destroyed(control, rollout->fresh[i].id);
	end(rollout);
}

/* The documents of the machines that were made. */
static json_t *fresh_machines(const struct rollout *rollout)
{
	json_t *machines = json_array();

	for (size_t i = 0; i < rollout->fresh_count; i++) {
		struct machine *machine = machine_find(rollout->control, rollout->fresh[i].id);

		if (machine)
			json_array_append_new(machines, view_machine(machine));
	}
	return machines;
}

static json_t *app_ips(const struct rollout *rollout)
{
	const struct control *control = rollout->control;
	json_t *ips = json_array();

	for (size_t i = 0; i < control->ip_count; i++)
		if (strcmp(control->ips[i]->app, rollout->app_name) == 0)
			json_array_append_new(ips, view_ip(control->ips[i]));
	return ips;
}

static void remove_app(struct rollout *rollout)
{
	struct control *control = rollout->control;
	struct app *app = catalog_find_app(control, rollout->app_name);
	struct change change = {};
	struct err err;
	int r;

	change_delete_app(&change, app->record);
	for (size_t i = 0; i < control->ip_count; i++)
		if (strcmp(control->ips[i]->app, rollout->app_name) == 0)
			change_delete_ip(&change, control->ips[i]);
	r = change_commit(control, &change, &err);
	if (r < 0) {
		fail(rollout, rollout_code_of(r), err.text);
		return;
	}
	for (size_t i = control->ip_count; i-- > 0;)
		if (strcmp(control->ips[i]->app, rollout->app_name) == 0)
			catalog_remove_ip(control, control->ips[i]);
	catalog_remove_app(control, app);
	serve(control);
	api_stream_done(take_ptr(rollout->stream), json_pack("{s:s}", "Name", rollout->app_name));
	end(rollout);
}

static void finish(struct rollout *rollout)
{
	struct app *app = catalog_find_app(rollout->control, rollout->app_name);
	json_t *machines = fresh_machines(rollout), *result;

	if (rollout->kind == ROLLOUT_DESTROY) {
		json_decref(machines);
		remove_app(rollout);
		return;
	}
	if (rollout->kind == ROLLOUT_RUN) {
		result = json_incref(json_array_get(machines, 0));
		json_decref(machines);
	} else {
		result = json_pack("{s:i, s:o, s:o}", "release", app->record->release, "ips",
			app_ips(rollout), "machines", machines);
	}
	api_stream_done(take_ptr(rollout->stream), result);
	if (rollout->kind == ROLLOUT_MOVE)
		move_ended(rollout->control, rollout->app_name, rollout->from_host, NULL);
	end(rollout);
}

/* PHASE_LEAVING */

/* Its host is to let it go when it is back; nobody waits for that. */
static bool is_out_of_reach(const struct control *control, const struct machine *machine)
{
	const struct host *host = host_find(control, machine->record->host);

	return !host || host_is_down(control, host);
}

/* Nobody waits for what cannot be removed now; the machine itself goes on trying. */
static void check_leaving(struct rollout *rollout)
{
	const struct machine *stuck = NULL;
	struct err err;

	for (size_t i = 0; i < rollout->leaving_count; i++) {
		const struct machine *machine = machine_find(rollout->control, rollout->leaving[i]);

		if (!machine || is_out_of_reach(rollout->control, machine))
			continue;
		if (!machine->must_retry)
			return;
		stuck = machine;
	}
	if (stuck) {
		err_set(&err, -EIO, "machine %s could not be removed and is tried again: %s",
			stuck->record->id, stuck->failure ? stuck->failure : "failed");
		if (rollout->kind == ROLLOUT_DESTROY) {
			fail(rollout, "failed", err.text);
			return;
		}
		api_stream_warning(rollout->stream, "%s", err.text);
	}
	finish(rollout);
}

static void turn_over(struct rollout *rollout)
{
	const char *code = "failed";
	struct err err = {};
	int r = rollout_turn_over(rollout, &code, &err);

	if (r < 0) {
		fail(rollout, code, err.text);
		return;
	}
	if (r == 1)
		return; /* asked again at the next tick */
	if (err.text[0])
		api_stream_warning(rollout->stream, "%s", err.text);
	rollout->phase = PHASE_LEAVING;
	if (rollout->leaving_count)
		api_stream_progress(rollout->stream, "%zu machine%s of before %s",
			rollout->leaving_count, rollout->leaving_count == 1 ? "" : "s",
			rollout->leaving_count == 1 ? "drains and leaves" : "drain and leave");
	for (size_t i = 0; i < rollout->leaving_count; i++) {
		struct machine *machine = machine_find(rollout->control, rollout->leaving[i]);

		if (machine)
			machine_step(machine);
	}
	if (!rollout->is_over)
		check_leaving(rollout);
}

/* PHASE_UP */

static void make_next(struct rollout *rollout);

static void check_up(struct rollout *rollout)
{
	struct fresh *fresh = &rollout->fresh[rollout->at];
	struct machine *machine;
	struct err err = {};

	if (rollout->at == rollout->fresh_count) {
		turn_over(rollout);
		return;
	}
	if (!fresh->id[0]) {
		make_next(rollout);
		return;
	}
	machine = machine_find(rollout->control, fresh->id);
	if (!machine || machine->record->wish != WISH_STARTED) {
		err_set(&err, -ECANCELED, "machine %s was taken away while it came up", fresh->id);
		fail(rollout, "conflict", err.text);
		return;
	}
	if (is_out_of_reach(rollout->control, machine)) {
		err_set(&err, -EHOSTUNREACH, "host %s went down while machine %s came up on it",
			host_name(rollout->control, machine->record->host), fresh->id);
		fail(rollout, "failed", err.text);
		return;
	}
	if (machine->state == STATE_FAILED ||
		(machine->state == STATE_STOPPED && machine->has_finished)) {
		err_set(&err, -EIO, "machine %s did not come up: %s", fresh->id,
			machine->failure ? machine->failure : "the program exited with code 0");
		rollout_add_last_words(machine, &err);
		fail(rollout, "failed", err.text);
		return;
	}
	if (machine->state != STATE_STARTED || !machine->is_up)
		return;
	if (machine->history.unbound_port)
		api_stream_warning(rollout->stream,
			"nothing listens on UDP port %u of machine %s yet; bind it on "
			"fly-global-services or 0.0.0.0",
			machine->history.unbound_port, fresh->id);
	api_stream_progress(rollout->stream, "Machine %s [%s] is up", fresh->id, fresh->group);
	rollout->at++;
	make_next(rollout);
}

/* Another host took the same network at the same moment, which is heard of soon. */
static bool must_try_again(struct rollout *rollout, int r)
{
	/* What a machine by hand is made from is used up. */
	return r == -EAGAIN && rollout->kind != ROLLOUT_RUN && rollout->clashes++ < CLASHES_MAX;
}

static void make_next(struct rollout *rollout)
{
	struct control *control = rollout->control;
	struct machine_record *record;
	struct change change = {};
	struct machine *machine;
	struct fresh *fresh;
	struct err err;
	int r;

	if (rollout->at == rollout->fresh_count) {
		turn_over(rollout);
		return;
	}
	fresh = &rollout->fresh[rollout->at];
	r = rollout_build_machine(rollout, fresh, &record, &err);
	if (must_try_again(rollout, r))
		return;
	if (r < 0) {
		fail(rollout, r == -EHOSTDOWN ? "unavailable" : "failed", err.text);
		return;
	}
	change_put_machine(&change, record);
	change_claim_network(&change, record);
	r = change_commit(control, &change, &err);
	if (r < 0)
		machine_record_free(record);
	if (must_try_again(rollout, r))
		return;
	if (r < 0) {
		fail(rollout, rollout_code_of(r), err.text);
		return;
	}
	memcpy(fresh->id, record->id, sizeof(fresh->id));
	if (machine_add(control, record, &machine) < 0) {
		fail(rollout, "failed", "out of memory");
		return;
	}
	if (machine->is_local)
		machine_event(
			machine, "launch", rollout->kind == ROLLOUT_RUN ? "user" : "deploy", NULL);
	else if (serve_machine(machine, &err) < 0)
		log_warn("data-plane-not-updated", "reason=\"%s\"", err.text);
	api_stream_progress(rollout->stream, "Starting machine %s [%s]%s%s, %zu of %zu", fresh->id,
		fresh->group, control->is_fleet ? " on " : "",
		control->is_fleet ? host_name(control, record->host) : "", rollout->at + 1,
		rollout->fresh_count);
	machine_step(machine);
}

/* Another host was quicker to destroy it. */
static void app_gone(struct rollout *rollout)
{
	if (rollout->kind != ROLLOUT_DESTROY) {
		fail(rollout, "conflict", "the app was destroyed from another host meanwhile");
		return;
	}
	api_stream_done(take_ptr(rollout->stream), json_pack("{s:s}", "Name", rollout->app_name));
	end(rollout);
}

static void tick(uv_timer_t *timer)
{
	struct rollout *rollout = timer->data;

	if (rollout->is_over || rollout->phase == PHASE_IMAGE)
		return;
	if (!catalog_find_app(rollout->control, rollout->app_name))
		app_gone(rollout);
	else if (rollout->phase == PHASE_UP)
		check_up(rollout);
	else
		check_leaving(rollout);
}

void rollouts_machine_changed(struct control *control)
{
	/* Not at once: the caller is in the middle of a machine's step. */
	for (struct rollout *rollout = control->rollouts; rollout; rollout = rollout->next)
		uv_timer_start(&rollout->tick, tick, 0, TICK_MS);
}

bool rollout_is_active(const struct control *control, const char *app)
{
	for (const struct rollout *rollout = control->rollouts; rollout; rollout = rollout->next)
		if (strcmp(rollout->app_name, app) == 0)
			return true;
	return false;
}

bool rollout_is_moving(const struct control *control)
{
	for (const struct rollout *rollout = control->rollouts; rollout; rollout = rollout->next)
		if (rollout->kind == ROLLOUT_MOVE)
			return true;
	return false;
}

/* Addresses are given before the machines start, which learn them from their environment. */
static int take_ips(struct rollout *rollout, struct err *err)
{
	struct control *control = rollout->control;
	struct app *app = catalog_find_app(control, rollout->app_name);
	const unsigned int last_release = app->record->last_release;
	struct change change = {};
	char text[ADDR_TEXT_LEN];
	int r;

	for (size_t i = 0; i < rollout->new_ip_count; i++)
		change_put_ip(&change, rollout->new_ips[i]);
	/* A number is given once, whatever becomes of the release. */
	if (rollout->release) {
		app->record->last_release = rollout->release->number;
		change_put_app(&change, app->record);
	}
	r = change_commit(control, &change, err);
	if (r < 0) {
		app->record->last_release = last_release;
		return r;
	}
	if (rollout->new_ip_count)
		api_stream_progress(rollout->stream, "Provisioning ips for %s", rollout->app_name);
	for (size_t i = 0; i < rollout->new_ip_count; i++) {
		struct ip_record *record = take_ptr(rollout->new_ips[i]);

		api_stream_progress(rollout->stream, "  %s: %s",
			record->type == IP_V6	       ? "Dedicated ipv6"
			: record->type == IP_SHARED_V4 ? "Shared ipv4"
						       : "Dedicated ipv4",
			addr_format(&record->addr, text));
		catalog_add_ip(control, record);
	}
	rollout->new_ip_count = 0;
	return 0;
}

static void bring_up(struct rollout *rollout, const char *failure)
{
	rollout->phase = PHASE_UP;
	if (failure)
		fail(rollout, "failed", failure);
	else
		make_next(rollout);
}

int rollout_begin(struct control *control, struct rollout_request *request, struct api_request *req,
	const char **code, struct err *err)
{
	struct rollout *rollout = calloc(1, sizeof(*rollout));
	int r;

	*code = "failed";
	if (!rollout)
		return err_errno(err, -ENOMEM, "cannot begin");
	rollout->control = control;
	rollout->kind = request->kind;
	rollout->from_host = request->from_host;
	rollout->app_name = strdup(request->app->record->name);
	r = rollout->app_name ? store_is_away(control->store, err)
			      : err_errno(err, -ENOMEM, "cannot begin");
	if (r == -EHOSTDOWN)
		*code = "unavailable";
	if (r == 0)
		r = rollout_plan(rollout, request, code, err);
	if (r < 0 || request->is_dry) {
		if (r == 0)
			api_reply_json(req, 200, json_object());
		free_rollout(rollout);
		return r;
	}
	rollout->stream = req ? api_stream_begin(req) : NULL;
	uv_timer_init(control->loop, &rollout->tick);
	rollout->tick.data = rollout;
	rollout->next = control->rollouts;
	control->rollouts = rollout;
	rollout_warn_of_tcp(rollout);
	r = take_ips(rollout, err);
	if (r < 0) {
		fail(rollout, rollout_code_of(r), err->text);
		return 0;
	}
	rollout->app_revision = rollout_app_revision(rollout);
	uv_timer_start(&rollout->tick, tick, TICK_MS, TICK_MS);
	rollout_image_find(rollout, bring_up);
	return 0;
}

void rollout_request_clear(struct rollout_request *request)
{
	config_free(request->config);
	machine_record_free(request->machine);
}

void rollouts_free(struct control *control)
{
	while (control->rollouts) {
		struct rollout *rollout = control->rollouts;

		api_stream_fail(take_ptr(rollout->stream), 503, "unavailable",
			rollout->phase != PHASE_LEAVING
				? "wherryd is being stopped; nothing was changed, ask again"
				: "wherryd is being stopped; the change is made, and what is left "
				  "of the machines of before goes when it is back",
			NULL);
		end(rollout);
	}
}
