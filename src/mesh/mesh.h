/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mesh between the hosts of a fleet: a WireGuard device (the kernel's where it has one,
 * wireguard-go where not) or a trusted network as it is; its addresses, peers, routes and MTU. The
 * device belongs to the host and outlives the process, and so does a wireguard-go that was started
 * for it: packets go on without the daemon, and living sessions are never touched by a reconcile.
 *
 * Calls block for some 10 ms (they run ip(8) and wg(8)) and are made from one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/mem.h"

struct err;
struct mesh;

enum mesh_underlay {
	MESH_WIREGUARD,
	MESH_PLAIN,
};

#define MESH_KEY_LEN 45 /* a WireGuard key in base64, with the NUL */

/* The default of wherryd.toml; each host derives its device's name from nothing else. */
#define MESH_DEVICE	 "wherry0"
#define MESH_PORT	 51820
#define MESH_ROUTE_PROTO 188 /* of routes that are ours, "ip route show proto 188" */

struct mesh_options {
	enum mesh_underlay underlay;
	const char *device; /* the WireGuard device's name */
	uint16_t port;	    /* it listens at */
	/* The interface by which the other hosts are reached: its MTU counts; plain: the mesh. */
	const char *underlay_device;
	const char *key_path;  /* the private key's file, made with mode 0600 when absent */
	struct addr addr_v4;   /* this host's mesh addresses; plain: its address on the underlay */
	struct addr addr_v6;   /* family 0: none */
	struct prefix *slices; /* this host's parts of the machine pool */
	size_t slice_count;
};

/*
 * Reads the key at @key_path, or makes one (0600), and writes the public key. -EPERM with a
 * sentence when others can read the file.
 */
int mesh_public_key(const char *key_path, char out[static MESH_KEY_LEN], struct err *err);

/* Replaces the key by a new one; the device gets it at the next mesh_open() or mesh_repair(). */
int mesh_new_key(const char *key_path, struct err *err);

/*
 * Brings the device up as @options say, or takes over what is there. -ENOTSUP when neither the
 * kernel nor a wireguard-go can make it, with what to install.
 */
int mesh_open(struct mesh **out, const struct mesh_options *options, struct err *err);

/* Closes what this process holds; the device and its peers stay. */
void mesh_close(struct mesh *mesh);
DEFINE_CLEANUP(struct mesh *, mesh_close)

/*
 * Takes the device, its routes and its wireguard-go away. Absent ones are success. A device that is
 * neither WireGuard nor a tun (underlay plain) stays, without the routes.
 */
int mesh_remove(const char *device, struct err *err);

struct mesh_peer {
	char public_key[MESH_KEY_LEN];
	struct addr endpoint_addr; /* on the underlay; family 0: it has to call us */
	uint16_t endpoint_port;
	struct addr addr_v4, addr_v6; /* mesh addresses; v6 family 0: none */
	const struct prefix
		*prefixes; /* slices of the machine pool, 6PN: allowed and routed to it */
	size_t prefix_count;
};

/* This host has other parts of the machine pool from now on; heeded by the next call below. */
int mesh_set_slices(struct mesh *mesh, const struct prefix *slices, size_t count);

/*
 * Makes the peers these and no others, and the routes to what they hold; this host's own slices
 * become unreachable but for its machines. One that is wrong (a bad key, this host's own, a prefix
 * that overlaps one of this host or of an earlier one) is left out, a route that cannot be made is
 * passed over: all others are set, and the first such failure is returned. An endpoint that roamed
 * stays until the one given here changes or the session is dead.
 */
int mesh_set_peers(struct mesh *mesh, const struct mesh_peer *peers, size_t count, struct err *err);

/*
 * Looks at everything again and puts right what is not as it should be: a wireguard-go that died
 * is started, the MTU set (wireguard-go resets it), addresses, peers and routes put back. Returns
 * 1 when the device is another one than before (its ifindex changed), 0 otherwise. For the route
 * monitor and the timer of the owner to call: 50 ms when nothing is wrong.
 */
int mesh_repair(struct mesh *mesh, struct err *err);

struct mesh_device {
	char name[16];
	unsigned int ifindex;
	unsigned int mtu_bytes; /* largest packet of the mesh: 1440 on an IPv4 underlay of 1500 */
	bool is_ethernet;	/* underlay plain */
	bool is_kernel;		/* the kernel's WireGuard, not wireguard-go */
};

void mesh_device(const struct mesh *mesh, struct mesh_device *out);

/* Seconds since the last handshake with the peer, or -1: never. */
int64_t mesh_handshake_age_s(struct mesh *mesh, const char *public_key);

/*
 * The MTU of the mesh on an underlay of that MTU: 60 bytes less over IPv4, 80 over IPv6, never
 * below 1280; the underlay's own with underlay plain. @family is AF_INET or AF_INET6.
 */
unsigned int mesh_mtu(enum mesh_underlay underlay, unsigned int underlay_mtu_bytes, int family);
