/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [[services.ports]]: external ports and what is done to the bytes that come in on them.
 */
#include <string.h>

#include "model/config_memory.h"
#include "model/config_parts.h"

static const char *const port_keys[] = {"port", "start_port", "end_port", "handlers", "force_https",
	"tls_options", "http_options", "proxy_proto_options"};

/* The names that may be written; more are understood. */
static const char *const handler_names[] = {"tls", "http", "pg_tls", "proxy_proto"};
static const enum handler handler_bits[] = {
	HANDLER_TLS, HANDLER_HTTP, HANDLER_PG_TLS, HANDLER_PROXY_PROTO};

static unsigned int parse_handler(struct diagnostics *diags, const struct toml_node *node)
{
	struct buf text _cleanup_(buf_clear) = {};
	const char *name = expect_string(diags, node);

	if (!name || !strcmp(name, "tcp"))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(handler_names); i++) {
		if (!strcmp(name, handler_names[i]))
			return handler_bits[i];
	}
	if (!strcmp(name, "edge_http")) {
		report_value(diags, SEVERITY_WARNING, node,
			"it is an old name and is taken as \"http\"");
		return HANDLER_HTTP;
	}
	add_choices(&text, handler_names, ARRAY_LEN(handler_names));
	add_suggestion(&text, name, handler_names, ARRAY_LEN(handler_names));
	report_value(diags, SEVERITY_ERROR, node, "handlers are %s", text.data);
	return 0;
}

static unsigned int read_handlers(struct diagnostics *diags, const struct toml_node *table)
{
	const struct toml_node *node = toml_get(table, "handlers");
	unsigned int handlers = 0;

	if (!node)
		return 0;
	if (node->type != TOML_ARRAY) {
		report_value(diags, SEVERITY_ERROR, node,
			"it must be an array of strings, such as [\"tls\", \"http\"]");
		return 0;
	}
	for (size_t i = 0; i < node->child_count; i++)
		handlers |= parse_handler(diags, &node->children[i]);
	return handlers;
}

static void read_tls_versions(
	struct diagnostics *diags, const struct toml_node *options, struct service_port *port)
{
	const struct toml_node *node = toml_get(options, "versions");
	struct strings versions = {};

	read_strings(diags, options, "versions", &versions);
	if (versions.count > 0) {
		port->tls_1_2 = strings_contain(&versions, "TLSv1.2");
		port->tls_1_3 = strings_contain(&versions, "TLSv1.3");
	}
	for (size_t i = 0; i < versions.count; i++)
		free(versions.items[i]);
	free(versions.items);
	for (size_t i = 0; node && i < node->child_count; i++) {
		const struct toml_node *item = &node->children[i];

		if (item->type == TOML_STRING && strcmp(item->string, "TLSv1.2") != 0 &&
			strcmp(item->string, "TLSv1.3") != 0)
			report_value(diags, SEVERITY_ERROR, item,
				"versions are \"TLSv1.2\" and \"TLSv1.3\"");
	}
}

void config_read_tls_options(
	struct diagnostics *diags, const struct toml_node *table, struct service_port *port)
{
	static const char *const keys[] = {"alpn", "versions", "default_self_signed"};
	const struct toml_node *options = read_table(diags, table, "tls_options");

	if (!options)
		return;
	warn_unknown_keys(diags, options, keys, ARRAY_LEN(keys));
	read_strings(diags, options, "alpn", &port->alpn);
	read_tls_versions(diags, options, port);
	read_bool(diags, options, "default_self_signed", &port->default_self_signed);
}

void config_read_http_options(
	struct diagnostics *diags, const struct toml_node *table, struct service_port *port)
{
	/* response and replay_cache are read by nothing yet. */
	static const char *const keys[] = {"compress", "h2_backend", "idle_timeout",
		"headers_read_timeout", "response", "replay_cache"};
	const struct toml_node *options = read_table(diags, table, "http_options");

	if (!options)
		return;
	warn_unknown_keys(diags, options, keys, ARRAY_LEN(keys));
	read_bool(diags, options, "compress", &port->compress);
	read_bool(diags, options, "h2_backend", &port->h2_backend);
	read_count(diags, options, "idle_timeout", &port->idle_timeout_s);
	read_count(diags, options, "headers_read_timeout", &port->headers_read_timeout_s);
}

static void read_proxy_proto_options(
	struct diagnostics *diags, const struct toml_node *table, struct service_port *port)
{
	static const char *const keys[] = {"version"};
	const struct toml_node *options = read_table(diags, table, "proxy_proto_options");
	char *version _free_ = NULL;

	if (!options)
		return;
	warn_unknown_keys(diags, options, keys, ARRAY_LEN(keys));
	if (!read_string(diags, options, "version", &version))
		return;
	port->proxy_proto_v2 = !strcmp(version, "v2");
	if (strcmp(version, "v1") != 0 && strcmp(version, "v2") != 0)
		report_value(diags, SEVERITY_ERROR, toml_get(options, "version"),
			"versions are \"v1\" and \"v2\"");
}

/* An options table without its handler does nothing, which is hard to see in a file. */
static void warn_idle_options(
	struct diagnostics *diags, const struct toml_node *table, const struct service_port *port)
{
	static const struct {
		const char *key, *handler;
		enum handler bit;
	} options[] = {
		{"tls_options", "tls", HANDLER_TLS},
		{"http_options", "http", HANDLER_HTTP},
		{"proxy_proto_options", "proxy_proto", HANDLER_PROXY_PROTO},
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct toml_node *node = toml_get(table, options[i].key);

		if (node && !(port->handlers & options[i].bit))
			report_warning(diags, node,
				"has no effect: \"%s\" is not among the port's handlers",
				options[i].handler);
	}
}

static bool read_bounds(
	struct diagnostics *diags, const struct toml_node *table, struct port_range *range)
{
	bool has_first = toml_get(table, "start_port"), has_last = toml_get(table, "end_port");
	bool is_read = read_port(diags, table, "start_port", &range->first);

	is_read = read_port(diags, table, "end_port", &range->last) && is_read;
	if (has_first != has_last) {
		report_error(diags, table, "has %s without %s; a range has both",
			has_first ? "start_port" : "end_port",
			has_first ? "end_port" : "start_port");
		return false;
	}
	if (is_read && range->first > range->last) {
		report_error(diags, toml_get(table, "start_port"),
			"is %u, above end_port %u; a range goes from the lower port to the higher",
			range->first, range->last);
		return false;
	}
	return is_read;
}

/* Returns false, reported, when there is no usable range. */
static bool read_range(
	struct diagnostics *diags, const struct toml_node *table, struct port_range *range)
{
	bool has_bounds = toml_get(table, "start_port") || toml_get(table, "end_port");

	if (!toml_get(table, "port")) {
		if (has_bounds)
			return read_bounds(diags, table, range);
		report_error(diags, table, "has no port; add port, or start_port and end_port");
		return false;
	}
	if (has_bounds) {
		report_error(diags, table,
			"has port and start_port or end_port; a port or a range is allowed, not "
			"both");
		read_bounds(diags, table, range);
		return false;
	}
	if (!read_port(diags, table, "port", &range->first))
		return false;
	range->last = range->first;
	return true;
}

static void check_handlers(struct diagnostics *diags, const struct toml_node *table,
	const struct service *service, const struct service_port *port)
{
	const struct toml_node *handlers = toml_get(table, "handlers");

	if (service->protocol == PROTOCOL_UDP && handlers && handlers->child_count > 0)
		report_error(diags, handlers,
			"is set, but handlers work on TCP only; leave it out for UDP");
	if (port->force_https && !(port->handlers & HANDLER_HTTP))
		report_error(diags, toml_get(table, "force_https"),
			"is true, but \"http\" is not among the port's handlers");
}

static void read_one_port(
	struct parser *parser, const struct toml_node *table, struct service *service)
{
	struct diagnostics *diags = parser->diags;
	struct service_port *port = array_add(service->ports, service->port_count);

	port->tls_1_2 = port->tls_1_3 = true;
	warn_unknown_keys(diags, table, port_keys, ARRAY_LEN(port_keys));
	if (read_range(diags, table, &port->range))
		config_add_claim(parser, service->protocol, port->range, table);
	else
		port->range = (struct port_range){};
	port->handlers = read_handlers(diags, table);
	read_bool(diags, table, "force_https", &port->force_https);
	config_read_tls_options(diags, table, port);
	config_read_http_options(diags, table, port);
	read_proxy_proto_options(diags, table, port);
	check_handlers(diags, table, service, port);
	if (service->protocol == PROTOCOL_TCP)
		warn_idle_options(diags, table, port);
}

void config_read_ports(
	struct parser *parser, const struct toml_node *table, struct service *service)
{
	struct tables tables = read_tables(parser->diags, table, "ports");
	const struct toml_node *node = toml_get(table, "ports");

	if (tables.count == 0 && (!node || node->type == TOML_ARRAY))
		report_warning(parser->diags, table,
			"has no ports, so nothing reaches it; add [[services.ports]]");
	for (size_t i = 0; i < tables.count; i++) {
		if (tables.items[i].type == TOML_TABLE)
			read_one_port(parser, &tables.items[i], service);
	}
}
