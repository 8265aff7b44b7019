/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry checks list: a row for each check of each machine, as its host last found it. "Updated"
 * is when the status changed, not when the check last looked.
 */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/table.h"
#include "cli/times.h"

static void print_checks(const json_t *checks)
{
	static const struct table_column columns[] = {{"Name", .shrinks = true},
		{.title = "Status"}, {.title = "Machine"}, {"Host", .shrinks = true},
		{.title = "Updated"}, {"Output", .shrinks = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	time_t now = time(NULL);
	const json_t *check;
	size_t i;

	table_init(&table, columns);
	json_array_foreach(checks, i, check)
	{
		char updated[TIMES_TEXT_LEN];

		table_row(&table,
			(const char *[]){field_text(check, "name"), field_text(check, "status"),
				field_text(check, "machine"), field_text(check, "host"),
				times_ago(field_text(check, "updated_at"), now, updated),
				field_text(check, "output")});
	}
	table_print(&table);
}

int checks_list_command(struct cli *cli)
{
	json_auto_t *checks = NULL;
	_free_ char *path = NULL;
	const char *app;
	int r = cli_app(cli, &app);

	if (r != CLI_OK)
		return r;
	path = api_path("/v1/apps/%s/checks", app);
	r = daemon_call(cli, "GET", path, NULL, &checks);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(checks);
	if (json_array_size(checks) == 0)
		printf("No machine of %s has checks; fly.toml(5) says how to write some\n", app);
	else
		print_checks(checks);
	return CLI_OK;
}
