/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rollout is to do: which release, which addresses the app still needs, how many machines
 * of which group to make and which to let go. Everything that can be refused is refused here,
 * before anything has changed.
 */
#include "control/rollout_impl.h"

#include "model/command.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

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

static int set_counts(struct rollout *rollout, json_t *counts, const char **code, struct err *err)
{
	const struct app_config *config = rollout_config(rollout);
	const char *group;
	json_t *count;

	if (counts && !json_is_object(counts)) {
		err_set(err, -EINVAL, "\"counts\" is an object such as {\"app\": 2}");
		return refuse(code, "invalid_request", -EINVAL);
	}
	json_object_foreach(counts, group, count)
	{
		if (!config || !config_has_group(config, group)) {
			err_set(err, -EINVAL, "app %s has no process group \"%s\"",
				rollout->app_name, group);
			return refuse(code, "invalid_request", -EINVAL);
		}
		if (!json_is_integer(count) || json_integer_value(count) < 0 ||
			json_integer_value(count) > COUNT_MAX) {
			err_set(err, -EINVAL, "a count of machines is 0 to %d", COUNT_MAX);
			return refuse(code, "invalid_request", -EINVAL);
		}
		if (app_record_set_count(
			    rollout->record, group, (unsigned int)json_integer_value(count)) < 0)
			return refuse(code, "failed", err_errno(err, -ENOMEM, "cannot scale"));
	}
	return 0;
}

static int add_fresh(struct rollout *rollout, const char *group)
{
	struct fresh *fresh = realloc(rollout->fresh, (rollout->fresh_count + 1) * sizeof(*fresh));

	if (!fresh)
		return -ENOMEM;
	rollout->fresh = fresh;
	fresh[rollout->fresh_count] = (struct fresh){.group = strdup(group)};
	if (!fresh[rollout->fresh_count].group)
		return -ENOMEM;
	rollout->fresh_count++;
	return 0;
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
	return strcmp(machine->record->app, rollout->app_name) == 0 &&
	       machine->record->wish != WISH_DESTROYED &&
	       (machine->record->is_managed || rollout->kind == ROLLOUT_DESTROY);
}

/* Keeps @wanted machines of the group, those that work first, and lets the others go. */
static int plan_scale(
	struct rollout *rollout, const char *group, unsigned int wanted, unsigned int *kept)
{
	const struct control *control = rollout->control;
	int r = 0;

	for (int works = 1; works >= 0; works--)
		for (size_t i = 0; i < control->machine_count && r == 0; i++) {
			const struct machine *machine = control->machines[i];

			if (!is_of_rollout(rollout, machine) ||
				(machine->state == STATE_STARTED) != works ||
				strcmp(machine->record->group, group) != 0)
				continue;
			if (*kept < wanted)
				++*kept;
			else
				r = add_leaving(rollout, machine->record->id);
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
		g++) {
		const char *group = config->groups[g].name;
		unsigned int wanted = app_record_count(rollout->record, group), kept = 0;

		if (rollout->kind == ROLLOUT_SCALE && r == 0)
			r = plan_scale(rollout, group, wanted, &kept);
		for (; kept < wanted && r == 0; kept++)
			r = add_fresh(rollout, group);
	}
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

	if (rollout_is_active(rollout->control, app)) {
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
	if (request->kind == ROLLOUT_SCALE && (!app->release || !app->release->image)) {
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
		r = add_fresh(rollout, rollout->template->group);
	} else {
		r = plan_machines(rollout);
	}
	return r < 0 ? err_errno(err, r, "cannot plan the rollout of app %s", rollout->app_name)
		     : 0;
}

/* Machines */

static void new_machine_id(const struct control *control, char id[static MACHINE_ID_LEN])
{
	do {
		uint8_t bytes[(MACHINE_ID_LEN - 1) / 2] = {};

		/* Seven bytes from the pool never come short (getrandom(2)). */
		if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
			continue;
		for (size_t i = 0; i < sizeof(bytes); i++)
			snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	} while (!id[0] || machine_find(control, id));
}

/* fdaa | network 1 | the host | the machine | 2 (fly-spec 4.1). */
static struct addr private_address(unsigned int host, const char *id)
{
	struct addr addr = {.family = AF_INET6, .bytes = {0xfd, 0xaa, 0, 0, 0, 1}};
	unsigned long word = strtoul(id + MACHINE_ID_LEN - 1 - 8, NULL, 16);

	addr.bytes[8] = (uint8_t)(host >> 8);
	addr.bytes[9] = (uint8_t)host;
	for (int i = 0; i < 4; i++)
		addr.bytes[10 + i] = (uint8_t)(word >> (24 - 8 * i));
	addr.bytes[15] = 2;
	return addr;
}

static int add_env(struct machine_record *record, const char *name, const char *value)
{
	struct env_var var = {strdup(name), strdup(value)};

	record->env[record->env_count++] = var;
	return var.name && var.value ? 0 : -ENOMEM;
}

/* Of two that have one name the first holds: what the maker of the machine said stands there. */
static int copy_env(const struct app_config *config, struct machine_record *record)
{
	size_t count = record->env_count + config->env_count + 1;
	struct env_var *env = realloc(record->env, count * sizeof(*env));
	int r = 0;

	if (!env)
		return -ENOMEM;
	record->env = env;
	if (config->primary_region)
		r = add_env(record, "PRIMARY_REGION", config->primary_region);
	for (size_t i = 0; i < config->env_count && r == 0; i++)
		r = add_env(record, config->env[i].name, config->env[i].value);
	return r;
}

static const char *group_command(const struct app_config *config, const char *group)
{
	for (size_t i = 0; i < config->group_count; i++)
		if (strcmp(config->groups[i].name, group) == 0)
			return config->groups[i].command;
	return "";
}

/* The release that the rollout's machines belong to: its own or the current one. NULL: none yet. */
static const struct release_record *release_of(const struct rollout *rollout)
{
	const struct app *app = catalog_find_app(rollout->control, rollout->app_name);

	return rollout->release ? rollout->release : app->release;
}

static struct machine_record *managed_machine(const struct rollout *rollout)
{
	const struct release_record *release = release_of(rollout);
	struct machine_record *record = calloc(1, sizeof(*record));

	if (!record)
		return NULL;
	record->kind = MACHINE_IMAGE;
	record->is_managed = true;
	record->image = strdup(release->image);
	record->image_id = release->image_id ? strdup(release->image_id) : NULL;
	record->image_host = release->image_host;
	return record;
}

/* The single UDP ports of its services; those of a range are opened as they are needed. */
static int add_await_ports(struct machine_record *record, const struct app_config *config)
{
	for (size_t s = 0; s < config->service_count; s++) {
		const struct service *service = &config->services[s];

		if (service->protocol != PROTOCOL_UDP || !service_in_group(service, record->group))
			continue;
		for (size_t p = 0; p < service->port_count; p++) {
			const struct port_range range = service->ports[p].range;
			uint16_t *ports;

			if (range.first != range.last)
				continue;
			ports = realloc(record->await_ports,
				(record->await_port_count + 1) * sizeof(*ports));
			if (!ports)
				return -ENOMEM;
			record->await_ports = ports;
			ports[record->await_port_count++] = range.first;
		}
	}
	return 0;
}

/* Directories and namespaces are those of the host that was asked; images go anywhere. */
static int choose_host(const struct rollout *rollout, const struct machine_record *record,
	const struct fresh *fresh, struct host **out, struct err *err)
{
	struct control *control = rollout->control;

	if (record->is_managed)
		return placement_choose(
			control, rollout->app_name, fresh->group, fresh->region, out, err);
	*out = host_find(control, control->host_id);
	if (!(*out)->record->is_worker)
		return err_set(err, -EINVAL,
			"host %s is no worker; run this on one, or add \"worker\" to its roles",
			(*out)->record->name);
	return 0;
}

int rollout_build_machine(struct rollout *rollout, const struct fresh *fresh,
	struct machine_record **out, struct err *err)
{
	const struct app_config *config = rollout_config(rollout);
	const struct release_record *release = release_of(rollout);
	_cleanup_(machine_record_freep) struct machine_record *record =
		rollout->template ? take_ptr(rollout->template) : managed_machine(rollout);
	struct host *host;
	int r;

	if (!record)
		return err_errno(err, -ENOMEM, "cannot make a machine");
	new_machine_id(rollout->control, record->id);
	r = choose_host(rollout, record, fresh, &host, err);
	if (r < 0)
		return r;
	record->host = host->id;
	record->held_by = rollout->control->host_id;
	record->private_v6 = private_address(host->id, record->id);
	record->release = release ? release->number : 0;
	record->wish = WISH_STARTED;
	record->is_held = true;
	record->kill_signal = config ? config->kill_signal : SIGINT;
	record->kill_timeout_s = config ? config->kill_timeout_s : 5;
	clock_stamp(record->created_at);
	if (!record->app)
		record->app = strdup(rollout->app_name);
	if (!record->group)
		record->group = strdup(fresh->group);
	if (!record->name && asprintf(&record->name, "%s-%.6s", fresh->group, record->id) < 0)
		record->name = NULL;
	r = addresses_take_network(rollout->control, host, &record->network, err);
	if (r < 0)
		return r;
	if (config && copy_env(config, record) < 0)
		return err_errno(err, -ENOMEM, "cannot make a machine");
	if (config && add_await_ports(record, config) < 0)
		return err_errno(err, -ENOMEM, "cannot make a machine");
	if (config && record->is_managed &&
		command_split(group_command(config, fresh->group), &record->command) < 0)
		return err_set(err, -EINVAL, "[processes] %s: the quotes of \"%s\" do not match",
			fresh->group, group_command(config, fresh->group));
	if (!record->app || !record->group || !record->name ||
		(record->kind == MACHINE_IMAGE && !record->image) ||
		(record->is_managed && release->image_id && !record->image_id))
		return err_errno(err, -ENOMEM, "cannot make a machine");
	*out = take_ptr(record);
	return 0;
}
