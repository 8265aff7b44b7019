/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines in the data plane. An index belongs to one machine id from the moment its map entry is
 * written until it is cleared; flows carry a random tag of the machine, so that those of the one
 * before in the same place mean nothing to it.
 */
#include "fabric/fabric_impl.h"

#include "base/err.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int machines_load(struct fabric *fabric, struct err *err)
{
	int fd = fabric->maps[MAP_MACHINES];

	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++) {
		if (bpf_map_lookup_elem(fd, &i, &fabric->machines[i]) < 0)
			return err_errno(err, -errno, "cannot read the map of machines");
		fabric->machines[i].id[sizeof(fabric->machines[i].id) - 1] = '\0';
	}
	return 0;
}

uint16_t machine_index(const struct fabric *fabric, const char *id)
{
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		if (fabric->machines[i].ifindex && strcmp(fabric->machines[i].id, id) == 0)
			return (uint16_t)i;
	return 0;
}

static uint16_t free_index(const struct fabric *fabric)
{
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		if (!fabric->machines[i].ifindex)
			return (uint16_t)i;
	return 0;
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

int fabric_machine_set(struct fabric *fabric, const struct fabric_machine *machine,
	uint16_t *out_index, struct err *err)
{
	uint32_t index = machine_index(fabric, machine->id), ifindex = machine->ifindex;
	const bool is_new = !index;
	struct wherry_machine entry = {};
	char name[32];
	int r;

	if (strlen(machine->id) >= sizeof(entry.id))
		return err_set(err, -EINVAL, "the machine id %s is longer than %zu bytes",
			machine->id, sizeof(entry.id) - 1);
	if (is_new)
		index = free_index(fabric);
	if (!index)
		return err_set(err, -ENOSPC, "this host has its %d machines already",
			WHERRY_MAX_MACHINES - 1);
	snprintf(entry.id, sizeof(entry.id), "%s", machine->id);
	entry.ifindex = ifindex;
	entry.netns_id = machine->netns_id;
	entry.primary = addr_v4_be(&machine->primary);
	entry.service = addr_v4_be(&machine->service);
	entry.public_addr =
		machine->public_addr.family == AF_INET ? addr_v4_be(&machine->public_addr) : 0;
	entry.flow_tag = is_new ? new_flow_tag() : fabric->machines[index].flow_tag;
	memcpy(entry.mac, machine->mac, sizeof(entry.mac));
	memcpy(entry.gateway_mac, machine->gateway_mac, sizeof(entry.gateway_mac));
	if (is_new && (r = clear_traffic(fabric, index)) < 0)
		return err_errno(err, r, "cannot clear the counters of machine %s", machine->id);
	if (!is_new && fabric->machines[index].ifindex != ifindex)
		forget_interface(fabric, fabric->machines[index].ifindex);
	if (memcmp(&entry, &fabric->machines[index], sizeof(entry)) != 0 &&
		bpf_map_update_elem(fabric->maps[MAP_MACHINES], &index, &entry, BPF_ANY) < 0)
		return err_errno(err, -errno, "cannot write machine %s", machine->id);
	fabric->machines[index] = entry;
	if (bpf_map_update_elem(fabric->maps[MAP_INTERFACES], &ifindex, &index, BPF_ANY) < 0)
		return err_errno(
			err, -errno, "cannot write the interface of machine %s", machine->id);
	snprintf(name, sizeof(name), "machine-%u", ifindex);
	r = attach_ingress(fabric, PROGRAM_WORKER, ifindex, name, err);
	if (r < 0)
		return r;
	if (out_index)
		*out_index = (uint16_t)index;
	return 0;
}

int fabric_machine_remove(struct fabric *fabric, const char *id, struct err *err)
{
	uint32_t index = machine_index(fabric, id);
	struct wherry_machine none = {};
	int r;

	if (!index)
		return 0;
	r = services_forget_machine(fabric, (uint16_t)index, err);
	if (r < 0)
		return r;
	if (bpf_map_update_elem(fabric->maps[MAP_MACHINES], &index, &none, BPF_ANY) < 0)
		return err_errno(err, -errno, "cannot clear machine %s", id);
	forget_interface(fabric, fabric->machines[index].ifindex);
	fabric->machines[index] = none;
	return 0;
}

void fabric_machines_each(struct fabric *fabric, void (*fn)(void *arg, const char *id), void *arg)
{
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		if (fabric->machines[i].ifindex)
			fn(arg, fabric->machines[i].id);
}
