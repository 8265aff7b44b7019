/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of wherry(1) for scdoc(5), made from the command table, so that no flag can be there
 * without its line in the manual.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/handlers.h"
#include "cli/help.h"

#include <ctype.h>
#include <string.h>

/* Adds text with what scdoc would take for markup escaped. */
static void add_plain(struct buf *buf, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (strchr("\\*_#`<>[]~|", text[i]))
			buf_adds(buf, "\\");
		buf_add(buf, &text[i], 1);
	}
}

static void add_text(struct buf *buf, const char *text)
{
	add_plain(buf, text, strlen(text));
}

static void add_paragraphs(struct buf *buf, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		buf_adds(buf, *text == '\t' ? "\n\t" : "\n");
		add_plain(buf, text + (*text == '\t'), len - (*text == '\t'));
		buf_adds(buf, "\n");
		text += len;
		text += strspn(text, "\n");
	}
}

static void add_flags(struct buf *buf, const struct flag *flags)
{
	for (; flags && flags->name; flags++) {
		buf_adds(buf, "\n");
		if (flags->letter)
			buf_addf(buf, "*-%c*, ", flags->letter);
		buf_addf(buf, "*--%s*", flags->name);
		if (flags->argument)
			buf_addf(buf, " _%s_", flags->argument);
		buf_adds(buf, "\n\t");
		add_text(buf, flags->help);
		buf_adds(buf, "\n");
	}
}

static void add_examples(struct buf *buf, const char *examples)
{
	bool is_first = true;

	while (examples && *examples) {
		size_t len = strcspn(examples, "\n");
		const char *mark = strstr(examples, " # ");
		bool has_note = mark && mark < examples + len;

		buf_adds(buf, is_first ? "\nExamples:\n\n```\n" : "");
		is_first = false;
		if (has_note)
			buf_addf(buf, "# %.*s\n", (int)(examples + len - mark - 3), mark + 3);
		buf_addf(
			buf, "%.*s\n", (int)(has_note ? (size_t)(mark - examples) : len), examples);
		examples += len;
		examples += *examples == '\n';
	}
	if (!is_first)
		buf_adds(buf, "```\n");
}

static void add_command(struct buf *buf, const struct command *command)
{
	_cleanup_(buf_clear) struct buf usage = {};

	help_add_usage(&usage, command);
	buf_addf(buf, "\n## wherry %s\n\n", command->path);
	add_text(buf, usage.data);
	buf_adds(buf, "\n\n");
	add_text(buf, command->summary);
	buf_adds(buf, ".\n");
	if (command->aliases) {
		buf_adds(buf, "\nAlso called: ");
		add_text(buf, command->aliases);
		buf_adds(buf, ".\n");
	}
	if (command->text)
		add_paragraphs(buf, command->text);
	for (const struct positional *p = command->positionals; p && p->name; p++) {
		buf_addf(buf, "\n_%s_\n\t", p->name);
		add_text(buf, p->help);
		buf_adds(buf, "\n");
	}
	add_flags(buf, command->flags);
	add_examples(buf, command->examples);
}

static void add_exits(struct buf *buf)
{
	const char *text;

	buf_adds(buf, "\n# EXIT STATUS\n");
	for (unsigned int i = 0; (text = command_exit_text(i)); i++)
		buf_addf(buf, "\n*%u*\n\t%s\n", i, text);
	buf_adds(buf, "\n*wherry machine exec* ends with the exit status of the program.\n");
}

static const char head[] =
	"wherry(1)\n\n# NAME\n\nwherry - run UDP and TCP apps on your own servers\n\n"
	"# SYNOPSIS\n\n*wherry* _COMMAND_ [_flags_] [_arguments_]\n\n"
	"# DESCRIPTION\n\n"
	"*wherry* tells *wherryd*(8) on this host what to run. Apps are described by a "
	"*fly.toml*(5) and a Dockerfile, as on Fly.io; commands and flags are named after those of "
	"flyctl. Flags may stand before or after arguments; *--* ends them.\n\n"
	"Results go to standard output, progress, warnings and questions to standard error. With "
	"*--json* an error is one line of JSON on standard error, with its sentence in *error* "
	"and a *code* for programs.\n\n# GLOBAL FLAGS\n";

static const char tail[] =
	"\n# ENVIRONMENT\n\n"
	"*WHERRY_APP*, *FLY_APP*\n\tthe app to work on, where neither *-a* nor *-c* is given\n\n"
	"*WHERRY_SOCKET*\n\twherryd's socket, where *--socket* is not given\n\n"
	"*NO_COLOR*\n\tno colour, also on a terminal\n\n"
	"# FILES\n\n"
	"_fly.toml_\n\tthe app's configuration\n\n"
	"_/run/wherry/wherryd.sock_\n\twherryd's socket\n\n"
	"# SEE ALSO\n\n*fly.toml*(5), *wherryd*(8), *wherryd.toml*(5), *podman*(1)\n";

int man_command(struct cli *cli)
{
	_cleanup_(buf_clear) struct buf text = {};

	(void)cli;
	buf_adds(&text, head);
	add_flags(&text, global_flags);
	buf_adds(&text, "\n# COMMANDS\n");
	for (const struct command *command = commands; command->path; command++)
		if (command->run && !command->is_hidden)
			add_command(&text, command);
	add_exits(&text);
	buf_adds(&text, tail);
	fputs(text.data, stdout);
	return CLI_OK;
}
