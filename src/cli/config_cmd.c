/* SPDX-License-Identifier: Apache-2.0 */
/* wherry config validate|show. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "cli/daemon.h"
#include "cli/handlers.h"

#include <string.h>

static int print_report(const struct diagnostics *diags, bool is_valid)
{
	json_auto_t *report = json_pack(
		"{s:b, s:o}", "valid", is_valid, "diagnostics", config_file_diagnostics(diags));

	cli_print_json(report);
	return is_valid ? CLI_OK : CLI_INVALID;
}

int config_validate_command(struct cli *cli)
{
	_free_ char *path = config_file_path(cli, NULL), *text = NULL;
	_cleanup_(config_file_clear) struct config_file file = {};
	_cleanup_(diagnostics_clear) struct diagnostics diags = {};
	unsigned int errors, warnings;
	bool is_valid;
	int r = config_file_read(cli, path, &file);

	if (r != CLI_OK)
		return r;
	config_parse(file.text, file.len_bytes, path, &file.config, &diags);
	errors = diagnostics_count(&diags, SEVERITY_ERROR);
	warnings = diagnostics_count(&diags, SEVERITY_WARNING);
	is_valid = errors == 0 && (warnings == 0 || !args_has(&cli->args, "strict"));
	if (cli->is_json)
		return print_report(&diags, is_valid);
	text = diagnostics_format(&diags);
	fputs(text, stderr);
	if (is_valid) {
		puts("Configuration is valid");
		return CLI_OK;
	}
	return cli_fail(cli, CLI_INVALID, "invalid_config",
		"%s is not valid: %u error%s, %u warning%s", path, errors, errors == 1 ? "" : "s",
		warnings, warnings == 1 ? "" : "s");
}

static int show_file(struct cli *cli)
{
	_cleanup_(config_file_clear) struct config_file file = {};
	json_auto_t *json = NULL;
	int r = config_file_load(cli, cli->config_path, &file);

	if (r != CLI_OK)
		return r;
	json = config_to_json(file.config);
	return cli_print_json(json);
}

int config_show_command(struct cli *cli)
{
	json_auto_t *reply = NULL;
	_free_ char *path = NULL;
	const char *app;
	int r;

	if (cli->config_path)
		return show_file(cli);
	r = cli_app(cli, &app);
	if (r != CLI_OK)
		return r;
	path = api_path("/v1/apps/%s/config", app);
	r = daemon_call(cli, "GET", path, NULL, &reply);
	if (r != CLI_OK)
		return r;
	return cli_print_json(cli->is_json ? reply : json_object_get(reply, "definition"));
}
