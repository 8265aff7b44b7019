/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the mesh, for its own files: key, device, wireguard-go, peers, routes. Each part
 * compares what is there with what is wanted and writes only the difference.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/mesh.h"
#include "mesh/wg_dump.h"

/* The endpoint of a peer as the catalog had it when the device last heard of it. */
struct mesh_endpoint {
	char public_key[MESH_KEY_LEN];
	struct addr addr;
	uint16_t port;
};

struct mesh {
	struct mesh_options options; /* its texts and slices are our own copies */
	struct mesh_device device;
	unsigned int told_ifindex; /* the one that the owner knows of */
	struct mesh_peer *peers;   /* as last set; prefixes are in prefixes below */
	size_t peer_count;
	struct prefix *prefixes;
	bool *is_left_out; /* of each peer: what it says cannot be, it has neither key nor route */
	bool has_peers;	   /* mesh_set_peers() was called: an empty set is wanted, too */
	struct mesh_endpoint *endpoints;
	size_t endpoint_count;
};

bool mesh_has_ipv6(void);

/* Whether @len bytes are a name that a link can have. */
bool mesh_is_link_name(const char *name);

struct mesh_link {
	unsigned int ifindex;
	unsigned int mtu_bytes;
	bool is_up;
	bool has_carrier; /* of a tun: a program has it open; only known when up */
	char kind[16];	  /* "wireguard", "tun", "" */
};

/* Returns 1 when there is no link of that name. */
int mesh_link_find(const char *name, struct mesh_link *out, struct err *err);

/* A peer's own addresses and its prefixes, each of which it alone may hold. */
size_t mesh_allowed_count(const struct mesh_peer *peer);

/* Returns false when the peer has no such prefix (no IPv6 address). */
bool mesh_allowed_get(const struct mesh_peer *peer, size_t i, struct prefix *out);

/* Leaves peers out that hold what is this host's or an earlier one's; the first failure is told. */
int mesh_claims_check(struct mesh *mesh, struct err *err);

/* Makes the WireGuard device and its wireguard-go, or takes over what is there. */
int mesh_device_setup(struct mesh *mesh, struct err *err);

/* Port and key; those that are as wanted are not written again. */
int mesh_device_set_key(const struct mesh *mesh, struct err *err);

/* MTU, addresses, sysctls, up. */
int mesh_device_configure(struct mesh *mesh, struct err *err);
int mesh_device_set_mtu(struct mesh *mesh, struct err *err);
int mesh_device_remove(const char *name, struct err *err);

/* Sets the sysctls that packets from clients' addresses need to come in by @device. */
int mesh_sysctls_set(const char *device, struct err *err);

/* Peers that are no peers (bad keys, prefixes that two hold) are left out, and the first of them
 * is the failure when all else is done. */
int mesh_peers_set(struct mesh *mesh, struct err *err);

/* Whether a packet to some peer goes over IPv6. */
int mesh_peers_family(const struct mesh *mesh, int *family, struct err *err);

int mesh_routes_set(const struct mesh *mesh, struct err *err);
int mesh_routes_remove(struct err *err);

/*
 * wireguard-go for the persistent tun @device: runs in a session of its own and outlives us. It is
 * known by its socket. Start waits until it can be configured. -ENOENT: not installed.
 */
int wireguard_go_start(const char *device, struct err *err);
bool wireguard_go_answers(const char *device);

/* Ends it and waits for the end; absent is success. */
int wireguard_go_stop(const char *device, struct err *err);
