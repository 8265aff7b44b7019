/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of the API (docs/api.md): what a request asks for, checked; the answer. What takes
 * longer is a rollout or a waiter and answers by a stream.
 */
#include "control/routes.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

static int refuse(struct api_request *req, int status, const char *code, const char *sentence)
{
	api_reply_error(req, status, code, sentence, NULL);
	return -EINVAL;
}

void routes_refuse_change(struct api_request *req, int r, const struct err *err)
{
	if (r == -EAGAIN)
		refuse(req, 409, "conflict", err->text);
	else
		refuse(req, 503, "unavailable", err->text);
}

struct app *routes_app(struct control *control, struct api_request *req)
{
	const char *name = api_request_param(req, "app");
	struct app *app = catalog_find_app(control, name);
	struct err err;

	if (app)
		return app;
	err_set(&err, -ENOENT, "app %s does not exist; wherry apps create %s makes it", name, name);
	api_reply_error(req, 404, "not_found", err.text, NULL);
	return NULL;
}

int routes_check_body(struct api_request *req, const char *const *known)
{
	json_t *body = api_request_body(req), *value;
	const char *key;
	struct err err;

	json_object_foreach(body, key, value)
	{
		size_t i = 0;

		while (known[i] && strcmp(known[i], key) != 0)
			i++;
		if (known[i])
			continue;
		err_set(&err, -EINVAL, "the request has an unknown field \"%s\"", key);
		return refuse(req, 400, "invalid_request", err.text);
	}
	return 0;
}

const char *routes_text(struct api_request *req, const char *key)
{
	return json_string_value(json_object_get(api_request_body(req), key));
}

/* Host */

static void get_info(struct api_request *req, void *arg)
{
	api_reply_json(req, 200, view_info(arg));
}

static void get_counters(struct api_request *req, void *arg)
{
	api_reply_json(req, 200, view_counters(arg));
}

/* Apps */

static void list_apps(struct api_request *req, void *arg)
{
	struct control *control = arg;
	json_t *apps = json_array();

	for (size_t i = 0; i < control->app_count; i++)
		json_array_append_new(apps, view_app(control, control->apps[i], false));
	api_reply_json(req, 200, apps);
}

/* The rule of fly.toml's `app`: a DNS label. */
static bool is_app_name(const char *name)
{
	size_t len = name ? strlen(name) : 0;

	return len > 0 && len <= APP_NAME_MAX && name[0] != '-' && name[len - 1] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static void create_app(struct api_request *req, void *arg)
{
	static const char *const known[] = {"name", NULL};
	struct control *control = arg;
	const char *name = routes_text(req, "name");
	_cleanup_(app_record_freep) struct app_record *record = NULL;
	struct change change = {};
	struct err err;
	int r;

	if (routes_check_body(req, known) < 0)
		return;
	if (!is_app_name(name)) {
		refuse(req, 400, "invalid_request",
			"an app's name is 1 to 63 lower-case letters, "
			"digits and dashes, not starting or ending with a dash");
		return;
	}
	if (catalog_find_app(control, name)) {
		err_set(&err, -EEXIST, "app %s exists already", name);
		refuse(req, 409, "conflict", err.text);
		return;
	}
	record = calloc(1, sizeof(*record));
	if (!record || !(record->name = strdup(name))) {
		refuse(req, 500, "failed", "out of memory");
		return;
	}
	clock_stamp(record->created_at);
	change_put_app(&change, record);
	r = change_commit(control, &change, &err);
	if (r < 0) {
		routes_refuse_change(req, r, &err);
		return;
	}
	if (catalog_add_app(control, take_ptr(record)) < 0) {
		refuse(req, 500, "failed", "out of memory");
		return;
	}
	api_reply_json(req, 201, view_app(control, catalog_find_app(control, name), true));
}

static void get_app(struct api_request *req, void *arg)
{
	struct app *app = routes_app(arg, req);

	if (app)
		api_reply_json(req, 200, view_app(arg, app, true));
}

static void get_config(struct api_request *req, void *arg)
{
	struct app *app = routes_app(arg, req);

	if (!app)
		return;
	if (!app->release) {
		refuse(req, 404, "not_found",
			"the app was never deployed; wherry deploy gives it "
			"its first release");
		return;
	}
	api_reply_json(req, 200,
		json_pack("{s:i, s:s, s:s, s:o}", "release", app->release->number, "file_name",
			app->release->file_name ? app->release->file_name : "fly.toml", "text",
			app->release->config_text, "definition", config_to_json(app->config)));
}

static void get_services(struct api_request *req, void *arg)
{
	struct app *app = routes_app(arg, req);

	if (app)
		api_reply_json(req, 200, view_services(arg, app));
}

static void get_checks(struct api_request *req, void *arg)
{
	struct app *app = routes_app(arg, req);

	if (app)
		api_reply_json(req, 200, view_checks(arg, app));
}

static json_t *diagnostics_json(const struct diagnostics *diags)
{
	json_t *list = json_array();

	for (size_t i = 0; i < diags->count; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:i, s:i, s:s}", "severity",
				diags->items[i].severity == SEVERITY_ERROR ? "error" : "warning",
				"line", diags->items[i].line, "column", diags->items[i].column,
				"message", diags->items[i].message));
	return json_pack("{s:o}", "diagnostics", list);
}

int routes_read_config(struct api_request *req, struct rollout_request *request)
{
	const char *text = routes_text(req, "config"), *file_name = routes_text(req, "file_name");
	struct diagnostics diags = {};
	struct err err;
	int r;

	if (!text)
		return 0;
	request->config_text = text;
	request->file_name = file_name ? file_name : "fly.toml";
	r = config_parse(text, strlen(text), request->file_name, &request->config, &diags);
	if (r < 0) {
		const struct diagnostic *first = NULL;

		for (size_t i = 0; i < diags.count && !first; i++)
			if (diags.items[i].severity == SEVERITY_ERROR)
				first = &diags.items[i];
		err_set(&err, r, "%s:%u:%u: %s", request->file_name, first ? first->line : 0,
			first ? first->column : 0, first ? first->message : "is invalid");
		api_reply_error(req, 422, "invalid_config", err.text, diagnostics_json(&diags));
	}
	diagnostics_clear(&diags);
	return r;
}

void routes_begin(struct control *control, struct rollout_request *request, struct api_request *req)
{
	const char *code;
	struct err err;

	if (rollout_begin(control, request, req, &code, &err) < 0) {
		int status = strcmp(code, "invalid_request") == 0 ? 400
			     : strcmp(code, "failed") == 0	  ? 500
			     : strcmp(code, "unavailable") == 0	  ? 503
								  : 409;

		api_reply_error(req, status, code, err.text, NULL);
	}
}

static void deploy(struct api_request *req, void *arg)
{
	static const char *const known[] = {
		"config", "file_name", "image", "counts", "allocate_v4", "dry_run", NULL};
	_cleanup_(rollout_request_clear) struct rollout_request request = {
		.kind = ROLLOUT_DEPLOY,
		.app = routes_app(arg, req),
	};
	json_t *body = api_request_body(req);

	if (!request.app || routes_check_body(req, known) < 0)
		return;
	if (!routes_text(req, "config")) {
		refuse(req, 400, "invalid_request",
			"the request has no \"config\", the text of a "
			"fly.toml");
		return;
	}
	if (routes_read_config(req, &request) < 0)
		return;
	request.image = routes_text(req, "image");
	if (!request.image)
		request.image = request.config->build_image;
	request.counts = json_object_get(body, "counts");
	request.allocate_v4 = json_is_true(json_object_get(body, "allocate_v4"));
	request.is_dry = json_is_true(json_object_get(body, "dry_run"));
	routes_begin(arg, &request, req);
}

static void scale(struct api_request *req, void *arg)
{
	static const char *const known[] = {"counts", NULL};
	_cleanup_(rollout_request_clear) struct rollout_request request = {
		.kind = ROLLOUT_SCALE,
		.app = routes_app(arg, req),
	};

	if (!request.app || routes_check_body(req, known) < 0)
		return;
	request.counts = json_object_get(api_request_body(req), "counts");
	if (!json_is_object(request.counts)) {
		refuse(req, 400, "invalid_request",
			"the request has no \"counts\" such as "
			"{\"app\": 2}");
		return;
	}
	routes_begin(arg, &request, req);
}

static void destroy_app(struct api_request *req, void *arg)
{
	_cleanup_(rollout_request_clear) struct rollout_request request = {
		.kind = ROLLOUT_DESTROY,
		.app = routes_app(arg, req),
	};

	if (request.app)
		routes_begin(arg, &request, req);
}

/* Addresses */

static void list_ips(struct api_request *req, void *arg)
{
	struct control *control = arg;
	struct app *app = routes_app(control, req);
	json_t *ips;

	if (!app)
		return;
	ips = json_array();
	for (size_t i = 0; i < control->ip_count; i++)
		if (strcmp(control->ips[i]->app, app->record->name) == 0)
			json_array_append_new(ips, view_ip(control->ips[i]));
	api_reply_json(req, 200, ips);
}

/* Machines send from the app's public address: they must learn of another one. */
static void refresh_machines(struct control *control, const struct app *app)
{
	struct err err;

	for (size_t i = 0; i < control->machine_count; i++) {
		struct machine *machine = control->machines[i];

		if (machine->is_served && strcmp(machine->record->app, app->record->name) == 0 &&
			serve_machine(machine, &err) < 0)
			log_error("data-plane-not-updated", "machine=%s reason=\"%s\"",
				machine->record->id, err.text);
	}
	serve(control);
}

static void allocate_ip(struct api_request *req, void *arg)
{
	static const char *const known[] = {"type", "region", NULL};
	struct control *control = arg;
	struct app *app = routes_app(control, req);
	const char *region = routes_text(req, "region");
	struct ip_record *record = NULL;
	struct change change = {};
	enum ip_type type;
	struct err err;
	int r;

	if (!app || routes_check_body(req, known) < 0)
		return;
	if (ip_type_parse(routes_text(req, "type"), &type) < 0) {
		refuse(req, 400, "invalid_request",
			"the type of an address is v4, shared_v4 or v6");
		return;
	}
	if (region && *region && strcmp(region, "global") != 0) {
		refuse(req, 400, "invalid_request", "addresses are global: leave the region out");
		return;
	}
	if (type == IP_SHARED_V4 && addresses_find(control, app->record->name, type)) {
		refuse(req, 409, "conflict", "the app has the shared IPv4 already");
		return;
	}
	if (addresses_allocate(control, app->record->name, type, &record, &err) < 0) {
		refuse(req, 409, "pool_exhausted", err.text);
		return;
	}
	change_put_ip(&change, record);
	r = change_commit(control, &change, &err);
	if (r < 0) {
		ip_record_free(record);
		routes_refuse_change(req, r, &err);
		return;
	}
	if (catalog_add_ip(control, record) < 0) {
		refuse(req, 500, "failed", "out of memory");
		return;
	}
	refresh_machines(control, app);
	api_reply_json(req, 201, view_ip(record));
}

static void release_ip(struct api_request *req, void *arg)
{
	struct control *control = arg;
	struct app *app = routes_app(control, req);
	const char *text = api_request_param(req, "address");
	struct ip_record *record = NULL;
	struct change change = {};
	struct addr addr;
	json_t *view;
	struct err err;
	int r;

	if (!app)
		return;
	if (addr_parse(text, &addr) == 0)
		for (size_t i = 0; i < control->ip_count && !record; i++)
			if (addr_equal(&control->ips[i]->addr, &addr) &&
				strcmp(control->ips[i]->app, app->record->name) == 0)
				record = control->ips[i];
	if (!record) {
		err_set(&err, -ENOENT,
			"app %s has no address %s; wherry ips list -a %s shows those "
			"it has",
			app->record->name, text, app->record->name);
		refuse(req, 404, "not_found", err.text);
		return;
	}
	change_delete_ip(&change, record);
	r = change_commit(control, &change, &err);
	if (r < 0) {
		routes_refuse_change(req, r, &err);
		return;
	}
	view = view_ip(record);
	catalog_remove_ip(control, record);
	refresh_machines(control, app);
	api_reply_json(req, 200, view);
}

const struct api_route control_routes[] = {
	{"GET", "/v1/info", get_info},
	{"GET", "/v1/doctor", routes_doctor},
	{"GET", "/v1/hosts", routes_list_hosts},
	{"GET", "/v1/hosts/:host", routes_get_host},
	{"DELETE", "/v1/hosts/:host", routes_remove_host},
	{"POST", "/v1/hosts/:host/drain", routes_drain_host},
	{"POST", "/v1/hosts/:host/undrain", routes_undrain_host},
	{"POST", "/v1/hosts/:host/rotate-key", routes_rotate_host_key},
	{"GET", "/v1/counters", get_counters},
	{"GET", "/v1/apps", list_apps},
	{"POST", "/v1/apps", create_app},
	{"GET", "/v1/apps/:app", get_app},
	{"DELETE", "/v1/apps/:app", destroy_app},
	{"GET", "/v1/apps/:app/config", get_config},
	{"GET", "/v1/apps/:app/services", get_services},
	{"GET", "/v1/apps/:app/checks", get_checks},
	{"POST", "/v1/apps/:app/deploy", deploy},
	{"POST", "/v1/apps/:app/scale", scale},
	{"GET", "/v1/apps/:app/logs", routes_logs},
	{"GET", "/v1/apps/:app/ips", list_ips},
	{"POST", "/v1/apps/:app/ips", allocate_ip},
	{"DELETE", "/v1/apps/:app/ips/:address", release_ip},
	{"GET", "/v1/apps/:app/machines", routes_list_machines},
	{"POST", "/v1/apps/:app/machines", routes_run_machine},
	{"GET", "/v1/machines/:id", routes_get_machine},
	{"DELETE", "/v1/machines/:id", routes_destroy_machine},
	{"POST", "/v1/machines/:id/start", routes_start_machine},
	{"POST", "/v1/machines/:id/stop", routes_stop_machine},
	{"POST", "/v1/machines/:id/detach", routes_detach_machine},
	{NULL, NULL, NULL},
};
