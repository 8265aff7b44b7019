/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands. Parsing, help, completion and the man page all read it and nothing else,
 * so that none of them can disagree with another. Everything in it is static.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct cli;

/* What can stand in a place of the command line, for completion. */
enum completes {
	COMPLETES_NOTHING,
	COMPLETES_FILE,
	COMPLETES_DIR,
	COMPLETES_APP,
	COMPLETES_MACHINE,
	COMPLETES_ADDRESS,
	COMPLETES_HOST,
	COMPLETES_REGION,
	COMPLETES_COMMAND,
	COMPLETES_SHELL,
	COMPLETES_PROTOCOL,
};

struct flag {
	const char *name;     /* without the dashes */
	char letter;	      /* 0: none */
	const char *argument; /* name of its value; NULL: a switch */
	const char *help;
	enum completes completes;
};

struct positional {
	const char *name, *help;
	bool is_optional;
	bool repeats; /* the last one only */
	enum completes completes;
};

/* Exit statuses, also those of docs/api.md. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NOT_FOUND = 3,
	CLI_CONFLICT = 4,
	CLI_INVALID = 5,
	CLI_UNREACHABLE = 6,
};

struct command {
	const char *path;		      /* "machine run"; "" is wherry itself */
	const char *aliases;		      /* other last words, separated by spaces; or NULL */
	const char *summary;		      /* starts with a verb, no full stop */
	const char *text;		      /* NULL, or paragraphs for help and the man page */
	const struct flag *flags;	      /* NULL, or ends with {} */
	const struct positional *positionals; /* NULL, or ends with {} */
	const char *program; /* "CMD...": a program's words are taken, after "--" */
	bool program_is_required;
	bool is_raw;	      /* its name and all words after it go to the handler as they are */
	bool is_hidden;	      /* not in help, completion and the man page */
	unsigned int exits;   /* 1 << enum cli_exit, or-ed: what it can end with beyond 0, 1, 2 */
	const char *examples; /* NULL, or lines "COMMAND # what it does" */
	int (*run)(struct cli *cli); /* NULL: a group of commands */
};

/* Ends with an entry whose path is NULL; the first is wherry itself. */
extern const struct command commands[];

/* Flags every command takes; ends with {}. */
extern const struct flag global_flags[];

/* One line for each exit status, from 0 on; NULL after the last. */
const char *command_exit_text(unsigned int status);

/* The last word of the path. */
const char *command_word(const struct command *command);

/* The command of @word in the group @group, by its name or an alias; NULL: there is none. */
const struct command *command_find(const struct command *group, const char *word, size_t len);

/* The commands directly in @group, in table order: pass NULL first; NULL after the last. */
const struct command *command_next(const struct command *group, const struct command *previous);

/* Looks among @command's own flags, then the global ones. NULL: there is none. */
const struct flag *command_flag(const struct command *command, const char *name, size_t len);
const struct flag *command_letter(const struct command *command, char letter);
