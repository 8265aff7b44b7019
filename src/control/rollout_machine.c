/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a machine that a rollout makes: on which host, with which id, addresses,
 * environment and command. Nothing is written here.
 */
#include "control/rollout_impl.h"

#include "model/command.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

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
			control, rollout->record, fresh->group, fresh->region, out, err);
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
