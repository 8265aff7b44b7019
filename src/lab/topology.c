/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of a lab; see topology.h. The one-machine form:
 *
 *     client-1   198.51.100.10  2001:db8:100::10
 *     client-2   198.51.100.11  2001:db8:100::11     client-N: (9+N), in decimal digits
 *        |
 *     198.51.100.0/24  2001:db8:100::/64             bridge "clients"
 *        | .1  ::1
 *     internet                                       203.0.113.0/24, 2001:db8:ff::/64 via host-1
 *        | .1  ::1
 *     192.0.2.0/24  2001:db8:200::/64                bridge "hosts"
 *        |
 *     host-1     192.0.2.11     2001:db8:200::11     edge and worker, runs wherryd
 *
 * A fleet has more nodes on "hosts":
 *
 *     store      192.0.2.5      2001:db8:200::5      runs etcd
 *     edge-N     192.0.2.(10+N), or host-N of both roles
 *     worker-N   192.0.2.(50+N)
 *
 * Each node is a network and a mount namespace; its one link is called eth0 inside it and has the
 * node's name as a port of the internet's bridge. Which edge is a client's nearest is a matter of
 * the internet's routes alone: those to the public pools depend on the client; see links.c.
 */
#include "lab/topology.h"

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>

static const struct lab_segment clients_segment = {
	.bridge = "clients",
	.network_v4 = "198.51.100.0/24",
	.network_v6 = "2001:db8:100::/64",
	.router_v4 = "198.51.100.1",
	.router_v6 = "2001:db8:100::1",
};

static const struct lab_segment hosts_segment = {
	.bridge = "hosts",
	.network_v4 = "192.0.2.0/24",
	.network_v6 = "2001:db8:200::/64",
	.router_v4 = "192.0.2.1",
	.router_v6 = "2001:db8:200::1",
};

const struct lab_segment *lab_segment(enum lab_kind kind)
{
	return kind == LAB_CLIENT ? &clients_segment : &hosts_segment;
}

static struct lab_node *add_node(struct lab *lab, enum lab_kind kind)
{
	struct lab_node *bigger;

	bigger = reallocarray(lab->nodes, lab->node_count + 1, sizeof(*bigger));
	if (!bigger)
		abort();
	lab->nodes = bigger;
	bigger += lab->node_count++;
	*bigger = (struct lab_node){.kind = kind, .state = LAB_NODE_UP};
	return bigger;
}

/* Puts "<prefix><number>" into the node's next address; the number's digits are decimal in both
 * families, so that people see which addresses belong together. */
static void add_address(struct lab_node *node, const char *prefix, unsigned int number)
{
	snprintf(node->addresses[node->address_count++], sizeof(node->addresses[0]), "%s%u", prefix,
		number);
}

static void add_hosts(struct lab *lab, const struct lab_args *args, const char *word,
	unsigned int roles, unsigned int count, unsigned int first)
{
	for (unsigned int i = 0; i < count; i++) {
		struct lab_node *node = add_node(lab, LAB_HOST);

		snprintf(node->name, sizeof(node->name), "%s-%u", word, i + 1);
		node->roles = roles;
		lab_region_pick(args->regions, i, node->region);
		add_address(node, "192.0.2.", first + i);
		add_address(node, "2001:db8:200::", first + i);
	}
}

void lab_plan(const struct lab_args *args, struct lab *out)
{
	unsigned int edges = args->hosts + args->edges;
	struct lab_node *node;

	*out = (struct lab){.store = args->store, .underlay = args->underlay};
	snprintf(out->name, sizeof(out->name), "%s", args->name);
	node = add_node(out, LAB_INTERNET);
	snprintf(node->name, sizeof(node->name), "internet");
	add_address(node, "198.51.100.", 1);
	add_address(node, "2001:db8:100::", 1);
	add_address(node, "192.0.2.", 1);
	add_address(node, "2001:db8:200::", 1);
	if (out->store == LAB_ETCD) {
		node = add_node(out, LAB_SHARED);
		snprintf(node->name, sizeof(node->name), "store");
		add_address(node, "192.0.2.", 5);
		add_address(node, "2001:db8:200::", 5);
	}
	add_hosts(out, args, "host", LAB_EDGE | LAB_WORKER, args->hosts, 11);
	add_hosts(out, args, "edge", LAB_EDGE, args->edges, 11);
	add_hosts(out, args, "worker", LAB_WORKER, args->workers, 51);
	for (unsigned int i = 1; i <= args->clients; i++) {
		node = add_node(out, LAB_CLIENT);
		snprintf(node->name, sizeof(node->name), "client-%u", i);
		snprintf(node->edge, sizeof(node->edge), "%s-%u", args->edges ? "edge" : "host",
			(i - 1) % edges + 1);
		add_address(node, "198.51.100.", 9 + i);
		add_address(node, "2001:db8:100::", 9 + i);
	}
}

void lab_clear(struct lab *lab)
{
	free(lab->nodes);
	*lab = (struct lab){};
}

struct lab_node *lab_find(const struct lab *lab, const char *name)
{
	for (size_t i = 0; i < lab->node_count; i++)
		if (strcmp(lab->nodes[i].name, name) == 0)
			return &lab->nodes[i];
	return NULL;
}

const struct lab_node *lab_edge(const struct lab *lab, unsigned int index)
{
	for (size_t i = 0; i < lab->node_count; i++)
		if ((lab->nodes[i].roles & LAB_EDGE) && index-- == 0)
			return &lab->nodes[i];
	return NULL;
}

bool lab_has_routes(const struct lab *lab)
{
	return lab_edge(lab, 1);
}

bool lab_is_fleet(const struct lab *lab)
{
	return lab->underlay != LAB_NO_UNDERLAY;
}

const char *lab_kind_name(enum lab_kind kind)
{
	static const char *const names[] = {[LAB_INTERNET] = "internet",
		[LAB_HOST] = "host",
		[LAB_CLIENT] = "client",
		[LAB_SHARED] = "store"};

	return names[kind];
}

const char *lab_state_name(enum lab_node_state state)
{
	static const char *const names[] = {
		[LAB_NODE_UP] = "up", [LAB_NODE_PAUSED] = "paused", [LAB_NODE_DOWN] = "down"};

	return names[state];
}

const char *lab_store_name(enum lab_store store)
{
	return store == LAB_ETCD ? "etcd" : "sqlite";
}

const char *lab_underlay_name(enum lab_underlay underlay)
{
	static const char *const names[] = {
		[LAB_NO_UNDERLAY] = NULL, [LAB_WIREGUARD] = "wireguard", [LAB_PLAIN] = "plain"};

	return names[underlay];
}
