/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry logs. A follower outlives wherryd: when the connection breaks it waits for the next
 * daemon, asks for the lines of the meantime and leaves out those it has printed. Lines are known
 * by their time, which machines write with nanoseconds.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/progress.h"
#include "cli/term.h"
#include "cli/times.h"

#include <string.h>
#include <time.h>

#define LINES_DEFAULT 100
#define LINES_MAX     100000
/* How far back a follower looks for what it missed. */
#define LINES_MISSED 1000

struct follower {
	const struct cli *cli;
	const char *app;
	char last[64];	     /* timestamp of the newest line printed */
	char skip_until[64]; /* lines up to it were printed before the connection broke */
};

static void print_line(const struct follower *follower, const json_t *line)
{
	const char *level = field_text(line, "level");
	enum term_colour colour = strcmp(level, "error") == 0 ? TERM_RED : TERM_GREEN;
	char at[TIMES_TEXT_LEN];

	if (follower->cli->is_json) {
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	printf("%s%s%s %s[%s] %s [%s%s%s] %s\n", term_colour(stdout, TERM_DIM),
		times_whole(field_text(line, "timestamp"), at), term_colour(stdout, TERM_PLAIN),
		follower->app, field_text(line, "instance"), field_text(line, "region"),
		term_colour(stdout, colour), level, term_colour(stdout, TERM_PLAIN),
		field_text(line, "message"));
}

static int on_line(void *arg, json_t *line)
{
	struct follower *follower = arg;
	const char *timestamp = field_text(line, "timestamp");

	if (!json_object_get(line, "message"))
		return 0;
	/* RFC 3339 in UTC sorts as text. */
	if (*follower->skip_until && strcmp(timestamp, follower->skip_until) <= 0)
		return 0;
	print_line(follower, line);
	if (strcmp(timestamp, follower->last) > 0)
		snprintf(follower->last, sizeof(follower->last), "%s", timestamp);
	fflush(stdout);
	return ferror(stdout) ? 1 : 0;
}

static char *logs_call(const struct cli *cli, const char *app, unsigned long lines, bool follows)
{
	const char *machine = args_get(&cli->args, "machine");
	_free_ char *base = api_path("/v1/apps/%s/logs?lines=%d", app, (int)lines);
	_free_ char *of_machine = machine ? api_path("&machine=%s", machine) : NULL;
	struct buf path = {};

	buf_addf(&path, "%s%s%s", base, of_machine ? of_machine : "", follows ? "&follow=1" : "");
	return buf_take(&path);
}

/* Follows until what ends it is not the daemon's absence. */
static int follow(struct cli *cli, struct follower *follower, unsigned long lines)
{
	bool was_connected = false;

	for (;;) {
		_free_ char *path = logs_call(cli, follower->app, lines, true);
		int r = daemon_stream(cli, path, on_line, follower);
		const char *code = cli->failure.code;
		bool is_connected = r == CLI_OK || (code && strcmp(code, "interrupted") == 0);

		if (ferror(stdout) || (!is_connected && r != CLI_UNREACHABLE))
			return r;
		/* It never was there: that is the answer. */
		if (!is_connected && !was_connected)
			return r;
		if (is_connected)
			progress_line("The connection to wherryd ended; waiting for the next");
		was_connected = true;
		cli_forget(cli);
		snprintf(follower->skip_until, sizeof(follower->skip_until), "%s", follower->last);
		lines = LINES_MISSED;
		sleep(1);
	}
}

/* Each host has the lines of its own machines. */
static void warn_of_others(struct cli *cli, const char *app)
{
	_free_ char *path = api_path("/v1/apps/%s/machines", app);
	_cleanup_(buf_clear) struct buf text = {}, hosts = {};
	json_auto_t *machines = NULL;
	const json_t *machine;
	size_t i;

	if (args_get(&cli->args, "machine") || cli->is_json ||
		daemon_call(cli, "GET", path, NULL, &machines) != CLI_OK) {
		cli_forget(cli);
		return;
	}
	json_array_foreach(machines, i, machine)
	{
		const char *host = field_text(machine, "host");

		if (!json_is_false(json_object_get(machine, "local")) ||
			(hosts.len && strstr(hosts.data, host)))
			continue;
		buf_addf(&hosts, "%s%s", hosts.len ? ", " : "", host);
	}
	if (!hosts.len)
		return;
	buf_addf(&text, "%s has machines on %s as well; run this there for what they print", app,
		hosts.data);
	cli_warn(cli, "", text.data);
}

int logs_command(struct cli *cli)
{
	const char *lines_text = args_get(&cli->args, "lines");
	struct follower follower = {.cli = cli};
	unsigned long lines = LINES_DEFAULT;
	_free_ char *path = NULL;
	int r = cli_app(cli, &follower.app);

	if (r == CLI_OK && lines_text)
		r = cli_number(cli, "--lines", lines_text, 0, LINES_MAX, &lines);
	if (r != CLI_OK)
		return r;
	warn_of_others(cli, follower.app);
	if (args_has(&cli->args, "follow"))
		return follow(cli, &follower, lines);
	path = logs_call(cli, follower.app, lines, false);
	return daemon_stream(cli, path, on_line, &follower);
}
