/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mesh as a whole; see mesh.h. Opening, setting peers and repairing are the same steps in the
 * same order, each of which compares before it writes: after a crash between any two of them the
 * next call goes on where it ended.
 */
#include "mesh/mesh_impl.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* IPv4 or IPv6, UDP, and WireGuard's header and tag (its paper, 5.4.6). */
#define OVERHEAD_V4_BYTES (20 + 8 + 32)
#define OVERHEAD_V6_BYTES (40 + 8 + 32)
#define IP_MAX_BYTES	  65535 /* lo has an MTU of 65536, which no packet has */
#define MIN_MTU_BYTES	  1280	/* of IPv6; with less the device loses its IPv6 addresses */

unsigned int mesh_mtu(enum mesh_underlay underlay, unsigned int underlay_mtu_bytes, int family)
{
	unsigned int overhead = family == AF_INET ? OVERHEAD_V4_BYTES : OVERHEAD_V6_BYTES;
	unsigned int mtu = underlay_mtu_bytes < IP_MAX_BYTES ? underlay_mtu_bytes : IP_MAX_BYTES;

	if (underlay == MESH_PLAIN)
		return mtu;
	/* Below, WireGuard's own packets are fragmented; that is slow, but it works. */
	return mtu < MIN_MTU_BYTES + overhead ? MIN_MTU_BYTES : mtu - overhead;
}

static int copy_text(const char *text, const char **out)
{
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

static int copy_slices(struct mesh_options *to, const struct prefix *slices, size_t count)
{
	struct prefix *copy = calloc(count + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, slices, count * sizeof(*copy));
	free(to->slices);
	to->slices = copy;
	to->slice_count = count;
	return 0;
}

static int copy_options(const struct mesh_options *from, struct mesh_options *to)
{
	int r = copy_text(from->underlay_device, &to->underlay_device);

	to->underlay = from->underlay;
	to->port = from->port;
	to->addr_v4 = from->addr_v4;
	to->addr_v6 = from->addr_v6;
	if (r == 0 && from->underlay == MESH_WIREGUARD)
		r = copy_text(from->device, &to->device);
	if (r == 0 && from->underlay == MESH_WIREGUARD)
		r = copy_text(from->key_path, &to->key_path);
	return r < 0 ? r : copy_slices(to, from->slices, from->slice_count);
}

static int check_options(const struct mesh_options *options, struct err *err)
{
	if (!options->underlay_device || !mesh_is_link_name(options->underlay_device))
		return err_set(err, -EINVAL,
			"the interface by which the other hosts are reached is not named");
	if (options->addr_v4.family != AF_INET ||
		(options->addr_v6.family && options->addr_v6.family != AF_INET6))
		return err_set(err, -EINVAL, "this host has no IPv4 mesh address");
	if (options->underlay == MESH_PLAIN)
		return 0;
	if (!options->device || !mesh_is_link_name(options->device))
		return err_set(err, -EINVAL, "\"%s\" is no name for a device",
			options->device ? options->device : "");
	if (strcmp(options->device, options->underlay_device) == 0)
		return err_set(err, -EINVAL, "the mesh's device cannot be its own underlay %s",
			options->device);
	if (!options->key_path || !options->port)
		return err_set(err, -EINVAL, "the mesh needs a key file and a UDP port");
	return 0;
}

/* The network card itself: it belongs to the host, only what packets need is set. */
static int setup_plain(struct mesh *mesh, struct err *err)
{
	const char *name = mesh->options.underlay_device;
	struct mesh_link link = {};
	int r = mesh_link_find(name, &link, err);

	if (r == 1)
		return err_set(err, -ENODEV,
			"there is no interface %s, by which the other hosts are to be reached",
			name);
	if (r < 0)
		return r;
	mesh->device.ifindex = link.ifindex;
	mesh->device.mtu_bytes = mesh_mtu(MESH_PLAIN, link.mtu_bytes, AF_INET);
	mesh->device.is_ethernet = true;
	return mesh_sysctls_set(name, err);
}

static int setup(struct mesh *mesh, struct err *err)
{
	int r;

	if (mesh->options.underlay == MESH_PLAIN)
		return setup_plain(mesh, err);
	r = mesh_device_setup(mesh, err);
	if (r == 0)
		r = mesh_device_set_key(mesh, err);
	if (r == 0)
		r = mesh_device_configure(mesh, err);
	return r;
}

int mesh_open(struct mesh **out, const struct mesh_options *options, struct err *err)
{
	_cleanup_(mesh_closep) struct mesh *mesh = calloc(1, sizeof(*mesh));
	int r = check_options(options, err);

	if (r < 0)
		return r;
	if (!mesh || copy_options(options, &mesh->options) < 0)
		return err_errno(err, -ENOMEM, "cannot set up the mesh");
	snprintf(mesh->device.name, sizeof(mesh->device.name), "%s",
		options->underlay == MESH_PLAIN ? options->underlay_device : options->device);
	r = setup(mesh, err);
	if (r < 0)
		return r;
	mesh->told_ifindex = mesh->device.ifindex;
	*out = take_ptr(mesh);
	return 0;
}

void mesh_close(struct mesh *mesh)
{
	if (!mesh)
		return;
	free((void *)mesh->options.device);
	free((void *)mesh->options.underlay_device);
	free((void *)mesh->options.key_path);
	free(mesh->options.slices);
	free(mesh->peers);
	free(mesh->prefixes);
	free(mesh->is_left_out);
	free(mesh->endpoints);
	free(mesh);
}

int mesh_remove(const char *device, struct err *err)
{
	int r;

	if (!mesh_is_link_name(device))
		return err_set(err, -EINVAL, "\"%s\" is no name for a device", device);
	r = mesh_routes_remove(err);
	return r < 0 ? r : mesh_device_remove(device, err);
}

static int copy_peers(
	struct mesh *mesh, const struct mesh_peer *peers, size_t count, struct err *err)
{
	_free_ struct mesh_peer *copy = calloc(count + 1, sizeof(*copy));
	_free_ bool *is_left_out = calloc(count + 1, sizeof(*is_left_out));
	_free_ struct prefix *prefixes = NULL;
	size_t total = 0, used = 0;

	for (size_t i = 0; i < count; i++)
		total += peers[i].prefix_count;
	prefixes = calloc(total + 1, sizeof(*prefixes));
	if (!copy || !prefixes || !is_left_out)
		return err_errno(err, -ENOMEM, "cannot set the peers of the mesh");
	for (size_t i = 0; i < count; i++) {
		copy[i] = peers[i];
		copy[i].public_key[MESH_KEY_LEN - 1] = '\0';
		copy[i].prefixes = prefixes + used;
		for (size_t j = 0; j < peers[i].prefix_count; j++)
			prefixes[used++] = peers[i].prefixes[j];
	}
	free(mesh->peers);
	free(mesh->prefixes);
	free(mesh->is_left_out);
	mesh->peers = take_ptr(copy);
	mesh->prefixes = take_ptr(prefixes);
	mesh->is_left_out = take_ptr(is_left_out);
	mesh->peer_count = count;
	mesh->has_peers = true;
	return 0;
}

/*
 * One peer that is wrong does not keep the others' routes from being made: all is done that can be,
 * and the first failure is told.
 */
static int set_peers(struct mesh *mesh, struct err *err)
{
	struct err later = {}, *told = err;
	int first = 0, r;

	if (mesh->options.underlay == MESH_WIREGUARD) {
		first = mesh_peers_set(mesh, err);
		told = first ? &later : err;
		r = mesh_device_set_mtu(mesh, told);
		if (first == 0)
			first = r;
	} else {
		first = mesh_claims_check(mesh, err);
	}
	told = first ? &later : err;
	r = mesh_routes_set(mesh, told);
	return first ? first : r;
}

int mesh_set_slices(struct mesh *mesh, const struct prefix *slices, size_t count)
{
	return copy_slices(&mesh->options, slices, count);
}

int mesh_set_peers(struct mesh *mesh, const struct mesh_peer *peers, size_t count, struct err *err)
{
	int r = copy_peers(mesh, peers, count, err);

	return r < 0 ? r : set_peers(mesh, err);
}

int mesh_repair(struct mesh *mesh, struct err *err)
{
	int r = setup(mesh, err);

	if (r == 0 && mesh->has_peers)
		r = set_peers(mesh, err);
	if (r < 0)
		return r;
	if (mesh->told_ifindex == mesh->device.ifindex)
		return 0;
	mesh->told_ifindex = mesh->device.ifindex;
	return 1;
}

void mesh_device(const struct mesh *mesh, struct mesh_device *out)
{
	*out = mesh->device;
}
