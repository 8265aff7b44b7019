/* SPDX-License-Identifier: Apache-2.0 */
/* wherry ips list|allocate-v4|allocate-v6|release. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/table.h"
#include "cli/times.h"

#include <string.h>

static const struct table_column columns[] = {{.title = "Version"}, {.title = "IP"},
	{"Type", .shrinks = true}, {.title = "Region"}, {.title = "Created At"}, {}};

static void add_row(struct table *table, const json_t *ip)
{
	const char *type = field_text(ip, "Type");
	char created[TIMES_TEXT_LEN];

	table_row(table,
		(const char *[]){strcmp(type, "v6") == 0 ? "v6" : "v4", field_text(ip, "Address"),
			strcmp(type, "shared_v4") == 0 ? "public (shared)" : "public (dedicated)",
			field_text(ip, "Region"),
			times_ago(field_text(ip, "CreatedAt"), time(NULL), created)});
}

int ips_list_command(struct cli *cli)
{
	_cleanup_(table_clear) struct table table = {};
	json_auto_t *ips = NULL;
	_free_ char *path = NULL;
	const json_t *ip;
	const char *app;
	size_t i;
	int r = cli_app(cli, &app);

	if (r != CLI_OK)
		return r;
	path = api_path("/v1/apps/%s/ips", app);
	r = daemon_call(cli, "GET", path, NULL, &ips);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(ips);
	table_init(&table, columns);
	json_array_foreach(ips, i, ip) add_row(&table, ip);
	table_print(&table);
	return CLI_OK;
}

static int allocate(struct cli *cli, const char *type)
{
	const char *region = args_get(&cli->args, "region"), *app;
	_cleanup_(table_clear) struct table table = {};
	json_auto_t *body = json_pack("{s:s}", "type", type), *ip = NULL;
	_free_ char *path = NULL;
	int r = cli_app(cli, &app);

	if (r != CLI_OK)
		return r;
	if (region)
		json_object_set_new(body, "region", json_string(region));
	path = api_path("/v1/apps/%s/ips", app);
	r = daemon_call(cli, "POST", path, body, &ip);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(ip);
	table_init(&table, columns);
	add_row(&table, ip);
	table_print(&table);
	return CLI_OK;
}

int ips_allocate_v4_command(struct cli *cli)
{
	return allocate(cli, args_has(&cli->args, "shared") ? "shared_v4" : "v4");
}

int ips_allocate_v6_command(struct cli *cli)
{
	return allocate(cli, "v6");
}

int ips_release_command(struct cli *cli)
{
	const char *app, *address;
	int r = cli_app(cli, &app);

	for (size_t i = 0; r == CLI_OK && (address = args_positional(&cli->args, i)); i++) {
		_free_ char *path = api_path("/v1/apps/%s/ips/%s", app, address);
		json_auto_t *released = NULL;

		r = daemon_call(cli, "DELETE", path, NULL, &released);
		if (r == CLI_OK && cli->is_json)
			cli_print_json(released);
		else if (r == CLI_OK)
			printf("Released %s from %s\n", address, app);
	}
	return r;
}
