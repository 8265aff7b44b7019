/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rollout is to do: which release, which addresses the app still needs, how many machines
 * of which group to make and which to let go. Everything that can be refused is refused here,
 * before anything has changed.
 */
#include "control/rollout_impl.h"

#include <errno.h>
#include <string.h>

#define COUNT_MAX 1000 /* machines of one group; more is a slip of the finger */

const struct app_config *rollout_config(const struct rollout *rollout)
{
	const struct app *app = catalog_find_app(rollout->control, rollout->app_name);

	return rollout->config ? rollout->config : app ? app->config : NULL;
}

static int refuse(const char **code, const char *what, int r)
{
	*code = what;
	return r;
}

static int plan_ip(struct rollout *rollout, enum ip_type type, struct err *err)
{
	struct ip_record **ips =
		realloc(rollout->new_ips, (rollout->new_ip_count + 1) * sizeof(*ips));
	int r;

	if (!ips)
		return err_errno(err, -ENOMEM, "cannot allocate an address");
	rollout->new_ips = ips;
	r = addresses_allocate(
		rollout->control, rollout->app_name, type, &ips[rollout->new_ip_count], err);
	if (r == 0)
		rollout->new_ip_count++;
	return r;
}

/*
 * UDP is carried by dedicated IPv4 alone. Every app gets a public IPv6 and a shared IPv4 with its
 * first release, where the host has pools to take them from.
 */
static int plan_ips(struct rollout *rollout, const struct rollout_request *request,
	const char **code, struct err *err)
{
	const struct control *control = rollout->control;
	const char *name = rollout->app_name;
	const bool is_first = rollout->release && !rollout->record->release;

	if (rollout->config && config_has_udp(rollout->config) &&
		!addresses_find(control, name, IP_V4)) {
		if (!request->allocate_v4) {
			err_set(err, -EADDRNOTAVAIL,
				"app %s has a UDP service, which needs a "
				"dedicated IPv4; wherry ips allocate-v4 -a %s gives it one",
				name, name);
			return refuse(code, "needs_dedicated_v4", -EADDRNOTAVAIL);
		}
		if (plan_ip(rollout, IP_V4, err) < 0)
			return refuse(code, "pool_exhausted", -ENOSPC);
	}
	if (!is_first)
		return 0;
	if (!addresses_find(control, name, IP_V6))
		plan_ip(rollout, IP_V6, NULL);
	if (!addresses_find(control, name, IP_SHARED_V4))
		plan_ip(rollout, IP_SHARED_V4, NULL);
	return 0;
}

static int plan_release(struct rollout *rollout, struct rollout_request *request, struct err *err)
{
	struct release_record *release;

	if (!request->config)
		return 0;
	release = calloc(1, sizeof(*release));
	if (!release)
		return err_errno(err, -ENOMEM, "cannot make a release");
	rollout->release = release;
	rollout->config = take_ptr(request->config);
	release->number = ++rollout->record->last_release;
	release->app = strdup(rollout->app_name);
	release->image = request->image ? strdup(request->image) : NULL;
	release->config_text = strdup(request->config_text);
	release->file_name = strdup(request->file_name ? request->file_name : "fly.toml");
	clock_stamp(release->created_at);
	if (!release->app || !release->config_text || !release->file_name)
		return err_errno(err, -ENOMEM, "cannot make a release");
	return 0;
}

static const char *region_of(const struct control *control, const struct machine *machine)
{
	const struct host *host = host_find(control, machine->record->host);

	return host && host->record ? host->record->region : "";
}

static bool has_region(const struct control *control, const char *region)
{
	for (size_t i = 0; i < control->host_count; i++)
		if (control->hosts[i]->record &&
			strcmp(control->hosts[i]->record->region, region) == 0)
			return true;
	return false;
}

static int check_count(const struct rollout *rollout, const char *group, const char *region,
	const json_t *count, struct err *err)
{
	const struct app_config *config = rollout_config(rollout);

	if (!config || !config_has_group(config, group))
		return err_set(err, -EINVAL, "app %s has no process group \"%s\"",
			rollout->app_name, group);
	if (!json_is_integer(count) || json_integer_value(count) < 0 ||
		json_integer_value(count) > COUNT_MAX)
		return err_set(err, -EINVAL, "a count of machines is 0 to %d", COUNT_MAX);
	if (region && json_integer_value(count) && !has_region(rollout->control, region))
		return err_set(err, -EINVAL,
			"no host is in region %s; wherry hosts list shows the regions", region);
	return 0;
}

/*
 * The first count for a region: the machines that are there belong to it from now on, and the
 * count of the others is of what is elsewhere.
 */
static int split_count(struct rollout *rollout, const char *group, const char *region)
{
	const struct control *control = rollout->control;
	unsigned int count = app_record_count(rollout->record, group, NULL), elsewhere = 0;

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *machine = control->machines[i];
		const struct machine_record *record = machine->record;

		elsewhere +=
			record->is_managed && record->wish != WISH_DESTROYED &&
			strcmp(record->app, rollout->app_name) == 0 &&
			strcmp(record->group, group) == 0 &&
			strcmp(region_of(control, machine), region) != 0 &&
			!app_record_has_region(rollout->record, group, region_of(control, machine));
	}
	return app_record_set_count(
		rollout->record, group, NULL, count < elsewhere ? count : elsewhere);
}

static int set_count(struct rollout *rollout, json_t *counts, const char *group, const char *region,
	unsigned int count)
{
	int r = 0;

	if (!region)
		app_record_drop_regions(rollout->record, group);
	else if (!app_record_has_region(rollout->record, group, region) &&
		 !json_object_get(counts, group))
		r = split_count(rollout, group, region);
	return r < 0 ? r : app_record_set_count(rollout->record, group, region, count);
}

static int set_counts(struct rollout *rollout, json_t *counts, const char **code, struct err *err)
{
	const char *key;
	json_t *count;
	int r = 0;

	*code = "invalid_request";
	if (counts && !json_is_object(counts))
		return err_set(err, -EINVAL, "\"counts\" is an object such as {\"app\": 2}");
	/* Counts without a region first: they drop those of regions from before. */
	for (int of_region = 0; of_region < 2; of_region++)
		json_object_foreach(counts, key, count)
		{
			_free_ char *group = NULL, *region = NULL;

			r = group_count_parse(key, &group, &region);
			if (r == -EINVAL)
				return err_set(err, r,
					"\"%s\" is no key of \"counts\": it is GROUP or "
					"GROUP@REGION",
					key);
			if (r == 0 && of_region != (region != NULL))
				continue;
			if (r == 0 && check_count(rollout, group, region, count, err) < 0)
				return -EINVAL;
			if (r == 0)
				r = set_count(rollout, counts, group, region,
					(unsigned int)json_integer_value(count));
			if (r < 0)
				return refuse(code, "failed", err_errno(err, r, "cannot scale"));
		}
	return 0;
}

static int add_fresh(struct rollout *rollout, const char *group, const char *region)
{
	struct fresh *fresh = realloc(rollout->fresh, (rollout->fresh_count + 1) * sizeof(*fresh));
	struct fresh *last;

	if (!fresh)
		return -ENOMEM;
	rollout->fresh = fresh;
	last = &fresh[rollout->fresh_count++];
	*last = (struct fresh){
		.group = strdup(group),
		.region = region ? strdup(region) : NULL,
	};
	return last->group && (!region || last->region) ? 0 : -ENOMEM;
}

static int add_leaving(struct rollout *rollout, const char *id)
{
	char(*leaving)[MACHINE_ID_LEN] =
		realloc(rollout->leaving, (rollout->leaving_count + 1) * sizeof(*leaving));

	if (!leaving)
		return -ENOMEM;
	rollout->leaving = leaving;
	memcpy(leaving[rollout->leaving_count++], id, MACHINE_ID_LEN);
	return 0;
}

static bool is_of_rollout(const struct rollout *rollout, const struct machine *machine)
{
	const char *reason;

	if (strcmp(machine->record->app, rollout->app_name) != 0 ||
		machine->record->wish == WISH_DESTROYED)
		return false;
	/* Another rollout's, that is over or will be. */
	if (machine->record->is_held)
		return rollout->kind == ROLLOUT_DESTROY;
	if (rollout->kind == ROLLOUT_MOVE)
		return machine->record->host == rollout->from_host &&
		       move_is_possible(machine, &reason);
	return machine->record->is_managed || rollout->kind == ROLLOUT_DESTROY;
}

static bool works(const struct control *control, const struct machine *machine)
{
	const struct host *host = host_find(control, machine->record->host);

	return machine->state == STATE_STARTED && host && host->record &&
	       !host->record->is_draining && host_is_reachable(control, host->id);
}

/* Whether the machine is one of those that the group's count for @region is about. */
static bool is_counted(
	const struct rollout *rollout, const struct machine *machine, const char *region)
{
	const char *own = region_of(rollout->control, machine);

	if (region)
		return strcmp(own, region) == 0;
	return !app_record_has_region(rollout->record, machine->record->group, own);
}

/* Keeps @wanted machines of the group, those that work first, and lets the others go. */
static int plan_scale(struct rollout *rollout, const char *group, const char *region,
	unsigned int wanted, unsigned int *kept)
{
	const struct control *control = rollout->control;
	int r = 0;

	for (int at_work = 1; at_work >= 0; at_work--)
		for (size_t i = 0; i < control->machine_count && r == 0; i++) {
			const struct machine *machine = control->machines[i];

			if (!is_of_rollout(rollout, machine) ||
				works(control, machine) != at_work ||
				strcmp(machine->record->group, group) != 0 ||
				!is_counted(rollout, machine, region))
				continue;
			if (*kept < wanted)
				++*kept;
			else
				r = add_leaving(rollout, machine->record->id);
		}
	return r;
}

static int plan_count(struct rollout *rollout, const char *group, const char *region)
{
	unsigned int wanted = app_record_count(rollout->record, group, region), kept = 0;
	int r = 0;

	if (rollout->kind == ROLLOUT_SCALE)
		r = plan_scale(rollout, group, region, wanted, &kept);
	for (; kept < wanted && r == 0; kept++)
		r = add_fresh(rollout, group, region);
	return r;
}

static int plan_group(struct rollout *rollout, const char *group)
{
	const struct app_record *record = rollout->record;
	int r = plan_count(rollout, group, NULL);

	for (size_t i = 0; i < record->count_count && r == 0; i++)
		if (record->counts[i].region && strcmp(record->counts[i].group, group) == 0)
			r = plan_count(rollout, group, record->counts[i].region);
	return r;
}

/* One elsewhere for each that is to leave: in its region, where that has a count of its own. */
static int plan_move(struct rollout *rollout)
{
	const struct control *control = rollout->control;
	int r = 0;

	for (size_t i = 0; i < control->machine_count && r == 0; i++) {
		const struct machine *machine = control->machines[i];
		const char *group = machine->record->group, *region = region_of(control, machine);

		if (!is_of_rollout(rollout, machine))
			continue;
		if (!app_record_has_region(rollout->record, group, region))
			region = NULL;
		r = add_leaving(rollout, machine->record->id);
		if (r == 0)
			r = add_fresh(rollout, group, region);
	}
	return r;
}

/* A deploy and the end of an app replace every machine; scale keeps as many as are wanted. */
static int plan_machines(struct rollout *rollout)
{
	const struct app_config *config = rollout_config(rollout);
	const struct control *control = rollout->control;
	int r = 0;

	for (size_t i = 0; i < control->machine_count && r == 0; i++)
		if (rollout->kind != ROLLOUT_SCALE && is_of_rollout(rollout, control->machines[i]))
			r = add_leaving(rollout, control->machines[i]->record->id);
	for (size_t g = 0; config && rollout->kind != ROLLOUT_DESTROY && g < config->group_count;
		g++)
		if (r == 0)
			r = plan_group(rollout, config->groups[g].name);
	return r;
}

/* Addresses that are only planned are the app's alone or shared, and need no check. */
static int check_claims(struct rollout *rollout, const struct app *app, struct err *err)
{
	return rollout->config ? serve_check_claims(rollout->control, app, rollout->config, err)
			       : 0;
}

static int check_request(struct rollout *rollout, const struct rollout_request *request,
	const char **code, struct err *err)
{
	const struct app *app = request->app;
	const struct machine *held;

	held = held_elsewhere(rollout->control, app->record->name);
	if (held) {
		err_set(err, -EBUSY,
			"app %s is being deployed or scaled from host %s already; wait for that to "
			"end",
			app->record->name, host_name(rollout->control, held->record->held_by));
		return refuse(code, "conflict", -EBUSY);
	}
	if (rollout_is_active(rollout->control, app->record->name)) {
		err_set(err, -EBUSY,
			"app %s is being deployed or scaled already; wait for that to "
			"end",
			app->record->name);
		return refuse(code, "conflict", -EBUSY);
	}
	if (request->kind == ROLLOUT_DEPLOY && !request->image && !request->is_dry) {
		err_set(err, -EINVAL,
			"there is no image to deploy; give one, or a directory with a "
			"Dockerfile");
		return refuse(code, "invalid_request", -EINVAL);
	}
	if ((request->kind == ROLLOUT_SCALE || request->kind == ROLLOUT_MOVE) &&
		(!app->release || !app->release->image)) {
		err_set(err, -ENOENT,
			"app %s was never deployed; wherry deploy makes its first "
			"machines",
			app->record->name);
		return refuse(code, "conflict", -ENOENT);
	}
	return 0;
}

static int copy_record(const struct app *app, struct app_record **out, struct err *err)
{
	json_t *json = app_record_to_json(app->record);
	int r = app_record_from_json(json, out, err);

	json_decref(json);
	return r;
}

int rollout_plan(struct rollout *rollout, struct rollout_request *request, const char **code,
	struct err *err)
{
	int r = check_request(rollout, request, code, err);

	if (r < 0)
		return r;
	*code = "failed";
	r = copy_record(request->app, &rollout->record, err);
	if (r == 0)
		r = plan_release(rollout, request, err);
	if (r < 0)
		return r;
	if (check_claims(rollout, request->app, err) < 0)
		return refuse(code, "address_in_use", -EADDRINUSE);
	r = set_counts(rollout, request->counts, code, err);
	if (r == 0)
		r = plan_ips(rollout, request, code, err);
	if (r < 0)
		return r;
	if (request->kind == ROLLOUT_RUN) {
		rollout->template = take_ptr(request->machine);
		r = add_fresh(rollout, rollout->template->group, NULL);
	} else if (request->kind == ROLLOUT_MOVE) {
		r = plan_move(rollout);
	} else {
		r = plan_machines(rollout);
	}
	return r < 0 ? err_errno(err, r, "cannot plan the rollout of app %s", rollout->app_name)
		     : 0;
}
