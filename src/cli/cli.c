/* SPDX-License-Identifier: Apache-2.0 */
/* One run of wherry; see cli.h. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/config_file.h"
#include "cli/fields.h"
#include "cli/progress.h"
#include "cli/term.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

void cli_clear(struct cli *cli)
{
	cli_forget(cli);
	args_clear(&cli->args);
	free(cli->app);
	for (size_t i = 0; i < cli->warned_count; i++)
		free(cli->warned[i]);
	free(cli->warned);
	*cli = (struct cli){};
}

int cli_fail(struct cli *cli, enum cli_exit status, const char *code, const char *format, ...)
{
	va_list ap;

	cli_forget(cli);
	va_start(ap, format);
	if (vasprintf(&cli->failure.text, format, ap) < 0)
		cli->failure.text = NULL;
	va_end(ap);
	cli->failure.status = status;
	cli->failure.code = code ? strdup(code) : NULL;
	return (int)status;
}

void cli_forget(struct cli *cli)
{
	free(cli->failure.text);
	free(cli->failure.code);
	json_decref(cli->failure.diagnostics);
	cli->failure = (struct failure){};
}

static void print_failure_json(const struct failure *failure)
{
	json_auto_t *object = json_pack("{s:s?, s:s}", "error", failure->text, "code",
		failure->code ? failure->code : "failed");

	if (object && failure->diagnostics)
		json_object_set(object, "diagnostics", failure->diagnostics);
	if (object)
		json_dumpf(object, stderr, JSON_COMPACT);
	fputc('\n', stderr);
}

static void print_diagnostic(const json_t *diagnostic)
{
	bool is_warning = strcmp(field_text(diagnostic, "severity"), "warning") == 0;
	json_int_t line = field_int(diagnostic, "line"), column = field_int(diagnostic, "column");
	const char *file = field_text(diagnostic, "file");

	fputs(*file ? file : "fly.toml", stderr);
	if (line)
		fprintf(stderr, ":%lld:%lld", (long long)line, (long long)column);
	fprintf(stderr, ": %s%s:%s %s\n", term_colour(stderr, is_warning ? TERM_YELLOW : TERM_RED),
		is_warning ? "warning" : "error", term_colour(stderr, TERM_PLAIN),
		field_text(diagnostic, "message"));
}

void cli_print_failure(const struct cli *cli)
{
	const struct failure *failure = &cli->failure;
	const json_t *diagnostic;
	size_t i;

	progress_end();
	if (!failure->text)
		return;
	if (cli->is_json) {
		print_failure_json(failure);
		return;
	}
	json_array_foreach(failure->diagnostics, i, diagnostic) print_diagnostic(diagnostic);
	fprintf(stderr, "%sError:%s %s\n", term_colour(stderr, TERM_RED),
		term_colour(stderr, TERM_PLAIN), failure->text);
}

void cli_warn(struct cli *cli, const char *where, const char *text)
{
	char **warned;

	for (size_t i = 0; i < cli->warned_count; i++)
		if (strstr(text, cli->warned[i]))
			return;
	progress_warn("%s%s", where, text);
	warned = realloc(cli->warned, (cli->warned_count + 1) * sizeof(warned[0]));
	if (!warned)
		abort();
	cli->warned = warned;
	warned[cli->warned_count] = strdup(text);
	if (!warned[cli->warned_count++])
		abort();
}

int cli_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	fputc('\n', stdout);
	return CLI_OK;
}

/* Takes the app from @path. Leaves cli->app alone when the file names none. */
static int app_of_file(struct cli *cli, const char *path)
{
	_cleanup_(config_file_clear) struct config_file file = {};
	int r = config_file_load(cli, path, &file);

	if (r != CLI_OK)
		return r;
	if (file.config->app)
		cli->app = strdup(file.config->app);
	return CLI_OK;
}

static const char *app_of_environment(void)
{
	const char *app = getenv("WHERRY_APP");

	if (!app || !*app)
		app = getenv("FLY_APP");
	return app && *app ? app : NULL;
}

int cli_app(struct cli *cli, const char **app)
{
	const char *name = args_get(&cli->args, "app");
	int r = CLI_OK;

	if (!cli->app && name && !*name)
		return cli_fail(cli, CLI_USAGE, "invalid_request", "--app needs a name");
	if (!cli->app && !name && cli->config_path)
		r = app_of_file(cli, cli->config_path);
	if (r != CLI_OK)
		return r;
	if (!cli->app && !name)
		name = app_of_environment();
	if (!cli->app && !name && access(CONFIG_FILE_NAME, F_OK) == 0)
		r = app_of_file(cli, CONFIG_FILE_NAME);
	if (r != CLI_OK)
		return r;
	if (!cli->app && name)
		cli->app = strdup(name);
	if (!cli->app)
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"which app? name it with -a APP, or work in a directory whose %s has a "
			"line "
			"app = \"NAME\"",
			CONFIG_FILE_NAME);
	*app = cli->app;
	return CLI_OK;
}

int cli_number(struct cli *cli, const char *what, const char *text, unsigned long min,
	unsigned long max, unsigned long *out)
{
	char *end = NULL;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || value < min || value > max)
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"%s is \"%s\"; it is a number from %lu to %lu", what, text, min, max);
	*out = value;
	return CLI_OK;
}
