/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking wherryd, for the handlers: answers become exit statuses, failures become the run's
 * failure (cli_fail()), waiting is shown. Paths are made with api_path().
 */
#pragma once

#include <jansson.h>

#include "api/client.h"
#include "base/mem.h"

struct cli;

/* @body is borrowed and may be NULL; the caller owns *out (out may be NULL). Returns an exit
 * status. */
int daemon_call(struct cli *cli, const char *method, const char *path, json_t *body, json_t **out);

/* Like daemon_call() for what takes longer: prints its progress. @doing says what is waited for. */
int daemon_job(struct cli *cli, const char *doing, const char *method, const char *path,
	json_t *body, json_t **out);

/*
 * A stream of lines. Returns an exit status; when the connection broke on the way it is
 * CLI_UNREACHABLE and the failure's code "interrupted".
 */
int daemon_stream(struct cli *cli, const char *path, api_line_fn *fn, void *arg);
