/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wherryd changes in the host's own network namespace, which is the caller's: IPv4 forwarding,
 * local routes that make every address of the public pools the host's (AnyIP), and one nft table
 * with the NAT for what machines send on their own account. All of it belongs to the kernel and
 * outlives the process; only host_net_teardown() takes it away (but for forwarding, which others
 * may have come to need).
 *
 * IPv6 forwarding is left alone: switching it on makes a host deaf to router advertisements.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "fabric/fabric.h"

struct err;

/* Protocol number of our routes: "ip route show table local proto 187". */
#define HOST_NET_ROUTE_PROTO 187

/* Name of our table of family ip: "nft list table ip wherry". */
#define HOST_NET_NFT_TABLE "wherry"

/* The interface by which clients come in. */
struct host_public {
	char name[IFNAMSIZ];
	unsigned int ifindex;
	unsigned int mtu_bytes;
	bool is_ethernet;
	bool is_up;
	struct addr *addrs; /* its global addresses, IPv4 first; no temporary or deprecated ones */
	size_t addr_count;
};

void host_public_clear(struct host_public *public);

/*
 * Finds the interface @wanted or, when NULL, that of the default route (IPv4 before IPv6). The
 * caller clears @out. -ENODEV with a sentence when there is none.
 */
int host_net_find_public(const char *wanted, struct host_public *out, struct err *err);

/*
 * The pools addresses are allocated from: @configured or, when that is empty, each address of the
 * public interface as a host prefix. The caller frees *out. May come out empty.
 */
void host_net_pools(const struct prefix *configured, size_t configured_count,
	const struct host_public *public, struct prefix **out, size_t *count);

struct host_net_options {
	const struct host_public *public;
	const struct prefix *pools; /* of host_net_pools(); without overlaps */
	size_t pool_count;
	struct prefix machine_pool;
};

/*
 * Brings the host to @options; calling it again is cheap and changes nothing. -EINVAL when a pool
 * cannot be made local: it holds the host's gateway.
 */
int host_net_setup(const struct host_net_options *options, struct err *err);

/*
 * What fabric_set_pools() needs: the pools closed to the host's own sockets, and the addresses
 * inside them that some interface of the host has as open exceptions. The caller frees *out.
 */
int host_net_fabric_pools(const struct host_net_options *options, struct fabric_pool **out,
	size_t *count, struct err *err);

/* The addresses of all interfaces but the machines'. The caller frees *out. */
int host_net_own_addrs(struct addr **out, size_t *count, struct err *err);

/* Whether @prefix is one address, and one of @own. */
bool host_net_is_own(const struct prefix *prefix, const struct addr *own, size_t own_count);

/* Removes the routes and the nft table. What is not there is success. */
int host_net_teardown(struct err *err);

/*
 * A non-blocking netlink socket that is readable when a link of the current network namespace
 * appeared, changed or went away. The caller closes it. Negative errno on failure.
 */
int host_net_watch_fd(void);

typedef void host_net_watch_fn(void *arg, unsigned int ifindex, const char *ifname, bool is_gone);

/*
 * Calls @fn for every message that is there. Returns 0; 1 when messages were lost, so that the
 * caller has to look at its links itself; negative errno.
 */
int host_net_watch_read(int fd, host_net_watch_fn *fn, void *arg);
