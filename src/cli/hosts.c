/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry hosts list|status: the hosts of the fleet, and what each measures of the others. Without a
 * host, status shows every pair: as a matrix while that fits a terminal, else line by line.
 */
#include "cli/hosts.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/table.h"
#include "cli/times.h"

#include <string.h>

#define CELL_LEN	 32
#define MATRIX_MAX_HOSTS 6 /* a name and a time each, in 80 columns */

int hosts_get(struct cli *cli, const char *name, json_t **out)
{
	_free_ char *path = api_path("/v1/hosts/%s", name);

	return daemon_call(cli, "GET", path, NULL, out);
}

static char *join(const json_t *array, const char *between)
{
	struct buf text = {};
	const json_t *item;
	size_t i;

	buf_adds(&text, "");
	json_array_foreach(array, i, item)
		buf_addf(&text, "%s%s", i ? between : "", json_string_value(item));
	return buf_take(&text);
}

/* "0.42ms", "12.3ms", "240ms"; "" when nothing was measured. */
static const char *format_rtt(const json_t *link, char out[static CELL_LEN])
{
	const json_t *rtt = json_object_get(link, "rtt_us");
	const double ms = (double)json_integer_value(rtt) / 1000;

	out[0] = '\0';
	if (json_integer_value(rtt))
		snprintf(out, CELL_LEN, "%.*fms", ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
	return out;
}

static const char *format_loss(const json_t *link, char out[static CELL_LEN])
{
	const json_t *loss = json_object_get(link, "loss_permille");

	out[0] = '\0';
	if (json_is_integer(loss))
		snprintf(out, CELL_LEN, "%.1f%%", (double)json_integer_value(loss) / 10);
	return out;
}

int hosts_list_command(struct cli *cli)
{
	static const struct table_column columns[] = {{"ID", .is_right = true},
		{"Name", .shrinks = true}, {"Region", .shrinks = true}, {.title = "Roles"},
		{.title = "Status"}, {"Machines", .is_right = true}, {"RTT", .is_right = true},
		{"Loss", .is_right = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	json_auto_t *hosts = NULL;
	const json_t *host;
	size_t i;
	int r = daemon_call(cli, "GET", "/v1/hosts", NULL, &hosts);

	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(hosts);
	table_init(&table, columns);
	json_array_foreach(hosts, i, host)
	{
		_free_ char *roles = join(json_object_get(host, "roles"), ",");
		char id[24], machines[24], rtt[CELL_LEN], loss[CELL_LEN];

		snprintf(id, sizeof(id), "%lld", (long long)field_int(host, "id"));
		snprintf(machines, sizeof(machines), "%lld",
			(long long)field_int(host, "machine_count"));
		table_row(&table,
			(const char *[]){id, field_text(host, "name"), field_text(host, "region"),
				roles, field_text(host, "status"), machines,
				field_bool(host, "self") ? "this host" : format_rtt(host, rtt),
				format_loss(host, loss)});
	}
	table_print(&table);
	return CLI_OK;
}

/* Pairs */

static const json_t *link_to(const json_t *host, json_int_t id)
{
	const json_t *link;
	size_t i;

	json_array_foreach(json_object_get(host, "links"), i,
		link) if (field_int(link, "id") == id) return json_object_get(link, "to");
	return NULL;
}

static const char *state_of(const json_t *link)
{
	const char *state = field_text(link, "state");

	return *state ? state : "unknown";
}

static void format_cell(const json_t *link, char out[static CELL_LEN])
{
	char rtt[CELL_LEN];

	if (strcmp(state_of(link), "reachable") != 0)
		snprintf(out, CELL_LEN, "%s",
			strcmp(state_of(link), "unreachable") == 0 ? "lost" : "?");
	else if (field_int(link, "loss_permille"))
		snprintf(out, CELL_LEN, "%s -%lld%%", format_rtt(link, rtt),
			(long long)(field_int(link, "loss_permille") + 9) / 10);
	else
		format_rtt(link, out);
}

static void print_matrix(const json_t *hosts)
{
	struct table_column columns[MATRIX_MAX_HOSTS + 2] = {{.title = "From \\ To"}};
	_cleanup_(table_clear) struct table table = {};
	const json_t *from, *to;
	size_t i, j;

	json_array_foreach(hosts, i, to) columns[i + 1] =
		(struct table_column){field_text(to, "name"), .is_right = true};
	table_init(&table, columns);
	json_array_foreach(hosts, i, from)
	{
		char cells[MATRIX_MAX_HOSTS][CELL_LEN];
		const char *row[MATRIX_MAX_HOSTS + 1] = {field_text(from, "name")};

		json_array_foreach(hosts, j, to)
		{
			if (i == j)
				snprintf(cells[j], CELL_LEN, "-");
			else
				format_cell(link_to(from, field_int(to, "id")), cells[j]);
			row[j + 1] = cells[j];
		}
		table_row(&table, row);
	}
	table_print(&table);
}

static void print_pairs(const json_t *hosts)
{
	static const struct table_column columns[] = {{"From", .shrinks = true},
		{"To", .shrinks = true}, {.title = "State"}, {"RTT", .is_right = true},
		{"Loss", .is_right = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	const json_t *from, *link;
	size_t i, j;

	table_init(&table, columns);
	json_array_foreach(hosts, i, from)
		json_array_foreach(json_object_get(from, "links"), j, link)
	{
		const json_t *to = json_object_get(link, "to");
		char rtt[CELL_LEN], loss[CELL_LEN];

		table_row(
			&table, (const char *[]){field_text(from, "name"), field_text(link, "name"),
					state_of(to), format_rtt(to, rtt), format_loss(to, loss)});
	}
	table_print(&table);
}

static int print_all(struct cli *cli)
{
	json_auto_t *hosts = NULL;
	int r = daemon_call(cli, "GET", "/v1/hosts?links=1", NULL, &hosts);

	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(hosts);
	puts("Round trips over the mesh, and what was lost of the last 30 s");
	if (json_array_size(hosts) <= MATRIX_MAX_HOSTS)
		print_matrix(hosts);
	else
		print_pairs(hosts);
	return CLI_OK;
}

/* One host */

static void print_links(const json_t *links)
{
	static const struct table_column columns[] = {{"Host", .shrinks = true}, {.title = "To It"},
		{"RTT", .is_right = true}, {"Loss", .is_right = true}, {.title = "From It"},
		{"RTT", .is_right = true}, {"Loss", .is_right = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	const json_t *link;
	size_t i;

	if (!json_array_size(links))
		return;
	table_init(&table, columns);
	json_array_foreach(links, i, link)
	{
		const json_t *to = json_object_get(link, "to"),
			     *from = json_object_get(link, "from");
		char rtt[2][CELL_LEN], loss[2][CELL_LEN];

		table_row(&table,
			(const char *[]){field_text(link, "name"), state_of(to),
				format_rtt(to, rtt[0]), format_loss(to, loss[0]), state_of(from),
				format_rtt(from, rtt[1]), format_loss(from, loss[1])});
	}
	puts("\nRound Trips");
	table_print(&table);
}

static void print_machines(const json_t *machines)
{
	static const struct table_column columns[] = {{.title = "ID"}, {"App", .shrinks = true},
		{"Process", .shrinks = true}, {.title = "State"}, {.title = "Managed"}, {}};
	_cleanup_(table_clear) struct table table = {};
	const json_t *machine;
	size_t i;

	if (!json_array_size(machines))
		return;
	table_init(&table, columns);
	json_array_foreach(machines, i, machine) table_row(
		&table, (const char *[]){field_text(machine, "id"), field_text(machine, "app"),
				field_text(machine, "process_group"), field_text(machine, "state"),
				field_bool(machine, "managed") ? "yes" : "no"});
	puts("\nMachines");
	table_print(&table);
}

static void print_host(const json_t *host)
{
	_free_ char *roles = join(json_object_get(host, "roles"), ", ");
	_free_ char *slices = join(json_object_get(host, "slices"), ", ");
	_free_ char *pools = join(json_object_get(host, "pools"), ", ");
	char id[24], started[TIMES_TEXT_LEN], joined[TIMES_TEXT_LEN];

	snprintf(id, sizeof(id), "%lld", (long long)field_int(host, "id"));
	puts("Host");
	table_print_fields((const struct table_field[]){
		{"ID", id},
		{"Name", field_text(host, "name")},
		{"Region", field_text(host, "region")},
		{"Roles", roles},
		{"Status", field_text(host, "status")},
		{"Endpoint", field_text(host, "endpoint")},
		{"Public Key", field_text(host, "public_key")},
		{"Mesh IPv4", field_text(host, "mesh_v4")},
		{"Mesh IPv6", field_text(host, "mesh_v6")},
		{"Machine Pool", slices},
		{"Public Pools", pools},
		{"Version", field_text(host, "version")},
		{"Started", times_whole(field_text(host, "started_at"), started)},
		{"Joined", times_whole(field_text(host, "joined_at"), joined)},
		{},
	});
	print_links(json_object_get(host, "links"));
	print_machines(json_object_get(host, "machines"));
}

int hosts_status_command(struct cli *cli)
{
	const char *name = args_positional(&cli->args, 0);
	json_auto_t *host = NULL;
	int r;

	if (!name)
		return print_all(cli);
	r = hosts_get(cli, name, &host);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(host);
	print_host(host);
	return CLI_OK;
}
