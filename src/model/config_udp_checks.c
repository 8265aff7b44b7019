/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [[services.udp_checks]], which fly.toml does not have elsewhere: UDP has no connection to look
 * at, so the file says what to send and what to wait for. A service of several ports has no port
 * that stands for it, so there the file says that, too.
 */
#include <errno.h>

#include "model/check_bytes.h"
#include "model/config_parts.h"

static const char *const udp_check_keys[] = {
	"payload", "expect", "interval", "timeout", "grace_period", "port"};

/* False when there is nothing under @key, or something that was reported. */
static bool read_bytes(struct diagnostics *diags, const struct toml_node *table, const char *key,
	uint8_t **out, size_t *len_bytes)
{
	const struct toml_node *node = toml_get(table, key);
	char *text _free_ = NULL;
	const char *bad;
	int r;

	if (!read_string(diags, table, key, &text))
		return false;
	r = check_bytes_parse(text, out, len_bytes, &bad);
	if (r == -EINVAL)
		report_value(diags, SEVERITY_ERROR, node,
			"character %zu is no hexadecimal digit of a byte; after \"hex:\" come two "
			"for each, such as \"hex:70696e67\"",
			(size_t)(bad - text) + 1);
	else if (r < 0)
		report_value(diags, SEVERITY_ERROR, node,
			"after \"hex:\" come two digits for each byte, such as \"hex:70696e67\"");
	else if (*len_bytes > CHECK_BYTES_MAX)
		report_error(diags, node, "has %zu bytes; at most %d are allowed", *len_bytes,
			CHECK_BYTES_MAX);
	else
		return true;
	return false;
}

static void read_payload(
	struct diagnostics *diags, const struct toml_node *table, struct check *check)
{
	const struct toml_node *node = toml_get(table, "payload");

	if (read_bytes(diags, table, "payload", &check->payload, &check->payload_len_bytes))
		return;
	/* Whatever else it is was reported. */
	if (!node || (node->type == TOML_STRING && !*node->string))
		report_error(diags, node ? node : table,
			node ? "is empty; write what the app answers, such as \"ping\""
			     : "has no payload; add payload = \"ping\", or what else the app "
			       "answers");
}

static void read_udp_port(struct diagnostics *diags, const struct toml_node *table,
	const struct service *service, struct check *check)
{
	const struct service_port *port = service->ports;

	if (toml_get(table, "port")) {
		read_port(diags, table, "port", &check->port);
		return;
	}
	if (service->port_count == 1 && port->range.first == port->range.last)
		check->port = port->range.first;
	else if (service->port_count > 0 && port->range.first > 0)
		report_error(diags, table,
			"has no port, and the service has several; add port = %u, or another one",
			port->range.first);
	else if (service->port_count == 0)
		report_error(diags, table,
			"has no port, nor has the service; add port = 53, the one to check");
}

void config_read_udp_check(struct diagnostics *diags, const struct toml_node *table,
	const struct service *service, struct check *check)
{
	warn_unknown_keys(diags, table, udp_check_keys, ARRAY_LEN(udp_check_keys));
	read_payload(diags, table, check);
	read_bytes(diags, table, "expect", &check->expect, &check->expect_len_bytes);
	read_udp_port(diags, table, service, check);
}

void config_read_udp_checks(
	struct parser *parser, const struct toml_node *table, struct service *service)
{
	const struct toml_node *node = toml_get(table, "udp_checks");

	if (node && service->protocol != PROTOCOL_UDP)
		report_name_error(parser->diags, node,
			"is for UDP services and this one is TCP; use tcp_checks or http_checks");
	else
		config_read_service_checks(parser, table, "udp_checks", CHECK_UDP, service);
}
