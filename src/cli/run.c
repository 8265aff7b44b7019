/* SPDX-License-Identifier: Apache-2.0 */
/* One run of wherry from its words to its exit status; see run.h. */
#include "cli/run.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/progress.h"

#include <string.h>

/* As in parsing, but of a command line that could not be parsed to its end. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0)
			return true;
	return false;
}

static const char *socket_path(const struct args *args)
{
	const char *path = args_get(args, "socket");

	if (!path)
		path = getenv("WHERRY_SOCKET");
	return path && *path ? path : NULL;
}

static void take_globals(struct cli *cli)
{
	cli->is_json = args_has(&cli->args, "json");
	cli->is_yes = args_has(&cli->args, "yes");
	cli->is_quiet = args_has(&cli->args, "quiet");
	cli->is_verbose = args_has(&cli->args, "verbose");
	cli->config_path = args_get(&cli->args, "config");
	cli->socket = socket_path(&cli->args);
	progress_set_quiet(cli->is_quiet);
}

static int print_help(const struct command *command)
{
	_cleanup_(buf_clear) struct buf text = {};

	help_add(&text, command);
	fputs(text.data, stdout);
	return CLI_OK;
}

/* What the words alone show to be wrong is told with a line of usage. */
static int fail_usage(struct cli *cli, const char *sentence)
{
	_cleanup_(buf_clear) struct buf usage = {};

	cli_fail(cli, CLI_USAGE, "invalid_request", "%s", sentence);
	cli_print_failure(cli);
	cli_forget(cli);
	help_add_usage(&usage, cli->args.command);
	if (!cli->is_json)
		fprintf(stderr, "Usage: %s\n", usage.data);
	return CLI_USAGE;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct err err = {};
	const struct command *command;

	if (args_parse(argc, argv, &cli->args, &err) < 0) {
		cli->is_json = wants_json(argc, argv);
		return fail_usage(cli, err.text);
	}
	take_globals(cli);
	command = cli->args.command;
	if (args_has(&cli->args, "help") || (!command->run && !*command->path))
		return print_help(command);
	if (!command->run) {
		err_set(&err, 0, "%s needs a command; wherry help %s lists them", command->path,
			command->path);
		return fail_usage(cli, err.text);
	}
	return command->run(cli);
}

/* What other programs taught people to try. */
static bool is_version_flag(int argc, char **argv)
{
	return argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-v") == 0);
}

int cli_run(int argc, char **argv)
{
	static char *version[] = {"wherry", "version", NULL};
	struct cli cli = {};
	const bool is_version = is_version_flag(argc, argv);
	int status = is_version ? run(&cli, 2, version) : run(&cli, argc, argv);

	progress_end();
	if (status != CLI_OK)
		cli_print_failure(&cli);
	if (fflush(stdout) != 0 && status == CLI_OK) {
		perror("Error: cannot write the result");
		status = CLI_FAILED;
	}
	cli_clear(&cli);
	return status;
}
