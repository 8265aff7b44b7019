/* SPDX-License-Identifier: Apache-2.0 */
/* Asking wherryd; see daemon.h. */
#include "cli/daemon.h"

#include "base/err.h"
#include "cli/cli.h"
#include "cli/progress.h"

#include <errno.h>
#include <string.h>

static struct api_client client_of(const struct cli *cli)
{
	return (struct api_client){.socket_path = cli->socket};
}

static void trace(const struct cli *cli, const char *method, const char *path, const json_t *body)
{
	_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	if (cli->is_verbose)
		progress_line("> %s %s %s", method, path, text ? text : "");
}

static int no_answer(struct cli *cli, int code, const struct err *err)
{
	switch (code) {
	case -ECONNREFUSED:
	case -EACCES:
	case -ETIMEDOUT:
		return cli_fail(cli, CLI_UNREACHABLE, "unreachable", "%s", err->text);
	case -ECONNRESET:
		return cli_fail(cli, CLI_UNREACHABLE, "interrupted", "%s", err->text);
	default:
		return cli_fail(cli, CLI_FAILED, "failed", "%s", err->text);
	}
}

static enum cli_exit exit_of_status(int status)
{
	switch (status) {
	case 200:
	case 201:
		return CLI_OK;
	case 400:
		return CLI_USAGE;
	case 404:
		return CLI_NOT_FOUND;
	case 409:
		return CLI_CONFLICT;
	case 422:
		return CLI_INVALID;
	default:
		return CLI_FAILED;
	}
}

/* Takes @reply. */
static int answered(struct cli *cli, int status, json_t *reply, json_t **out)
{
	enum cli_exit outcome = exit_of_status(status);
	json_auto_t *owned = reply;

	if (cli->is_verbose)
		progress_line("< %d", status);
	if (outcome == CLI_OK) {
		if (out)
			*out = take_ptr(owned);
		return CLI_OK;
	}
	cli_fail(cli, outcome, api_error_code(owned), "%s", api_error_text(owned));
	cli->failure.diagnostics = json_incref(json_object_get(owned, "diagnostics"));
	return (int)outcome;
}

int daemon_call(struct cli *cli, const char *method, const char *path, json_t *body, json_t **out)
{
	struct api_client client = client_of(cli);
	struct err err = {};
	json_t *reply = NULL;
	int status = 0, r;

	trace(cli, method, path, body);
	progress_begin("Waiting for wherryd");
	r = api_call(&client, method, path, body, &status, &reply, &err);
	progress_end();
	if (r < 0)
		return no_answer(cli, r, &err);
	return answered(cli, status, reply, out);
}

static void on_progress(void *arg, const char *event, const char *message, json_t *line)
{
	(void)line;
	if (strcmp(event, "warning") == 0)
		cli_warn(arg, "", message);
	else
		progress_line("%s", message);
}

int daemon_job(struct cli *cli, const char *doing, const char *method, const char *path,
	json_t *body, json_t **out)
{
	struct api_client client = client_of(cli);
	struct err err = {};
	json_t *reply = NULL;
	int status = 0, r;

	trace(cli, method, path, body);
	progress_begin("%s", doing);
	r = api_job(&client, method, path, body, on_progress, cli, &status, &reply, &err);
	progress_end();
	if (r < 0)
		return no_answer(cli, r, &err);
	return answered(cli, status, reply, out);
}

int daemon_stream(struct cli *cli, const char *path, api_line_fn *fn, void *arg)
{
	struct api_client client = client_of(cli);
	struct err err = {};
	json_t *reply = NULL;
	int status = 0, r;

	trace(cli, "GET", path, NULL);
	r = api_stream(&client, "GET", path, NULL, fn, arg, &status, &reply, &err);
	if (r < 0)
		return no_answer(cli, r, &err);
	return answered(cli, status, reply, NULL);
}
