/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry hosts drain|undrain|remove. That a host drains is written at once, and its daemon goes on
 * with it whether or not somebody waits; drain looks on until the host is empty, or until what is
 * left says why it stays.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/hosts.h"
#include "cli/progress.h"

#include <string.h>

#define LOOK_MS 500
/* A machine that stays may only seem to, while the place for it is being made. */
#define STILL_LOOKS 8
/* Longer than the longest kill_timeout: nothing happens any more. */
#define PATIENCE_LOOKS (330 * 1000 / LOOK_MS)

struct drain {
	size_t left;	    /* machines on the host */
	size_t moving;	    /* of them: those that do not say why they stay */
	size_t managed;	    /* of those that stay: deploy made them */
	unsigned int still; /* looks without a change */
};

static void count(const json_t *host, struct drain *drain)
{
	const json_t *machine;
	struct drain now = {};
	size_t i;

	json_array_foreach(json_object_get(host, "machines"), i, machine)
	{
		const bool stays = json_is_string(json_object_get(machine, "stays"));

		now.left++;
		now.moving += !stays;
		now.managed += stays && field_bool(machine, "managed");
	}
	if (now.left == drain->left && now.moving == drain->moving)
		now.still = drain->still + 1;
	*drain = now;
}

/* Waits until nothing more will leave. @host is the last that was seen. */
static int wait_for(struct cli *cli, const char *name, struct drain *drain, json_t **host)
{
	count(*host, drain);
	while (drain->left && drain->still < PATIENCE_LOOKS &&
		(drain->moving || drain->still < STILL_LOOKS)) {
		const size_t before = drain->left;
		json_t *next = NULL;
		int r;

		usleep(LOOK_MS * 1000);
		r = hosts_get(cli, name, &next);
		if (r != CLI_OK)
			return r;
		json_decref(*host);
		*host = next;
		count(*host, drain);
		if (drain->left < before)
			progress_line("%zu machine%s left on %s", drain->left,
				drain->left == 1 ? "" : "s", name);
	}
	return CLI_OK;
}

static void print_staying(const json_t *host)
{
	const json_t *machine;
	size_t i;

	json_array_foreach(json_object_get(host, "machines"), i, machine)
	{
		const char *reason = field_text(machine, "stays");

		printf("  %s of app %s [%s]: %s\n", field_text(machine, "id"),
			field_text(machine, "app"), field_text(machine, "process_group"),
			*reason ? reason : "it is still on its way");
	}
}

int hosts_drain_command(struct cli *cli)
{
	const char *name = args_positional(&cli->args, 0);
	_free_ char *path = api_path("/v1/hosts/%s/drain", name);
	struct drain drain = {};
	json_auto_t *host = NULL;
	int r = daemon_call(cli, "POST", path, NULL, &host);

	if (r == CLI_OK) {
		progress_line("%s takes no new machines and no new flows where others can",
			field_text(host, "name"));
		r = wait_for(cli, name, &drain, &host);
	}
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		cli_print_json(host);
	else if (!drain.left)
		printf("%s is drained: no machine is left on it\n", field_text(host, "name"));
	else {
		printf("%s drains, and %zu machine%s on it:\n", field_text(host, "name"),
			drain.left, drain.left == 1 ? " stays" : "s stay");
		print_staying(host);
	}
	if (drain.managed || drain.moving)
		return cli_fail(cli, CLI_CONFLICT, "conflict",
			"machines that deploy made could not leave %s; it is tried again while the "
			"host drains",
			field_text(host, "name"));
	return CLI_OK;
}

/* Prints the host, or "NAME " and the line that @field of it completes; "" for none. */
static int change_host(struct cli *cli, const char *change, const char *said, const char *field)
{
	_free_ char *path = api_path("/v1/hosts/%s", args_positional(&cli->args, 0));
	_cleanup_(buf_clear) struct buf whole = {};
	json_auto_t *host = NULL;
	int r;

	buf_addf(&whole, "%s/%s", path, change);
	r = daemon_call(cli, "POST", whole.data, NULL, &host);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(host);
	printf("%s %s%s\n", field_text(host, "name"), said, *field ? field_text(host, field) : "");
	return CLI_OK;
}

int hosts_undrain_command(struct cli *cli)
{
	return change_host(cli, "undrain", "takes machines and flows again", "");
}

int hosts_rotate_key_command(struct cli *cli)
{
	return change_host(cli, "rotate-key", "now has the public key ", "public_key");
}

int hosts_remove_command(struct cli *cli)
{
	const char *name = args_positional(&cli->args, 0);
	_free_ char *path = api_path(
		args_has(&cli->args, "force") ? "/v1/hosts/%s?force=1" : "/v1/hosts/%s", name);
	_cleanup_(buf_clear) struct buf doing = {};
	json_auto_t *host = NULL;
	int r;

	buf_addf(&doing, "Removing host %s", name);
	r = daemon_job(cli, doing.data, "DELETE", path, NULL, &host);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(host);
	printf("%s is no host of the fleet any more\n", field_text(host, "name"));
	return CLI_OK;
}
