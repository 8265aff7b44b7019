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
 * Each node is a network and a mount namespace; its one link is called eth0 inside it and has the
 * node's name as a port of the internet's bridge. Further edges and workers are more ports of
 * "hosts"; which edge is a client's nearest is a matter of the internet's routes alone.
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

void lab_plan(const struct lab_args *args, struct lab *out)
{
	struct lab_node *node;

	*out = (struct lab){};
	snprintf(out->name, sizeof(out->name), "%s", args->name);
	node = add_node(out, LAB_INTERNET);
	snprintf(node->name, sizeof(node->name), "internet");
	add_address(node, "198.51.100.", 1);
	add_address(node, "2001:db8:100::", 1);
	add_address(node, "192.0.2.", 1);
	add_address(node, "2001:db8:200::", 1);
	node = add_node(out, LAB_HOST);
	snprintf(node->name, sizeof(node->name), "host-1");
	node->roles = LAB_EDGE | LAB_WORKER;
	add_address(node, "192.0.2.", 11);
	add_address(node, "2001:db8:200::", 11);
	for (unsigned int i = 1; i <= args->clients; i++) {
		node = add_node(out, LAB_CLIENT);
		snprintf(node->name, sizeof(node->name), "client-%u", i);
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

const char *lab_kind_name(enum lab_kind kind)
{
	static const char *const names[] = {
		[LAB_INTERNET] = "internet", [LAB_HOST] = "host", [LAB_CLIENT] = "client"};

	return names[kind];
}

const char *lab_state_name(enum lab_node_state state)
{
	static const char *const names[] = {
		[LAB_NODE_UP] = "up", [LAB_NODE_PAUSED] = "paused", [LAB_NODE_DOWN] = "down"};

	return names[state];
}

static void draw_nodes(const struct lab *lab, enum lab_kind kind, struct buf *out)
{
	static const char *const role_words[] = {
		[LAB_EDGE] = "edge",
		[LAB_WORKER] = "worker",
		[LAB_EDGE | LAB_WORKER] = "edge and worker",
	};

	for (size_t i = 0; i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];

		if (node->kind != kind)
			continue;
		buf_addf(out, "  %-10s  %-14s  %s", node->name, node->addresses[0],
			node->addresses[1]);
		if (kind == LAB_HOST)
			buf_addf(out, "   %s", role_words[node->roles]);
		buf_adds(out, "\n");
	}
}

void lab_draw(const struct lab *lab, struct buf *out)
{
	draw_nodes(lab, LAB_CLIENT, out);
	buf_addf(out, "       |\n       |  %s  %s\n       |\n", clients_segment.network_v4,
		clients_segment.network_v6);
	buf_addf(out, "  internet    (.1 and ::1)   %s, %s: host-1\n", LAB_POOL_V4, LAB_POOL_V6);
	buf_addf(out, "       |\n       |  %s     %s\n       |\n", hosts_segment.network_v4,
		hosts_segment.network_v6);
	draw_nodes(lab, LAB_HOST, out);
}
