/* SPDX-License-Identifier: Apache-2.0 */
/* Making apps, for the commands that may have to. */
#pragma once

#include <jansson.h>

struct cli;

/* The caller owns *out (out may be NULL). Returns an exit status. */
int apps_create(struct cli *cli, const char *name, json_t **out);

/*
 * To be called when a call failed: when it did because there is no app @name, offers to make it
 * (--yes accepts). CLI_OK: it was made, and the failure is forgotten; otherwise a failure is
 * recorded.
 */
int apps_offer(struct cli *cli, const char *name);
