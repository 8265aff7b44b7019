/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From text to config: the TOML library makes a tree, the parts (config_parts.h) read it, and what
 * they found wrong decides whether there is a config at all.
 */
#include "model/config.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "model/command.h"
#include "model/config_memory.h"
#include "model/config_parts.h"
#include "model/diagnostics.h"

#define BYTES_PER_MB (1024 * 1024)

static void pairs_free(struct env_var *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(pairs[i].name);
		free(pairs[i].value);
	}
	free(pairs);
}

static void checks_free(struct check *checks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(checks[i].name);
		free(checks[i].method);
		free(checks[i].path);
		free(checks[i].tls_server_name);
		free(checks[i].payload);
		free(checks[i].expect);
		pairs_free(checks[i].headers, checks[i].header_count);
		strings_clear(&checks[i].processes);
	}
	free(checks);
}

static void service_clear(struct service *service)
{
	strings_clear(&service->processes);
	for (size_t i = 0; i < service->port_count; i++)
		strings_clear(&service->ports[i].alpn);
	free(service->ports);
	checks_free(service->checks, service->check_count);
}

void config_free(struct app_config *config)
{
	if (!config)
		return;
	free(config->app);
	free(config->primary_region);
	pairs_free(config->env, config->env_count);
	for (size_t i = 0; i < config->group_count; i++) {
		free(config->groups[i].name);
		free(config->groups[i].command);
	}
	free(config->groups);
	for (size_t i = 0; i < config->service_count; i++)
		service_clear(&config->services[i]);
	free(config->services);
	checks_free(config->checks, config->check_count);
	free(config->build_image);
	free(config->build_dockerfile);
	free(config->build_target);
	pairs_free(config->build_args, config->build_arg_count);
	free(config);
}

bool config_has_group(const struct app_config *config, const char *group)
{
	for (size_t i = 0; i < config->group_count; i++) {
		if (!strcmp(config->groups[i].name, group))
			return true;
	}
	return false;
}

const char *config_default_group(const struct app_config *config)
{
	const char *first = NULL;

	if (config_has_group(config, "app"))
		return "app";
	for (size_t i = 0; i < config->group_count; i++) {
		if (!first || strcmp(config->groups[i].name, first) < 0)
			first = config->groups[i].name;
	}
	return first;
}

bool service_in_group(const struct service *service, const char *group)
{
	return strings_contain(&service->processes, group);
}

bool config_has_udp(const struct app_config *config)
{
	for (size_t i = 0; i < config->service_count; i++) {
		if (config->services[i].protocol == PROTOCOL_UDP)
			return true;
	}
	return false;
}

static void report_size(struct diagnostics *diags, size_t len)
{
	struct buf text _cleanup_(buf_clear) = {};
	/* Rounded up, so that a byte too many does not read as allowed. */
	size_t tenths = (len / BYTES_PER_MB) * 10 +
			((len % BYTES_PER_MB) * 10 + BYTES_PER_MB - 1) / BYTES_PER_MB;

	buf_addf(&text, "the file is %zu.%zu MB; a fly.toml is at most 1 MB", tenths / 10,
		tenths % 10);
	diagnostics_add(diags, SEVERITY_ERROR, 0, 0, text.data);
}

static struct app_config *new_config(void)
{
	struct app_config *config = NULL;
	size_t count = 0;

	array_add(config, count);
	config->kill_signal = SIGINT;
	config->kill_timeout_s = 5;
	return config;
}

static void read_all(struct parser *parser)
{
	config_read_app(parser);
	config_read_services(parser);
	config_read_checks(parser);
	config_check_claims(parser);
	free(parser->claims);
}

static struct app_config *parse(const char *text, size_t len, struct diagnostics *diags)
{
	struct toml_node *root _cleanup_(toml_freep) = NULL;
	struct toml_error error;
	struct parser parser = {};

	if (toml_parse(text, len, &root, &error) < 0) {
		struct buf message _cleanup_(buf_clear) = {};

		buf_addf(&message, "this is not valid TOML: %s", error.message);
		diagnostics_add(diags, SEVERITY_ERROR, error.line, error.column, message.data);
		return NULL;
	}
	parser = (struct parser){.root = root, .config = new_config(), .diags = diags};
	read_all(&parser);
	return parser.config;
}

int config_parse(const char *text, size_t len, const char *file_name, struct app_config **out,
	struct diagnostics *diags)
{
	struct app_config *config _cleanup_(config_freep) = NULL;

	diags->file_name = text_copy(file_name);
	if (len > CONFIG_MAX_BYTES)
		report_size(diags, len);
	else
		config = parse(text, len, diags);
	diagnostics_finish(diags);
	if (diagnostics_count(diags, SEVERITY_ERROR) > 0)
		return -EINVAL;
	*out = take_ptr(config);
	return 0;
}
