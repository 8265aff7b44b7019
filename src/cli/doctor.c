/* SPDX-License-Identifier: Apache-2.0 */
/* wherry doctor: checks, sizes, and what was dropped under which reason. */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/width.h"

#include <string.h>

#define STATUS_COLUMNS 6
#define REASON_COLUMNS 2 /* the sentences under a table of counters */

static void print_check(const json_t *check)
{
	const char *status = field_text(check, "status");
	enum term_colour colour = strcmp(status, "ok") == 0	? TERM_GREEN
				  : strcmp(status, "warn") == 0 ? TERM_YELLOW
								: TERM_RED;
	_cleanup_(buf_clear) struct buf text = {}, wrapped = {};

	buf_addf(&text, "%s: %s", field_text(check, "name"), field_text(check, "message"));
	width_wrap(&wrapped, text.data, STATUS_COLUMNS, term_width(stdout));
	printf("%s%-*s%s%s", term_colour(stdout, colour), STATUS_COLUMNS, status,
		term_colour(stdout, TERM_PLAIN), wrapped.data);
}

static void print_mtu(const json_t *mtu)
{
	_cleanup_(buf_clear) struct buf text = {}, wrapped = {};

	if (!mtu)
		return;
	if (json_object_get(mtu, "mesh_bytes"))
		buf_addf(&text,
			"Sizes in bytes: underlay (%s) %lld, mesh MTU %lld, largest packet of a "
			"client %lld (%lld of UDP payload), machine MTU %lld; the way to a machine "
			"of another host costs %lld",
			field_text(mtu, "underlay"), (long long)field_int(mtu, "underlay_bytes"),
			(long long)field_int(mtu, "mesh_bytes"),
			(long long)field_int(mtu, "largest_bytes"),
			(long long)field_int(mtu, "payload_bytes"),
			(long long)field_int(mtu, "machine_bytes"),
			(long long)field_int(mtu, "overhead_bytes"));
	else
		buf_addf(&text,
			"Sizes in bytes: public MTU %lld, machine MTU %lld, largest UDP payload "
			"%lld",
			(long long)field_int(mtu, "public_bytes"),
			(long long)field_int(mtu, "machine_bytes"),
			(long long)field_int(mtu, "payload_bytes"));
	width_wrap(&wrapped, text.data, 0, term_width(stdout));
	printf("\n%s", wrapped.data);
}

/* What is zero is left out: there are many reasons, and the few that happened matter. */
static void print_reasons(const json_t *counters, const json_t *reasons)
{
	_cleanup_(buf_clear) struct buf wrapped = {};
	const char *reason;
	json_t *packets;

	json_object_foreach((json_t *)counters, reason, packets)
	{
		_cleanup_(buf_clear) struct buf text = {};

		if (json_integer_value(packets) == 0)
			continue;
		buf_addf(&text, "%s: %s", reason, field_text(reasons, reason));
		width_wrap(&wrapped, text.data, REASON_COLUMNS, term_width(stdout));
		printf("%*s%s", REASON_COLUMNS, "", wrapped.data);
		buf_clear(&wrapped);
	}
}

static void print_counters(
	json_t *counters, const json_t *reasons, const char *title, const char *none)
{
	const struct table_column columns[] = {{.title = title}, {"Packets", .is_right = true}, {}};
	_cleanup_(table_clear) struct table table = {};
	const char *reason;
	json_t *packets;

	table_init(&table, columns);
	json_object_foreach(counters, reason, packets)
	{
		char text[24];

		if (json_integer_value(packets) == 0)
			continue;
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(packets));
		table_row(&table, (const char *[]){reason, text});
	}
	puts("");
	if (!table.row_count) {
		puts(none);
		return;
	}
	table_print(&table);
	print_reasons(counters, reasons);
}

int doctor_command(struct cli *cli)
{
	json_auto_t *report = NULL;
	const json_t *check;
	size_t i, failed = 0;
	json_t *counters, *reasons;
	int r = daemon_call(cli, "GET", "/v1/doctor", NULL, &report);

	if (r != CLI_OK)
		return r;
	json_array_foreach(json_object_get(report, "checks"), i, check) failed +=
		strcmp(field_text(check, "status"), "fail") == 0;
	if (cli->is_json) {
		cli_print_json(report);
		return failed ? CLI_FAILED : CLI_OK;
	}
	json_array_foreach(json_object_get(report, "checks"), i, check) print_check(check);
	print_mtu(json_object_get(report, "mtu"));
	counters = json_object_get(report, "counters");
	reasons = json_object_get(counters, "reasons");
	print_counters(
		json_object_get(counters, "drops"), reasons, "Dropped", "Nothing was dropped.");
	print_counters(json_object_get(counters, "passed"), reasons, "Passed",
		"Nothing was passed to the kernel.");
	if (failed)
		return cli_fail(cli, CLI_FAILED, "failed", "%zu check%s failed", failed,
			failed == 1 ? "" : "s");
	return CLI_OK;
}
