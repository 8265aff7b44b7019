/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [[services]], and [http_service], which is written short for a TCP service on ports 80 and 443.
 * UDP keeps its destination port all the way to the app: what cannot be so is refused here.
 */
#include <string.h>
#include <strings.h>

#include "model/config_memory.h"
#include "model/config_parts.h"

#define DEFAULT_INTERNAL_PORT 8080
#define DEFAULT_SOFT_LIMIT    20

/* machine_checks and script_checks are accepted and read by nothing. */
static const char *const service_keys[] = {"protocol", "internal_port", "processes",
	"auto_stop_machines", "auto_start_machines", "min_machines_running", "ports", "concurrency",
	"tcp_checks", "http_checks", "udp_checks", "affinity", "machine_checks", "script_checks"};
static const char *const http_service_keys[] = {"internal_port", "processes", "force_https",
	"auto_stop_machines", "auto_start_machines", "min_machines_running", "concurrency",
	"tls_options", "http_options", "checks", "tcp_checks", "machine_checks"};
static const char *const concurrency_keys[] = {"type", "soft_limit", "hard_limit"};

static bool parse_limit(const char **at, unsigned int *limit)
{
	const char *begin = *at + strspn(*at, " ");
	size_t len = strspn(begin, "0123456789");

	if (len == 0 || len > 9)
		return false;
	*limit = (unsigned int)strtoul(begin, NULL, 10);
	*at = begin + len + strspn(begin + len, " ");
	return true;
}

/* "soft,hard", the oldest form. */
static bool parse_concurrency(const char *text, struct concurrency *out)
{
	if (!parse_limit(&text, &out->soft_limit) || *text++ != ',')
		return false;
	out->by_requests = true;
	return parse_limit(&text, &out->hard_limit) && !*text;
}

static void read_concurrency_type(
	struct diagnostics *diags, const struct toml_node *table, struct concurrency *out)
{
	char *type _free_ = NULL;

	if (!read_string(diags, table, "type", &type))
		return;
	out->by_requests = !strcmp(type, "requests");
	if (strcmp(type, "requests") != 0 && strcmp(type, "connections") != 0)
		report_value(diags, SEVERITY_ERROR, toml_get(table, "type"),
			"types are \"connections\" and \"requests\"");
}

static void read_concurrency_table(
	struct diagnostics *diags, const struct toml_node *table, struct concurrency *out)
{
	bool has_soft;

	warn_unknown_keys(diags, table, concurrency_keys, ARRAY_LEN(concurrency_keys));
	read_concurrency_type(diags, table, out);
	read_count(diags, table, "hard_limit", &out->hard_limit);
	has_soft = read_count(diags, table, "soft_limit", &out->soft_limit);
	/* The default gives way to a lower limit that was written. */
	if (!has_soft && out->hard_limit > 0 && out->hard_limit < out->soft_limit)
		out->soft_limit = out->hard_limit;
}

static void read_concurrency(
	struct diagnostics *diags, const struct toml_node *table, struct concurrency *out)
{
	const struct toml_node *node = toml_get(table, "concurrency"), *hard;

	out->soft_limit = DEFAULT_SOFT_LIMIT;
	if (!node)
		return;
	if (node->type == TOML_TABLE) {
		read_concurrency_table(diags, node, out);
	} else if (node->type != TOML_STRING || !parse_concurrency(node->string, out)) {
		report_value(diags, SEVERITY_ERROR, node,
			"it must be a table or \"SOFT,HARD\", such as \"20,25\"");
		return;
	}
	if (out->hard_limit == 0 || out->hard_limit >= out->soft_limit)
		return;
	hard = node->type == TOML_TABLE ? toml_get(node, "hard_limit") : node;
	report_error(diags, hard, "sets a hard limit of %u, below the soft limit of %u",
		out->hard_limit, out->soft_limit);
}

static void read_autostop(
	struct diagnostics *diags, const struct toml_node *table, enum autostop *out)
{
	static const char *const names[] = {"off", "stop", "suspend"};
	const struct toml_node *node = toml_get(table, "auto_stop_machines");
	struct buf text _cleanup_(buf_clear) = {};

	if (!node)
		return;
	if (node->type == TOML_BOOLEAN) {
		*out = node->boolean ? AUTOSTOP_STOP : AUTOSTOP_OFF;
		return;
	}
	for (size_t i = 0; node->type == TOML_STRING && i < ARRAY_LEN(names); i++) {
		if (!strcmp(node->string, names[i])) {
			*out = (enum autostop)i;
			return;
		}
	}
	buf_adds(&text, "allowed are \"off\", \"stop\", \"suspend\", true and false");
	if (node->type == TOML_STRING &&
		(!strcasecmp(node->string, "on") || !strcasecmp(node->string, "true")))
		buf_adds(&text, "; did you mean \"stop\"?");
	else if (node->type == TOML_STRING)
		add_suggestion(&text, node->string, names, ARRAY_LEN(names));
	report_value(diags, SEVERITY_ERROR, node, "%s", text.data);
}

/* What both kinds of service have. */
static void read_common(
	struct parser *parser, const struct toml_node *table, struct service *service)
{
	struct diagnostics *diags = parser->diags;

	service->line = table->line;
	service->autostart = true;
	config_read_groups(parser, table, &service->processes);
	read_concurrency(diags, table, &service->concurrency);
	read_autostop(diags, table, &service->autostop);
	read_bool(diags, table, "auto_start_machines", &service->autostart);
	read_count(diags, table, "min_machines_running", &service->min_machines_running);
	config_read_service_checks(parser, table, "tcp_checks", CHECK_TCP, service);
}

static enum protocol read_protocol(struct diagnostics *diags, const struct toml_node *table)
{
	static const char *const names[] = {"tcp", "udp"};
	struct buf text _cleanup_(buf_clear) = {};
	char *name _free_ = NULL;

	if (!read_string(diags, table, "protocol", &name)) {
		if (!toml_get(table, "protocol") ||
			toml_get(table, "protocol")->type == TOML_STRING)
			report_warning(diags, table,
				"names no protocol and is taken as TCP; "
				"add protocol = \"tcp\" or protocol = \"udp\"");
		return PROTOCOL_TCP;
	}
	if (!strcasecmp(name, "udp"))
		return PROTOCOL_UDP;
	if (strcasecmp(name, "tcp") != 0) {
		buf_adds(&text, "protocols are \"tcp\" and \"udp\"");
		add_suggestion(&text, name, names, ARRAY_LEN(names));
		report_value(diags, SEVERITY_ERROR, toml_get(table, "protocol"), "%s", text.data);
	}
	return PROTOCOL_TCP;
}

static void read_internal_port(
	struct parser *parser, const struct toml_node *table, struct service *service)
{
	if (read_port(parser->diags, table, "internal_port", &service->internal_port))
		return;
	if (service->protocol == PROTOCOL_TCP)
		service->internal_port = DEFAULT_INTERNAL_PORT;
	else if (service->port_count > 0)
		service->internal_port = service->ports[0].range.first;
}

static void read_service(struct parser *parser, const struct toml_node *table)
{
	struct service *service =
		array_add(parser->config->services, parser->config->service_count);

	warn_unknown_keys(parser->diags, table, service_keys, ARRAY_LEN(service_keys));
	service->protocol = read_protocol(parser->diags, table);
	read_common(parser, table, service);
	config_read_service_checks(parser, table, "http_checks", CHECK_HTTP, service);
	config_read_ports(parser, table, service);
	read_internal_port(parser, table, service);
	config_read_udp_checks(parser, table, service);
	config_read_affinity(parser, table, service);
	if (service->protocol == PROTOCOL_UDP)
		config_check_udp(parser, table, service);
}

static void add_http_port(struct parser *parser, const struct toml_node *table,
	struct service *service, uint16_t number, unsigned int handlers)
{
	struct service_port *port = array_add(service->ports, service->port_count);

	port->range = (struct port_range){number, number};
	port->handlers = handlers;
	port->tls_1_2 = port->tls_1_3 = true;
	config_add_claim(parser, PROTOCOL_TCP, port->range, table);
	config_read_http_options(parser->diags, table, port);
}

static void read_http_service(struct parser *parser, const struct toml_node *table)
{
	struct diagnostics *diags = parser->diags;
	struct service *service =
		array_add(parser->config->services, parser->config->service_count);

	warn_unknown_keys(diags, table, http_service_keys, ARRAY_LEN(http_service_keys));
	service->protocol = PROTOCOL_TCP;
	service->from_http_service = true;
	read_common(parser, table, service);
	config_read_service_checks(parser, table, "checks", CHECK_HTTP, service);
	read_internal_port(parser, table, service);
	add_http_port(parser, table, service, 80, HANDLER_HTTP);
	add_http_port(parser, table, service, 443, HANDLER_HTTP | HANDLER_TLS);
	read_bool(diags, table, "force_https", &service->ports[0].force_https);
	config_read_tls_options(diags, table, &service->ports[1]);
}

void config_read_services(struct parser *parser)
{
	const struct toml_node *http = read_table(parser->diags, parser->root, "http_service");
	struct tables tables = read_tables(parser->diags, parser->root, "services");

	if (http)
		read_http_service(parser, http);
	for (size_t i = 0; i < tables.count; i++) {
		if (tables.items[i].type == TOML_TABLE)
			read_service(parser, &tables.items[i]);
	}
}
