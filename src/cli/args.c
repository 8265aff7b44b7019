/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing a command line; see args.h. Not getopt_long(3): that one permutes argv, abbreviates long
 * flags (a flag added later would break a script) and cannot find the command and its flags in one
 * pass, so that "wherry -a web machine list -q" would need two tables.
 */
#include "cli/args.h"

#include "base/err.h"
#include "cli/suggest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct parser {
	struct args *args;
	int argc;
	char **argv;
	int at;		  /* index of the word that is being read */
	bool flags_ended; /* "--" was read */
	bool in_program;  /* everything from here on is the program's */
	struct err *err;
};

static const char *command_title(const struct command *command)
{
	return *command->path ? command->path : "wherry";
}

static size_t positional_max(const struct command *command, bool *repeats)
{
	size_t n = 0;

	*repeats = false;
	for (; command->positionals && command->positionals[n].name; n++)
		*repeats = command->positionals[n].repeats;
	return n;
}

static void add_flag(struct args *args, const struct flag *flag, const char *value)
{
	args->flags[args->flag_count++] = (struct given_flag){flag, value};
}

/* The value that follows in the next word. */
static int next_value(struct parser *p, const struct flag *flag, const char **value)
{
	if (p->at + 1 >= p->argc)
		return err_set(p->err, -EINVAL, "--%s needs a value: --%s %s", flag->name,
			flag->name, flag->argument);
	*value = p->argv[++p->at];
	return 0;
}

static int unknown_flag(struct parser *p, const char *name, size_t len)
{
	const struct command *command = p->args->command;
	struct suggestion best = suggestion_for(name, len);

	for (const struct flag *flag = command->flags; flag && flag->name; flag++)
		suggestion_try(&best, flag->name);
	for (const struct flag *flag = global_flags; flag->name; flag++)
		suggestion_try(&best, flag->name);
	if (best.text)
		return err_set(p->err, -EINVAL, "%s has no flag --%.*s; did you mean --%s?",
			command_title(command), (int)len, name, best.text);
	return err_set(
		p->err, -EINVAL, "%s has no flag --%.*s", command_title(command), (int)len, name);
}

static int parse_long(struct parser *p, const char *word)
{
	const char *equals = strchr(word, '='), *value = NULL;
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct flag *flag = command_flag(p->args->command, word, len);
	int r;

	if (!flag)
		return unknown_flag(p, word, len);
	if (!flag->argument && equals)
		return err_set(p->err, -EINVAL, "--%s takes no value", flag->name);
	if (flag->argument && equals) {
		value = equals + 1;
	} else if (flag->argument) {
		r = next_value(p, flag, &value);
		if (r < 0)
			return r;
	}
	add_flag(p->args, flag, value);
	return 0;
}

static int parse_cluster(struct parser *p, const char *letters)
{
	for (; *letters; letters++) {
		const struct flag *flag = command_letter(p->args->command, *letters);
		const char *value = NULL;
		int r;

		if (!flag)
			return err_set(p->err, -EINVAL, "%s has no flag -%c%s",
				command_title(p->args->command), *letters,
				p->args->command->program ? "; a program's own words go after --"
							  : "");
		if (!flag->argument) {
			add_flag(p->args, flag, NULL);
			continue;
		}
		if (letters[1]) {
			value = letters + 1 + (letters[1] == '=');
		} else {
			r = next_value(p, flag, &value);
			if (r < 0)
				return r;
		}
		add_flag(p->args, flag, value);
		return 0;
	}
	return 0;
}

static int unknown_command(struct parser *p, const char *word)
{
	const struct command *group = p->args->command, *command = NULL;
	struct suggestion best = suggestion_for(word, strlen(word));

	while ((command = command_next(group, command)))
		if (!command->is_hidden)
			suggestion_try(&best, command_word(command));
	if (best.text)
		return err_set(p->err, -EINVAL,
			"there is no command \"%s%s%s\"; did you mean \"%s%s%s\"?", group->path,
			*group->path ? " " : "", word, group->path, *group->path ? " " : "",
			best.text);
	return err_set(p->err, -EINVAL, "there is no command \"%s%s%s\"", group->path,
		*group->path ? " " : "", word);
}

static void add_program(struct args *args, const char *word)
{
	args->program[args->program_count++] = word;
}

static int parse_word(struct parser *p, const char *word)
{
	struct args *args = p->args;
	const struct command *command;
	bool repeats;

	if (!args->command->run && !args->command->is_raw) {
		command = command_find(args->command, word, strlen(word));
		if (!command)
			return unknown_command(p, word);
		args->command = command;
		p->in_program = command->is_raw;
		if (command->is_raw)
			add_program(args, word);
		return 0;
	}
	if (args->positional_count < positional_max(args->command, &repeats) || repeats) {
		args->positionals[args->positional_count++] = word;
		return 0;
	}
	if (!args->command->program)
		return err_set(p->err, -EINVAL, "%s does not take the argument \"%s\"",
			args->command->path, word);
	add_program(args, word);
	p->in_program = true;
	return 0;
}

static int parse_one(struct parser *p)
{
	const char *word = p->argv[p->at];

	if (p->in_program) {
		add_program(p->args, word);
		return 0;
	}
	if (!p->flags_ended && strcmp(word, "--") == 0) {
		p->flags_ended = true;
		p->in_program = p->args->command->program != NULL;
		return 0;
	}
	if (p->flags_ended || word[0] != '-' || !word[1])
		return parse_word(p, word);
	return word[1] == '-' ? parse_long(p, word + 2) : parse_cluster(p, word + 1);
}

static int check_complete(const struct args *args, struct err *err)
{
	const struct command *command = args->command;
	bool repeats;
	size_t max = positional_max(command, &repeats);

	if (args_has(args, "help"))
		return 0;
	if (args->positional_count < max &&
		!command->positionals[args->positional_count].is_optional)
		return err_set(err, -EINVAL, "%s needs %s", command->path,
			command->positionals[args->positional_count].name);
	if (command->program_is_required && args->program_count == 0)
		return err_set(
			err, -EINVAL, "%s needs a program: -- %s", command->path, command->program);
	return 0;
}

int args_parse(int argc, char **argv, struct args *out, struct err *err)
{
	struct parser p = {.args = out, .argc = argc, .argv = argv, .at = 1, .err = err};
	size_t words = argc > 0 ? (size_t)argc + 1 : 1, longest = words;
	int r;

	/* A cluster gives more flags than words. */
	for (int i = 1; i < argc; i++)
		longest += strlen(argv[i]);
	*out = (struct args){.command = &commands[0]};
	out->flags = calloc(longest, sizeof(out->flags[0]));
	out->positionals = calloc(words, sizeof(out->positionals[0]));
	out->program = calloc(words, sizeof(out->program[0]));
	if (!out->flags || !out->positionals || !out->program)
		abort();
	for (; p.at < argc; p.at++) {
		r = parse_one(&p);
		if (r < 0)
			return r;
	}
	return check_complete(out, err);
}

void args_clear(struct args *args)
{
	free(args->flags);
	free(args->positionals);
	free(args->program);
	*args = (struct args){};
}

bool args_has(const struct args *args, const char *name)
{
	for (size_t i = 0; i < args->flag_count; i++)
		if (strcmp(args->flags[i].flag->name, name) == 0)
			return true;
	return false;
}

const char *args_get(const struct args *args, const char *name)
{
	for (size_t i = args->flag_count; i > 0; i--)
		if (strcmp(args->flags[i - 1].flag->name, name) == 0)
			return args->flags[i - 1].value;
	return NULL;
}

const char *args_next(const struct args *args, const char *name, size_t *at)
{
	while (*at < args->flag_count) {
		const struct given_flag *given = &args->flags[(*at)++];

		if (strcmp(given->flag->name, name) == 0)
			return given->value;
	}
	return NULL;
}

const char *args_positional(const struct args *args, size_t index)
{
	return index < args->positional_count ? args->positionals[index] : NULL;
}
