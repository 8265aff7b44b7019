/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry launch: a fly.toml where there is none, the app where there is none, and a deploy. Each
 * step finds what an earlier launch left, so that repeating one that failed goes on from there.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/apps.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "cli/daemon.h"
#include "cli/deploy.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/image.h"
#include "cli/launch_file.h"
#include "cli/progress.h"
#include "cli/term.h"

#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define DOCKERFILE_MAX_BYTES (1024 * 1024)

static const char *const protocols[] = {
	[LAUNCH_UDP] = "udp",
	[LAUNCH_TCP] = "tcp",
	[LAUNCH_HTTP] = "http",
};

static int parse_protocol(const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
		if (strcasecmp(text, protocols[i]) == 0)
			return (int)i;
	return -1;
}

/* What flags say replaces what the Dockerfile exposes. */
static int take_flags(struct cli *cli, struct launch_plan *plan)
{
	const char *protocol = args_get(&cli->args, "protocol");
	const char *port = args_get(&cli->args, "internal-port");
	unsigned long number = plan->ports[0].port;
	int kind = (int)plan->ports[0].protocol, r;

	if (protocol) {
		kind = parse_protocol(protocol);
		if (kind < 0)
			return cli_fail(cli, CLI_USAGE, "invalid_request",
				"--protocol is \"%s\"; it is udp, tcp or http", protocol);
	}
	if (port) {
		r = cli_number(cli, "--internal-port", port, 1, 65535, &number);
		if (r != CLI_OK)
			return r;
	}
	if (protocol || port) {
		plan->ports[0] = (struct launch_port){(uint16_t)number, (enum launch_protocol)kind};
		plan->port_count = 1;
	}
	return CLI_OK;
}

static void ask_service(const struct cli *cli, struct launch_plan *plan)
{
	char assumed[8];
	unsigned long port;
	int kind;

	if (cli->is_yes || !term_can_ask() || plan->port_count > 1)
		return;
	if (!args_has(&cli->args, "protocol")) {
		do {
			_free_ char *answer = term_ask(protocols[plan->ports[0].protocol],
				"What does it serve: udp, tcp or http?");

			kind = parse_protocol(answer);
		} while (kind < 0);
		plan->ports[0].protocol = (enum launch_protocol)kind;
	}
	if (args_has(&cli->args, "internal-port"))
		return;
	snprintf(assumed, sizeof(assumed), "%u", plan->ports[0].port);
	do {
		_free_ char *answer = term_ask(assumed, "On which port does it listen?");

		port = strtoul(answer, NULL, 10);
	} while (port < 1 || port > 65535);
	plan->ports[0].port = (uint16_t)port;
}

static int plan_ports(struct cli *cli, const char *dir, struct launch_plan *plan)
{
	_free_ char *dockerfile = image_dockerfile(dir ? dir : "."), *text = NULL;
	struct err err = {};
	int r;

	if (!plan->image && !dockerfile)
		return cli_fail(cli, CLI_INVALID, "invalid_config",
			"there is neither a fly.toml nor a Dockerfile in %s; write a Dockerfile, "
			"or "
			"name an image with --image",
			dir ? dir : "the current directory");
	if (!plan->image && file_read(dockerfile, DOCKERFILE_MAX_BYTES, &text, NULL, &err) < 0)
		return cli_fail(cli, CLI_FAILED, "failed", "%s", err.text);
	launch_read_exposed(text ? text : "", plan);
	r = take_flags(cli, plan);
	if (r == CLI_OK)
		ask_service(cli, plan);
	return r;
}

/* The app's name for a directory that has no file: the flag's, else the directory's. */
static int plan_name(struct cli *cli, const char *dir, char name[static 64])
{
	const char *given = args_get(&cli->args, "name");
	_free_ char *real = NULL;

	if (!given)
		given = args_get(&cli->args, "app");
	if (given) {
		launch_app_name(given, name);
		if (strcmp(given, name) != 0)
			return cli_fail(cli, CLI_USAGE, "invalid_request",
				"\"%s\" is no name for an app: it has lower-case letters, digits "
				"and single dashes; %s would be one",
				given, name);
		return CLI_OK;
	}
	real = realpath(dir ? dir : ".", NULL);
	if (!real)
		return cli_fail(
			cli, CLI_FAILED, "failed", "there is no directory %s", dir ? dir : ".");
	launch_app_name(strrchr(real, '/') + 1, name);
	return CLI_OK;
}

static int write_file(struct cli *cli, const char *dir, const char *path, char name[static 64])
{
	struct launch_plan plan = {.app = name, .image = args_get(&cli->args, "image")};
	_cleanup_(buf_clear) struct buf text = {};
	struct err err = {};
	int r = plan_name(cli, dir, name);

	if (r == CLI_OK)
		r = plan_ports(cli, dir, &plan);
	if (r != CLI_OK)
		return r;
	launch_format(&plan, &text);
	if (file_replace(path, text.data, text.len, 0644, &err) < 0)
		return cli_fail(cli, CLI_FAILED, "failed", "%s", err.text);
	progress_line("Wrote %s", path);
	return CLI_OK;
}

/* The file that is there stays; its app's name is taken unless a flag says another. */
static int keep_file(struct cli *cli, const char *path, char name[static 64])
{
	_cleanup_(config_file_clear) struct config_file file = {};
	const char *given = args_get(&cli->args, "name");
	int r = config_file_load(cli, path, &file);

	if (r != CLI_OK)
		return r;
	if (!given)
		given = args_get(&cli->args, "app");
	progress_line("Using %s as it is", path);
	if (!given && !file.config->app)
		return cli_fail(cli, CLI_INVALID, "invalid_config",
			"%s names no app; give it a line app = \"NAME\", or use --name", path);
	if (given && (!file.config->app || strcmp(given, file.config->app) != 0))
		progress_line("%s names %s%s; later commands need -a %s", path,
			file.config->app ? "the app " : "no app",
			file.config->app ? file.config->app : "", given);
	snprintf(name, 64, "%s", given ? given : file.config->app);
	return CLI_OK;
}

static int ensure_app(struct cli *cli, const char *name, json_t **app)
{
	_free_ char *path = api_path("/v1/apps/%s", name);
	int r = daemon_call(cli, "GET", path, NULL, app);

	if (r == CLI_OK) {
		progress_line("App %s exists already; using it", name);
		return CLI_OK;
	}
	if (r != CLI_NOT_FOUND)
		return r;
	cli_forget(cli);
	r = apps_create(cli, name, app);
	if (r == CLI_OK)
		progress_line("Created app '%s' in organization '%s'", name,
			field_text(json_object_get(*app, "Organization"), "Slug"));
	return r;
}

int launch_command(struct cli *cli)
{
	const char *dir = args_positional(&cli->args, 0);
	_free_ char *path = config_file_path(cli, dir);
	json_auto_t *app = NULL;
	char name[64];
	int r;

	if (access(path, F_OK) == 0)
		r = keep_file(cli, path, name);
	else
		r = write_file(cli, dir, path, name);
	if (r == CLI_OK)
		r = ensure_app(cli, name, &app);
	if (r != CLI_OK)
		return r;
	if (!args_has(&cli->args, "no-deploy"))
		return deploy_app(cli, name, path, dir);
	if (cli->is_json)
		return cli_print_json(app);
	printf("App %s is ready; wherry deploy%s%s deploys it\n", name, dir ? " " : "",
		dir ? dir : "");
	return CLI_OK;
}
