/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry scale count N | GROUP=N..., and show. In the API a count for one region stands under
 * "GROUP@REGION".
 */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/table.h"

#include <string.h>

#define COUNT_MAX 1000

/* The group a bare number is for: the flag's, else the app's only one as it is deployed. */
static int default_group(struct cli *cli, const char *app, char **group)
{
	const char *given = args_get(&cli->args, "process-group");
	_free_ char *path = api_path("/v1/apps/%s/config", app);
	const json_t *processes;
	json_auto_t *reply = NULL;
	int r;

	if (given) {
		*group = strdup(given);
		return CLI_OK;
	}
	r = daemon_call(cli, "GET", path, NULL, &reply);
	if (r != CLI_OK)
		return r;
	processes = json_object_get(json_object_get(reply, "definition"), "processes");
	if (json_object_size(processes) > 1)
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"%s has %zu process groups; say which with --process-group, or "
			"GROUP=N",
			app, json_object_size(processes));
	if (json_object_size(processes) == 1)
		*group = strdup(json_object_iter_key(json_object_iter((json_t *)processes)));
	else
		*group = strdup("app");
	return CLI_OK;
}

static int add_count(struct cli *cli, const char *app, const char *word, json_t *counts)
{
	const char *equals = strchr(word, '='), *number = equals ? equals + 1 : word;
	const char *region = args_get(&cli->args, "region");
	_free_ char *key = NULL;
	_free_ char *group = equals ? strndup(word, (size_t)(equals - word)) : NULL;
	unsigned long count;
	int r = cli_number(cli, "the count", number, 0, COUNT_MAX, &count);

	if (r == CLI_OK && !group)
		r = default_group(cli, app, &group);
	if (r != CLI_OK)
		return r;
	if (asprintf(&key, "%s%s%s", group, region ? "@" : "", region ? region : "") < 0)
		abort();
	if (json_object_get(counts, key))
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"the process group %s is given a count twice", group);
	json_object_set_new(counts, key, json_integer((json_int_t)count));
	return CLI_OK;
}

int scale_count_command(struct cli *cli)
{
	json_auto_t *counts = json_object(), *body = NULL, *result = NULL;
	_cleanup_(buf_clear) struct buf doing = {};
	_free_ char *path = NULL;
	const char *app, *word, *group;
	json_t *count;
	int r = cli_app(cli, &app);

	for (size_t i = 0; r == CLI_OK && (word = args_positional(&cli->args, i)); i++)
		r = add_count(cli, app, word, counts);
	if (r != CLI_OK)
		return r;
	path = api_path("/v1/apps/%s/scale", app);
	body = json_pack("{s:O}", "counts", counts);
	buf_addf(&doing, "Scaling %s", app);
	r = daemon_job(cli, doing.data, "POST", path, body, &result);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(result);
	json_object_foreach(counts, group, count)
	{
		const int len = (int)strcspn(group, "@");

		printf("%s has %lld machine%s in the process group %.*s%s%s\n", app,
			(long long)json_integer_value(count),
			json_integer_value(count) == 1 ? "" : "s", len, group,
			group[len] ? " in region " : "", group[len] ? group + len + 1 : "");
	}
	return CLI_OK;
}

/* "fra(2),sin": the regions of the group's machines. */
static char *regions_of(const json_t *machines, const char *group, size_t *total)
{
	json_auto_t *regions = json_object();
	const json_t *machine;
	struct buf text = {};
	const char *region;
	json_t *count;
	size_t i;

	*total = 0;
	json_array_foreach(machines, i, machine)
	{
		region = field_text(machine, "region");
		if (strcmp(field_text(machine, "process_group"), group) != 0 ||
			!field_bool(machine, "managed"))
			continue;
		json_object_set_new(regions, region, json_integer(field_int(regions, region) + 1));
		++*total;
	}
	buf_adds(&text, "");
	json_object_foreach(regions, region, count)
	{
		buf_addf(&text, "%s%s", text.len ? "," : "", region);
		if (json_integer_value(count) > 1)
			buf_addf(&text, "(%lld)", (long long)json_integer_value(count));
	}
	return buf_take(&text);
}

/* "2", or "2 in fra, 1 elsewhere": what is wanted. */
static char *wanted_of(const json_t *counts, const char *group)
{
	const size_t len = strlen(group);
	bool has_regions = false;
	struct buf text = {};
	const char *key;
	json_t *count;

	json_object_foreach((json_t *)counts, key, count)
	{
		if (strncmp(key, group, len) != 0 || key[len] != '@')
			continue;
		buf_addf(&text, "%s%lld in %s", has_regions ? ", " : "",
			(long long)json_integer_value(count), key + len + 1);
		has_regions = true;
	}
	count = json_object_get(counts, group);
	if (!has_regions)
		buf_addf(&text, "%lld", count ? (long long)json_integer_value(count) : 1);
	else if (json_integer_value(count))
		buf_addf(&text, ", %lld elsewhere", (long long)json_integer_value(count));
	return buf_take(&text);
}

int scale_show_command(struct cli *cli)
{
	static const struct table_column columns[] = {{"Process", .shrinks = true},
		{"Wanted", .shrinks = true}, {"Machines", .is_right = true},
		{"Regions", .shrinks = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	json_auto_t *reply = NULL, *config = NULL;
	_free_ char *app_path = NULL, *config_path = NULL;
	const char *app, *group;
	json_t *command;
	int r = cli_app(cli, &app);

	if (r != CLI_OK)
		return r;
	app_path = api_path("/v1/apps/%s", app);
	config_path = api_path("/v1/apps/%s/config", app);
	r = daemon_call(cli, "GET", app_path, NULL, &reply);
	if (r == CLI_OK)
		r = daemon_call(cli, "GET", config_path, NULL, &config);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(json_object_get(reply, "Counts"));
	table_init(&table, columns);
	json_object_foreach(
		json_object_get(json_object_get(config, "definition"), "processes"), group, command)
	{
		char machines[24];
		size_t total;
		_free_ char *regions =
			regions_of(json_object_get(reply, "Machines"), group, &total);
		_free_ char *wanted = wanted_of(json_object_get(reply, "Counts"), group);

		snprintf(machines, sizeof(machines), "%zu", total);
		table_row(&table, (const char *[]){group, wanted, machines, regions});
	}
	printf("%s\n", app);
	table_print(&table);
	return CLI_OK;
}
