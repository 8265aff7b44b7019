/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words after `wherry lab`; see args.h. One row a verb says what it takes. Names become parts
 * of paths, hence the narrow alphabet.
 */
#include "lab/args.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_ALPHABET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

static const struct verb {
	const char *word;
	enum lab_verb verb;
	bool takes_plan, takes_json, takes_command;
	int words_min, words_max; /* of NODE and the second */
	const char *second;	  /* what that is */
} verbs[] = {
	{.word = "up", .verb = LAB_UP, .takes_plan = true, .takes_json = true},
	{.word = "down", .verb = LAB_DOWN},
	{.word = "exec", .verb = LAB_EXEC, .takes_command = true, .words_min = 1, .words_max = 1},
	{.word = "status", .verb = LAB_STATUS, .takes_json = true},
	{.word = "kill", .verb = LAB_KILL, .words_min = 1, .words_max = 2, .second = "a program"},
	{.word = "pause", .verb = LAB_PAUSE, .words_min = 1, .words_max = 2, .second = "a program"},
	{.word = "resume",
		.verb = LAB_RESUME,
		.words_min = 1,
		.words_max = 2,
		.second = "a program"},
	{.word = "start", .verb = LAB_START, .words_min = 1, .words_max = 2, .second = "a program"},
	{.word = "route", .verb = LAB_ROUTE, .words_min = 2, .words_max = 2, .second = "an edge"},
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

static int parse_number(
	const char *option, const char *text, unsigned int max, unsigned int *out, struct err *err)
{
	unsigned int value = 0;

	if (!text)
		return err_set(err, -EINVAL, "%s needs a number", option);
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9' || value > max) {
			value = 0;
			break;
		}
		value = value * 10 + (unsigned int)(*c - '0');
	}
	if (value < 1 || value > max)
		return err_set(err, -EINVAL, "%s %s is not a number in 1..%u", option, text, max);
	*out = value;
	return 0;
}

/* Which of @words, that end with NULL, @text is. */
static int parse_word(
	const char *option, const char *text, const char *const *words, int *out, struct err *err)
{
	for (int i = 0; words[i]; i++)
		if (text && strcmp(words[i], text) == 0) {
			*out = i;
			return 0;
		}
	return err_set(err, -EINVAL, "%s takes %s or %s", option, words[0], words[1]);
}

/* As wherryd takes them, but not as long. */
static bool is_region(const char *text, size_t len)
{
	if (len < 1 || len > LAB_REGION_MAX || text[0] == '-' || text[len - 1] == '-')
		return false;
	return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") >= len;
}

static int parse_regions(const char *text, const char **out, struct err *err)
{
	for (const char *name = text; name;) {
		size_t len = strcspn(name, ",");

		if (!is_region(name, len))
			break;
		if (name[len] == '\0') {
			*out = text;
			return 0;
		}
		name += len + 1;
	}
	return err_set(err, -EINVAL,
		"--regions takes names with commas between, each of 1 to %d lower-case letters, "
		"digits or inner dashes",
		LAB_REGION_MAX);
}

char *lab_region_pick(
	const char *regions, unsigned int index, char region[static LAB_REGION_MAX + 1])
{
	unsigned int count = 1;

	if (!regions)
		regions = "local";
	for (const char *c = regions; *c; c++)
		count += *c == ',';
	for (index %= count; index > 0; index--)
		regions = strchr(regions, ',') + 1;
	snprintf(region, LAB_REGION_MAX + 1, "%.*s", (int)strcspn(regions, ","), regions);
	return region;
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

static const char *const store_words[] = {[LAB_SQLITE] = "sqlite", [LAB_ETCD] = "etcd", NULL};
static const char *const underlay_words[] = {"wireguard", "plain", NULL};

/* What an option of `up` left unsaid. */
#define UNSAID (-1)

struct said {
	int store, underlay; /* indices into the words, or UNSAID */
};

/* An option of `up` that shapes the lab. Returns 1 when the word is none of them. */
static int parse_plan_option(
	int argc, char **argv, int *at, struct lab_args *out, struct said *said, struct err *err)
{
	const struct {
		const char *option;
		unsigned int max, *out;
	} numbers[] = {
		{"--clients", LAB_CLIENTS_MAX, &out->clients},
		{"--hosts", LAB_EDGES_MAX, &out->hosts},
		{"--edges", LAB_EDGES_MAX, &out->edges},
		{"--workers", LAB_WORKERS_MAX, &out->workers},
	};
	const char *value = NULL;

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (match_value(argc, argv, at, numbers[i].option, &value))
			return parse_number(
				numbers[i].option, value, numbers[i].max, numbers[i].out, err);
	if (match_value(argc, argv, at, "--regions", &value))
		return parse_regions(value, &out->regions, err);
	if (match_value(argc, argv, at, "--store", &value))
		return parse_word("--store", value, store_words, &said->store, err);
	if (match_value(argc, argv, at, "--underlay", &value))
		return parse_word("--underlay", value, underlay_words, &said->underlay, err);
	return 1;
}

/* What was not said follows from the number of hosts. */
static int complete_plan(struct lab_args *out, const struct said *said, struct err *err)
{
	bool has_roles = out->edges || out->workers, is_fleet;

	if (out->hosts && has_roles)
		return err_set(err, -EINVAL,
			"--hosts makes hosts that are edge and worker at once; it does not go with "
			"--edges and --workers");
	if (has_roles) {
		out->edges = out->edges ? out->edges : 1;
		out->workers = out->workers ? out->workers : 1;
	} else {
		out->hosts = out->hosts ? out->hosts : 1;
	}
	is_fleet = out->hosts != 1;
	if (is_fleet && said->store == LAB_SQLITE)
		return err_set(err, -EINVAL,
			"--store sqlite is a file of one host; several share --store etcd");
	if (!is_fleet && said->underlay != UNSAID)
		return err_set(err, -EINVAL,
			"--underlay says how hosts reach each other; this lab has only one");
	out->store = is_fleet || said->store == LAB_ETCD ? LAB_ETCD : LAB_SQLITE;
	if (is_fleet)
		out->underlay = said->underlay == 1 ? LAB_PLAIN : LAB_WIREGUARD;
	return 0;
}

static int parse_option(const struct verb *verb, int argc, char **argv, int *at,
	struct lab_args *out, struct said *said, struct err *err)
{
	const char *word = argv[*at], *value = NULL;
	int r;

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
	r = verb->takes_plan ? parse_plan_option(argc, argv, at, out, said, err) : 1;
	if (r != 1)
		return r;
	return err_set(err, -EINVAL, "lab %s has no option %s; wherry lab --help lists them",
		verb->word, word);
}

static int check_words(const struct verb *verb, int count, struct lab_args *out, struct err *err)
{
	if (out->verb == LAB_HELP)
		return 0;
	if (count < verb->words_min)
		return err_set(err, -EINVAL, "lab %s needs %s; wherry lab --help has the form",
			verb->word, count == 0 ? "the name of a node" : verb->second);
	if (out->node && !lab_name_is_valid(out->node))
		return err_set(err, -EINVAL, "\"%s\" cannot be the name of a node", out->node);
	if (out->program && !lab_name_is_valid(out->program))
		return err_set(
			err, -EINVAL, "\"%s\" cannot be the name of a program", out->program);
	if (out->edge && !lab_name_is_valid(out->edge))
		return err_set(err, -EINVAL, "\"%s\" cannot be the name of an edge", out->edge);
	if (verb->takes_command && !out->command)
		return err_set(
			err, -EINVAL, "lab %s %s needs a command to run", verb->word, out->node);
	return 0;
}

static int parse_words(
	const struct verb *verb, int argc, char **argv, struct lab_args *out, struct err *err)
{
	struct said said = {.store = UNSAID, .underlay = UNSAID};
	int count = 0, r;

	for (int i = 2; i < argc; i++) {
		if (argv[i][0] == '-' && argv[i][1]) {
			r = parse_option(verb, argc, argv, &i, out, &said, err);
			if (r < 0)
				return r;
			continue;
		}
		if (count == verb->words_max)
			return err_set(err, -EINVAL, "lab %s takes no \"%s\"", verb->word, argv[i]);
		if (count++ == 0)
			out->node = argv[i];
		else if (verb->verb == LAB_ROUTE)
			out->edge = argv[i];
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
	r = check_words(verb, count, out, err);
	return r < 0 || !verb->takes_plan ? r : complete_plan(out, &said, err);
}

int lab_args_parse(int argc, char **argv, struct lab_args *out, struct err *err)
{
	const struct verb *verb;

	*out = (struct lab_args){.verb = LAB_HELP, .name = LAB_DEFAULT_NAME, .clients = 1};
	if (argc < 2)
		return err_set(err, -EINVAL,
			"wherry lab needs a command: up, down, status, exec, kill, pause, resume, "
			"start or route");
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		return 0;
	verb = find_verb(argv[1]);
	if (!verb)
		return err_set(err, -EINVAL,
			"wherry lab has no command \"%s\"; wherry lab --help lists them", argv[1]);
	out->verb = verb->verb;
	return parse_words(verb, argc, argv, out, err);
}
