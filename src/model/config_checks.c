/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health checks: those of a service, which keep a failing machine out of its traffic, and [checks],
 * which inform. What goes into the request of an HTTP check is limited to what HTTP can carry.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "model/config_memory.h"
#include "model/config_parts.h"
#include "model/duration.h"

#define SERVICE_CHECK_MIN_MS  1000
#define SERVICE_CHECK_MAX_MS  60000
#define CHECK_MIN_INTERVAL_MS 2000
#define CHECK_MAX_TIMEOUT_MS  60000
#define CHECK_MAX_MS	      (24 * 3600 * 1000)

/* restart_limit is old: accepted, read by nothing. */
static const char *const tcp_check_keys[] = {
	"interval", "timeout", "grace_period", "restart_limit"};
static const char *const http_check_keys[] = {"interval", "timeout", "grace_period", "method",
	"path", "protocol", "tls_skip_verify", "tls_server_name", "headers", "restart_limit"};
static const char *const check_keys[] = {"type", "port", "interval", "timeout", "grace_period",
	"method", "path", "protocol", "tls_skip_verify", "tls_server_name", "headers", "processes",
	"name", "restart_limit"};

static bool is_token(const char *text)
{
	const char *at = text;

	while (isalnum((unsigned char)*at) || (*at && strchr("!#$%&'*+-.^_`|~", *at)))
		at++;
	return at != text && !*at;
}

/* No control characters; no spaces either unless @spaces. */
static bool is_line(const char *text, bool spaces)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c == 0x7f || (c == ' ' && !spaces))
			return false;
	}
	return true;
}

static void read_method(
	struct diagnostics *diags, const struct toml_node *table, struct check *check)
{
	check->method = text_copy("GET");
	if (!read_string(diags, table, "method", &check->method))
		return;
	if (!is_token(check->method))
		report_value(diags, SEVERITY_ERROR, toml_get(table, "method"),
			"it must be an HTTP method such as \"get\" or \"head\"");
	for (char *c = check->method; *c; c++)
		*c = (char)toupper((unsigned char)*c);
}

static void read_path(struct diagnostics *diags, const struct toml_node *table, struct check *check)
{
	const struct toml_node *node = toml_get(table, "path");
	struct buf path = {};

	check->path = text_copy("/");
	if (!read_string(diags, table, "path", &check->path))
		return;
	if (!is_line(check->path, false)) {
		report_value(diags, SEVERITY_ERROR, node,
			"a path has no spaces or control characters; write a space as %%20");
	} else if (check->path[0] != '/') {
		report_value(diags, SEVERITY_WARNING, node,
			"a path begins with \"/\", which is put in front");
		buf_addf(&path, "/%s", check->path);
		free(check->path);
		check->path = buf_take(&path);
	}
}

static void read_scheme(
	struct diagnostics *diags, const struct toml_node *table, struct check *check)
{
	char *scheme _free_ = NULL;

	if (!read_string(diags, table, "protocol", &scheme))
		return;
	check->https = !strcasecmp(scheme, "https");
	if (!check->https && strcasecmp(scheme, "http") != 0)
		report_value(diags, SEVERITY_ERROR, toml_get(table, "protocol"),
			"protocols of a check are \"http\" and \"https\"");
}

static void read_header_array(
	struct diagnostics *diags, const struct toml_node *node, struct check *check)
{
	static const char *const keys[] = {"name", "value"};

	for (size_t i = 0; i < node->child_count; i++) {
		const struct toml_node *item = &node->children[i];
		const struct toml_node *name = toml_get(item, "name");
		const struct toml_node *value = toml_get(item, "value");
		char *text _free_ = value ? scalar_text(value) : NULL;
		struct env_var *header;

		if (item->type != TOML_TABLE || !name || name->type != TOML_STRING || !text) {
			report_error(diags, item, "must be {name = \"NAME\", value = \"VALUE\"}");
			continue;
		}
		warn_unknown_keys(diags, item, keys, ARRAY_LEN(keys));
		header = array_add(check->headers, check->header_count);
		header->name = text_copy(name->string);
		header->value = take_ptr(text);
	}
}

static void read_headers(
	struct diagnostics *diags, const struct toml_node *table, struct check *check)
{
	const struct toml_node *node = toml_get(table, "headers");

	if (!node)
		return;
	if (node->type == TOML_TABLE)
		read_pairs(diags, node, &check->headers, &check->header_count);
	else if (node->type == TOML_ARRAY)
		read_header_array(diags, node, check);
	else
		report_value(diags, SEVERITY_ERROR, node,
			"it must be a table, such as {Host = \"example.com\"}");
	for (size_t i = 0; i < check->header_count; i++) {
		if (!is_token(check->headers[i].name) || !is_line(check->headers[i].value, true)) {
			report_error(diags, node,
				"has a header that HTTP cannot carry; names are letters, digits "
				"and dashes, values are one line");
			return;
		}
	}
}

static void read_http(struct diagnostics *diags, const struct toml_node *table, struct check *check)
{
	read_method(diags, table, check);
	read_path(diags, table, check);
	read_scheme(diags, table, check);
	read_bool(diags, table, "tls_skip_verify", &check->tls_skip_verify);
	read_string(diags, table, "tls_server_name", &check->tls_server_name);
	read_headers(diags, table, check);
}

static void set_defaults(struct check *check, enum check_type type)
{
	check->type = type;
	check->interval_ms = 15000;
	check->timeout_ms = 2000;
	check->grace_period_ms = 1000;
}

/* Who writes 10 means seconds, as a rule. */
static const char *bare_number_hint(const struct toml_node *node)
{
	return node->type == TOML_INTEGER ? " (a bare number is milliseconds)" : "";
}

/* Checks of services are put into bounds, with a warning, as those files are out there. */
static void read_clamped(struct diagnostics *diags, const struct toml_node *table, const char *key,
	bool zero_is_allowed, unsigned int *out)
{
	const struct toml_node *node = toml_get(table, key);
	int64_t ms;

	if (!read_duration_ms(diags, table, key, BARE_MILLISECONDS, &ms))
		return;
	if (ms < SERVICE_CHECK_MIN_MS && !(ms == 0 && zero_is_allowed)) {
		report_value(diags, SEVERITY_WARNING, node, "at least 1s is possible, 1s is used%s",
			bare_number_hint(node));
		ms = SERVICE_CHECK_MIN_MS;
	} else if (ms > SERVICE_CHECK_MAX_MS) {
		report_value(diags, SEVERITY_WARNING, node,
			"at most 60s is possible, 60s is used%s", bare_number_hint(node));
		ms = SERVICE_CHECK_MAX_MS;
	}
	*out = (unsigned int)ms;
}

void config_read_service_checks(struct parser *parser, const struct toml_node *table,
	const char *key, enum check_type type, struct service *service)
{
	struct diagnostics *diags = parser->diags;
	struct tables tables = read_tables(diags, table, key);

	for (size_t i = 0; i < tables.count; i++) {
		const struct toml_node *item = &tables.items[i];
		struct check *check;

		if (item->type != TOML_TABLE)
			continue;
		if (++parser->service_check_count > CONFIG_MAX_NAMED) {
			report_error(diags, item,
				"is one check too many; the services of an app have at most %d",
				CONFIG_MAX_NAMED);
			return;
		}
		check = array_add(service->checks, service->check_count);
		set_defaults(check, type);
		read_clamped(diags, item, "interval", false, &check->interval_ms);
		read_clamped(diags, item, "timeout", false, &check->timeout_ms);
		read_clamped(diags, item, "grace_period", true, &check->grace_period_ms);
		if (type == CHECK_UDP) {
			config_read_udp_check(diags, item, service, check);
		} else if (type == CHECK_HTTP) {
			warn_unknown_keys(diags, item, http_check_keys, ARRAY_LEN(http_check_keys));
			read_http(diags, item, check);
		} else {
			warn_unknown_keys(diags, item, tcp_check_keys, ARRAY_LEN(tcp_check_keys));
		}
	}
}

/* [checks] are refused when out of bounds, as the platform does. */
static void read_bounded(struct diagnostics *diags, const struct toml_node *table, const char *key,
	int64_t min_ms, int64_t max_ms, unsigned int *out)
{
	const struct toml_node *node = toml_get(table, key);
	char min[DURATION_TEXT_LEN], max[DURATION_TEXT_LEN];
	int64_t ms;

	if (!read_duration_ms(diags, table, key, BARE_MILLISECONDS, &ms))
		return;
	if (ms < min_ms || ms > max_ms)
		report_value(diags, SEVERITY_ERROR, node, "%s to %s are allowed%s",
			duration_format_ms((uint64_t)min_ms, min),
			duration_format_ms((uint64_t)max_ms, max), bare_number_hint(node));
	else
		*out = (unsigned int)ms;
}

static void read_type(struct diagnostics *diags, const struct toml_node *table, struct check *check)
{
	char *type _free_ = NULL;

	if (!read_string(diags, table, "type", &type)) {
		if (!toml_get(table, "type"))
			report_error(
				diags, table, "has no type; add type = \"http\" or type = \"tcp\"");
		return;
	}
	if (!strcasecmp(type, "http"))
		check->type = CHECK_HTTP;
	else if (!strcasecmp(type, "udp"))
		report_value(diags, SEVERITY_ERROR, toml_get(table, "type"),
			"types are \"http\" and \"tcp\"; a UDP check belongs to its service, as "
			"[[services.udp_checks]]");
	else if (strcasecmp(type, "tcp") != 0)
		report_value(diags, SEVERITY_ERROR, toml_get(table, "type"),
			"types are \"http\" and \"tcp\"");
}

static uint16_t http_service_port(const struct app_config *config)
{
	for (size_t i = 0; i < config->service_count; i++) {
		if (config->services[i].from_http_service)
			return config->services[i].internal_port;
	}
	return 0;
}

static void read_check(struct parser *parser, const struct toml_node *table, const char *name)
{
	struct diagnostics *diags = parser->diags;
	struct app_config *config = parser->config;
	struct check *check = array_add(config->checks, config->check_count);

	set_defaults(check, CHECK_TCP);
	check->name = text_copy(name);
	warn_unknown_keys(diags, table, check_keys, ARRAY_LEN(check_keys));
	read_type(diags, table, check);
	read_bounded(
		diags, table, "interval", CHECK_MIN_INTERVAL_MS, CHECK_MAX_MS, &check->interval_ms);
	read_bounded(diags, table, "timeout", 1, CHECK_MAX_TIMEOUT_MS, &check->timeout_ms);
	read_bounded(diags, table, "grace_period", 0, CHECK_MAX_MS, &check->grace_period_ms);
	if (!toml_get(table, "port"))
		check->port = http_service_port(config);
	if (!read_port(diags, table, "port", &check->port) && !toml_get(table, "port") &&
		check->port == 0)
		report_error(diags, table, "has no port; add port = 8080, the one to check");
	if (check->type == CHECK_HTTP)
		read_http(diags, table, check);
	config_read_groups(parser, table, &check->processes);
}

/* False, reported, when @name cannot be added. */
static bool check_name(struct parser *parser, const struct toml_node *node, const char *name)
{
	const struct app_config *config = parser->config;

	if (!*name) {
		report_name_error(parser->diags, node, "has no name");
		return false;
	}
	for (size_t i = 0; i < config->check_count; i++) {
		if (!strcmp(config->checks[i].name, name)) {
			report_name_error(parser->diags, node,
				"has the name of an earlier check; names differ");
			return false;
		}
	}
	if (config->check_count >= CONFIG_MAX_NAMED) {
		report_name_error(parser->diags, node,
			"is one check too many; at most %d are allowed", CONFIG_MAX_NAMED);
		return false;
	}
	return true;
}

static void read_named(struct parser *parser, const struct toml_node *table, const char *name)
{
	if (check_name(parser, table, name))
		read_check(parser, table, name);
}

/* The old form: an array whose items carry their names. */
static void read_check_array(struct parser *parser, struct tables tables)
{
	for (size_t i = 0; i < tables.count; i++) {
		const struct toml_node *table = &tables.items[i];
		char *name _free_ = NULL;

		if (table->type != TOML_TABLE)
			continue;
		if (read_string(parser->diags, table, "name", &name))
			read_named(parser, table, name);
		else if (!toml_get(table, "name") || toml_get(table, "name")->type == TOML_STRING)
			report_error(parser->diags, table, "has no name; add name = \"NAME\"");
	}
}

void config_read_checks(struct parser *parser)
{
	const struct toml_node *node = toml_get(parser->root, "checks");

	if (!node || node->type != TOML_TABLE) {
		read_check_array(parser, read_tables(parser->diags, parser->root, "checks"));
		return;
	}
	for (size_t i = 0; i < node->child_count; i++) {
		const struct toml_node *table = &node->children[i];

		if (table->type == TOML_TABLE)
			read_named(parser, table, table->key);
		else
			report_value(parser->diags, SEVERITY_ERROR, table,
				"it must be a table, written [checks.NAME]");
	}
}
