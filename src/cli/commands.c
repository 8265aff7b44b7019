/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands; see commands.h. Names, flags and columns are flyctl's where it has them.
 * This file is the command line's table of contents: a new command is one entry here and one
 * handler.
 */
#include "cli/commands.h"

#include "cli/handlers.h"

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
#define HOST_ARGUMENT                                                                              \
	{                                                                                          \
		"HOST", "name or ID of the host", .completes = COMPLETES_HOST                      \
	}
/* How a catalog is reached without wherryd. */
#define STORE_FLAGS                                                                                \
	{"store", 0, "STORE",                                                                      \
		"etcd://HOST:PORT, etcds://HOST:PORT, or a catalog.db (default: that in "          \
		"/var/lib/wherry)",                                                                \
		0},                                                                                \
		{"etcd-ca", 0, "FILE", "who signed etcd's certificate (PEM)", COMPLETES_FILE},     \
		{"etcd-cert", 0, "FILE", "certificate to show etcd (PEM)", COMPLETES_FILE},        \
	{                                                                                          \
		"etcd-key", 0, "FILE", "key of that certificate (PEM)", COMPLETES_FILE             \
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
		.text = "They spread over regions and hosts. A count with --region is for that "
			"region alone: the machines there are counted by it from then on, those of "
			"the other regions stay as they are. A count without --region is for all "
			"regions together again.",
		.flags = FLAGS({"process-group", 'g', "GROUP",
				       "group that N is for (default: the app's only one)", 0},
			{"region", 'r', "REGION", "count in this region", COMPLETES_REGION}),
		.exits = EXITS_CHANGE,
		.examples = "wherry scale count 3 # three machines\n"
			    "wherry scale count app=2 worker=1 # by process group\n"
			    "wherry scale count 2 --region fra # two in this region",
		.run = scale_count_command,
	},
	{
		.path = "scale show",
		.summary = "Show how many machines the app's process groups have, and where",
		.exits = EXITS_LOOKUP,
		.run = scale_show_command,
	},
	{.path = "hosts", .aliases = "host", .summary = "Show and manage the hosts of the fleet"},
	{
		.path = "hosts list",
		.aliases = "ls",
		.summary = "List the hosts of the fleet, and how far they are from this one",
		.text = "A host is ready, draining, unreachable (by the mesh), down (neither the "
			"mesh nor the catalog hears of it), or has no daemon: its machines go on.",
		.exits = EXIT(UNREACHABLE),
		.run = hosts_list_command,
	},
	{
		.path = "hosts status",
		.summary = "Show a host, or the round trips between all of them",
		.positionals = POSITIONALS({"HOST", "name or ID of the host (default: all)",
			.is_optional = true, .completes = COMPLETES_HOST}),
		.exits = EXIT(NOT_FOUND) | EXIT(UNREACHABLE),
		.examples = "wherry hosts status worker-1 # its addresses, links and machines",
		.run = hosts_status_command,
	},
	{
		.path = "hosts drain",
		.summary = "Take a host out of service and move its machines to others",
		.text = "The host takes no new machines, and no new flows where others can. "
			"Machines that deploy made are made on other hosts first, app by app, and "
			"then leave as in a deploy; those that were run or attached by hand stay "
			"and are named. The host drains until wherry hosts undrain, also when this "
			"command is interrupted. Ends with 4 when a machine that deploy made could "
			"not leave.",
		.positionals = POSITIONALS(HOST_ARGUMENT),
		.exits = EXIT(NOT_FOUND) | EXIT(CONFLICT) | EXIT(UNREACHABLE),
		.run = hosts_drain_command,
	},
	{
		.path = "hosts undrain",
		.summary = "Put a host back into service",
		.positionals = POSITIONALS(HOST_ARGUMENT),
		.exits = EXIT(NOT_FOUND) | EXIT(CONFLICT) | EXIT(UNREACHABLE),
		.run = hosts_undrain_command,
	},
	{
		.path = "hosts rotate-key",
		.summary = "Give this host a new WireGuard key",
		.text = "The other hosts learn of it by the catalog; sessions with them are made "
			"anew, which may cost the packets of a second or two.",
		.positionals = POSITIONALS(HOST_ARGUMENT),
		.exits = EXIT(NOT_FOUND) | EXIT(CONFLICT) | EXIT(UNREACHABLE),
		.run = hosts_rotate_key_command,
	},
	{
		.path = "hosts remove",
		.aliases = "rm",
		.summary = "Take a host out of the fleet",
		.text = "A host that lives or has machines is refused. With --force, machines that "
			"deploy made are made on other hosts where there is a place, and what is "
			"left of the host is forgotten.",
		.positionals = POSITIONALS(HOST_ARGUMENT),
		.flags = FLAGS({"force", 'f', NULL, "also a host that lives or has machines", 0}),
		.exits = EXIT(NOT_FOUND) | EXIT(CONFLICT) | EXIT(UNREACHABLE),
		.run = hosts_remove_command,
	},
	{.path = "catalog", .summary = "Move the catalog from one store to another"},
	{
		.path = "catalog export",
		.summary = "Write the whole catalog to a file",
		.text = "Works on the store itself, also while wherryd runs. The file holds the "
			"apps' environments: keep it to yourself.",
		.positionals = POSITIONALS({"FILE", "file to write; - is standard output",
			.completes = COMPLETES_FILE}),
		.flags = FLAGS(STORE_FLAGS),
		.exits = EXIT(NOT_FOUND) | EXIT(UNREACHABLE),
		.examples = "wherry catalog export catalog.jsonl # this host's",
		.run = catalog_export_command,
	},
	{
		.path = "catalog import",
		.summary = "Put an exported catalog into a store",
		.text = "The store must be empty, and no wherryd may use it yet.",
		.positionals = POSITIONALS(
			{"FILE", "file to read; - is standard input", .completes = COMPLETES_FILE}),
		.flags = FLAGS(STORE_FLAGS,
			{"force", 'f', NULL, "put the keys beside and over what is there", 0}),
		.exits = EXIT(CONFLICT) | EXIT(INVALID) | EXIT(UNREACHABLE),
		.examples = "wherry catalog import catalog.jsonl --store etcd://10.0.0.5:2379 # to "
			    "a fleet's",
		.run = catalog_import_command,
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
		.text = "wherry lab up makes a client, an internet and a host with a wherryd of "
			"its own, each a network namespace. With --hosts H, or --edges E and "
			"--workers W, it makes a fleet with an etcd; --regions A,B spreads it, "
			"--underlay plain leaves WireGuard out, --clients N makes more clients. "
			"lab exec NODE -- COMMAND runs something in a node, lab route CLIENT EDGE "
			"moves a client, lab kill, pause, resume and start are what goes wrong, "
			"lab "
			"status shows it, lab down ends it. wherry lab --help says the rest.",
		.examples = "wherry lab up --edges 2 --workers 2 --regions ams,fra # a fleet\n"
			    "wherry lab exec edge-1 -- wherry hosts list # on one of its hosts\n"
			    "wherry lab kill worker-1 # the node with all that runs there",
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
