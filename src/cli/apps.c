/* SPDX-License-Identifier: Apache-2.0 */
/* wherry apps list|create|destroy. */
#include "cli/apps.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/times.h"

#include <string.h>

int apps_create(struct cli *cli, const char *name, json_t **out)
{
	json_auto_t *body = json_pack("{s:s}", "name", name);

	if (!body)
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"an app's name has lower-case letters, digits and dashes");
	return daemon_call(cli, "POST", "/v1/apps", body, out);
}

/* Something else may have been missing; its failure stays then. */
static bool is_missing(struct cli *cli, const char *name)
{
	_free_ char *path = api_path("/v1/apps/%s", name);
	struct failure failure = cli->failure;
	int r;

	if (failure.status != CLI_NOT_FOUND)
		return false;
	cli->failure = (struct failure){};
	r = daemon_call(cli, "GET", path, NULL, NULL);
	cli_forget(cli);
	cli->failure = failure;
	return r == CLI_NOT_FOUND;
}

int apps_offer(struct cli *cli, const char *name)
{
	if ((!cli->is_yes && !term_can_ask()) || !is_missing(cli, name))
		return (int)cli->failure.status;
	if (!term_confirm(cli, true, "There is no app %s. Create it?", name))
		return (int)cli->failure.status;
	cli_forget(cli);
	if (apps_create(cli, name, NULL) != CLI_OK)
		return (int)cli->failure.status;
	progress_line("Created app %s", name);
	return CLI_OK;
}

int apps_list_command(struct cli *cli)
{
	static const struct table_column columns[] = {{"Name", .shrinks = true}, {.title = "Owner"},
		{.title = "Status"}, {"Release", .is_right = true}, {.title = "Created"}, {}};
	_cleanup_(table_clear) struct table table = {};
	json_auto_t *apps = NULL;
	const json_t *app;
	time_t now = time(NULL);
	size_t i;
	int r = daemon_call(cli, "GET", "/v1/apps", NULL, &apps);

	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(apps);
	table_init(&table, columns);
	json_array_foreach(apps, i, app)
	{
		char release[24] = "", created[TIMES_TEXT_LEN];

		if (json_is_integer(json_object_get(app, "CurrentRelease")))
			snprintf(release, sizeof(release), "v%lld",
				(long long)field_int(app, "CurrentRelease"));
		table_row(&table, (const char *[]){field_text(app, "Name"),
					  field_text(json_object_get(app, "Organization"), "Slug"),
					  field_text(app, "Status"), release,
					  times_ago(field_text(app, "CreatedAt"), now, created)});
	}
	table_print(&table);
	return CLI_OK;
}

int apps_create_command(struct cli *cli)
{
	json_auto_t *app = NULL;
	int r = apps_create(cli, args_positional(&cli->args, 0), &app);

	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(app);
	printf("New app created: %s\n", field_text(app, "Name"));
	return CLI_OK;
}

static int destroy_one(struct cli *cli, const char *name)
{
	_free_ char *path = api_path("/v1/apps/%s", name);
	_free_ char *doing = NULL;
	json_auto_t *result = NULL;
	int r;

	if (asprintf(&doing, "Destroying app %s", name) < 0)
		abort();
	r = daemon_job(cli, doing, "DELETE", path, NULL, &result);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(result);
	printf("Destroyed app %s\n", name);
	return CLI_OK;
}

int apps_destroy_command(struct cli *cli)
{
	const char *name;
	int r;

	if (!cli->is_yes && !term_can_ask())
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"nobody can be asked here whether to destroy %s; -y says yes",
			args_positional(&cli->args, 0));
	for (size_t i = 0; (name = args_positional(&cli->args, i)); i++) {
		if (!term_confirm(
			    cli, false, "Destroy app %s with its machines and addresses?", name))
			continue;
		r = destroy_one(cli, name);
		if (r != CLI_OK)
			return r;
	}
	return CLI_OK;
}
