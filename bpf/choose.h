/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Look up and decide: the service of an address and port, and the machine of a flow. The machine
 * follows from the flow's hash and the service's table alone; memory of a flow matters only while
 * its slot has a former machine.
 */
#pragma once

#include "maps.h"

/* The blocks of ports other than single ones, the most specific first. */
static __always_inline struct wherry_service *find_range(
	const struct wherry_address *address, struct wherry_service_key *key)
{
	__u32 port = bpf_ntohs(key->port);
	__u32 sizes =
		key->protocol == IPPROTO_UDP ? address->udp_port_bits : address->tcp_port_bits;

	if (!(sizes & 0xffff))
		return NULL;
	for (int bits = 15; bits >= 0; bits--) {
		struct wherry_service *service;

		if (!(sizes & 1U << bits))
			continue;
		key->port = bpf_htons(port & (0xffff0000U >> bits) & 0xffff);
		key->port_bits = bits;
		service = bpf_map_lookup_elem(&wherry_services, key);
		if (service)
			return service;
	}
	return NULL;
}

/* Where a packet to a public address may lead. */
struct place_of_service {
	struct wherry_service *service;
	/* When there is no service by a port of its own; NULL then: it is no address of ours. */
	struct wherry_address *address;
};

static __always_inline struct place_of_service look_up(__be32 addr, __u8 protocol, __be16 port)
{
	struct wherry_service_key key = {
		.addr = addr,
		.port = port,
		.protocol = protocol,
		.port_bits = 16,
	};
	struct place_of_service found = {
		.service = bpf_map_lookup_elem(&wherry_services, &key),
	};

	if (likely(found.service))
		return found;
	found.address = bpf_map_lookup_elem(&wherry_addresses, &addr);
	if (found.address)
		found.service = find_range(found.address, &key);
	return found;
}

static __always_inline struct wherry_service *find_service(__be32 addr, __u8 protocol, __be16 port)
{
	return look_up(addr, protocol, port).service;
}

static __always_inline struct wherry_slot find_slot(
	struct wherry_service *service, __be32 client, __be32 addr, __be16 client_port, __be16 port)
{
	struct wherry_slot none = {}, *slot;
	__u32 index;
	void *table;

	if (!service->table)
		return service->slot;
	if (service->flags & WHERRY_SERVICE_BY_CLIENT)
		client_port = port = 0;
	index = wherry_hash_flow(client, addr, client_port, port) % WHERRY_MAGLEV_SLOTS;
	table = bpf_map_lookup_elem(&wherry_tables, &service->table);
	if (!table)
		return none;
	slot = bpf_map_lookup_elem(table, &index);
	return slot ? *slot : none;
}

/* The machine at @index, or NULL when there is none (any more). */
static __always_inline struct wherry_machine *find_machine(__u32 index)
{
	struct wherry_machine *machine;

	if (!index)
		return NULL;
	machine = bpf_map_lookup_elem(&wherry_machines, &index);
	return machine && (machine->ifindex || machine->host) ? machine : NULL;
}

/* The machine that has @addr, be it its service or its primary address, or NULL. */
static __always_inline struct wherry_machine *find_endpoint(__be32 addr, __u32 *index)
{
	__u32 *found = bpf_map_lookup_elem(&wherry_endpoints, &addr);

	if (!found)
		return NULL;
	*index = *found;
	return find_machine(*index);
}

static __always_inline struct wherry_flow *find_flow(
	struct wherry_machine *machine, struct wherry_flow_key *key)
{
	key->flow_tag = machine->flow_tag;
	return bpf_map_lookup_elem(&wherry_flows, key);
}
