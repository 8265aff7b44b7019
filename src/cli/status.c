/* SPDX-License-Identifier: Apache-2.0 */
/* wherry status: the app, then its machines. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/machine.h"
#include "cli/table.h"
#include "cli/times.h"

#include <string.h>

static void print_machines(const json_t *machines, bool with_hosts)
{
	static const struct table_column columns[] = {{"Process", .shrinks = true}, {.title = "ID"},
		{"Version", .is_right = true}, {"Region", .shrinks = true}, {.title = "State"},
		{"Checks", .shrinks = true}, {.title = "Last Updated"}, {}};
	static const struct table_column fleet_columns[] = {{"Process", .shrinks = true},
		{.title = "ID"}, {"Version", .is_right = true}, {"Region", .shrinks = true},
		{"Host", .shrinks = true}, {.title = "State"}, {"Checks", .shrinks = true},
		{.title = "Updated"}, {}};
	_cleanup_(table_clear) struct table table = {};
	time_t now = time(NULL);
	const json_t *machine;
	size_t i;

	table_init(&table, with_hosts ? fleet_columns : columns);
	json_array_foreach(machines, i, machine)
	{
		const char *at = field_text(machine, "updated_at");
		char version[24] = "", updated[TIMES_TEXT_LEN], checks[MACHINE_CHECKS_LEN];
		const char *cells[9];
		size_t n = 0;

		if (json_is_integer(json_object_get(machine, "release")))
			snprintf(version, sizeof(version), "%lld",
				(long long)field_int(machine, "release"));
		cells[n++] = field_text(machine, "process_group");
		cells[n++] = field_text(machine, "id");
		cells[n++] = version;
		cells[n++] = field_text(machine, "region");
		if (with_hosts)
			cells[n++] = field_text(machine, "host");
		cells[n++] = machine_state(machine);
		cells[n++] = machine_checks(machine, checks);
		cells[n++] = with_hosts ? times_ago(at, now, updated) : times_whole(at, updated);
		table_row(&table, cells);
	}
	table_print(&table);
}

/* What is shown may be old then, and nothing can be changed. */
static void warn_of_store(struct cli *cli)
{
	json_auto_t *info = NULL;
	_free_ char *text = NULL;
	const char *away;

	if (daemon_call(cli, "GET", "/v1/info", NULL, &info) != CLI_OK) {
		cli_forget(cli);
		return;
	}
	away = field_text(json_object_get(info, "store"), "away");
	if (!*away)
		return;
	if (asprintf(&text,
		    "the catalog is away: %s. What is shown is as this host knew it last; traffic "
		    "goes on, and changes are refused",
		    away) < 0)
		abort();
	cli_warn(cli, "", text);
}

int status_command(struct cli *cli)
{
	const json_t *machines;
	json_auto_t *app = NULL;
	_free_ char *path = NULL;
	char release[24] = "none";
	const char *name;
	int r = cli_app(cli, &name);

	if (r != CLI_OK)
		return r;
	path = api_path("/v1/apps/%s", name);
	r = daemon_call(cli, "GET", path, NULL, &app);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(app);
	if (json_is_integer(json_object_get(app, "CurrentRelease")))
		snprintf(release, sizeof(release), "v%lld",
			(long long)field_int(app, "CurrentRelease"));
	puts("App");
	table_print_fields((const struct table_field[]){
		{"Name", field_text(app, "Name")},
		{"Owner", field_text(json_object_get(app, "Organization"), "Slug")},
		{"Hostname", field_text(app, "Hostname")},
		{"Image", field_text(app, "ImageRef")},
		{"Status", field_text(app, "Status")},
		{"Release", release},
		{},
	});
	machines = json_object_get(app, "Machines");
	warn_of_store(cli);
	puts("\nMachines");
	if (json_array_size(machines))
		print_machines(machines, machine_is_fleet(cli));
	else
		puts("  none; wherry deploy makes them");
	return CLI_OK;
}
