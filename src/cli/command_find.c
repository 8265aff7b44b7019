/* SPDX-License-Identifier: Apache-2.0 */
/* Looking things up in the table of commands; see commands.h. */
#include "cli/commands.h"

#include <string.h>

static const char *const exit_texts[] = {
	[CLI_OK] = "done",
	[CLI_FAILED] = "failed",
	[CLI_USAGE] = "the command line is wrong",
	[CLI_NOT_FOUND] = "no such app, machine, host or address",
	[CLI_CONFLICT] = "in conflict with what is there",
	[CLI_INVALID] = "the app's configuration is missing or invalid",
	[CLI_UNREACHABLE] = "wherryd cannot be reached",
};

const char *command_exit_text(unsigned int status)
{
	if (status >= sizeof(exit_texts) / sizeof(exit_texts[0]))
		return NULL;
	return exit_texts[status];
}

const char *command_word(const struct command *command)
{
	const char *space = strrchr(command->path, ' ');

	return space ? space + 1 : command->path;
}

static bool is_in_group(const struct command *command, const struct command *group)
{
	size_t len = strlen(group->path);

	if (!*command->path)
		return false;
	if (len == 0)
		return !strchr(command->path, ' ');
	return strncmp(command->path, group->path, len) == 0 && command->path[len] == ' ' &&
	       !strchr(command->path + len + 1, ' ');
}

static bool has_alias(const struct command *command, const char *word, size_t len)
{
	const char *at = command->aliases;

	while (at && *at) {
		size_t n = strcspn(at, " ");

		if (n == len && strncmp(at, word, len) == 0)
			return true;
		at += n;
		at += *at == ' ';
	}
	return false;
}

const struct command *command_next(const struct command *group, const struct command *previous)
{
	for (const struct command *c = previous ? previous + 1 : commands; c->path; c++)
		if (is_in_group(c, group))
			return c;
	return NULL;
}

const struct command *command_find(const struct command *group, const char *word, size_t len)
{
	const struct command *command = NULL;

	while ((command = command_next(group, command))) {
		const char *name = command_word(command);

		if ((strlen(name) == len && strncmp(name, word, len) == 0) ||
			has_alias(command, word, len))
			return command;
	}
	return NULL;
}

static const struct flag *find_flag(const struct flag *flags, const char *name, size_t len)
{
	for (; flags && flags->name; flags++)
		if (strlen(flags->name) == len && strncmp(flags->name, name, len) == 0)
			return flags;
	return NULL;
}

static const struct flag *find_letter(const struct flag *flags, char letter)
{
	for (; flags && flags->name; flags++)
		if (flags->letter && flags->letter == letter)
			return flags;
	return NULL;
}

const struct flag *command_flag(const struct command *command, const char *name, size_t len)
{
	const struct flag *flag = find_flag(command->flags, name, len);

	return flag ? flag : find_flag(global_flags, name, len);
}

const struct flag *command_letter(const struct command *command, char letter)
{
	const struct flag *flag = find_letter(command->flags, letter);

	return flag ? flag : find_letter(global_flags, letter);
}
