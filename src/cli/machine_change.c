/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry machine start|stop|destroy|detach: one request a machine, one line for each that is done.
 * The first that fails ends the command; those before it stay done.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"

struct change {
	const char *method, *path_format; /* with one %s for the ID */
	const char *doing, *done;
};

static int change_one(struct cli *cli, const struct change *change, const char *id)
{
	_free_ char *path = api_path(change->path_format, id);
	_cleanup_(buf_clear) struct buf doing = {};
	json_auto_t *machine = NULL;
	int r;

	buf_addf(&doing, "%s machine %s", change->doing, id);
	r = daemon_job(cli, doing.data, change->method, path, NULL, &machine);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(machine);
	printf("%s has been %s\n", *field_text(machine, "id") ? field_text(machine, "id") : id,
		change->done);
	return CLI_OK;
}

static int change_all(struct cli *cli, const struct change *change)
{
	const char *id;
	int r = CLI_OK;

	for (size_t i = 0; r == CLI_OK && (id = args_positional(&cli->args, i)); i++)
		r = change_one(cli, change, id);
	return r;
}

int machine_start_command(struct cli *cli)
{
	return change_all(
		cli, &(struct change){"POST", "/v1/machines/%s/start", "Starting", "started"});
}

int machine_stop_command(struct cli *cli)
{
	return change_all(
		cli, &(struct change){"POST", "/v1/machines/%s/stop", "Stopping", "stopped"});
}

int machine_detach_command(struct cli *cli)
{
	return change_all(
		cli, &(struct change){"POST", "/v1/machines/%s/detach", "Detaching", "detached"});
}

int machine_destroy_command(struct cli *cli)
{
	const char *path =
		args_has(&cli->args, "force") ? "/v1/machines/%s?force=1" : "/v1/machines/%s";

	return change_all(cli, &(struct change){"DELETE", path, "Destroying", "destroyed"});
}
