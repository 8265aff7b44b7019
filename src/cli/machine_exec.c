/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry machine exec: this process becomes podman's or nsenter's, so that standard streams,
 * signals and the exit status are the program's without anything in between.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/machine.h"
#include "machine/podman_host.h"

#include <errno.h>
#include <string.h>

static void add_program(const struct cli *cli, struct argv *argv)
{
	for (size_t i = 0; i < cli->args.program_count; i++)
		argv_add(argv, cli->args.program[i]);
}

static void build_podman(const struct cli *cli, const json_t *machine, struct argv *argv)
{
	podman_host_command(argv);
	argv_add(argv, "exec");
	argv_add(argv, "--interactive");
	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		argv_add(argv, "--tty");
	argv_add(argv, field_text(machine, "container"));
	add_program(cli, argv);
}

static void build_nsenter(const struct cli *cli, const json_t *machine, struct argv *argv)
{
	_cleanup_(buf_clear) struct buf where = {};

	argv_add(argv, "nsenter");
	if (strcmp(field_text(machine, "kind"), "attached") == 0) {
		buf_addf(&where, "--net=%s", field_text(machine, "netns"));
		argv_add(argv, where.data);
	} else {
		buf_addf(&where, "--target=%lld", (long long)field_int(machine, "pid"));
		argv_add(argv, where.data);
		argv_add(argv, "--net");
		argv_add(argv, "--mount");
		argv_add(argv, "--pid");
		argv_add(argv, "--root");
		argv_add(argv, "--wd");
	}
	argv_add(argv, "--");
	add_program(cli, argv);
}

int machine_exec_command(struct cli *cli)
{
	_cleanup_(argv_clear) struct argv argv = {};
	json_auto_t *machine = NULL;
	const char *kind, *state;
	int r = machine_get(cli, args_positional(&cli->args, 0), &machine);

	if (r != CLI_OK)
		return r;
	kind = field_text(machine, "kind");
	state = field_text(machine, "state");
	if (json_is_false(json_object_get(machine, "local")))
		return cli_fail(cli, CLI_CONFLICT, "conflict",
			"machine %s is on host %s; run this there", field_text(machine, "id"),
			field_text(machine, "host"));
	if (strcmp(state, "started") != 0)
		return cli_fail(cli, CLI_CONFLICT, "conflict",
			"machine %s is %s and runs nothing; wherry machine start %s starts it",
			field_text(machine, "id"), state, field_text(machine, "id"));
	if (strcmp(kind, "image") == 0)
		build_podman(cli, machine, &argv);
	else if (strcmp(kind, "attached") == 0 || field_int(machine, "pid") > 0)
		build_nsenter(cli, machine, &argv);
	else
		return cli_fail(cli, CLI_CONFLICT, "conflict",
			"machine %s has no process to join; wherry machine status %s says why",
			field_text(machine, "id"), field_text(machine, "id"));
	fflush(stdout);
	execvp(argv.items[0], argv.items);
	return cli_fail(
		cli, CLI_FAILED, "failed", "cannot run %s: %s", argv.items[0], strerror(errno));
}
