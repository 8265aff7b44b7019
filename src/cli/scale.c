/* SPDX-License-Identifier: Apache-2.0 */
/* wherry scale count N | GROUP=N... */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"

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
	_free_ char *group = equals ? strndup(word, (size_t)(equals - word)) : NULL;
	unsigned long count;
	int r = cli_number(cli, "the count", number, 0, COUNT_MAX, &count);

	if (r == CLI_OK && !group)
		r = default_group(cli, app, &group);
	if (r != CLI_OK)
		return r;
	if (json_object_get(counts, group))
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"the process group %s is given a count twice", group);
	json_object_set_new(counts, group, json_integer((json_int_t)count));
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
		printf("%s has %lld machine%s in the process group %s\n", app,
			(long long)json_integer_value(count),
			json_integer_value(count) == 1 ? "" : "s", group);
	return CLI_OK;
}
