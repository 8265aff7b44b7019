/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of wherry: what the command line said, and the failure it will end with. A handler that
 * fails tells cli_fail() and returns its status; main prints it, once. A handler that can go on
 * after a failure calls cli_forget().
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/args.h"
#include "cli/commands.h"

struct app_config;

struct failure {
	enum cli_exit status; /* CLI_OK: nothing failed */
	char *text;	      /* one sentence */
	char *code;	      /* as in docs/api.md, or NULL */
	json_t *diagnostics;  /* with invalid_config; or NULL */
};

struct cli {
	struct args args;
	bool is_json, is_yes, is_quiet, is_verbose;
	const char *socket;
	const char *config_path; /* that of --config, or NULL */
	char *app;		 /* cached by cli_app() */
	struct failure failure;
	char **warned; /* what cli_warn() printed */
	size_t warned_count;
};

void cli_clear(struct cli *cli);

/* Records the failure. @code (may be NULL) is copied. Returns @status. */
int cli_fail(struct cli *cli, enum cli_exit status, const char *code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void cli_forget(struct cli *cli);

/* Prints the recorded failure: a sentence, with --json a line of JSON. */
void cli_print_failure(const struct cli *cli);

/*
 * Prints a warning, once: wherryd reads the same fly.toml and says again what was said here. @text
 * is what the warning is known by; @where (may be "") stands before it.
 */
void cli_warn(struct cli *cli, const char *where, const char *text);

/* Prints @value as the API gave it. Returns CLI_OK. */
int cli_print_json(const json_t *value);

/*
 * The app to work on: --app, the file of --config, WHERRY_APP, FLY_APP, fly.toml in the current
 * directory. *@app lives as long as @cli. Returns an exit status.
 */
int cli_app(struct cli *cli, const char **app);

/*
 * Reads an unsigned number within @min..@max that @what names ("--lines"). Returns an exit status.
 */
int cli_number(struct cli *cli, const char *what, const char *text, unsigned long min,
	unsigned long max, unsigned long *out);
