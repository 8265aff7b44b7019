/* SPDX-License-Identifier: Apache-2.0 */
/* How machines are shown and asked for, shared by the machine commands. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct cli;

#define MACHINE_CHECKS_LEN 40

/* The state, or "draining" for a started machine that is leaving. */
const char *machine_state(const json_t *machine);

/* "2 total, 1 passing", or "". */
char *machine_checks(const json_t *machine, char text[static MACHINE_CHECKS_LEN]);

/* GET of one machine by ID or prefix; the caller owns *out. Returns an exit status. */
int machine_get(struct cli *cli, const char *id, json_t **out);

/* Whether there is more than one host: of a single one the name says nothing. */
bool machine_is_fleet(struct cli *cli);
