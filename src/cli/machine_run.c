/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry machine run|attach: one more machine for an app, of an image, a root directory of this
 * host or a namespace that someone else made. It answers when traffic flows.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "cli/daemon.h"
#include "cli/deploy.h"
#include "cli/fields.h"
#include "cli/handlers.h"

#include <errno.h>
#include <string.h>

static int add_env(struct cli *cli, json_t *body)
{
	json_auto_t *env = json_object();
	const char *given;
	size_t at = 0;

	while ((given = args_next(&cli->args, "env", &at))) {
		const char *equals = strchr(given, '=');
		_free_ char *name = NULL;

		if (!equals || equals == given)
			return cli_fail(cli, CLI_USAGE, "invalid_request",
				"--env is \"%s\"; it is NAME=VALUE", given);
		name = strndup(given, (size_t)(equals - given));
		if (json_object_set_new(env, name, json_string(equals + 1)) < 0)
			return cli_fail(
				cli, CLI_USAGE, "invalid_request", "--env %s is not UTF-8", name);
	}
	if (json_object_size(env))
		json_object_set(body, "env", env);
	return CLI_OK;
}

static void add_text(json_t *body, const char *key, const char *text)
{
	if (text)
		json_object_set_new(body, key, json_string(text));
}

/* Only a file that was named: the app's first release is not made by accident. */
static int add_config(struct cli *cli, json_t *body)
{
	_cleanup_(config_file_clear) struct config_file file = {};
	int r;

	if (!cli->config_path)
		return CLI_OK;
	r = config_file_load(cli, cli->config_path, &file);
	if (r != CLI_OK)
		return r;
	json_object_set_new(body, "config", json_stringn(file.text, file.len_bytes));
	add_text(body, "file_name", file.path);
	return CLI_OK;
}

static int post_machine(struct cli *cli, json_t *body, const char *done)
{
	_free_ char *path = NULL;
	_cleanup_(buf_clear) struct buf doing = {};
	json_auto_t *machine = NULL;
	const char *app;
	int r = cli_app(cli, &app);

	if (r == CLI_OK)
		r = add_config(cli, body);
	if (r != CLI_OK)
		return r;
	add_text(body, "group", args_get(&cli->args, "group"));
	add_text(body, "name", args_get(&cli->args, "name"));
	path = api_path("/v1/apps/%s/machines", app);
	buf_addf(&doing, "Starting a machine of %s", app);
	r = deploy_post(cli, app, doing.data, path, body, &machine);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(machine);
	if (cli->is_quiet) {
		puts(field_text(machine, "id"));
		return CLI_OK;
	}
	printf("Success! A Machine has been successfully %s app %s\n", done, app);
	printf(" Machine ID: %s\n", field_text(machine, "id"));
	printf(" State: %s\n", field_text(machine, "state"));
	printf(" Address: %s\n", field_text(json_object_get(machine, "addresses"), "primary"));
	return CLI_OK;
}

int machine_run_command(struct cli *cli)
{
	const char *image = args_positional(&cli->args, 0);
	const char *rootfs = args_get(&cli->args, "rootfs");
	json_auto_t *body = json_object(), *command = json_array();
	_free_ char *real = NULL;
	int r;

	if (!image == !rootfs)
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			image ? "machine run takes either IMAGE or --rootfs; a program's words go "
				"after --"
			      : "machine run needs IMAGE, or --rootfs DIR -- CMD...");
	if (rootfs && cli->args.program_count == 0)
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"--rootfs needs a program: --rootfs %s -- CMD...", rootfs);
	if (rootfs) {
		real = realpath(rootfs, NULL);
		if (!real)
			return cli_fail(cli, CLI_USAGE, "invalid_request", "--rootfs %s: %s",
				rootfs, strerror(errno));
	}
	for (size_t i = 0; i < cli->args.program_count; i++)
		if (json_array_append_new(command, json_string(cli->args.program[i])) < 0)
			return cli_fail(cli, CLI_USAGE, "invalid_request",
				"word %zu of the program is not UTF-8", i + 1);
	add_text(body, "kind", image ? "image" : "rootfs");
	add_text(body, "image", image);
	add_text(body, "rootfs", real);
	if (json_array_size(command))
		json_object_set(body, "command", command);
	r = add_env(cli, body);
	return r == CLI_OK ? post_machine(cli, body, "launched in") : r;
}

/* A path, or a name as "ip netns" has it. */
static char *netns_path(const char *given)
{
	_cleanup_(buf_clear) struct buf named = {};

	if (!strchr(given, '/'))
		buf_addf(&named, "/run/netns/%s", given);
	if (named.data && access(named.data, F_OK) == 0)
		return buf_take(&named);
	return realpath(given, NULL);
}

int machine_attach_command(struct cli *cli)
{
	const char *given = args_get(&cli->args, "netns");
	json_auto_t *body = json_object();
	_free_ char *path = NULL;

	if (!given)
		return cli_fail(
			cli, CLI_USAGE, "invalid_request", "machine attach needs --netns PATH");
	/* A path into /proc is a magic link: resolving it would name no file. */
	path = strncmp(given, "/proc/", 6) == 0 ? strdup(given) : netns_path(given);
	if (!path)
		return cli_fail(cli, CLI_NOT_FOUND, "not_found",
			"there is no network namespace %s; ip netns list shows those with a name",
			given);
	add_text(body, "kind", "attached");
	add_text(body, "netns", path);
	return post_machine(cli, body, "attached to");
}
