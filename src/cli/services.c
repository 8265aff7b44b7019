/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry services list: a row for each port or range, because that is what a client dials. A range
 * is shown whole; a UDP range keeps its ports, any other one ends in one internal port. What is not
 * served is said below the table.
 */
#include "cli/services.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/table.h"

#include <string.h>

static char *join(const json_t *array, const char *between)
{
	struct buf text = {};
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
		buf_addf(&text, "%s%s", i ? between : "", json_string_value(item));
	return buf_take(&text);
}

char *services_format_ports(const json_t *service, const char *ports)
{
	bool keeps_ports = strcmp(field_text(service, "Protocol"), "udp") == 0;
	struct buf text = {};

	if (keeps_ports && strchr(ports, '-'))
		buf_adds(&text, ports);
	else if (keeps_ports)
		buf_addf(&text, "%s => %s", ports, ports);
	else
		buf_addf(&text, "%s => %lld", ports, (long long)field_int(service, "InternalPort"));
	return buf_take(&text);
}

static void add_rows(struct table *table, const json_t *service)
{
	_free_ char *names = join(json_object_get(service, "Handlers"), ",");
	_free_ char *regions = join(json_object_get(service, "Regions"), ",");
	_free_ char *handlers = NULL;
	const json_t *ports;
	char machines[24], protocol[8];
	size_t i;

	if (asprintf(&handlers, "[%s]", names) < 0)
		abort();
	snprintf(machines, sizeof(machines), "%lld", (long long)field_int(service, "Machines"));
	snprintf(protocol, sizeof(protocol), "%s", field_text(service, "Protocol"));
	for (char *c = protocol; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	json_array_foreach(json_object_get(service, "Ports"), i, ports)
	{
		const char *range = json_string_value(ports);
		_free_ char *text = services_format_ports(service, range ? range : "");

		table_row(table, (const char *[]){protocol, text, handlers,
					 field_bool(service, "ForceHTTPS") ? "True" : "False",
					 field_text(service, "ProcessGroup"), regions, machines});
	}
}

static void print_note(const json_t *service)
{
	_free_ char *ports = join(json_object_get(service, "Ports"), ", ");
	const char *note = field_text(service, "Note");

	if (!field_bool(service, "Served"))
		printf("%s %s is not served%s%s\n", field_text(service, "Protocol"), ports,
			*note ? ": " : "", note);
	else if (*note)
		printf("%s %s: %s\n", field_text(service, "Protocol"), ports, note);
}

int services_list_command(struct cli *cli)
{
	static const struct table_column columns[] = {{.title = "Protocol"}, {.title = "Ports"},
		{"Handlers", .shrinks = true}, {.title = "Force HTTPS"},
		{"Process Group", .shrinks = true}, {"Regions", .shrinks = true},
		{"Machines", .is_right = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	json_auto_t *services = NULL;
	_free_ char *path = NULL;
	const json_t *service;
	const char *app;
	size_t i;
	int r = cli_app(cli, &app);

	if (r != CLI_OK)
		return r;
	path = api_path("/v1/apps/%s/services", app);
	r = daemon_call(cli, "GET", path, NULL, &services);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(services);
	table_init(&table, columns);
	json_array_foreach(services, i, service) add_rows(&table, service);
	puts("Services");
	table_print(&table);
	json_array_foreach(services, i, service) print_note(service);
	return CLI_OK;
}
