/* SPDX-License-Identifier: Apache-2.0 */
/* The words after `wherry lab`, checked. Strings are borrowed from argv. */
#pragma once

#include <stdbool.h>

struct err;

enum lab_verb {
	LAB_HELP,
	LAB_UP,
	LAB_DOWN,
	LAB_EXEC,
	LAB_STATUS,
	LAB_KILL,
	LAB_PAUSE,
	LAB_RESUME,
	LAB_START,
};

#define LAB_DEFAULT_NAME "lab"
#define LAB_NAME_MAX	 32
#define LAB_CLIENTS_MAX	 200

struct lab_args {
	enum lab_verb verb;
	const char *name; /* never NULL: LAB_DEFAULT_NAME unless --name says otherwise */
	bool has_name;
	bool is_json;
	unsigned int clients;
	const char *node;    /* NULL when the verb takes none */
	const char *program; /* kill, pause, resume, start; NULL: the whole node */
	char **command;	     /* exec: NULL-terminated, at least one word */
};

/*
 * Parses argv[1..] (argv[0] is "lab"; argv[argc] is NULL, as in main). Options stand before or
 * after NODE, but for exec only before it. Returns 0 or -EINVAL with a sentence.
 */
int lab_args_parse(int argc, char **argv, struct lab_args *out, struct err *err);

/* Whether @text may name a lab, a node or a program: letters, digits, "-" and "_", at most 32. */
bool lab_name_is_valid(const char *text);
