/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health checks of this host's machines: started with the release that the machine belongs to, and
 * what they find is written to the catalog, where every edge reads whether the machine may serve.
 */
#include "control/control_impl.h"

#include "base/log.h"

#include <string.h>

static json_t *results_to_json(const struct machine *machine)
{
	size_t count;
	const struct health_result *results = health_results(machine->health, &count);
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", results[i].name, "type",
				results[i].type, "status", health_status_name(results[i].status),
				"output", results[i].output ? results[i].output : "", "updated_at",
				results[i].updated_at));
	return list;
}

/* Some check changed its mind: kept in memory at once, and by the catalog when it can. */
static void found(void *arg)
{
	struct machine *machine = arg;
	const bool is_unhealthy = !health_is_healthy(machine->health);
	const bool is_changed = is_unhealthy != machine->history.is_unhealthy;

	json_decref(machine->history.checks);
	machine->history.checks = results_to_json(machine);
	machine->history.is_unhealthy = is_unhealthy;
	if (is_changed)
		log_info("health", "app=%s machine=%s healthy=%s", machine->record->app,
			machine->record->id, is_unhealthy ? "no" : "yes");
	/* First: the catalog may take its time to answer. */
	if (is_changed)
		serve(machine->control);
	machine_publish(machine);
}

/* The config whose checks the machine has to pass, or NULL. */
static const struct app_config *config_of(const struct machine *machine)
{
	const struct app *app = catalog_find_app(machine->control, machine->record->app);

	if (!app || !app->config || machine->state != STATE_STARTED || !machine->is_up ||
		machine->record->wish != WISH_STARTED || machine->record->is_held)
		return NULL;
	return machine->record->release == app->record->release ? app->config : NULL;
}

static void start(struct machine *machine, const struct app_config *config)
{
	_free_ char *path = view_netns_path(machine);
	const struct health_target target = {
		.netns_path = path,
		.primary = network_primary(&machine->record->network),
		.service = network_service(&machine->record->network),
	};
	struct err err;

	if (path && health_start(&machine->health, machine->control->loop, config,
			    machine->record->group, &target, found, machine, &err) < 0)
		log_warn("checks-not-started", "machine=%s reason=\"%s\"", machine->record->id,
			err.text);
	machine->checked_config = config;
}

void checks_stop(struct machine *machine)
{
	if (machine->health)
		health_stop(take_ptr(machine->health));
	machine->checked_config = NULL;
}

void checks_update(struct control *control)
{
	for (size_t i = 0; i < control->machine_count; i++) {
		struct machine *machine = control->machines[i];
		const struct app_config *config;

		if (!machine->is_local)
			continue;
		config = config_of(machine);
		if (config == machine->checked_config)
			continue;
		checks_stop(machine);
		machine->history.is_unhealthy = false;
		json_decref(take_ptr(machine->history.checks));
		if (config)
			start(machine, config);
	}
}

void checks_stop_app(struct control *control, const char *app)
{
	for (size_t i = 0; i < control->machine_count; i++)
		if (strcmp(control->machines[i]->record->app, app) == 0)
			checks_stop(control->machines[i]);
}

json_t *view_checks(const struct control *control, const struct app *app)
{
	json_t *list = json_array(), *check;
	size_t at;

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *machine = control->machines[i];

		if (strcmp(machine->record->app, app->record->name) != 0)
			continue;
		json_array_foreach(machine->history.checks, at, check)
		{
			json_t *one = json_copy(check);

			json_object_set_new(one, "machine", json_string(machine->record->id));
			json_object_set_new(one, "host",
				json_string(host_name(control, machine->record->host)));
			json_array_append_new(list, one);
		}
	}
	return list;
}
