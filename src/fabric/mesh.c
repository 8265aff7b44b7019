/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mesh in the data plane: its device and this host's place in it, the other hosts, and which
 * edges are behind. Programs are attached before the maps name a device, and let go after.
 */
#include "fabric/fabric_impl.h"

#include "base/err.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int mesh_load(struct fabric *fabric, struct err *err)
{
	const uint32_t zero = 0, next = WHERRY_NEXT_MESH;

	if (bpf_map_lookup_elem(fabric->maps[MAP_MESH], &zero, &fabric->mesh) < 0)
		return err_errno(err, -errno, "cannot read the map of the mesh");
	/* As it was, until told otherwise: see mesh_write(). */
	fabric->is_edge = fabric->mesh.addr && fabric->mesh.nearest_edge == fabric->mesh.addr;
	if (fabric->is_edge)
		fabric->mesh.nearest_edge = 0;
	if (bpf_map_update_elem(fabric->maps[MAP_NEXT], &next,
		    &fabric->programs[PROGRAM_MESH_PLAIN], BPF_ANY) < 0)
		return err_errno(err, -errno, "cannot put the program of the mesh in its place");
	return 0;
}

int mesh_write(struct fabric *fabric, struct err *err)
{
	struct wherry_mesh mesh = fabric->mesh;
	const uint32_t zero = 0;

	if (!mesh.nearest_edge && fabric->is_edge)
		mesh.nearest_edge = mesh.addr;
	if (bpf_map_update_elem(fabric->maps[MAP_MESH], &zero, &mesh, BPF_ANY) < 0)
		return err_errno(err, -errno, "cannot write the mesh");
	return 0;
}

static int attach_resized(struct fabric *fabric, unsigned int ifindex, struct err *err)
{
	char name[32];

	snprintf(name, sizeof(name), "resizer-%u", ifindex);
	return ifindex ? attach_ingress(fabric, PROGRAM_RESIZED, ifindex, name, err) : 0;
}

static void detach_resized(struct fabric *fabric, unsigned int ifindex)
{
	char name[32];

	snprintf(name, sizeof(name), "resizer-%u", ifindex);
	detach_ingress(fabric, ifindex, name);
}

/* An Ethernet device may be the one that clients come in by, too: it gets the same program. */
static int attach_device(struct fabric *fabric, const struct wherry_mesh *mesh, struct err *err)
{
	char name[32];

	snprintf(name, sizeof(name), mesh->is_ethernet ? "edge-%u" : "mesh-%u", mesh->ifindex);
	return attach_ingress(
		fabric, mesh->is_ethernet ? PROGRAM_EDGE : PROGRAM_MESH, mesh->ifindex, name, err);
}

static void detach_device(struct fabric *fabric, const struct wherry_mesh *mesh)
{
	char name[32];

	if (mesh->is_ethernet && fabric->edge_ifindex == mesh->ifindex)
		return;
	snprintf(name, sizeof(name), mesh->is_ethernet ? "edge-%u" : "mesh-%u", mesh->ifindex);
	detach_ingress(fabric, mesh->ifindex, name);
}

static bool has_resizer(const struct wherry_mesh *mesh, uint32_t ifindex)
{
	return mesh->whole_ifindex == ifindex || mesh->pieces_ifindex == ifindex;
}

static void detach_unwanted(
	struct fabric *fabric, const struct wherry_mesh *before, const struct wherry_mesh *after)
{
	if (before->ifindex &&
		(before->ifindex != after->ifindex || before->is_ethernet != after->is_ethernet))
		detach_device(fabric, before);
	if (before->whole_ifindex && !has_resizer(after, before->whole_ifindex))
		detach_resized(fabric, before->whole_ifindex);
	if (before->pieces_ifindex && !has_resizer(after, before->pieces_ifindex))
		detach_resized(fabric, before->pieces_ifindex);
}

static __be32 mask_of(unsigned int bits)
{
	return bits ? htonl(~0U << (32 - bits)) : 0;
}

/* Few, they are compared with; many, or not told, the routes are asked. */
static void set_martians(struct wherry_mesh *out, const struct fabric_mesh *mesh)
{
	size_t own = 0, ours = 0;

	for (size_t i = 0; i < WHERRY_MESH_OURS; i++)
		out->ours[i] = (struct wherry_network){.addr = ~0U};
	for (size_t i = 0; i < mesh->own_count; i++) {
		if (mesh->own[i].family != AF_INET)
			continue;
		if (own < WHERRY_MESH_OWN)
			out->own[own] = addr_v4_be(&mesh->own[i]);
		own++;
	}
	for (size_t i = 0; i < mesh->ours_count; i++) {
		const struct prefix *prefix = &mesh->ours[i];

		if (prefix->addr.family != AF_INET)
			continue;
		if (ours < WHERRY_MESH_OURS)
			out->ours[ours] = (struct wherry_network){
				addr_v4_be(&prefix->addr), mask_of(prefix->len_bits)};
		ours++;
	}
	out->asks_routes = own == 0 || own > WHERRY_MESH_OWN || ours > WHERRY_MESH_OURS;
}

int fabric_set_mesh(struct fabric *fabric, const struct fabric_mesh *mesh, struct err *err)
{
	const struct wherry_mesh before = fabric->mesh;
	struct wherry_mesh after = {};
	int r = 0;

	if (mesh) {
		after = (struct wherry_mesh){
			.ifindex = mesh->ifindex,
			.addr = addr_v4_be(&mesh->addr),
			.nearest_edge = mesh->nearest_edge.family == AF_INET
						? addr_v4_be(&mesh->nearest_edge)
						: 0,
			.mtu_bytes = mesh->mtu_bytes,
			.is_ethernet = mesh->is_ethernet,
			.whole_ifindex = mesh->whole_ifindex,
			.pieces_ifindex = mesh->pieces_ifindex,
			.resizer_addr = mesh->resizer_addr.family == AF_INET
						? addr_v4_be(&mesh->resizer_addr)
						: 0,
		};
		set_martians(&after, mesh);
		r = attach_device(fabric, &after, err);
		if (r == 0)
			r = attach_resized(fabric, after.whole_ifindex, err);
		if (r == 0)
			r = attach_resized(fabric, after.pieces_ifindex, err);
	}
	if (r < 0)
		return r;
	fabric->mesh = after;
	r = mesh_write(fabric, err);
	if (r == 0)
		detach_unwanted(fabric, &before, &after);
	else
		fabric->mesh = before;
	return r;
}

/* The wanted hosts, for the walk that removes the others. */
struct wanted_hosts {
	struct fabric *fabric;
	const struct fabric_host *hosts;
	size_t count;
};

static int drop_unwanted(void *arg, const void *key, const void *value)
{
	const struct wanted_hosts *wanted = arg;

	(void)value;
	for (size_t i = 0; i < wanted->count; i++) {
		__be32 addr = addr_v4_be(&wanted->hosts[i].mesh_addr);

		if (memcmp(&addr, key, sizeof(addr)) == 0)
			return 0;
	}
	bpf_map_delete_elem(wanted->fabric->maps[MAP_HOSTS], key);
	return 0;
}

int fabric_set_hosts(
	struct fabric *fabric, const struct fabric_host *hosts, size_t count, struct err *err)
{
	struct wanted_hosts wanted = {fabric, hosts, count};
	int r;

	for (size_t i = 0; i < count; i++) {
		const struct wherry_host host = {
			.roles = (hosts[i].is_edge ? WHERRY_HOST_EDGE : 0u) |
				 (hosts[i].is_worker ? WHERRY_HOST_WORKER : 0u) |
				 (hosts[i].is_near ? WHERRY_HOST_NEAR : 0u),
		};
		__be32 addr = addr_v4_be(&hosts[i].mesh_addr);

		if (bpf_map_update_elem(fabric->maps[MAP_HOSTS], &addr, &host, BPF_ANY) < 0)
			return err_errno(err, -errno, "cannot write the hosts of the fleet");
	}
	r = map_each(fabric->maps[MAP_HOSTS], sizeof(__be32), sizeof(struct wherry_host),
		drop_unwanted, &wanted);
	return r < 0 ? err_errno(err, r, "cannot read the hosts of the fleet") : 0;
}

int fabric_stale_take(struct fabric *fabric, fabric_stale_fn *fn, void *arg, struct err *err)
{
	const int fd = fabric->maps[MAP_STALE];
	struct wherry_stale_key key;

	(void)err;
	/* The walk starts again each time: the key to go on from is gone. */
	for (int i = 0; i < 1024 && bpf_map_get_next_key(fd, NULL, &key) == 0; i++) {
		const struct addr edge = addr_from_v4(key.edge),
				  service = addr_from_v4(key.service);

		if (bpf_map_delete_elem(fd, &key) == 0)
			fn(arg, &edge, &service);
	}
	return 0;
}
