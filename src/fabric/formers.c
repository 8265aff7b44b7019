/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Former machines: which slots still have one, and how many flows live there. What is asked before
 * a former machine may be forgotten.
 */
#include "fabric/tables.h"

#include "base/err.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static struct group_state *find_group(struct fabric *fabric, const char *name)
{
	for (size_t i = 0; i < fabric->group_count; i++)
		if (strcmp(fabric->groups[i].name, name) == 0)
			return &fabric->groups[i];
	return NULL;
}

int fabric_group_has_former(struct fabric *fabric, const char *group, const char *id)
{
	const struct group_state *state = find_group(fabric, group);
	const uint16_t index = machine_index(fabric, id);
	const struct table_use *use;

	if (!state || !index)
		return 0;
	if (!state->table)
		return state->slot.former == index;
	use = tables_use(fabric, state->table);
	return use ? tables_has(use->formers, use->former_count, index) : -EIO;
}

static bool is_udp_service_of(const struct service_entry *entry, const struct group_state *state)
{
	if (entry->key.protocol != PROTOCOL_UDP)
		return false;
	return state->table ? entry->value.table == state->table
			    : !entry->value.table && memcmp(&entry->value.slot, &state->slot,
							     sizeof(state->slot)) == 0;
}

/* What counts a flow: its machine and, through its service, the group. */
struct flow_count {
	const struct fabric *fabric;
	const struct group_state *state;
	const struct wherry_slot *slots; /* of the group's table; NULL: it has none */
	uint16_t index;
	uint64_t since_ns;
	size_t count;
};

/* The service that the port falls into, the smallest block first, as the programs find it. */
static const struct service_entry *find_service(
	const struct fabric *fabric, __be32 addr, uint16_t port)
{
	for (int bits = 16; bits >= 0; bits--) {
		const struct wherry_service_key key = {
			.addr = addr,
			.port = htons((uint16_t)(port & (0xffff0000U >> bits))),
			.protocol = PROTOCOL_UDP,
			.port_bits = (uint8_t)bits,
		};
		const struct service_entry *entry = services_find(fabric, &key);

		if (entry)
			return entry;
	}
	return NULL;
}

static int count_flow(void *arg, const void *key_bytes, const void *value_bytes)
{
	struct flow_count *count = arg;
	const struct wherry_flow_key *key = key_bytes;
	const struct wherry_flow *flow = value_bytes;
	const struct service_entry *service;
	bool is_by_client;
	uint32_t slot;

	if (key->flow_tag != count->fabric->machines[count->index].flow_tag ||
		flow->seen_ns < count->since_ns)
		return 0;
	service = find_service(count->fabric, flow->public_addr, ntohs(key->port));
	if (!service || !is_udp_service_of(service, count->state))
		return 0;
	is_by_client = service->value.flags & WHERRY_SERVICE_BY_CLIENT;
	slot = wherry_hash_flow(key->client, flow->public_addr, is_by_client ? 0 : key->client_port,
		       is_by_client ? 0 : key->port) %
	       WHERRY_MAGLEV_SLOTS;
	count->count += !count->slots || count->slots[slot].former == count->index;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now); /* the programs' */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int fabric_group_former_flows(struct fabric *fabric, const char *group, const char *id,
	unsigned int idle_s, size_t *out, struct err *err)
{
	const uint64_t idle_ns = (uint64_t)idle_s * 1000000000, now = now_ns();
	_free_ struct wherry_slot *slots = NULL;
	struct flow_count count = {
		.fabric = fabric,
		.state = find_group(fabric, group),
		.index = machine_index(fabric, id),
		.since_ns = now > idle_ns ? now - idle_ns : 0,
	};
	int r = fabric_group_has_former(fabric, group, id);

	if (r > 0 && count.state->table) {
		slots = calloc(WHERRY_MAGLEV_SLOTS, sizeof(*slots));
		r = slots ? tables_read(fabric, count.state->table, slots) : -ENOMEM;
		count.slots = slots;
		if (r == 0)
			r = 1;
	}
	if (r > 0)
		r = map_each(fabric->maps[MAP_FLOWS], sizeof(struct wherry_flow_key),
			sizeof(struct wherry_flow), count_flow, &count);
	if (r < 0)
		return err_errno(err, r, "cannot count the flows of machine %s", id);
	*out = count.count;
	return 0;
}

int fabric_formers_each(struct fabric *fabric, fabric_former_fn *fn, void *arg, struct err *err)
{
	for (size_t i = 0; i < fabric->group_count; i++) {
		const struct group_state *state = &fabric->groups[i];
		const struct table_use *use;

		if (!state->table) {
			if (state->slot.former)
				fn(arg, state->name, fabric->machines[state->slot.former].id);
			continue;
		}
		use = tables_use(fabric, state->table);
		if (!use)
			return err_set(
				err, -EIO, "cannot read the table of the group %s", state->name);
		for (size_t k = 0; k < use->former_count; k++)
			fn(arg, state->name, fabric->machines[use->formers[k]].id);
	}
	return 0;
}
