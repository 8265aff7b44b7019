/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shell completion. The scripts for the shells are thin: each asks "wherry __complete WORD..."
 * for the candidates of the last word, one a line, a tab and its description behind it. A line
 * ":files" or ":dirs" instead asks the shell for its own.
 */
#pragma once

#include <stddef.h>

struct buf;
struct cli;

/*
 * Adds the candidates for the last of @words, which follow "wherry" on the command line; it may
 * be "". Asks wherryd only where names of apps, machines or addresses are wanted.
 */
void completion_add(struct cli *cli, const char *const words[], size_t count, struct buf *out);

/* The script for @shell, or NULL. */
const char *completion_script(const char *shell);
