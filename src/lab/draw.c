/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drawing; see draw.h. From top to bottom a packet's way: clients, the internet, hosts. A lab
 * of one host is drawn without what it does not have: regions, edges to choose from, states.
 */
#include "lab/draw.h"

#include "base/buf.h"
#include "lab/topology.h"

#include <string.h>

static const char *role_words(const struct lab_node *node)
{
	static const char *const words[] = {
		[0] = "",
		[LAB_EDGE] = "edge",
		[LAB_WORKER] = "worker",
		[LAB_EDGE | LAB_WORKER] = "edge and worker",
	};

	return words[node->roles];
}

static int region_width(const struct lab *lab)
{
	size_t width = 0;

	for (size_t i = 0; i < lab->node_count; i++)
		if (strlen(lab->nodes[i].region) > width)
			width = strlen(lab->nodes[i].region);
	return (int)width;
}

static void trim_line(struct buf *out)
{
	while (out->len && out->data[out->len - 1] == ' ')
		out->data[--out->len] = '\0';
	buf_adds(out, "\n");
}

static void draw_fleet_node(
	const struct lab_node *node, const char *note, int width, struct buf *out)
{
	buf_addf(out, "  %-10s %-14s %-17s %-6s ", node->name, node->addresses[0],
		node->addresses[1], lab_state_name(node->state));
	if (node->kind == LAB_CLIENT)
		buf_addf(out, "to %s", node->edge);
	else
		buf_addf(out, "%-*s %s", width, node->region, note);
	trim_line(out);
}

static void draw_node(const struct lab_node *node, struct buf *out)
{
	buf_addf(out, "  %-10s  %-14s  %s", node->name, node->addresses[0], node->addresses[1]);
	if (node->roles)
		buf_addf(out, "   %s", role_words(node));
	buf_adds(out, "\n");
}

static void draw_nodes(
	const struct lab *lab, enum lab_kind kind, char *const *notes, struct buf *out)
{
	for (size_t i = 0; i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];

		if (node->kind != kind)
			continue;
		if (lab_is_fleet(lab))
			draw_fleet_node(
				node, notes ? notes[i] : role_words(node), region_width(lab), out);
		else
			draw_node(node, out);
	}
}

void draw_lab(const struct lab *lab, char *const *notes, struct buf *out)
{
	const struct lab_segment *clients = lab_segment(LAB_CLIENT), *hosts = lab_segment(LAB_HOST);

	draw_nodes(lab, LAB_CLIENT, notes, out);
	buf_addf(out, "       |\n       |  %s  %s\n       |\n", clients->network_v4,
		clients->network_v6);
	buf_addf(out, "  internet    (.1 and ::1)   %s, %s: %s\n", LAB_POOL_V4, LAB_POOL_V6,
		lab_has_routes(lab) ? "as above" : lab_edge(lab, 0)->name);
	buf_addf(out, "       |\n       |  %s     %s\n       |\n", hosts->network_v4,
		hosts->network_v6);
	draw_nodes(lab, LAB_SHARED, notes, out);
	draw_nodes(lab, LAB_HOST, notes, out);
}
