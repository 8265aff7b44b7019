/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands on hosts share. */
#pragma once

#include <jansson.h>

struct cli;

/* Asks for one host, by name or id. Returns an exit status. */
int hosts_get(struct cli *cli, const char *name, json_t **out);
