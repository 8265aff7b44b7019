/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words after `wherry lab`; see args.h. One row a verb says what it takes. Names become parts
 * of paths, hence the narrow alphabet.
 */
#include "lab/args.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

#define NAME_ALPHABET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

static const struct verb {
	const char *word;
	enum lab_verb verb;
	bool takes_clients, takes_json, takes_command;
	int words_min, words_max; /* of NODE, PROGRAM */
} verbs[] = {
	{.word = "up", .verb = LAB_UP, .takes_clients = true, .takes_json = true},
	{.word = "down", .verb = LAB_DOWN},
	{.word = "exec", .verb = LAB_EXEC, .takes_command = true, .words_min = 1, .words_max = 1},
	{.word = "status", .verb = LAB_STATUS, .takes_json = true},
	{.word = "kill", .verb = LAB_KILL, .words_min = 1, .words_max = 2},
	{.word = "pause", .verb = LAB_PAUSE, .words_min = 1, .words_max = 2},
	{.word = "resume", .verb = LAB_RESUME, .words_min = 1, .words_max = 2},
	{.word = "start", .verb = LAB_START, .words_min = 2, .words_max = 2},
	{.word = "help", .verb = LAB_HELP},
};

bool lab_name_is_valid(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= LAB_NAME_MAX && text[0] != '-' &&
	       strspn(text, NAME_ALPHABET) == len;
}

static const struct verb *find_verb(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i].word, word) == 0)
			return &verbs[i];
	return NULL;
}

static int parse_clients(const char *text, unsigned int *out, struct err *err)
{
	unsigned int value = 0;

	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9' || value > LAB_CLIENTS_MAX) {
			value = 0;
			break;
		}
		value = value * 10 + (unsigned int)(*c - '0');
	}
	if (value < 1 || value > LAB_CLIENTS_MAX)
		return err_set(err, -EINVAL, "--clients %s is not a number in 1..%d", text,
			LAB_CLIENTS_MAX);
	*out = value;
	return 0;
}

/*
 * Whether the option at argv[*at] is @option; then *@value is what follows "=" or the next word,
 * which is consumed.
 */
static bool match_value(int argc, char **argv, int *at, const char *option, const char **value)
{
	size_t len = strlen(option);
	const char *word = argv[*at];

	if (strncmp(word, option, len) != 0 || (word[len] != '\0' && word[len] != '='))
		return false;
	if (word[len] == '=')
		*value = word + len + 1;
	else
		*value = *at + 1 < argc ? argv[++*at] : NULL;
	return true;
}

static int parse_option(const struct verb *verb, int argc, char **argv, int *at,
	struct lab_args *out, struct err *err)
{
	const char *word = argv[*at], *value = NULL;

	if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
		out->verb = LAB_HELP;
		return 0;
	}
	if (verb->takes_json && (strcmp(word, "-j") == 0 || strcmp(word, "--json") == 0)) {
		out->is_json = true;
		return 0;
	}
	if (match_value(argc, argv, at, "--name", &value)) {
		if (!value || !lab_name_is_valid(value))
			return err_set(err, -EINVAL,
				"--name takes 1 to %d letters, digits, \"-\" or \"_\"",
				LAB_NAME_MAX);
		out->name = value;
		out->has_name = true;
		return 0;
	}
	if (verb->takes_clients && match_value(argc, argv, at, "--clients", &value))
		return value ? parse_clients(value, &out->clients, err)
			     : err_set(err, -EINVAL, "--clients needs a number");
	return err_set(err, -EINVAL, "lab %s has no option %s; wherry lab --help lists them",
		verb->word, word);
}

static int check_words(const struct verb *verb, int count, struct lab_args *out, struct err *err)
{
	if (out->verb == LAB_HELP)
		return 0;
	if (count < verb->words_min)
		return err_set(err, -EINVAL, "lab %s needs %s; wherry lab --help has the form",
			verb->word, count == 0 ? "the name of a node" : "the name of a program");
	if (out->node && !lab_name_is_valid(out->node))
		return err_set(err, -EINVAL, "\"%s\" cannot be the name of a node", out->node);
	if (out->program && !lab_name_is_valid(out->program))
		return err_set(
			err, -EINVAL, "\"%s\" cannot be the name of a program", out->program);
	if (verb->takes_command && !out->command)
		return err_set(
			err, -EINVAL, "lab %s %s needs a command to run", verb->word, out->node);
	return 0;
}

static int parse_words(
	const struct verb *verb, int argc, char **argv, struct lab_args *out, struct err *err)
{
	int count = 0, r;

	for (int i = 2; i < argc; i++) {
		if (argv[i][0] == '-' && argv[i][1]) {
			r = parse_option(verb, argc, argv, &i, out, err);
			if (r < 0)
				return r;
			continue;
		}
		if (count == verb->words_max)
			return err_set(err, -EINVAL, "lab %s takes no \"%s\"", verb->word, argv[i]);
		if (count++ == 0)
			out->node = argv[i];
		else
			out->program = argv[i];
		if (!verb->takes_command)
			continue;
		/* Everything after exec's NODE is the program's own, but for one "--". */
		if (i + 1 < argc && strcmp(argv[i + 1], "--") == 0)
			i++;
		if (i + 1 < argc)
			out->command = argv + i + 1;
		break;
	}
	return check_words(verb, count, out, err);
}

int lab_args_parse(int argc, char **argv, struct lab_args *out, struct err *err)
{
	const struct verb *verb;

	*out = (struct lab_args){.verb = LAB_HELP, .name = LAB_DEFAULT_NAME, .clients = 1};
	if (argc < 2)
		return err_set(err, -EINVAL,
			"wherry lab needs a command: up, down, status, exec, kill, pause, resume "
			"or start");
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		return 0;
	verb = find_verb(argv[1]);
	if (!verb)
		return err_set(err, -EINVAL,
			"wherry lab has no command \"%s\"; wherry lab --help lists them", argv[1]);
	out->verb = verb->verb;
	return parse_words(verb, argc, argv, out, err);
}
