/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a lab consists of, as plain data: which nodes there are, what they are called and which
 * addresses they have. Makes nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/addr.h"
#include "lab/args.h"

struct buf;

#define LAB_POOL_V4 "203.0.113.0/24"
#define LAB_POOL_V6 "2001:db8:ff::/64"

#define LAB_ETCD_URL  "http://192.0.2.5:2379"
#define LAB_STORE_URL "etcd://192.0.2.5:2379"

/* Nodes in the order in which a lab makes them: the internet first, since links end there. */
enum lab_kind {
	LAB_INTERNET,
	LAB_HOST,
	LAB_CLIENT,
	LAB_SHARED, /* the node of what hosts share: etcd; it stands before them in the list */
};

enum lab_role {
	LAB_EDGE = 1 << 0,
	LAB_WORKER = 1 << 1,
};

enum lab_node_state {
	LAB_NODE_UP,
	LAB_NODE_PAUSED,
	LAB_NODE_DOWN,
};

struct lab_node {
	char name[LAB_NAME_MAX + 1];
	enum lab_kind kind;
	unsigned int roles; /* enum lab_role, or-ed; hosts only */
	enum lab_node_state state;
	char region[LAB_REGION_MAX + 1];  /* hosts */
	char edge[LAB_NAME_MAX + 1];	  /* clients: the nearest, which has their public pools */
	char addresses[4][ADDR_TEXT_LEN]; /* IPv4 and IPv6 in turn; the internet has two of each */
	size_t address_count;
};

struct lab {
	char name[LAB_NAME_MAX + 1];
	enum lab_store store;
	enum lab_underlay underlay;
	struct lab_node *nodes;
	size_t node_count;
};

/* A network of the lab: a bridge in the internet node, which is the router of all its nodes. */
struct lab_segment {
	const char *bridge;
	const char *network_v4, *network_v6;
	const char *router_v4, *router_v6;
};

/* The segment that nodes of @kind are attached to. Not for LAB_INTERNET. */
const struct lab_segment *lab_segment(enum lab_kind kind);

/* The lab that the arguments of `lab up` ask for. */
void lab_plan(const struct lab_args *args, struct lab *out);
void lab_clear(struct lab *lab);

struct lab_node *lab_find(const struct lab *lab, const char *name);

/* Edges are counted from zero, in the order of the nodes. NULL: there are not so many. */
const struct lab_node *lab_edge(const struct lab *lab, unsigned int index);

/* Whether clients have routes of their own: with one edge there is nothing to choose. */
bool lab_has_routes(const struct lab *lab);

/* Whether hosts have company. */
bool lab_is_fleet(const struct lab *lab);

/* The words of the JSON interface. */
const char *lab_kind_name(enum lab_kind kind);
const char *lab_state_name(enum lab_node_state state);
const char *lab_store_name(enum lab_store store);
const char *lab_underlay_name(enum lab_underlay underlay); /* NULL: there is none */
