/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine's network is made of, as single netlink requests: links, addresses, routes,
 * neighbours, rules, namespace ids. Each is idempotent: what is there already is success.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct err;
struct netlink;

struct link_info {
	int ifindex;
	char name[IFNAMSIZ];
	char kind[16]; /* "veth" */
	char alias[64];
	unsigned int flags; /* IFF_* */
	unsigned int mtu_bytes;
	uint8_t mac[6];
	int peer_ifindex;      /* of a veth */
	int32_t peer_netns_id; /* -1: the same namespace */
};

/* Returns 1 when there is no link of that name. */
int link_find(struct netlink *nl, const char *name, struct link_info *out, struct err *err);

struct veth_spec {
	const char *name, *peer_name;
	const uint8_t *mac, *peer_mac;
	unsigned int mtu_bytes;
	int peer_netns_fd;
};

/* Makes a pair whose peer is born in the other namespace. -EEXIST when a name is taken. */
int link_add_veth(struct netlink *nl, const struct veth_spec *spec, struct err *err);
int link_delete(struct netlink *nl, const char *name, struct err *err);

struct link_change {
	int ifindex;
	const char *name; /* for messages */
	bool is_up;
	unsigned int mtu_bytes;	    /* 0: as it is */
	const char *alias;	    /* NULL: as it is */
	bool is_without_v6_address; /* no link-local address of its own */
};

int link_set(struct netlink *nl, const struct link_change *change, struct err *err);

int link_add_address(struct netlink *nl, int ifindex, const struct addr *addr,
	unsigned int len_bits, struct err *err);
int link_delete_address(struct netlink *nl, int ifindex, const struct addr *addr,
	unsigned int len_bits, struct err *err);

/*
 * Lists the addresses of a link in the kernel's order, which for IPv4 is the order of preference.
 * Returns how many there are; at most @max of them are written.
 */
int link_addresses(struct netlink *nl, int ifindex, uint8_t family, struct addr *out, int max,
	struct err *err);

struct route_spec {
	struct prefix to;    /* length 0: the default route */
	struct addr gateway; /* family 0: on the link itself */
	struct addr source;  /* preferred source; family 0: none */
	int ifindex;
	uint32_t table; /* 0: main */
};

/* Takes the place of another route to the same prefix in the table. */
int link_add_route(struct netlink *nl, const struct route_spec *route, struct err *err);

/* The link that IPv4's default route of the main table uses; 0 when there is none. */
int link_default_route(struct netlink *nl, int *ifindex, struct err *err);

int link_add_neighbour(struct netlink *nl, int ifindex, const struct addr *addr,
	const uint8_t mac[6], struct err *err);

/* Packets from @from look up routes in @table. */
int link_add_source_rule(
	struct netlink *nl, const struct prefix *from, uint32_t table, struct err *err);
int link_delete_source_rule(
	struct netlink *nl, const struct prefix *from, uint32_t table, struct err *err);

/* The id of the namespace @fd as seen from @nl's; assigned when there is none and @assign. */
int link_netns_id(struct netlink *nl, int fd, bool assign, int32_t *id, struct err *err);
