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

static void print_machines(const json_t *machines)
{
	static const struct table_column columns[] = {{"Process", .shrinks = true}, {.title = "ID"},
		{"Version", .is_right = true}, {"Region", .shrinks = true}, {.title = "State"},
		{"Checks", .shrinks = true}, {.title = "Last Updated"}, {}};
	_cleanup_(table_clear) struct table table = {};
	const json_t *machine;
	size_t i;

	table_init(&table, columns);
	json_array_foreach(machines, i, machine)
	{
		char version[24] = "", updated[TIMES_TEXT_LEN], checks[MACHINE_CHECKS_LEN];

		if (json_is_integer(json_object_get(machine, "release")))
			snprintf(version, sizeof(version), "%lld",
				(long long)field_int(machine, "release"));
		table_row(&table,
			(const char *[]){field_text(machine, "process_group"),
				field_text(machine, "id"), version, field_text(machine, "region"),
				machine_state(machine), machine_checks(machine, checks),
				times_whole(field_text(machine, "updated_at"), updated)});
	}
	table_print(&table);
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
	puts("\nMachines");
	if (json_array_size(machines))
		print_machines(machines);
	else
		puts("  none; wherry deploy makes them");
	return CLI_OK;
}
