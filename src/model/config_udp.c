/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What UDP asks of a service as a whole: the destination port of a datagram is never rewritten,
 * so internal_port can only repeat what the ports say. What only UDP has stands here, too.
 */
#include <strings.h>

#include "model/config_parts.h"

/* One port or range: what is wrong is internal_port. */
static void check_single(struct diagnostics *diags, const struct toml_node *internal,
	const struct port_range *range, uint16_t internal_port)
{
	if (range->first == internal_port)
		return;
	if (range->first == range->last)
		report_error(diags, internal,
			"is %u, but the UDP port is %u and UDP ports are never rewritten; "
			"write internal_port = %u or leave it out",
			internal_port, range->first, range->first);
	else
		report_error(diags, internal,
			"is %u, but the UDP ports are %u to %u and UDP ports are never rewritten; "
			"write internal_port = %u or leave it out",
			internal_port, range->first, range->last, range->first);
}

static void check_each(
	struct diagnostics *diags, const struct toml_node *ports, const struct service *service)
{
	size_t index = 0;

	for (size_t i = 0; i < ports->child_count; i++) {
		const struct toml_node *node = &ports->children[i];
		const struct port_range *range;

		if (node->type != TOML_TABLE)
			continue;
		range = &service->ports[index++].range;
		if (range->first == 0 || range->first == service->internal_port)
			continue;
		report_error(diags, node,
			"is UDP port %u, but internal_port is %u and UDP ports are never "
			"rewritten; leave internal_port out or make a service for each port",
			range->first, service->internal_port);
	}
}

void config_check_udp(
	struct parser *parser, const struct toml_node *table, const struct service *service)
{
	const struct toml_node *internal = toml_get(table, "internal_port");

	if (!internal || service->internal_port == 0)
		return;
	if (service->port_count > 1)
		check_each(parser->diags, toml_get(table, "ports"), service);
	else if (service->port_count == 1 && service->ports[0].range.first != 0)
		check_single(
			parser->diags, internal, &service->ports[0].range, service->internal_port);
}

void config_read_affinity(
	struct parser *parser, const struct toml_node *table, struct service *service)
{
	static const char *const names[] = {[AFFINITY_FLOW] = "flow", [AFFINITY_CLIENT] = "client"};
	const struct toml_node *node = toml_get(table, "affinity");
	struct buf text _cleanup_(buf_clear) = {};
	char *name _free_ = NULL;

	if (!node)
		return;
	if (service->protocol != PROTOCOL_UDP) {
		report_name_error(parser->diags, node,
			"is for UDP services and this one is TCP; leave it out");
		return;
	}
	if (!read_string(parser->diags, table, "affinity", &name))
		return;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcasecmp(name, names[i])) {
			service->affinity = (enum affinity)i;
			return;
		}
	}
	buf_adds(&text, "affinities are \"flow\" and \"client\"");
	add_suggestion(&text, name, names, ARRAY_LEN(names));
	report_value(parser->diags, SEVERITY_ERROR, node, "%s", text.data);
}
