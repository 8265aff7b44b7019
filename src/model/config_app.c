/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app itself: name, environment, process groups, how it is built and stopped. Sections that
 * have nothing to do with the network belong to others and are passed over in silence.
 */
#include <string.h>

#include "model/command.h"
#include "model/config_memory.h"
#include "model/config_parts.h"
#include "model/diagnostics.h"
#include "model/signal_name.h"

#define APP_NAME_MAX	    63
#define KILL_TIMEOUT_MAX_MS 300000

static const char *const top_level_keys[] = {"app", "primary_region", "kill_signal", "kill_timeout",
	"env", "processes", "http_service", "services", "checks", "build",
	/* accepted and ignored */
	"machine_checks", "mount", "mounts", "vm", "compute", "computes", "files", "statics",
	"metric", "metrics", "restart", "deploy", "experimental", "console_command", "swap_size_mb",
	"host_dedication_id", "machine_config", "container"};

static bool has_only(const char *text, const char *more)
{
	for (; *text; text++) {
		bool is_plain = (*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9');

		if (!is_plain && !strchr(more, *text))
			return false;
	}
	return true;
}

static void read_name(struct parser *parser)
{
	const struct toml_node *node = toml_get(parser->root, "app");
	size_t len;

	if (!read_string(parser->diags, parser->root, "app", &parser->config->app))
		return;
	len = strlen(node->string);
	if (len > APP_NAME_MAX || !has_only(node->string, "-") || node->string[0] == '-' ||
		node->string[len - 1] == '-')
		report_value(parser->diags, SEVERITY_ERROR, node,
			"an app's name is lower-case letters, digits and inner dashes, at most %d",
			APP_NAME_MAX);
}

static void read_kill_signal(struct parser *parser)
{
	const struct toml_node *node = toml_get(parser->root, "kill_signal");
	struct buf names _cleanup_(buf_clear) = {};
	char *name _free_ = NULL;
	int number;

	if (!read_string(parser->diags, parser->root, "kill_signal", &name))
		return;
	number = signal_from_name(name);
	if (number > 0) {
		parser->config->kill_signal = number;
		return;
	}
	signal_names_add(&names);
	report_value(parser->diags, SEVERITY_ERROR, node, "allowed are %s", names.data);
}

static void read_kill_timeout(struct parser *parser)
{
	const struct toml_node *node = toml_get(parser->root, "kill_timeout");
	int64_t ms;

	if (!read_duration_ms(parser->diags, parser->root, "kill_timeout", BARE_SECONDS, &ms))
		return;
	if (ms > KILL_TIMEOUT_MAX_MS)
		report_value(
			parser->diags, SEVERITY_ERROR, node, "at most 300 seconds are allowed");
	else
		parser->config->kill_timeout_s = (unsigned int)((ms + 999) / 1000);
}

static void check_env_name(struct diagnostics *diags, const struct toml_node *node)
{
	if (!strncmp(node->key, "FLY_", 4))
		report_name_error(
			diags, node, "begins with FLY_; those names are set by the platform");
	else if (!*node->key || strchr(node->key, '='))
		report_name_error(diags, node,
			"is no name for a variable; one is not empty and contains no \"=\"");
}

struct env_place {
	const char *name;
	size_t index;
};

static int compare_env_places(const void *a, const void *b)
{
	const struct env_place *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

/* Of variables with one name the last stays. */
static void merge_env(struct app_config *config)
{
	struct env_place *places _free_ = NULL;
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < config->env_count; i++)
		*array_add(places, count) = (struct env_place){config->env[i].name, i};
	if (count > 0)
		qsort(places, count, sizeof(places[0]), compare_env_places);
	for (size_t i = 0; i + 1 < count; i++) {
		struct env_var *var = &config->env[places[i].index];

		if (strcmp(places[i].name, places[i + 1].name) != 0)
			continue;
		free(take_ptr(var->value));
	}
	for (size_t i = 0; i < count; i++) {
		if (config->env[i].value)
			config->env[kept++] = config->env[i];
		else
			free(config->env[i].name);
	}
	config->env_count = kept;
}

static void read_env(struct parser *parser)
{
	struct tables tables = read_tables(parser->diags, parser->root, "env");
	struct app_config *config = parser->config;

	for (size_t i = 0; i < tables.count; i++) {
		const struct toml_node *table = &tables.items[i];

		if (table->type != TOML_TABLE)
			continue;
		for (size_t k = 0; k < table->child_count; k++)
			check_env_name(parser->diags, &table->children[k]);
		read_pairs(parser->diags, table, &config->env, &config->env_count);
	}
	if (tables.count > 1)
		merge_env(config);
}

static void add_group(
	struct parser *parser, const struct toml_node *node, const char *name, const char *command)
{
	_cleanup_(strings_clear) struct strings words = {};
	struct app_config *config = parser->config;
	struct process_group *group;

	if (!*name || strlen(name) > APP_NAME_MAX ||
		!has_only(name, "-_ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
		report_name_error(parser->diags, node,
			"does not name a process group; a name is letters, digits, - and _, at "
			"most %d",
			APP_NAME_MAX);
	} else if (config_has_group(config, name)) {
		report_name_error(parser->diags, node, "names the process group %s again", name);
	} else if (config->group_count == CONFIG_MAX_NAMED) {
		report_name_error(parser->diags, node,
			"is one process group too many; at most %d are allowed", CONFIG_MAX_NAMED);
	} else if (command_split(command, &words) < 0) {
		report_name_error(parser->diags, node,
			"has a command whose quotes do not match: %s", command);
	} else {
		group = array_add(config->groups, config->group_count);
		group->name = text_copy(name);
		group->command = text_copy(command);
	}
}

static void read_group_table(struct parser *parser, const struct toml_node *table)
{
	for (size_t i = 0; i < table->child_count; i++) {
		const struct toml_node *node = &table->children[i];
		const char *command = expect_string(parser->diags, node);

		if (command)
			add_group(parser, node, node->key, command);
	}
}

static void read_group_array(struct parser *parser, struct tables tables)
{
	static const char *const keys[] = {"name", "command"};

	for (size_t i = 0; i < tables.count; i++) {
		const struct toml_node *table = &tables.items[i];
		char *name _free_ = NULL, *command _free_ = NULL;

		if (table->type != TOML_TABLE)
			continue;
		warn_unknown_keys(parser->diags, table, keys, ARRAY_LEN(keys));
		read_string(parser->diags, table, "name", &name);
		read_string(parser->diags, table, "command", &command);
		add_group(parser, table, name ? name : "", command ? command : "");
	}
}

static void read_processes(struct parser *parser)
{
	const struct toml_node *node = toml_get(parser->root, "processes");
	struct app_config *config = parser->config;
	struct process_group *group;

	if (node && node->type == TOML_TABLE)
		read_group_table(parser, node);
	else
		read_group_array(parser, read_tables(parser->diags, parser->root, "processes"));
	parser->has_processes = node && node->child_count > 0;
	if (config->group_count == 0) {
		group = array_add(config->groups, config->group_count);
		group->name = text_copy("app");
		group->command = text_copy("");
	}
}

static void read_build(struct parser *parser)
{
	const struct toml_node *build = read_table(parser->diags, parser->root, "build");
	struct app_config *config = parser->config;
	const struct toml_node *args;

	if (!build)
		return;
	read_string(parser->diags, build, "image", &config->build_image);
	read_string(parser->diags, build, "dockerfile", &config->build_dockerfile);
	read_string(parser->diags, build, "build-target", &config->build_target);
	args = read_table(parser->diags, build, "args");
	if (args)
		read_pairs(parser->diags, args, &config->build_args, &config->build_arg_count);
}

/* Ours among keys that are about how flyctl deploys, which are passed over. */
static void read_deploy(struct parser *parser)
{
	const struct toml_node *deploy = toml_get(parser->root, "deploy");

	if (deploy && deploy->type == TOML_TABLE)
		read_bool(parser->diags, deploy, "restart_elsewhere",
			&parser->config->restarts_elsewhere);
}

void config_read_app(struct parser *parser)
{
	warn_unknown_keys(parser->diags, parser->root, top_level_keys, ARRAY_LEN(top_level_keys));
	read_name(parser);
	read_string(parser->diags, parser->root, "primary_region", &parser->config->primary_region);
	read_kill_signal(parser);
	read_kill_timeout(parser);
	read_env(parser);
	read_processes(parser);
	read_build(parser);
	read_deploy(parser);
}

static void report_missing_groups(struct parser *parser, const struct toml_node *table)
{
	const struct toml_node *node = toml_get(table, "processes");

	report_error(parser->diags, node ? node : table,
		"names no processes, but the file has [processes]; add processes = [\"%s\"]",
		config_default_group(parser->config));
}

static void check_group(struct parser *parser, const struct toml_node *node, const char *name)
{
	const struct app_config *config = parser->config;
	struct buf text _cleanup_(buf_clear) = {};
	const char *names[CONFIG_MAX_NAMED];

	if (config_has_group(config, name))
		return;
	for (size_t i = 0; i < config->group_count; i++)
		names[i] = config->groups[i].name;
	buf_adds(&text, "the app's process groups are ");
	add_choices(&text, names, config->group_count);
	/* A report that will be cut is not worth a search through all groups a line. */
	if (parser->diags->count < DIAGNOSTICS_MAX)
		add_suggestion(&text, name, names, config->group_count);
	report_value(parser->diags, SEVERITY_ERROR, node, "%s", text.data);
}

void config_read_groups(struct parser *parser, const struct toml_node *table, struct strings *out)
{
	const struct toml_node *node = toml_get(table, "processes");

	read_strings(parser->diags, table, "processes", out);
	for (size_t i = 0; node && i < node->child_count; i++) {
		if (node->children[i].type == TOML_STRING)
			check_group(parser, &node->children[i], node->children[i].string);
	}
	if (out->count > 0)
		return;
	if (parser->has_processes && (!node || node->child_count == 0))
		report_missing_groups(parser, table);
	strings_add(out, config_default_group(parser->config));
}
