/* SPDX-License-Identifier: Apache-2.0 */
/* Help; see help.h. At most 80 columns wide, on any terminal: a page that can be pasted. */
#include "cli/help.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/handlers.h"
#include "cli/width.h"

#include <errno.h>
#include <string.h>

#define COLUMNS 80

/* "  NAME   what it is", the second column at @column. */
static void add_entry(struct buf *buf, const char *name, const char *text, size_t column)
{
	size_t len = strlen(name) + 2;

	buf_addf(buf, "  %s", name);
	if (len + 2 > column) {
		buf_addf(buf, "\n%*s", (int)column, "");
		len = column;
	} else {
		buf_addf(buf, "%*s", (int)(column - len), "");
	}
	width_wrap(buf, text, column, COLUMNS);
}

static void add_paragraphs(struct buf *buf, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		_free_ char *line = strndup(text, len);

		buf_adds(buf, "\n");
		if (line && *line == '\t')
			buf_addf(buf, "  %s\n", line + 1);
		else if (line)
			width_wrap(buf, line, 0, COLUMNS);
		text += len;
		text += strspn(text, "\n");
	}
}

void help_add_usage(struct buf *buf, const struct command *command)
{
	buf_addf(buf, "wherry%s%s", *command->path ? " " : "", command->path);
	if (!command->run) {
		buf_adds(buf, " COMMAND [flags]");
		return;
	}
	if (command->is_raw) {
		buf_addf(buf, " %s", command->program);
		return;
	}
	buf_adds(buf, " [flags]");
	for (const struct positional *p = command->positionals; p && p->name; p++)
		buf_addf(buf, " %s%s%s%s", p->is_optional ? "[" : "", p->name,
			p->repeats ? "..." : "", p->is_optional ? "]" : "");
	if (command->program)
		buf_addf(buf, command->program_is_required ? " -- %s" : " [-- %s]",
			command->program);
}

static void add_commands(struct buf *buf, const struct command *group)
{
	const struct command *command = NULL;

	if (group->run)
		return;
	buf_adds(buf, "\nCommands:\n");
	while ((command = command_next(group, command)))
		if (!command->is_hidden)
			add_entry(buf, command_word(command), command->summary, 17);
}

static void add_flags(struct buf *buf, const char *title, const struct flag *flags)
{
	if (!flags)
		return;
	buf_addf(buf, "\n%s:\n", title);
	for (; flags->name; flags++) {
		char name[64], letter[8] = "    ";

		if (flags->letter)
			snprintf(letter, sizeof(letter), "-%c, ", flags->letter);
		snprintf(name, sizeof(name), "%s--%s%s%s", letter, flags->name,
			flags->argument ? " " : "", flags->argument ? flags->argument : "");
		add_entry(buf, name, flags->help, 28);
	}
}

static void add_positionals(struct buf *buf, const struct command *command)
{
	if (!command->positionals)
		return;
	buf_adds(buf, "\nArguments:\n");
	for (const struct positional *p = command->positionals; p->name; p++)
		add_entry(buf, p->name, p->help, 17);
}

static void add_aliases(struct buf *buf, const struct command *command)
{
	if (command->aliases)
		buf_addf(buf, "\nAlso called: %s\n", command->aliases);
}

static void add_examples(struct buf *buf, const char *examples)
{
	if (!examples)
		return;
	buf_adds(buf, "\nExamples:\n");
	while (*examples) {
		size_t len = strcspn(examples, "\n");
		const char *mark = strstr(examples, " # ");

		if (mark && mark < examples + len)
			buf_addf(buf, "  # %.*s\n  %.*s\n", (int)(examples + len - mark - 3),
				mark + 3, (int)(mark - examples), examples);
		else
			buf_addf(buf, "  %.*s\n", (int)len, examples);
		examples += len;
		examples += *examples == '\n';
	}
}

static void add_exits(struct buf *buf, const struct command *command)
{
	unsigned int always = 1U << CLI_OK | 1U << CLI_FAILED | 1U << CLI_USAGE;
	const char *text;

	if (!command->run || command->is_raw)
		return;
	buf_adds(buf, "\nExit status:\n");
	for (unsigned int i = 0; (text = command_exit_text(i)); i++)
		if ((command->exits | always) & 1U << i)
			buf_addf(buf, "  %u  %s\n", i, text);
}

void help_add(struct buf *buf, const struct command *command)
{
	buf_addf(buf, "%s\n\nUsage: ", command->summary);
	help_add_usage(buf, command);
	buf_adds(buf, "\n");
	if (command->text)
		add_paragraphs(buf, command->text);
	add_aliases(buf, command);
	add_commands(buf, command);
	add_positionals(buf, command);
	add_flags(buf, "Flags", command->flags);
	if (!command->is_raw)
		add_flags(buf, "Global flags", global_flags);
	add_examples(buf, command->examples);
	add_exits(buf, command);
	if (!command->run)
		buf_addf(buf, "\nwherry help%s%s COMMAND says more about one.\n",
			*command->path ? " " : "", command->path);
}

int help_command(struct cli *cli)
{
	_cleanup_(buf_clear) struct buf text = {};
	const struct command *command = &commands[0];
	const char *word;

	for (size_t i = 0; (word = args_positional(&cli->args, i)); i++) {
		const struct command *inner = command_find(command, word, strlen(word));

		if (!inner)
			return cli_fail(cli, CLI_USAGE, "invalid_request",
				"there is no command \"%s%s%s\"", command->path,
				*command->path ? " " : "", word);
		command = inner;
	}
	help_add(&text, command);
	fputs(text.data, stdout);
	return CLI_OK;
}
