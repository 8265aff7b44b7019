/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines of the fleet in the data plane, those of this host and those elsewhere. An index belongs
 * to one machine id from the moment its map entry is written until it is cleared; flows carry a
 * random tag of the machine, so that those of the one before in the same place mean nothing to it.
 */
#include "fabric/fabric_impl.h"

#include "base/err.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* Indexes by id: lists by the id's hash, in two arrays that hold indexes. 0 ends a list. */
static uint16_t *list_of(const struct fabric *fabric, const char *id)
{
	return &fabric->first_of_id[app_hash(id) % WHERRY_MAX_MACHINES];
}

static void note_index(struct fabric *fabric, uint16_t index)
{
	uint16_t *first = list_of(fabric, fabric->machines[index].id);

	fabric->next_of_id[index] = *first;
	*first = index;
}

static void forget_index(struct fabric *fabric, uint16_t index)
{
	uint16_t *link = list_of(fabric, fabric->machines[index].id);

	while (*link && *link != index)
		link = &fabric->next_of_id[*link];
	if (*link)
		*link = fabric->next_of_id[index];
	if (index < fabric->free_from)
		fabric->free_from = index;
}

bool machine_is_known(const struct fabric *fabric, uint16_t index)
{
	return fabric->machines[index].ifindex || fabric->machines[index].host;
}

/* All entries in a few calls where the kernel has that. */
static int read_all(const struct fabric *fabric)
{
	const int fd = fabric->maps[MAP_MACHINES];
	_free_ uint32_t *keys = calloc(WHERRY_MAX_MACHINES, sizeof(*keys));
	uint32_t count = WHERRY_MAX_MACHINES, next = 0;
	int r;

	if (!keys)
		return -ENOMEM;
	r = bpf_map_lookup_batch(fd, NULL, &next, keys, fabric->machines, &count, NULL);
	if ((r == 0 || r == -ENOENT) && count == WHERRY_MAX_MACHINES)
		return 0;
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		if (bpf_map_lookup_elem(fd, &i, &fabric->machines[i]) < 0)
			return -errno;
	return 0;
}

int machines_load(struct fabric *fabric, struct err *err)
{
	int r;

	fabric->machines = calloc(WHERRY_MAX_MACHINES, sizeof(*fabric->machines));
	fabric->is_confirmed = calloc(WHERRY_MAX_MACHINES, sizeof(*fabric->is_confirmed));
	fabric->first_of_id = calloc(WHERRY_MAX_MACHINES, sizeof(*fabric->first_of_id));
	fabric->next_of_id = calloc(WHERRY_MAX_MACHINES, sizeof(*fabric->next_of_id));
	fabric->free_from = 1;
	if (!fabric->machines || !fabric->is_confirmed || !fabric->first_of_id ||
		!fabric->next_of_id)
		return err_errno(err, -ENOMEM, "cannot read the map of machines");
	r = read_all(fabric);
	if (r < 0)
		return err_errno(err, r, "cannot read the map of machines");
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++) {
		fabric->machines[i].id[sizeof(fabric->machines[i].id) - 1] = '\0';
		if (machine_is_known(fabric, (uint16_t)i))
			note_index(fabric, (uint16_t)i);
	}
	return app_hosts_load(fabric, err);
}

void machines_unload(struct fabric *fabric)
{
	free(fabric->machines);
	free(fabric->is_confirmed);
	free(fabric->first_of_id);
	free(fabric->next_of_id);
	free(fabric->app_hosts);
}

uint16_t machine_index(const struct fabric *fabric, const char *id)
{
	uint16_t index = *list_of(fabric, id);

	while (index && strcmp(fabric->machines[index].id, id) != 0)
		index = fabric->next_of_id[index];
	return index;
}

static uint16_t free_index(struct fabric *fabric)
{
	while (fabric->free_from < WHERRY_MAX_MACHINES &&
		machine_is_known(fabric, (uint16_t)fabric->free_from))
		fabric->free_from++;
	return fabric->free_from < WHERRY_MAX_MACHINES ? (uint16_t)fabric->free_from : 0;
}

static uint32_t new_flow_tag(void)
{
	uint32_t tag = 0;

	while (!tag)
		if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
			tag = 0;
	return tag;
}

static int clear_traffic(struct fabric *fabric, uint32_t index)
{
	_free_ struct wherry_traffic *zero = calloc(fabric->cpu_count, sizeof(*zero));

	if (!zero)
		return -ENOMEM;
	return bpf_map_update_elem(fabric->maps[MAP_TRAFFIC], &index, zero, BPF_ANY) < 0 ? -errno
											 : 0;
}

static void forget_interface(struct fabric *fabric, uint32_t ifindex)
{
	char name[32];

	bpf_map_delete_elem(fabric->maps[MAP_INTERFACES], &ifindex);
	snprintf(name, sizeof(name), "machine-%u", ifindex);
	detach_ingress(fabric, ifindex, name);
}

/* The mesh and the inside of its packets know machines by both addresses. */
static int put_endpoints(struct fabric *fabric, uint32_t index, const struct wherry_machine *entry)
{
	const __be32 addrs[] = {entry->service, entry->primary};

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++)
		if (addrs[i] && bpf_map_update_elem(fabric->maps[MAP_ENDPOINTS], &addrs[i], &index,
					BPF_ANY) < 0)
			return -errno;
	return 0;
}

bool fabric_endpoint_owner(const struct fabric *fabric, const struct addr *addr, char id[static 16])
{
	const __be32 key = addr_v4_be(addr);
	uint32_t index;

	if (bpf_map_lookup_elem(fabric->maps[MAP_ENDPOINTS], &key, &index) < 0 ||
		index >= WHERRY_MAX_MACHINES || !machine_is_known(fabric, (uint16_t)index))
		return false;
	snprintf(id, 16, "%s", fabric->machines[index].id);
	return true;
}

/* Those that are not another machine's by now. */
static void drop_endpoints(struct fabric *fabric, uint32_t index)
{
	const __be32 addrs[] = {fabric->machines[index].service, fabric->machines[index].primary};
	uint32_t owner;

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++)
		if (bpf_map_lookup_elem(fabric->maps[MAP_ENDPOINTS], &addrs[i], &owner) == 0 &&
			owner == index)
			bpf_map_delete_elem(fabric->maps[MAP_ENDPOINTS], &addrs[i]);
}

static struct wherry_machine make_entry(const struct fabric_machine *machine, uint32_t flow_tag)
{
	struct wherry_machine entry = {
		.app = machine->app ? app_hash(machine->app) : 0,
		.host = machine->host.family == AF_INET ? addr_v4_be(&machine->host) : 0,
		.primary = addr_v4_be(&machine->primary),
		.service = addr_v4_be(&machine->service),
		.public_addr = machine->public_addr.family == AF_INET
				       ? addr_v4_be(&machine->public_addr)
				       : 0,
		.flow_tag = flow_tag,
	};

	snprintf(entry.id, sizeof(entry.id), "%s", machine->id);
	if (entry.host)
		return entry;
	entry.ifindex = machine->ifindex;
	entry.netns_id = machine->netns_id;
	memcpy(entry.mac, machine->mac, sizeof(entry.mac));
	memcpy(entry.gateway_mac, machine->gateway_mac, sizeof(entry.gateway_mac));
	return entry;
}

/* Lets go of what the machine had and @entry, its next one, has not. */
static void forget_changed(
	struct fabric *fabric, uint32_t index, const struct wherry_machine *entry)
{
	const struct wherry_machine *before = &fabric->machines[index];

	if (before->ifindex && before->ifindex != entry->ifindex)
		forget_interface(fabric, before->ifindex);
	if (before->service != entry->service || before->primary != entry->primary)
		drop_endpoints(fabric, index);
	if (before->host && (before->host != entry->host || before->app != entry->app))
		app_host_drop(fabric, before->app, before->host);
}

/* Writes the machine so that whoever finds it finds all of it. */
static int put_machine(struct fabric *fabric, uint32_t index, const struct wherry_machine *entry)
{
	const struct wherry_machine before = fabric->machines[index];
	const bool is_same = memcmp(entry, &before, sizeof(before)) == 0;
	int r = 0;

	if (is_same && fabric->is_confirmed[index])
		return 0;
	if (!is_same && bpf_map_update_elem(fabric->maps[MAP_MACHINES], &index, entry, BPF_ANY) < 0)
		return -errno;
	forget_changed(fabric, index, entry);
	fabric->machines[index] = *entry;
	if (!before.ifindex && !before.host)
		note_index(fabric, (uint16_t)index);
	if (entry->host && (before.host != entry->host || before.app != entry->app))
		r = app_host_add(fabric, entry->app, entry->host);
	if (r == 0)
		r = put_endpoints(fabric, index, entry);
	fabric->is_confirmed[index] = r == 0;
	return r;
}

/* On this host: the program on its interface. */
static int attach_machine(
	struct fabric *fabric, uint32_t index, uint32_t ifindex, const char *id, struct err *err)
{
	char name[32];

	if (bpf_map_update_elem(fabric->maps[MAP_INTERFACES], &ifindex, &index, BPF_ANY) < 0)
		return err_errno(err, -errno, "cannot write the interface of machine %s", id);
	snprintf(name, sizeof(name), "machine-%u", ifindex);
	return attach_ingress(fabric, PROGRAM_WORKER, ifindex, name, err);
}

int fabric_machine_set(struct fabric *fabric, const struct fabric_machine *machine,
	uint16_t *out_index, struct err *err)
{
	uint32_t index = machine_index(fabric, machine->id);
	const bool is_new = !index;
	struct wherry_machine entry;
	int r;

	if (strlen(machine->id) >= sizeof(entry.id))
		return err_set(err, -EINVAL, "the machine id %s is longer than %zu bytes",
			machine->id, sizeof(entry.id) - 1);
	if (is_new)
		index = free_index(fabric);
	if (!index)
		return err_set(err, -ENOSPC,
			"this host knows the %d machines that a fleet may have already",
			WHERRY_MAX_MACHINES - 1);
	if (is_new && (r = clear_traffic(fabric, index)) < 0)
		return err_errno(err, r, "cannot clear the counters of machine %s", machine->id);
	entry = make_entry(machine, is_new ? new_flow_tag() : fabric->machines[index].flow_tag);
	if (!entry.host && !entry.ifindex)
		return err_set(err, -EINVAL, "machine %s has neither a host nor an interface",
			machine->id);
	r = put_machine(fabric, index, &entry);
	if (r < 0)
		return err_errno(err, r, "cannot write machine %s", machine->id);
	if (!entry.host)
		r = attach_machine(fabric, index, entry.ifindex, machine->id, err);
	if (r < 0)
		return r;
	if (out_index)
		*out_index = (uint16_t)index;
	return 0;
}

int fabric_machine_remove(struct fabric *fabric, const char *id, struct err *err)
{
	const uint32_t index = machine_index(fabric, id);
	const struct wherry_machine none = {}, before = fabric->machines[index];
	int r;

	if (!index)
		return 0;
	r = services_forget_machine(fabric, (uint16_t)index, true, err);
	if (r < 0)
		return r;
	drop_endpoints(fabric, index);
	if (bpf_map_update_elem(fabric->maps[MAP_MACHINES], &index, &none, BPF_ANY) < 0)
		return err_errno(err, -errno, "cannot clear machine %s", id);
	if (before.ifindex)
		forget_interface(fabric, before.ifindex);
	if (before.host)
		app_host_drop(fabric, before.app, before.host);
	forget_index(fabric, (uint16_t)index);
	fabric->machines[index] = none;
	fabric->is_confirmed[index] = false;
	return 0;
}

int fabric_machine_forget_former(struct fabric *fabric, const char *id, struct err *err)
{
	const uint16_t index = machine_index(fabric, id);

	return index ? services_forget_machine(fabric, index, false, err) : 0;
}

void fabric_machines_each(struct fabric *fabric, void (*fn)(void *arg, const char *id), void *arg)
{
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		if (machine_is_known(fabric, (uint16_t)i))
			fn(arg, fabric->machines[i].id);
}
