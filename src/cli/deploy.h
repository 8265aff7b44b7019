/* SPDX-License-Identifier: Apache-2.0 */
/* Deploying, for the commands that do it. */
#pragma once

#include <jansson.h>

struct cli;

/* Deploys the app @app of the file @path in @dir (NULL: the current one) and prints the result. */
int deploy_app(struct cli *cli, const char *app, const char *path, const char *dir);

/*
 * Posts @body to @path as daemon_job() does. Where a dedicated IPv4 is missing, a person is asked
 * and the call repeated with "allocate_v4"; with --yes it is there from the start. Where the app
 * @app is missing, its creation is offered. The caller owns *out. Returns an exit status.
 */
int deploy_post(struct cli *cli, const char *app, const char *doing, const char *path, json_t *body,
	json_t **out);
