/* SPDX-License-Identifier: Apache-2.0 */
/* wherry machine list|status; see machine.h. */
#include "cli/machine.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/table.h"
#include "cli/times.h"

#include <string.h>

const char *machine_state(const json_t *machine)
{
	const char *state = field_text(machine, "state");

	if (field_bool(machine, "draining") && strcmp(state, "started") == 0)
		return "draining";
	return state;
}

char *machine_checks(const json_t *machine, char text[static MACHINE_CHECKS_LEN])
{
	const json_t *checks = json_object_get(machine, "checks"), *check;
	size_t i, passing = 0, total = json_array_size(checks);

	json_array_foreach(checks, i, check) passing +=
		strcmp(field_text(check, "status"), "passing") == 0;
	text[0] = '\0';
	if (total)
		snprintf(text, MACHINE_CHECKS_LEN, "%zu total, %zu passing", total, passing);
	return text;
}

static char *image_text(const json_t *machine)
{
	const json_t *image = json_object_get(machine, "image_ref");
	const char *repository = field_text(image, "repository"), *tag = field_text(image, "tag");
	struct buf text = {};

	if (*repository)
		buf_addf(&text, "%s%s%s", repository, *tag ? ":" : "", tag);
	else if (strcmp(field_text(machine, "kind"), "attached") == 0)
		buf_addf(&text, "netns %s", field_text(machine, "netns"));
	else if (strcmp(field_text(machine, "kind"), "rootfs") == 0)
		buf_adds(&text, "rootfs");
	else
		buf_adds(&text, field_text(json_object_get(machine, "config"), "image"));
	return buf_take(&text);
}

int machine_get(struct cli *cli, const char *id, json_t **out)
{
	_free_ char *path = api_path("/v1/machines/%s", id);

	return daemon_call(cli, "GET", path, NULL, out);
}

static void print_ids(const json_t *machines)
{
	const json_t *machine;
	size_t i;

	json_array_foreach(machines, i, machine) puts(field_text(machine, "id"));
}

bool machine_is_fleet(struct cli *cli)
{
	json_auto_t *hosts = NULL;
	int r = daemon_call(cli, "GET", "/v1/hosts", NULL, &hosts);

	if (r != CLI_OK)
		cli_forget(cli);
	return r == CLI_OK && json_array_size(hosts) > 1;
}

/* The image is left to "machine status": with it, the usual table would not fit 80 columns. */
static void print_table(const json_t *machines, bool with_hosts)
{
	static const struct table_column columns[] = {{.title = "ID"}, {"Name", .shrinks = true},
		{.title = "State"}, {"Region", .shrinks = true}, {"Process", .shrinks = true},
		{.title = "IP Address"}, {.title = "Updated"}, {}};
	/* With it, the name makes way: it is the group and the ID again. */
	static const struct table_column fleet_columns[] = {{.title = "ID"},
		{"Host", .shrinks = true}, {.title = "State"}, {"Region", .shrinks = true},
		{"Process", .shrinks = true}, {.title = "IP Address"}, {.title = "Updated"}, {}};
	_cleanup_(table_clear) struct table table = {};
	time_t now = time(NULL);
	const json_t *machine;
	size_t i;

	table_init(&table, with_hosts ? fleet_columns : columns);
	json_array_foreach(machines, i, machine)
	{
		const json_t *addresses = json_object_get(machine, "addresses");
		char updated[TIMES_TEXT_LEN];

		table_row(&table,
			(const char *[]){field_text(machine, "id"),
				field_text(machine, with_hosts ? "host" : "name"),
				machine_state(machine), field_text(machine, "region"),
				field_text(machine, "process_group"),
				field_text(addresses, "primary"),
				times_ago(field_text(machine, "updated_at"), now, updated)});
	}
	table_print(&table);
}

int machine_list_command(struct cli *cli)
{
	json_auto_t *machines = NULL;
	_free_ char *path = NULL;
	const char *app;
	int r = cli_app(cli, &app);

	if (r != CLI_OK)
		return r;
	path = api_path("/v1/apps/%s/machines", app);
	r = daemon_call(cli, "GET", path, NULL, &machines);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(machines);
	if (cli->is_quiet) {
		print_ids(machines);
		return CLI_OK;
	}
	puts(app);
	print_table(machines, machine_is_fleet(cli));
	return CLI_OK;
}

static void print_events(const json_t *events)
{
	static const struct table_column columns[] = {{.title = "State"}, {.title = "Event"},
		{.title = "Source"}, {.title = "Timestamp"}, {"Info", .shrinks = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	const json_t *event;
	size_t i;

	if (json_array_size(events) == 0)
		return;
	table_init(&table, columns);
	json_array_foreach(events, i, event)
	{
		char at[TIMES_TEXT_LEN];

		table_row(&table, (const char *[]){field_text(event, "status"),
					  field_text(event, "type"), field_text(event, "source"),
					  times_whole(field_text(event, "timestamp"), at),
					  field_text(event, "message")});
	}
	puts("\nEvent Logs");
	table_print(&table);
}

static void add_sockets(struct buf *text, const json_t *sockets)
{
	const json_t *one;
	size_t i;

	buf_adds(text, "");
	json_array_foreach(sockets, i, one)
	{
		const char *address = field_text(one, "address");
		bool is_v6 = strchr(address, ':');

		buf_addf(text, "%s%s %s%s%s:%lld", i ? ", " : "", field_text(one, "protocol"),
			is_v6 ? "[" : "", address, is_v6 ? "]" : "",
			(long long)field_int(one, "port"));
	}
}

static void print_machine(const json_t *machine)
{
	const json_t *addresses = json_object_get(machine, "addresses");
	const json_t *exit_code = json_object_get(machine, "exit_code");
	_cleanup_(buf_clear) struct buf sockets = {}, pid = {}, exited = {};
	char created[TIMES_TEXT_LEN], updated[TIMES_TEXT_LEN], checks[MACHINE_CHECKS_LEN];
	char restarts[24], release[24] = "";
	_free_ char *image = image_text(machine);

	add_sockets(&sockets, json_object_get(machine, "sockets"));
	buf_adds(&pid, "");
	if (field_int(machine, "pid"))
		buf_addf(&pid, "%lld", (long long)field_int(machine, "pid"));
	buf_adds(&exited, "");
	if (json_is_integer(exit_code))
		buf_addf(&exited, "%lld", (long long)json_integer_value(exit_code));
	if (json_is_integer(json_object_get(machine, "release")))
		snprintf(
			release, sizeof(release), "%lld", (long long)field_int(machine, "release"));
	snprintf(restarts, sizeof(restarts), "%lld", (long long)field_int(machine, "restarts"));
	printf("Machine ID: %s\nState: %s\n\nVM\n", field_text(machine, "id"),
		machine_state(machine));
	table_print_fields((const struct table_field[]){
		{"ID", field_text(machine, "id")},
		{"Instance ID", field_text(machine, "instance_id")},
		{"State", machine_state(machine)},
		{"App", field_text(machine, "app")},
		{"Name", field_text(machine, "name")},
		{"Kind", field_text(machine, "kind")},
		{"Image", image},
		{"Region", field_text(machine, "region")},
		{"Host", field_text(machine, "host")},
		{"Process Group", field_text(machine, "process_group")},
		{"Release", release},
		{"Checks", machine_checks(machine, checks)},
		{"Primary IP", field_text(addresses, "primary")},
		{"Service IP", field_text(addresses, "service")},
		{"Private IP", field_text(machine, "private_ip")},
		{"Namespace", field_text(machine, "netns")},
		{"Sockets", sockets.data},
		{"PID", pid.data},
		{"Restarts", restarts},
		{"Exit Code", exited.data},
		{"Created", times_whole(field_text(machine, "created_at"), created)},
		{"Updated", times_whole(field_text(machine, "updated_at"), updated)},
		{},
	});
	print_events(json_object_get(machine, "events"));
}

int machine_status_command(struct cli *cli)
{
	json_auto_t *machine = NULL;
	int r = machine_get(cli, args_positional(&cli->args, 0), &machine);

	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(machine);
	print_machine(machine);
	return CLI_OK;
}
