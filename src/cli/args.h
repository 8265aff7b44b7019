/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a command line, sorted by the command table into a command, its flags, its
 * positional arguments and the words of a program. Strings are borrowed from argv.
 */
#pragma once

#include "cli/commands.h"

struct err;

struct given_flag {
	const struct flag *flag;
	const char *value; /* NULL for a switch */
};

struct args {
	const struct command *command; /* as far as it was understood, also after a failure */
	struct given_flag *flags;      /* in the order given */
	size_t flag_count;
	const char **positionals;
	size_t positional_count;
	const char **program; /* NULL-terminated when not NULL */
	size_t program_count;
};

/*
 * Parses argv[1..]. Flags stand before or after positionals; "--name=value", "--name value",
 * "-nvalue", "-n value" and clusters of switches ("-jy") are understood; "--" ends the flags.
 * Returns 0, or -EINVAL with a sentence. The caller clears @out in any case. With --help among the
 * flags, missing arguments are no failure.
 */
int args_parse(int argc, char **argv, struct args *out, struct err *err);
void args_clear(struct args *args);

bool args_has(const struct args *args, const char *name);

/* The value given last, or NULL. */
const char *args_get(const struct args *args, const char *name);

/* The value of a flag that may be given several times: pass *@at as 0 first; NULL after the last.
 */
const char *args_next(const struct args *args, const char *name, size_t *at);

/* The positional at @index, or NULL. */
const char *args_positional(const struct args *args, size_t index);
