/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other hosts' records and machines may say. They become routes, AllowedIPs and entries of the
 * maps here: a host that claims an address that is not its own would get another's packets. Its
 * mesh addresses follow from its id; its slices are parts of the machine pool that no other host
 * has; its machines' networks lie in its slices. Of two hosts that claim one thing the first that
 * was read keeps it, at the start the one with the lower id; this host its own in any case.
 */
#include "control/control_impl.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

#define MACHINE_BITS 29

static bool is_inside(const struct prefix *outer, const struct prefix *inner)
{
	return inner->len_bits >= outer->len_bits && prefix_contains(outer, &inner->addr);
}

static bool overlap(const struct prefix *a, const struct prefix *b)
{
	return prefix_contains(a, &b->addr) || prefix_contains(b, &a->addr);
}

static const struct prefix *machine_pool(const struct control *control)
{
	return control->fleet.machine_pool.addr.family ? &control->fleet.machine_pool
						       : &control->config.machine_pool;
}

static const struct prefix *mesh_pool(const struct control *control)
{
	return control->fleet.mesh_pool.addr.family ? &control->fleet.mesh_pool
						    : &control->config.mesh_pool;
}

struct addr host_mesh_v6(unsigned int id)
{
	/* Network 0 of the host's part of the private network, which its peers allow it anyway. */
	struct addr addr = {.family = AF_INET6, .bytes = {0xfd, 0xaa}};

	addr.bytes[4] = (uint8_t)(id >> 8);
	addr.bytes[5] = (uint8_t)id;
	addr.bytes[15] = 1;
	return addr;
}

static int check_mesh_addrs(
	const struct control *control, const struct host_record *record, struct err *err)
{
	const struct addr v6 = host_mesh_v6(record->id);
	const struct addr v4 = control->config.is_plain
				       ? record->endpoint
				       : addr_add(&mesh_pool(control)->addr, record->id);
	char text[ADDR_TEXT_LEN], wanted[ADDR_TEXT_LEN];

	/* Not on a mesh at all: a catalog of one host. */
	if (!record->mesh_v4.family && !record->mesh_v6.family)
		return 0;
	if (v4.family != AF_INET || !addr_equal(&record->mesh_v4, &v4) ||
		prefix_contains(machine_pool(control), &v4))
		return err_set(err, -EBADMSG, "host %u says that its mesh address is %s, not %s",
			record->id, addr_format(&record->mesh_v4, text), addr_format(&v4, wanted));
	if (record->mesh_v6.family && !addr_equal(&record->mesh_v6, &v6))
		return err_set(err, -EBADMSG, "host %u says that its mesh address is %s, not %s",
			record->id, addr_format(&record->mesh_v6, text), addr_format(&v6, wanted));
	if (!control->config.is_plain && record->endpoint.family && !record->endpoint_port)
		return err_set(
			err, -EBADMSG, "host %u names no port at which it is reached", record->id);
	return 0;
}

/* Another host that has a part of @slice, or NULL. */
static const struct host_record *find_owner(
	const struct control *control, unsigned int id, const struct prefix *slice)
{
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host_record *other = control->hosts[i]->record;

		for (size_t s = 0; other && other->id != id && s < other->slice_count; s++)
			if (overlap(&other->slices[s], slice))
				return other;
	}
	return NULL;
}

static int check_slice(const struct control *control, const struct host_record *record,
	const struct prefix *slice, struct err *err)
{
	const struct host_record *owner;
	char text[PREFIX_TEXT_LEN], pool[PREFIX_TEXT_LEN];

	prefix_format(slice, text);
	if (!is_inside(machine_pool(control), slice))
		return err_set(err, -EBADMSG,
			"host %u claims %s, which is not of the machine pool %s", record->id, text,
			prefix_format(machine_pool(control), pool));
	owner = find_owner(control, record->id, slice);
	if (owner)
		return err_set(err, -EEXIST,
			"host %u claims %s, of which host %u (%s) has a part; one of them has to "
			"be removed, and joins anew",
			record->id, text, owner->id, owner->name);
	return 0;
}

int host_claims_check(
	const struct control *control, const struct host_record *record, struct err *err)
{
	int r;

	if (!control->is_fleet || strcmp(record->identity, control->identity) == 0)
		return 0;
	r = check_mesh_addrs(control, record, err);
	for (size_t i = 0; i < record->slice_count && r == 0; i++)
		r = check_slice(control, record, &record->slices[i], err);
	return r;
}

bool host_may_have_slice(const struct control *control, unsigned int id, const struct prefix *slice)
{
	return !control->is_fleet ||
	       (is_inside(machine_pool(control), slice) && !find_owner(control, id, slice));
}

/* Another machine that is in the data plane with one of these addresses. */
static const struct machine *find_holder(const struct machine *machine)
{
	const struct prefix *network = &machine->record->network;
	const struct addr addrs[] = {network_primary(network), network_service(network)};
	char id[MACHINE_ID_LEN + 1];

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
		const struct machine *holder = NULL;

		/* One that is gone from the catalog may be there for a moment yet. */
		if (fabric_endpoint_owner(machine->control->fabric, &addrs[i], id))
			holder = machine_find(machine->control, id);
		if (holder && holder != machine)
			return holder;
	}
	return NULL;
}

int machine_network_check(const struct machine *machine, struct err *err)
{
	const struct control *control = machine->control;
	const struct prefix *network = &machine->record->network;
	const struct host *host = host_find(control, machine->record->host);
	const struct machine *holder;
	bool is_inside_slice = !control->is_fleet;
	char text[PREFIX_TEXT_LEN];

	prefix_format(network, text);
	for (size_t s = 0; host && host->record && s < host->record->slice_count; s++)
		is_inside_slice |= is_inside(&host->record->slices[s], network);
	if (network->addr.family != AF_INET || network->len_bits != MACHINE_BITS)
		return err_set(err, -EBADMSG, "its network %s is not one of 8 addresses", text);
	if (!is_inside_slice)
		return err_set(err, -EBADMSG,
			"its network %s is not of its host's part of the pool", text);
	holder = find_holder(machine);
	if (holder)
		return err_set(err, -EEXIST, "its network %s is that of machine %s", text,
			holder->record->id);
	return 0;
}
