/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands, and looking things up in it; see commands.h. Names, flags and columns are
 * flyctl's where it has them. This file is the command line's table of contents: a new command is
 * one entry here and one handler.
 */
#include "cli/commands.h"

#include "cli/handlers.h"

#include <string.h>

#if __has_include("lab/lab.h")
#include "cli/cli.h"
#include "lab/lab.h"

/* The lab reads its own words: they begin with its name, as a program's do. */
static int run_lab(struct cli *cli)
{
	return lab_command((int)cli->args.program_count, (char **)cli->args.program);
}
#endif

#define POSITIONALS(...)                                                                           \
	(const struct positional[])                                                                \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
		}                                                                                  \
	}
#define FLAGS(...)                                                                                 \
	(const struct flag[])                                                                      \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
		}                                                                                  \
	}

#define EXIT(status) (1U << CLI_##status)
/* Of everything that asks the daemon about one thing. */
#define EXITS_LOOKUP (EXIT(NOT_FOUND) | EXIT(INVALID) | EXIT(UNREACHABLE))
#define EXITS_CHANGE (EXITS_LOOKUP | EXIT(CONFLICT))

#define DIR_ARGUMENT                                                                               \
	{                                                                                          \
		"DIR", "the app's directory (default: the current one)",                           \
			.is_optional = true, .completes = COMPLETES_DIR                            \
	}
#define MACHINE_ARGUMENT                                                                           \
	{                                                                                          \
		"ID", "machine ID, or a prefix of it that is unique",                              \
			.completes = COMPLETES_MACHINE                                             \
	}
#define MACHINES_ARGUMENT                                                                          \
	{                                                                                          \
		"ID", "machine IDs, or prefixes of them that are unique",                          \
			.repeats = true, .completes = COMPLETES_MACHINE                            \
	}

const struct flag global_flags[] = {
	{"app", 'a', "APP", "app to work on (default: that of fly.toml)", COMPLETES_APP},
	{"config", 'c', "FILE", "app configuration (default: fly.toml)", COMPLETES_FILE},
	{"json", 'j', NULL, "print JSON", 0},
	{"yes", 'y', NULL, "never ask; accept what would be asked", 0},
	{"quiet", 'q', NULL, "print results only, no progress", 0},
	{"verbose", 0, NULL, "say what is asked of wherryd and podman", 0},
	{"socket", 0, "PATH", "wherryd's socket (default: /run/wherry/wherryd.sock)",
		COMPLETES_FILE},
	{"help", 'h', NULL, "show help for the command", 0},
	{},
};

const struct command commands[] = {
	{
		.path = "",
		.summary = "Run UDP and TCP apps on your own servers",
		.text = "Apps are described by a fly.toml and a Dockerfile, as on Fly.io. A new "
			"app in the current directory goes live with:\n\n"
			"\twherry launch",
	},
	{
		.path = "launch",
		.summary = "Create an app from a directory and deploy it",
		.text = "A directory that has a fly.toml keeps it. Otherwise one is written: on a "
			"terminal launch asks what the app serves; with -y it goes by the ports "
			"that the Dockerfile EXPOSEs, and takes HTTP on port 8080 where "
			"there are none. An app that exists already is used as it is.",
		.positionals = POSITIONALS(DIR_ARGUMENT),
		.flags = FLAGS({"name", 0, "NAME",
				       "name of the app (default: that of fly.toml, else "
				       "the directory's)",
				       0},
			{"image", 0, "IMAGE", "run this image instead of building one", 0},
			{"protocol", 0, "PROTOCOL", "what the app serves: udp, tcp or http",
				COMPLETES_PROTOCOL},
			{"internal-port", 0, "PORT", "port the app listens on", 0},
			{"no-deploy", 0, NULL, "write and create, but do not deploy", 0}),
		.exits = EXITS_CHANGE,
		.examples = "wherry launch # the app in this directory\n"
			    "wherry launch examples/udp-echo -y # without questions\n"
			    "wherry launch --image localhost/dns --protocol udp --internal-port 53 "
			    "-y # an image",
		.run = launch_command,
	},
	{
		.path = "deploy",
		.summary = "Build an app and replace its machines by the new release",
		.text = "The image is the one of --image or of [build] in fly.toml; a local image "
			"is used as it is, another one is pulled. Without either, the Dockerfile "
			"is built with podman. A new machine is up before an old one leaves; a "
			"deploy that fails leaves the old release serving.",
		.positionals = POSITIONALS(DIR_ARGUMENT),
		.flags = FLAGS(
			{"image", 0, "IMAGE", "deploy this image instead of building one", 0},
			{"dockerfile", 0, "FILE", "Dockerfile to build", COMPLETES_FILE},
			{"build-arg", 0, "NAME=VALUE", "set a build argument (repeatable)", 0},
			{"build-target", 0, "STAGE", "build this stage of the Dockerfile", 0},
			{"no-cache", 0, NULL, "build every step anew", 0}),
		.exits = EXITS_CHANGE,
		.examples = "wherry deploy # the app in this directory\n"
			    "wherry deploy -c staging.toml -a web-staging # another file and app\n"
			    "wherry deploy --image localhost/web:2 -y # a prebuilt image",
		.run = deploy_command,
	},
	{.path = "apps", .aliases = "app", .summary = "List, create and destroy apps"},
	{
		.path = "apps list",
		.aliases = "ls",
		.summary = "List the apps",
		.exits = EXIT(UNREACHABLE),
		.run = apps_list_command,
	},
	{
		.path = "apps create",
		.summary = "Create an app that has no release yet",
		.positionals = POSITIONALS({.name = "NAME", .help = "name of the new app"}),
		.exits = EXIT(CONFLICT) | EXIT(UNREACHABLE),
		.examples = "wherry apps create web # then: wherry deploy -a web",
		.run = apps_create_command,
	},
	{
		.path = "apps destroy",
		.summary = "Destroy apps with their machines and addresses",
		.positionals = POSITIONALS(
			{"NAME", "names of the apps", .repeats = true, .completes = COMPLETES_APP}),
		.exits = EXITS_CHANGE,
		.examples = "wherry apps destroy web -y # without asking",
		.run = apps_destroy_command,
	},
	{.path = "ips", .aliases = "ip", .summary = "Manage an app's public addresses"},
	{
		.path = "ips list",
		.aliases = "ls",
		.summary = "List the app's public addresses",
		.exits = EXITS_LOOKUP,
		.examples = "wherry ips list -a web -j # as JSON",
		.run = ips_list_command,
	},
	{
		.path = "ips allocate-v4",
		.summary = "Give the app a public IPv4 address",
		.text = "A dedicated address is the app's alone. UDP needs one.",
		.flags = FLAGS({"shared", 0, NULL, "the address that apps share (TCP only)", 0},
			{"region", 0, "REGION", "region of the address (default: global)", 0}),
		.exits = EXITS_CHANGE,
		.examples = "wherry ips allocate-v4 -a dns # a dedicated IPv4 for UDP",
		.run = ips_allocate_v4_command,
	},
	{
		.path = "ips allocate-v6",
		.summary = "Give the app a public IPv6 address",
		.flags = FLAGS(
			{"region", 0, "REGION", "region of the address (default: global)", 0}),
		.exits = EXITS_CHANGE,
		.run = ips_allocate_v6_command,
	},
	{
		.path = "ips release",
		.summary = "Take public addresses from the app",
		.positionals = POSITIONALS({"ADDRESS", "addresses to release", .repeats = true,
			.completes = COMPLETES_ADDRESS}),
		.exits = EXITS_CHANGE,
		.examples = "wherry ips release 203.0.113.1 -a web # one address",
		.run = ips_release_command,
	},
	{.path = "services", .summary = "Show an app's services"},
	{
		.path = "services list",
		.aliases = "ls",
		.summary = "List the app's services, port by port",
		.exits = EXITS_LOOKUP,
		.run = services_list_command,
	},
	{.path = "checks", .summary = "Show an app's health checks"},
	{
		.path = "checks list",
		.aliases = "ls",
		.summary = "List the health checks of the app's machines",
		.text = "A check is passing, critical, or a warning: in its grace period.",
		.exits = EXITS_LOOKUP,
		.run = checks_list_command,
	},
	{
		.path = "status",
		.summary = "Show an app and its machines",
		.exits = EXITS_LOOKUP,
		.examples = "wherry status -a web # an app by name",
		.run = status_command,
	},
	{.path = "machine", .aliases = "machines m", .summary = "Manage an app's machines"},
	{
		.path = "machine list",
		.aliases = "ls",
		.summary = "List the app's machines",
		.text = "With -q only the IDs are printed, one a line.",
		.exits = EXITS_LOOKUP,
		.examples = "wherry machine list -q # the IDs",
		.run = machine_list_command,
	},
	{
		.path = "machine status",
		.summary = "Show one machine with its addresses, sockets and events",
		.positionals = POSITIONALS(MACHINE_ARGUMENT),
		.exits = EXITS_LOOKUP | EXIT(CONFLICT),
		.run = machine_status_command,
	},
	{
		.path = "machine start",
		.summary = "Start machines",
		.positionals = POSITIONALS(MACHINES_ARGUMENT),
		.exits = EXITS_CHANGE,
		.run = machine_start_command,
	},
	{
		.path = "machine stop",
		.summary = "Stop machines",
		.positionals = POSITIONALS(MACHINES_ARGUMENT),
		.exits = EXITS_CHANGE,
		.run = machine_stop_command,
	},
	{
		.path = "machine destroy",
		.aliases = "rm remove",
		.summary = "Destroy machines",
		.positionals = POSITIONALS(MACHINES_ARGUMENT),
		.flags = FLAGS({"force", 'f', NULL, "also a machine that is started", 0}),
		.exits = EXITS_CHANGE,
		.examples = "wherry machine destroy --force 3d8e # by a prefix of its ID",
		.run = machine_destroy_command,
	},
	{
		.path = "machine run",
		.summary = "Run an image or a program of this host as a machine of an app",
		.text = "The machine stays until it is destroyed; deploy does not replace it. With "
			"--rootfs the program is taken from a root directory of this host, and / "
			"is the host's own. With -q only the machine's ID is printed.",
		.positionals = POSITIONALS(
			{"IMAGE", "image to run; none with --rootfs", .is_optional = true}),
		.program = "CMD...",
		.flags = FLAGS(
			{"rootfs", 0, "DIR", "run a program of this root directory", COMPLETES_DIR},
			{"env", 'e', "NAME=VALUE", "set an environment variable (repeatable)", 0},
			{"group", 'g', "GROUP", "process group (default: the app's first)", 0},
			{"name", 'n', "NAME", "name of the machine", 0}),
		.exits = EXITS_CHANGE,
		.examples =
			"wherry machine run --rootfs / -a dns -- /usr/sbin/named -g # a program "
			"of this host\n"
			"wherry machine run localhost/echo -a echo -e DEBUG=1 # an image",
		.run = machine_run_command,
	},
	{
		.path = "machine attach",
		.summary = "Make a network namespace that someone else made a machine of an app",
		.text = "It gets eth0 with the machine's addresses, and traffic from then on; its "
			"programs are not touched. With -c, an app that has no release gets its "
			"first one of that file.",
		.flags = FLAGS({"netns", 0, "PATH", "the namespace: a path, or a name of ip netns",
				       COMPLETES_FILE},
			{"group", 'g', "GROUP", "process group (default: the app's first)", 0},
			{"name", 'n', "NAME", "name of the machine", 0}),
		.exits = EXITS_CHANGE,
		.examples = "wherry machine attach -a dns -c fly.toml --netns /run/netns/ns1 # and "
			    "the app's first release",
		.run = machine_attach_command,
	},
	{
		.path = "machine detach",
		.summary = "Take attached machines out of service and leave their namespaces",
		.positionals = POSITIONALS(MACHINES_ARGUMENT),
		.exits = EXITS_CHANGE,
		.run = machine_detach_command,
	},
	{
		.path = "machine exec",
		.summary = "Run a program inside a machine",
		.text = "Standard input, output and error are the program's, and so is the exit "
			"status.",
		.positionals = POSITIONALS(MACHINE_ARGUMENT),
		.program = "CMD...",
		.program_is_required = true,
		.exits = EXITS_CHANGE,
		.examples = "wherry machine exec 3d8e -- ip address # by a prefix of its ID",
		.run = machine_exec_command,
	},
	{
		.path = "logs",
		.summary = "Show what an app's machines print",
		.text = "A follower stays while wherryd is away and goes on when it is back.",
		.flags = FLAGS({"follow", 'f', NULL, "go on with new lines as they come", 0},
			{"lines", 'n', "N", "how many past lines (default: 100)", 0},
			{"machine", 'm', "ID", "this machine only", COMPLETES_MACHINE}),
		.exits = EXITS_LOOKUP,
		.examples = "wherry logs -f -n 0 # new lines only",
		.run = logs_command,
	},
	{.path = "config", .summary = "Check and show an app's fly.toml"},
	{
		.path = "config validate",
		.summary = "Check a fly.toml: all its problems at once",
		.text = "Needs neither wherryd nor root.",
		.flags = FLAGS({"strict", 0, NULL, "a warning makes the file invalid", 0}),
		.exits = EXIT(INVALID),
		.examples = "wherry config validate -c staging.toml # a file by name",
		.run = config_validate_command,
	},
	{
		.path = "config show",
		.summary = "Show the deployed configuration, or with -c that of a file",
		.text = "Prints the effective configuration as JSON, with all defaults filled in. "
			"What is shown for a file needs no wherryd.",
		.exits = EXITS_LOOKUP,
		.run = config_show_command,
	},
	{.path = "scale", .summary = "Change how many machines an app has"},
	{
		.path = "scale count",
		.summary = "Set how many machines the app's process groups have",
		.positionals =
			POSITIONALS({"COUNT", "N, or GROUP=N for each group", .repeats = true}),
		.flags = FLAGS({"process-group", 'g', "GROUP",
			"group that N is for (default: the app's only one)", 0}),
		.exits = EXITS_CHANGE,
		.examples = "wherry scale count 3 # three machines\n"
			    "wherry scale count app=2 worker=1 # by process group",
		.run = scale_count_command,
	},
	{
		.path = "doctor",
		.summary = "Check this host, and show what was dropped and why",
		.text = "Ends with 1 when a check fails.",
		.exits = EXIT(UNREACHABLE),
		.run = doctor_command,
	},
#if __has_include("lab/lab.h")
	{
		.path = "lab",
		.summary = "Build a fleet out of network namespaces on this machine",
		.text = "wherry lab --help has its commands.",
		.is_raw = true,
		.program = "COMMAND...",
		.run = run_lab,
	},
#endif
	{
		.path = "version",
		.summary = "Show the version of wherry, and of wherryd where it runs",
		.run = version_command,
	},
	{
		.path = "completion",
		.summary = "Print completion for a shell",
		.positionals =
			POSITIONALS({"SHELL", "bash, zsh or fish", .completes = COMPLETES_SHELL}),
		.examples =
			"source <(wherry completion bash) # in ~/.bashrc\n"
			"wherry completion fish > ~/.config/fish/completions/wherry.fish # fish",
		.run = completion_command,
	},
	{
		.path = "help",
		.summary = "Show help for a command",
		.positionals = POSITIONALS({"COMMAND", "the command's words", .is_optional = true,
			.repeats = true, .completes = COMPLETES_COMMAND}),
		.run = help_command,
	},
	{
		.path = "man",
		.summary = "Print the source of wherry(1) for scdoc",
		.is_hidden = true,
		.run = man_command,
	},
	{
		.path = "__complete",
		.summary = "Print candidates for the last word",
		.is_hidden = true,
		.is_raw = true,
		.program = "WORD...",
		.run = complete_command,
	},
	{},
};

static const char *const exit_texts[] = {
	[CLI_OK] = "done",
	[CLI_FAILED] = "failed",
	[CLI_USAGE] = "the command line is wrong",
	[CLI_NOT_FOUND] = "no such app, machine or address",
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
