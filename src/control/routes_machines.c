/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's calls on machines. Start, stop, detach and destroy write the wish, let the machine
 * take its steps, and answer when it is where it was sent.
 */
#include "control/routes.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void refuse(struct api_request *req, int status, const char *code, const char *sentence)
{
	api_reply_error(req, status, code, sentence, NULL);
}

static struct machine *find_machine(struct control *control, struct api_request *req)
{
	const char *id = api_request_param(req, "id");
	struct machine *machine;
	size_t matches;
	struct err err;

	machine = machine_find_prefix(control, id, &matches);
	if (machine)
		return machine;
	if (matches > 1) {
		err_set(&err, -EEXIST, "%zu machines have ids that start with %s; give more of it",
			matches, id);
		refuse(req, 409, "conflict", err.text);
	} else {
		err_set(&err, -ENOENT,
			"machine %s does not exist; wherry machine list shows those "
			"that do",
			id);
		refuse(req, 404, "not_found", err.text);
	}
	return NULL;
}

void routes_list_machines(struct api_request *req, void *arg)
{
	struct control *control = arg;
	struct app *app = routes_app(control, req);
	json_t *machines;

	if (!app)
		return;
	machines = json_array();
	for (size_t i = 0; i < control->machine_count; i++)
		if (strcmp(control->machines[i]->record->app, app->record->name) == 0)
			json_array_append_new(machines, view_machine(control->machines[i]));
	api_reply_json(req, 200, machines);
}

void routes_get_machine(struct api_request *req, void *arg)
{
	struct machine *machine = find_machine(arg, req);

	if (machine)
		api_reply_json(req, 200, view_machine(machine));
}

/* Run and attach */

static int read_command(json_t *list, struct strings *out)
{
	size_t count = json_array_size(list);

	if (list && !json_is_array(list))
		return -EINVAL;
	out->items = calloc(count + 1, sizeof(*out->items));
	if (!out->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *word = json_string_value(json_array_get(list, i));

		if (!word)
			return -EINVAL;
		out->items[out->count++] = strdup(word);
	}
	return 0;
}

static int read_env(json_t *object, struct machine_record *record)
{
	const char *name;
	json_t *value;

	if (object && !json_is_object(object))
		return -EINVAL;
	record->env = calloc(json_object_size(object) + 1, sizeof(*record->env));
	if (!record->env)
		return -ENOMEM;
	json_object_foreach(object, name, value)
	{
		if (!json_is_string(value) || strncmp(name, "FLY_", 4) == 0)
			return -EINVAL;
		record->env[record->env_count++] =
			(struct env_var){strdup(name), strdup(json_string_value(value))};
	}
	return 0;
}

static char *copy_or_null(const char *text)
{
	return text ? strdup(text) : NULL;
}

static const char *missing_field(const struct machine_record *record)
{
	if (record->kind == MACHINE_IMAGE && !record->image)
		return "a machine of kind image needs an \"image\"";
	if (record->kind == MACHINE_ROOTFS && (!record->rootfs || record->rootfs[0] != '/'))
		return "a machine of kind rootfs needs a \"rootfs\", an absolute path";
	if (record->kind == MACHINE_ROOTFS && !record->command.count)
		return "a machine of kind rootfs needs a \"command\"";
	if (record->kind == MACHINE_ATTACHED && (!record->netns || record->netns[0] != '/'))
		return "an attached machine needs a \"netns\", an absolute path such as "
		       "/run/netns/NAME";
	return NULL;
}

/* The machine that the request describes, or NULL with the answer given. */
static struct machine_record *read_machine(struct api_request *req, const struct app_config *config)
{
	_cleanup_(machine_record_freep) struct machine_record *record = calloc(1, sizeof(*record));
	json_t *body = api_request_body(req);
	const char *group = routes_text(req, "group"), *problem;
	struct err err;

	if (!record || machine_kind_parse(routes_text(req, "kind"), &record->kind) < 0) {
		refuse(req, 400, "invalid_request",
			"the kind of a machine is image, rootfs or "
			"attached");
		return NULL;
	}
	if (!group)
		group = config ? config_default_group(config) : "app";
	if (config && !config_has_group(config, group)) {
		err_set(&err, -ENOENT, "the app's fly.toml has no process group \"%s\"", group);
		refuse(req, 400, "invalid_request", err.text);
		return NULL;
	}
	record->group = strdup(group);
	record->name = copy_or_null(routes_text(req, "name"));
	record->image = copy_or_null(routes_text(req, "image"));
	record->rootfs = copy_or_null(routes_text(req, "rootfs"));
	record->netns = copy_or_null(routes_text(req, "netns"));
	if (read_command(json_object_get(body, "command"), &record->command) < 0 ||
		read_env(json_object_get(body, "env"), record) < 0) {
		refuse(req, 400, "invalid_request",
			"\"command\" is a list of strings, \"env\" an "
			"object of strings whose names do not start with FLY_");
		return NULL;
	}
	problem = missing_field(record);
	if (problem) {
		refuse(req, 400, "invalid_request", problem);
		return NULL;
	}
	return take_ptr(record);
}

/* One namespace is one machine: its addresses and its eth0 are. */
static const struct machine *find_attached(const struct control *control, const char *netns)
{
	struct stat wanted, st;

	if (stat(netns, &wanted) < 0)
		return NULL;
	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine_record *record = control->machines[i]->record;

		if (record->kind == MACHINE_ATTACHED && stat(record->netns, &st) == 0 &&
			st.st_ino == wanted.st_ino && st.st_dev == wanted.st_dev)
			return control->machines[i];
	}
	return NULL;
}

void routes_run_machine(struct api_request *req, void *arg)
{
	static const char *const known[] = {"kind", "image", "rootfs", "netns", "command", "env",
		"group", "name", "config", "file_name", "allocate_v4", NULL};
	_cleanup_(rollout_request_clear) struct rollout_request request = {
		.kind = ROLLOUT_RUN,
		.app = routes_app(arg, req),
	};
	const struct machine *attached;
	struct err err;

	if (!request.app || routes_check_body(req, known) < 0)
		return;
	/* A release that is there stays: the machine joins it. */
	if (!request.app->release && routes_read_config(req, &request) < 0)
		return;
	request.machine = read_machine(req, request.config ? request.config : request.app->config);
	if (!request.machine)
		return;
	attached = request.machine->kind == MACHINE_ATTACHED
			   ? find_attached(arg, request.machine->netns)
			   : NULL;
	if (attached) {
		err_set(&err, -EEXIST,
			"%s is machine %s of app %s already; wherry machine detach %s "
			"lets it go",
			request.machine->netns, attached->record->id, attached->record->app,
			attached->record->id);
		refuse(req, 409, "conflict", err.text);
		return;
	}
	request.allocate_v4 = json_is_true(json_object_get(api_request_body(req), "allocate_v4"));
	routes_begin(arg, &request, req);
}

/* Waiting for a machine */

static bool is_reached(const struct waiter *waiter, const struct machine *machine)
{
	return waiter->wanted == STATE_DESTROYING ? !machine
						  : machine && machine->state == waiter->wanted;
}

/* Answers when the machine is there, or cannot get there. */
static bool answer(struct control *control, struct waiter *waiter)
{
	struct machine *machine = machine_find(control, waiter->machine_id);
	struct err err;

	if (is_reached(waiter, machine)) {
		json_t *result = machine ? view_machine(machine) : json_incref(waiter->result);

		api_stream_done(waiter->stream, result);
		return true;
	}
	if (!machine) {
		api_stream_fail(
			waiter->stream, 404, "not_found", "the machine was destroyed", NULL);
		return true;
	}
	if (machine->state != STATE_FAILED)
		return false;
	/* What it was sent to is reached a moment later, unless that is what failed. */
	if (waiter->wanted != STATE_STARTED && !machine->must_retry)
		return false;
	err_set(&err, -EIO, "machine %s: %s", waiter->machine_id,
		machine->failure ? machine->failure : "failed");
	api_stream_fail(waiter->stream, 500, "failed", err.text, NULL);
	return true;
}

void waiters_machine_changed(struct control *control)
{
	struct waiter **at = &control->waiters;

	while (*at) {
		struct waiter *waiter = *at;

		if (!answer(control, waiter)) {
			at = &waiter->next;
			continue;
		}
		*at = waiter->next;
		json_decref(waiter->result);
		free(waiter);
	}
}

/* Writes the wish and waits. @word is for the progress line. */
static void wish(struct control *control, struct machine *machine, struct api_request *req,
	enum machine_wish wish, enum machine_state wanted, const char *word)
{
	const enum machine_wish before = machine->record->wish;
	struct waiter *waiter = calloc(1, sizeof(*waiter));
	struct change change = {};
	const struct host *host = host_find(control, machine->record->host);
	struct err err;
	int r;

	if (!machine->is_local && (!host || host_is_down(control, host))) {
		err_set(&err, -EHOSTDOWN, "machine %s is on host %s, which is down",
			machine->record->id, host_name(control, machine->record->host));
		refuse(req, 409, "conflict", err.text);
		free(waiter);
		return;
	}
	if (!waiter) {
		refuse(req, 500, "failed", "out of memory");
		return;
	}
	machine->record->wish = wish;
	change_put_machine(&change, machine->record);
	r = change_commit(control, &change, &err);
	if (r < 0) {
		machine->record->wish = before;
		free(waiter);
		routes_refuse_change(req, r, &err);
		return;
	}
	memcpy(waiter->machine_id, machine->record->id, sizeof(waiter->machine_id));
	waiter->wanted = wanted;
	waiter->result = view_machine(machine);
	json_object_set_new(waiter->result, "state", json_string("destroyed"));
	waiter->stream = api_stream_begin(req);
	api_stream_progress(waiter->stream, "%s machine %s", word, machine->record->id);
	waiter->next = control->waiters;
	control->waiters = waiter;
	machine->must_retry = false;
	machine_step(machine);
	waiters_machine_changed(control);
}

/* A machine that may still be started or stopped, or NULL with the answer given. */
static struct machine *find_lasting_machine(struct control *control, struct api_request *req)
{
	struct machine *machine = find_machine(control, req);

	if (!machine || machine->record->wish != WISH_DESTROYED)
		return machine;
	refuse(req, 409, "conflict", "the machine is being destroyed");
	return NULL;
}

void routes_start_machine(struct api_request *req, void *arg)
{
	struct machine *machine = find_lasting_machine(arg, req);

	if (!machine)
		return;
	/* Its host, this one or another, tries at once, not when its back-off is over. */
	machine_ask_start(machine);
	machine->record->start_count++;
	wish(arg, machine, req, WISH_STARTED, STATE_STARTED, "Starting");
}

void routes_stop_machine(struct api_request *req, void *arg)
{
	struct machine *machine = find_lasting_machine(arg, req);

	if (!machine)
		return;
	wish(arg, machine, req, WISH_STOPPED, STATE_STOPPED, "Stopping");
}

/* Nobody will say that it is gone. */
static void forget_machine(
	struct control *control, struct machine *machine, struct api_request *req)
{
	json_t *result = view_machine(machine);
	struct change change = {};
	struct err err;
	int r;

	change_delete_machine(&change, machine->record);
	r = change_commit(control, &change, &err);
	if (r < 0) {
		json_decref(result);
		routes_refuse_change(req, r, &err);
		return;
	}
	log_info("machine", "app=%s machine=%s type=destroy state=destroyed host=down",
		machine->record->app, machine->record->id);
	machine_drop(machine);
	serve(control);
	rollouts_machine_changed(control);
	waiters_machine_changed(control);
	json_object_set_new(result, "state", json_string("destroyed"));
	api_stream_done(api_stream_begin(req), result);
}

void routes_destroy_machine(struct api_request *req, void *arg)
{
	struct machine *machine = find_machine(arg, req);
	const char *force = api_request_query(req, "force");
	const struct host *host = machine ? host_find(arg, machine->record->host) : NULL;
	struct err err;

	if (!machine)
		return;
	if (!machine->is_local && (!host || host_is_down(arg, host))) {
		if (force && strcmp(force, "1") == 0) {
			forget_machine(arg, machine, req);
			return;
		}
		err_set(&err, -EHOSTDOWN,
			"machine %s is on host %s, which is down; --force takes it out of the "
			"catalog without asking that host",
			machine->record->id, host_name(arg, machine->record->host));
		refuse(req, 409, "conflict", err.text);
		return;
	}
	if (machine->state == STATE_STARTED && !(force && strcmp(force, "1") == 0)) {
		err_set(&err, -EBUSY,
			"machine %s is started; stop it first, or destroy it with "
			"--force",
			machine->record->id);
		refuse(req, 409, "conflict", err.text);
		return;
	}
	wish(arg, machine, req, WISH_DESTROYED, STATE_DESTROYING, "Destroying");
}

void routes_detach_machine(struct api_request *req, void *arg)
{
	struct machine *machine = find_machine(arg, req);
	struct err err;

	if (!machine)
		return;
	if (machine->record->kind != MACHINE_ATTACHED) {
		err_set(&err, -EINVAL,
			"machine %s was not attached; wherry machine destroy %s ends it",
			machine->record->id, machine->record->id);
		refuse(req, 409, "conflict", err.text);
		return;
	}
	wish(arg, machine, req, WISH_DESTROYED, STATE_DESTROYING, "Detaching");
}
