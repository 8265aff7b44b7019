/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry deploy. The file is checked here first: nothing is built for a configuration that wherryd
 * would refuse, and all its problems are shown at once.
 */
#include "cli/deploy.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/apps.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"
#include "cli/image.h"
#include "cli/progress.h"
#include "cli/term.h"

#include <string.h>

static bool offer_v4(struct cli *cli, json_t *body)
{
	const char *code = cli->failure.code;

	if (!code || strcmp(code, "needs_dedicated_v4") != 0 || !term_can_ask() || cli->is_yes)
		return false;
	fprintf(stderr, "%s\n", cli->failure.text);
	if (!term_confirm(cli, true, "Allocate a dedicated IPv4 now?"))
		return false;
	cli_forget(cli);
	json_object_set_new(body, "allocate_v4", json_true());
	return true;
}

int deploy_post(struct cli *cli, const char *app, const char *doing, const char *path, json_t *body,
	json_t **out)
{
	int r;

	if (cli->is_yes)
		json_object_set_new(body, "allocate_v4", json_true());
	r = daemon_job(cli, doing, "POST", path, body, out);
	if (r == CLI_NOT_FOUND && apps_offer(cli, app) == CLI_OK)
		r = daemon_job(cli, doing, "POST", path, body, out);
	if (r != CLI_OK && offer_v4(cli, body))
		r = daemon_job(cli, doing, "POST", path, body, out);
	return r == CLI_OK ? CLI_OK : (int)cli->failure.status;
}

/* The address a client can dial: IPv4 where there is one, that being what most can reach. */
static const char *dialled_address(const json_t *service)
{
	const json_t *addresses = json_object_get(service, "Addresses"), *address;
	size_t i;

	json_array_foreach(
		addresses, i, address) if (!strchr(json_string_value(address),
						   ':')) return json_string_value(address);
	return json_string_value(json_array_get(addresses, 0));
}

/* "echo hello | nc -u -w1 203.0.113.1 5000" for the first service that is served. */
static void print_try_it(struct cli *cli, const char *app)
{
	_free_ char *path = api_path("/v1/apps/%s/services", app);
	json_auto_t *services = NULL;
	const json_t *service;
	size_t i;

	if (daemon_call(cli, "GET", path, NULL, &services) != CLI_OK) {
		cli_forget(cli);
		return;
	}
	json_array_foreach(services, i, service)
	{
		const char *address = dialled_address(service);
		const char *ports =
			json_string_value(json_array_get(json_object_get(service, "Ports"), 0));
		bool is_udp = strcmp(field_text(service, "Protocol"), "udp") == 0;
		int port = ports ? atoi(ports) : 0;

		if (!field_bool(service, "Served") || !address || !port)
			continue;
		if (is_udp && port == 53)
			printf("\nTry it: dig @%s example.com\n", address);
		else
			printf("\nTry it: echo hello | nc %s-w1 %s %d\n", is_udp ? "-u " : "",
				address, port);
		return;
	}
}

static void print_result(struct cli *cli, const char *app, const json_t *result)
{
	const json_t *item;
	size_t i;

	printf("Release v%lld of %s is live\n", (long long)field_int(result, "release"), app);
	json_array_foreach(json_object_get(result, "ips"), i, item)
	{
		const char *type = field_text(item, "Type");

		printf("  %s %s\n",
			strcmp(type, "v6") == 0		 ? "Dedicated ipv6:"
			: strcmp(type, "shared_v4") == 0 ? "Shared ipv4:   "
							 : "Dedicated ipv4:",
			field_text(item, "Address"));
	}
	json_array_foreach(json_object_get(result, "machines"), i, item)
		printf("  Machine:        %s %s [%s]\n", field_text(item, "id"),
			field_text(item, "state"), field_text(item, "process_group"));
	print_try_it(cli, app);
}

/* A missing app is better known before a build than after it. */
static int check_app(struct cli *cli, const char *app)
{
	_free_ char *path = api_path("/v1/apps/%s", app);
	int r = daemon_call(cli, "GET", path, NULL, NULL);

	return r == CLI_NOT_FOUND ? apps_offer(cli, app) : r;
}

/* What wherryd refuses it refuses before a build, which may take long. */
static int check_deploy(struct cli *cli, const char *call, json_t *body)
{
	int r;

	if (cli->is_yes)
		json_object_set_new(body, "allocate_v4", json_true());
	json_object_set_new(body, "dry_run", json_true());
	r = daemon_call(cli, "POST", call, body, NULL);
	if (r != CLI_OK && offer_v4(cli, body))
		r = daemon_call(cli, "POST", call, body, NULL);
	json_object_del(body, "dry_run");
	return r == CLI_OK ? CLI_OK : (int)cli->failure.status;
}

int deploy_app(struct cli *cli, const char *app, const char *path, const char *dir)
{
	_cleanup_(config_file_clear) struct config_file file = {};
	json_auto_t *body = NULL, *result = NULL;
	_cleanup_(buf_clear) struct buf doing = {};
	_free_ char *image = NULL, *call = api_path("/v1/apps/%s/deploy", app);
	int r = config_file_load(cli, path, &file);

	if (r == CLI_OK)
		r = check_app(cli, app);
	if (r != CLI_OK)
		return r;
	body = json_pack(
		"{s:s%, s:s}", "config", file.text, file.len_bytes, "file_name", file.path);
	if (!body)
		return cli_fail(cli, CLI_FAILED, "failed", "%s is not UTF-8", file.path);
	r = check_deploy(cli, call, body);
	if (r == CLI_OK)
		r = image_prepare(cli, &file, app, dir, &image);
	if (r != CLI_OK)
		return r;
	if (json_object_set_new(body, "image", json_string(image)) < 0)
		return cli_fail(
			cli, CLI_FAILED, "failed", "the name of the image %s is not UTF-8", image);
	buf_addf(&doing, "Deploying %s", app);
	r = deploy_post(cli, app, doing.data, call, body, &result);
	if (r != CLI_OK)
		return r;
	if (cli->is_json)
		return cli_print_json(result);
	print_result(cli, app, result);
	return CLI_OK;
}

/* The app is known by the flag, the file or the environment, in this order: the file is at hand. */
static int app_of_deploy(struct cli *cli, const char *path, char **app)
{
	_cleanup_(config_file_clear) struct config_file file = {};
	const char *name = args_get(&cli->args, "app");
	int r = config_file_load(cli, path, &file);

	if (r != CLI_OK)
		return r;
	if (!name && !cli->config_path)
		name = getenv("WHERRY_APP") ? getenv("WHERRY_APP") : getenv("FLY_APP");
	if (!name || !*name)
		name = file.config->app;
	if (!name)
		return cli_fail(cli, CLI_INVALID, "invalid_config",
			"%s names no app; give it a line app = \"NAME\", or use -a NAME", path);
	*app = strdup(name);
	return CLI_OK;
}

int deploy_command(struct cli *cli)
{
	const char *dir = args_positional(&cli->args, 0);
	_free_ char *path = config_file_path(cli, dir), *app = NULL;
	int r = app_of_deploy(cli, path, &app);

	if (r != CLI_OK)
		return r;
	return deploy_app(cli, app, path, dir);
}
