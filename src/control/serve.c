/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the catalog and the machines' states to what the fabric serves. Everything is worked out
 * anew each time and handed over whole; the fabric writes what differs.
 */
#include "control/control_impl.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

/* What fabric_apply() takes, and the memory behind it. */
struct plan {
	struct fabric_group *groups;
	size_t group_count;
	struct fabric_service *services;
	size_t service_count, service_room;
	struct fabric_address *addrs;
	size_t addr_count;
};

static void plan_clear(struct plan *plan)
{
	for (size_t i = 0; i < plan->group_count; i++) {
		free((void *)plan->groups[i].name);
		free((void *)plan->groups[i].machine_ids);
	}
	free(plan->groups);
	free(plan->services);
	free(plan->addrs);
}

/* A machine that belongs to the app's service, whether or not it can serve now. */
static bool is_member(
	const struct machine *machine, const struct app *app, const struct service *service)
{
	return machine->is_served && !machine->record->is_held &&
	       strcmp(machine->record->app, app->record->name) == 0 &&
	       service_in_group(service, machine->record->group);
}

static bool takes_new_flows(const struct machine *machine)
{
	return machine->state == STATE_STARTED && !machine->is_draining &&
	       machine->record->wish == WISH_STARTED && !machine->history.is_unhealthy;
}

/* How good a choice the machine is for this host, as far as its host matters; less is better. */
static uint64_t distance(const struct control *control, const struct machine *machine)
{
	const struct host *host = host_find(control, machine->record->host);
	uint64_t distance = 0;

	if (machine->is_local && !(host && host->record && host->record->is_draining))
		return 0;
	if (!host || !host->record || !host_is_reachable(control, host->id))
		distance |= 1ULL << 33; /* the last resort: it may only seem so */
	else if (host->record->is_draining)
		distance |= 1ULL << 32; /* better a far one that stays */
	if (host && host->record)
		distance |= fleet_region_rtt_us(control, host->record->region);
	return distance;
}

/* Leaves those of the nearest region. Returns how many. */
static size_t keep_nearest(const struct control *control, const char **ids, size_t count)
{
	uint64_t least = UINT64_MAX;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t d = distance(control, machine_find(control, ids[i]));

		if (d < least)
			least = d;
	}
	for (size_t i = 0; i < count; i++)
		if (distance(control, machine_find(control, ids[i])) == least)
			ids[kept++] = ids[i];
	return kept;
}

/*
 * Machines for new flows. While a program is being restarted its machine keeps its place when no
 * other can take over: its kernel answers that the port is closed, and its flows stay with it.
 */
static int find_machines(const struct control *control, const struct app *app,
	const struct service *service, const char ***out, size_t *count)
{
	size_t machine_count, ready = 0;
	struct machine **machines = index_machines(control, app->record->name, &machine_count);
	const char **ids = calloc(machine_count + 1, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < machine_count; i++)
		if (is_member(machines[i], app, service) && takes_new_flows(machines[i]))
			ids[ready++] = machines[i]->record->id;
	for (size_t i = 0; i < machine_count && ready == 0; i++)
		if (is_member(machines[i], app, service) && machines[i]->state == STATE_FAILED &&
			machines[i]->record->wish == WISH_STARTED) {
			ids[ready++] = machines[i]->record->id;
			break;
		}
	*out = ids;
	*count = keep_nearest(control, ids, ready);
	return 0;
}

static char *group_name(const struct app *app, const struct service *service)
{
	struct buf name = {};

	buf_addf(&name, "%s/", app->record->name);
	for (size_t i = 0; i < service->processes.count; i++)
		buf_addf(&name, "%s%s", i ? "+" : "", service->processes.items[i]);
	return buf_take(&name);
}

/* Most apps have many services and one group: its name is not worked out for each. */
static bool has_same_processes(const struct service *a, const struct service *b)
{
	if (a->processes.count != b->processes.count)
		return false;
	for (size_t i = 0; i < a->processes.count; i++)
		if (strcmp(a->processes.items[i], b->processes.items[i]) != 0)
			return false;
	return true;
}

/* The index of the service's group in the plan, made when it is not there. */
static int plan_group(struct plan *plan, const struct control *control, const struct app *app,
	const struct service *service, size_t first_of_app, size_t *out)
{
	_free_ char *name = group_name(app, service);
	struct fabric_group *groups;
	const char **ids;
	size_t count;
	int r;

	for (size_t i = first_of_app; i < plan->group_count; i++)
		if (strcmp(plan->groups[i].name, name) == 0) {
			*out = i;
			return 0;
		}
	groups = realloc(plan->groups, (plan->group_count + 1) * sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	plan->groups = groups;
	r = find_machines(control, app, service, &ids, &count);
	if (r < 0)
		return r;
	groups[plan->group_count] = (struct fabric_group){
		.name = take_ptr(name),
		.machine_ids = ids,
		.machine_count = count,
	};
	*out = plan->group_count++;
	return 0;
}

static int plan_service(
	struct plan *plan, const struct service *service, size_t group, const struct addr *addr)
{
	struct fabric_service *services = plan->services;
	size_t room = plan->service_room;

	while (room < plan->service_count + service->port_count)
		room = room ? room * 2 : 16;
	if (room > plan->service_room) {
		services = realloc(services, room * sizeof(*services));
		if (!services)
			return -ENOMEM;
		plan->services = services;
		plan->service_room = room;
	}
	for (size_t i = 0; i < service->port_count; i++)
		services[plan->service_count++] = (struct fabric_service){
			.addr = *addr,
			.protocol = service->protocol,
			.range = service->ports[i].range,
			.group = group,
			.is_by_client = service->affinity == AFFINITY_CLIENT,
		};
	return 0;
}

static int plan_app(struct plan *plan, const struct control *control, const struct app *app)
{
	const size_t first_of_app = plan->group_count;
	const struct service *before = NULL;
	struct ip_record **ips;
	size_t ip_count, group = 0;

	if (!app->config)
		return 0;
	ips = index_ips(control, app->record->name, &ip_count);
	for (size_t s = 0; s < app->config->service_count; s++) {
		const struct service *service = &app->config->services[s];
		int r = 0;

		if (service->protocol != PROTOCOL_UDP)
			continue; /* TCP goes through the proxy */
		if (!before || !has_same_processes(before, service))
			r = plan_group(plan, control, app, service, first_of_app, &group);
		before = service;
		for (size_t i = 0; i < ip_count && r == 0; i++)
			if (ips[i]->type == IP_V4)
				r = plan_service(plan, service, group, &ips[i]->addr);
		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_build(struct plan *plan, struct control *control)
{
	plan->addrs = calloc(control->ip_count + 1, sizeof(*plan->addrs));
	if (!plan->addrs)
		return -ENOMEM;
	for (size_t i = 0; i < control->ip_count; i++) {
		const struct addr *addr = &control->ips[i]->addr;

		if (addr->family == AF_INET &&
			(!plan->addr_count ||
				!addr_equal(&plan->addrs[plan->addr_count - 1].addr, addr)))
			plan->addrs[plan->addr_count++] = (struct fabric_address){
				.addr = *addr,
				.app = control->ips[i]->type == IP_SHARED_V4 ? NULL
									     : control->ips[i]->app,
			};
	}
	for (size_t i = 0; i < control->app_count; i++) {
		int r = plan_app(plan, control, control->apps[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

int serve_apply(struct control *control, struct err *err)
{
	_cleanup_(plan_clear) struct plan plan = {};
	int r;

	/* Not before everything that may be serving already was looked at. */
	if (!control->is_ready)
		return 0;
	checks_update(control);
	r = plan_build(&plan, control);
	if (r < 0)
		return err_errno(err, r, "cannot work out the services");
	return fabric_apply(control->fabric, plan.groups, plan.group_count, plan.services,
		plan.service_count, plan.addrs, plan.addr_count, err);
}

void serve(struct control *control)
{
	struct err err;

	if (serve_apply(control, &err) < 0)
		log_error("data-plane-not-updated", "reason=\"%s\"", err.text);
}

/* Once: it is tried again with every change of the hosts. */
static int tell_network(struct machine *machine, const struct err *err)
{
	if (!machine->is_network_told)
		log_error("machine-not-served", "machine=%s reason=\"%s\"", machine->record->id,
			err->text);
	machine->is_network_told = true;
	return 0;
}

int serve_machine(struct machine *machine, struct err *err)
{
	struct control *control = machine->control;
	const struct machine_record *record = machine->record;
	const struct ip_record *public = addresses_find(control, record->app, IP_V4);
	const struct host *host = host_find(control, record->host);
	struct fabric_machine entry = {
		.id = record->id,
		.app = record->app,
		.primary = network_primary(&record->network),
		.service = network_service(&record->network),
	};
	int r;

	if (public)
		entry.public_addr = public->addr;
	if (!machine->is_local) {
		/* Not yet: its host is not known, or there is no mesh to it. */
		if (!host || !host->record || !host->record->mesh_v4.family)
			return 0;
		/* What serves goes on. */
		if (!machine->is_served && machine_network_check(machine, err) < 0)
			return tell_network(machine, err);
		entry.host = host->record->mesh_v4;
		r = fabric_machine_set(control->fabric, &entry, NULL, err);
		machine->is_served |= r == 0;
		return r;
	}
	entry.ifindex = (unsigned int)machine->net.ifindex;
	entry.netns_id = machine->net.netns_id;
	memcpy(entry.mac, machine->net.mac, sizeof(entry.mac));
	memcpy(entry.gateway_mac, machine->net.gateway_mac, sizeof(entry.gateway_mac));
	r = fabric_machine_set(control->fabric, &entry, NULL, err);
	if (r == 0)
		machine->is_served = true;
	return r;
}

void serve_forget(struct machine *machine)
{
	struct err err;

	machine->is_served = false;
	if (fabric_machine_remove(machine->control->fabric, machine->record->id, &err) < 0)
		log_error("data-plane-not-updated", "machine=%s reason=\"%s\"", machine->record->id,
			err.text);
}

#define LEFTOVER_MS 5000 /* edges that are behind by more than this lose packets */

struct leftover {
	struct leftover *next;
	char id[MACHINE_ID_LEN];
	uint64_t until_ms;
};

void serve_forget_elsewhere(struct machine *machine)
{
	struct control *control = machine->control;
	struct leftover *leftover = calloc(1, sizeof(*leftover));
	struct err err;

	if (!leftover) {
		serve_forget(machine);
		return;
	}
	machine->is_served = false;
	if (fabric_machine_forget_former(control->fabric, machine->record->id, &err) < 0)
		log_error("data-plane-not-updated", "machine=%s reason=\"%s\"", machine->record->id,
			err.text);
	memcpy(leftover->id, machine->record->id, sizeof(leftover->id));
	leftover->until_ms = clock_now_ms() + LEFTOVER_MS;
	leftover->next = control->leftovers;
	control->leftovers = leftover;
}

void serve_forget_late(struct control *control)
{
	struct leftover **at = &control->leftovers;
	const uint64_t now_ms = clock_now_ms();
	struct err err;

	while (*at) {
		struct leftover *leftover = *at;

		if (now_ms < leftover->until_ms) {
			at = &leftover->next;
			continue;
		}
		/* It may be back, by the same id, when the catalog was restored. */
		if (!machine_find(control, leftover->id) &&
			fabric_machine_remove(control->fabric, leftover->id, &err) < 0)
			log_error("data-plane-not-updated", "machine=%s reason=\"%s\"",
				leftover->id, err.text);
		*at = leftover->next;
		free(leftover);
	}
}

void serve_close(struct control *control)
{
	while (control->leftovers) {
		struct leftover *leftover = control->leftovers;

		control->leftovers = leftover->next;
		free(leftover);
	}
}

int64_t serve_group_members(const struct control *control, const char *group)
{
	const char *slash = strchr(group, '/');
	char name[APP_NAME_MAX + 1];
	const struct app *app;
	uint64_t sum = 0;

	if (!slash || slash - group > APP_NAME_MAX)
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)(slash - group), group);
	app = catalog_find_app(control, name);
	for (size_t s = 0; app && app->config && s < app->config->service_count; s++) {
		const struct service *service = &app->config->services[s];
		_free_ char *other = group_name(app, service);
		_free_ const char **ids = NULL;
		size_t count = 0;

		if (service->protocol != PROTOCOL_UDP || strcmp(other, group) != 0)
			continue;
		if (find_machines(control, app, service, &ids, &count) < 0)
			return 0;
		/* The order does not matter: ids are random numbers. */
		for (size_t i = 0; i < count; i++)
			sum += strtoull(ids[i], NULL, 16);
		return (int64_t)(sum & INT64_MAX);
	}
	return 0;
}

bool serve_has_others(const struct machine *machine)
{
	const struct control *control = machine->control;
	const struct app *app = catalog_find_app(control, machine->record->app);
	bool has_services = false;

	for (size_t s = 0; app && app->config && s < app->config->service_count; s++) {
		const struct service *service = &app->config->services[s];
		bool has_other = false;

		if (service->protocol != PROTOCOL_UDP || !is_member(machine, app, service))
			continue;
		has_services = true;
		for (size_t i = 0; i < control->machine_count && !has_other; i++)
			has_other = control->machines[i] != machine &&
				    is_member(control->machines[i], app, service) &&
				    takes_new_flows(control->machines[i]);
		if (!has_other)
			return false;
	}
	return has_services;
}

/* Claims */

static const struct service_port *find_overlap(
	const struct app_config *config, enum protocol protocol, struct port_range range)
{
	for (size_t s = 0; config && s < config->service_count; s++)
		for (size_t i = 0; i < config->services[s].port_count; i++) {
			const struct service_port *port = &config->services[s].ports[i];

			if (config->services[s].protocol == protocol &&
				port->range.first <= range.last && range.first <= port->range.last)
				return port;
		}
	return NULL;
}

/* Whether any number of apps can share the port, told apart by what the client asks for. */
static bool is_shared_by_name(const struct service_port *port)
{
	return port->handlers & (HANDLER_TLS | HANDLER_HTTP);
}

static int check_claim(const struct control *control, const struct app *app,
	const struct ip_record *ip, enum protocol protocol, const struct service_port *port,
	struct err *err)
{
	for (size_t i = 0; i < control->ip_count; i++) {
		const struct ip_record *other = control->ips[i];
		const struct service_port *taken;
		char text[ADDR_TEXT_LEN];
		struct app *owner;

		if (!addr_equal(&other->addr, &ip->addr) ||
			strcmp(other->app, app->record->name) == 0)
			continue;
		owner = catalog_find_app(control, other->app);
		taken = owner ? find_overlap(owner->config, protocol, port->range) : NULL;
		/* What shared IPv4 carries for names and what it does not is the proxy's to say. */
		if (!taken || is_shared_by_name(port) || is_shared_by_name(taken) ||
			ip->type == IP_SHARED_V4)
			continue;
		return err_set(err, -EADDRINUSE,
			"%s port %u of %s belongs to app %s; use another "
			"port, or an address of your own (wherry ips allocate-v4 -a %s)",
			protocol == PROTOCOL_UDP ? "UDP" : "TCP", port->range.first,
			addr_format(&ip->addr, text), other->app, app->record->name);
	}
	return 0;
}

int serve_check_claims(const struct control *control, const struct app *app,
	const struct app_config *config, struct err *err)
{
	for (size_t i = 0; i < control->ip_count; i++) {
		if (strcmp(control->ips[i]->app, app->record->name) != 0)
			continue;
		for (size_t s = 0; s < config->service_count; s++)
			for (size_t p = 0; p < config->services[s].port_count; p++) {
				int r = check_claim(control, app, control->ips[i],
					config->services[s].protocol, &config->services[s].ports[p],
					err);

				if (r < 0)
					return r;
			}
	}
	return 0;
}
