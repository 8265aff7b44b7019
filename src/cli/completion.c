/* SPDX-License-Identifier: Apache-2.0 */
/* Shell completion; see completion.h. Every failure is silence: a person is typing. */
#include "cli/completion.h"

#include "api/client.h"
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/fields.h"
#include "cli/handlers.h"

#include <string.h>

#define ANSWER_TIMEOUT_MS 1000

/*
 * bash breaks words at ":" and "=", which are in addresses and "--flag=value": the words are taken
 * from the line instead, and what bash has of the last word already is cut off the candidates.
 */
static const char bash_script[] =
	"_wherry()\n"
	"{\n"
	"	local line=${COMP_LINE:0:COMP_POINT} cur had candidate words\n"
	"	read -ra words <<<\"$line\"\n"
	"	[[ $line == *[[:space:]] ]] && words+=(\"\")\n"
	"	cur=${words[-1]}\n"
	"	had=${cur%\"${cur##*[:=]}\"}\n"
	"	COMPREPLY=()\n"
	"	while IFS= read -r candidate; do\n"
	"		case $candidate in\n"
	"		:files)\n"
	"			compopt -o filenames\n"
	"			mapfile -t COMPREPLY < <(compgen -f -- \"${cur##*=}\")\n"
	"			return\n"
	"			;;\n"
	"		:dirs)\n"
	"			compopt -o filenames\n"
	"			mapfile -t COMPREPLY < <(compgen -d -- \"${cur##*=}\")\n"
	"			return\n"
	"			;;\n"
	"		esac\n"
	"		candidate=${candidate%%$'\\t'*}\n"
	"		COMPREPLY+=(\"${candidate#\"$had\"}\")\n"
	"	done < <(\"${words[0]}\" __complete \"${words[@]:1}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _wherry wherry\n";

static const char zsh_script[] =
	"#compdef wherry\n"
	"_wherry()\n"
	"{\n"
	"	local line\n"
	"	local -a values\n"
	"	while IFS= read -r line; do\n"
	"		case $line in\n"
	"		:files) _files; return ;;\n"
	"		:dirs) _files -/; return ;;\n"
	"		?*) values+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"		esac\n"
	"	done < <(\"${words[1]}\" __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
	"	_describe -V wherry values\n"
	"}\n"
	"if [ \"${funcstack[1]}\" = _wherry ]; then\n"
	"	_wherry \"$@\"\n"
	"else\n"
	"	compdef _wherry wherry\n"
	"fi\n";

static const char fish_script[] =
	"function __wherry_complete\n"
	"	set -l words (commandline -opc)\n"
	"	set -l answer (wherry __complete $words[2..-1] (commandline -ct) 2>/dev/null)\n"
	"	switch \"$answer[1]\"\n"
	"		case ':files'\n"
	"			__fish_complete_path (commandline -ct)\n"
	"		case ':dirs'\n"
	"			__fish_complete_directories (commandline -ct)\n"
	"		case '*'\n"
	"			printf '%s\\n' $answer\n"
	"	end\n"
	"end\n"
	"complete -c wherry -f -a '(__wherry_complete)'\n";

static void add_candidate(struct buf *out, const char *prefix, const char *text, const char *help)
{
	if (strncmp(text, prefix, strlen(prefix)) == 0)
		buf_addf(out, "%s\t%s\n", text, help);
}

/* Asks quietly and soon. NULL: there is nothing to offer. */
static json_t *ask(const struct cli *cli, const char *path)
{
	struct api_client client = {
		.socket_path = cli->socket, .answer_timeout_ms = ANSWER_TIMEOUT_MS};
	json_auto_t *reply = NULL;
	int status = 0;

	if (api_call(&client, "GET", path, NULL, &status, &reply, NULL) < 0 || status != 200)
		return NULL;
	return take_ptr(reply);
}

static void add_apps(const struct cli *cli, const char *prefix, struct buf *out)
{
	json_auto_t *apps = ask(cli, "/v1/apps");
	const json_t *app;
	size_t i;

	json_array_foreach(apps, i, app)
		add_candidate(out, prefix, field_text(app, "Name"), field_text(app, "Status"));
}

static void add_machines_of(
	const struct cli *cli, const char *app, const char *prefix, struct buf *out)
{
	_free_ char *path = api_path("/v1/apps/%s/machines", app);
	json_auto_t *machines = ask(cli, path);
	const json_t *machine;
	size_t i;

	json_array_foreach(machines, i, machine)
	{
		_cleanup_(buf_clear) struct buf help = {};

		buf_addf(&help, "%s %s", app, field_text(machine, "state"));
		add_candidate(out, prefix, field_text(machine, "id"), help.data);
	}
}

/* Of the app that was named, else of all: a machine's ID needs no app. */
static void add_machines(struct cli *cli, const char *prefix, struct buf *out)
{
	const char *name = args_get(&cli->args, "app");
	json_auto_t *apps = NULL;
	const json_t *app;
	size_t i;

	if (name) {
		add_machines_of(cli, name, prefix, out);
		return;
	}
	apps = ask(cli, "/v1/apps");
	json_array_foreach(apps, i, app) add_machines_of(cli, field_text(app, "Name"), prefix, out);
}

static void add_addresses(struct cli *cli, const char *prefix, struct buf *out)
{
	_free_ char *path = NULL;
	json_auto_t *ips = NULL;
	const char *app;
	const json_t *ip;
	size_t i;

	if (cli_app(cli, &app) != CLI_OK)
		return;
	path = api_path("/v1/apps/%s/ips", app);
	ips = ask(cli, path);
	json_array_foreach(ips, i, ip)
		add_candidate(out, prefix, field_text(ip, "Address"), field_text(ip, "Type"));
}

static void add_hosts(const struct cli *cli, const char *prefix, struct buf *out)
{
	json_auto_t *hosts = ask(cli, "/v1/hosts");
	const json_t *host;
	size_t i;

	json_array_foreach(hosts, i, host)
		add_candidate(out, prefix, field_text(host, "name"), field_text(host, "status"));
}

/* Shells leave out what comes twice. */
static void add_regions(const struct cli *cli, const char *prefix, struct buf *out)
{
	json_auto_t *hosts = ask(cli, "/v1/hosts");
	const json_t *host;
	size_t i;

	json_array_foreach(hosts, i, host)
		add_candidate(out, prefix, field_text(host, "region"), "");
}

static void add_commands(const struct command *group, const char *prefix, struct buf *out)
{
	const struct command *command = NULL;

	while ((command = command_next(group, command)))
		if (!command->is_hidden)
			add_candidate(out, prefix, command_word(command), command->summary);
}

static void add_flags(const struct flag *flags, const char *prefix, struct buf *out)
{
	for (; flags && flags->name; flags++) {
		char text[64];

		snprintf(text, sizeof(text), "--%s", flags->name);
		add_candidate(out, prefix, text, flags->help);
	}
}

static void add_values(
	struct cli *cli, enum completes completes, const char *prefix, struct buf *out)
{
	const struct command *group = &commands[0], *inner;
	const char *word;

	switch (completes) {
	case COMPLETES_NOTHING:
		break;
	case COMPLETES_FILE:
		buf_adds(out, ":files\n");
		break;
	case COMPLETES_DIR:
		buf_adds(out, ":dirs\n");
		break;
	case COMPLETES_APP:
		add_apps(cli, prefix, out);
		break;
	case COMPLETES_MACHINE:
		add_machines(cli, prefix, out);
		break;
	case COMPLETES_ADDRESS:
		add_addresses(cli, prefix, out);
		break;
	case COMPLETES_HOST:
		add_hosts(cli, prefix, out);
		break;
	case COMPLETES_REGION:
		add_regions(cli, prefix, out);
		break;
	case COMPLETES_COMMAND:
		for (size_t i = 0; (word = args_positional(&cli->args, i)); i++) {
			inner = command_find(group, word, strlen(word));
			if (!inner)
				return;
			group = inner;
		}
		add_commands(group, prefix, out);
		break;
	case COMPLETES_SHELL:
		add_candidate(out, prefix, "bash", "");
		add_candidate(out, prefix, "zsh", "");
		add_candidate(out, prefix, "fish", "");
		break;
	case COMPLETES_PROTOCOL:
		add_candidate(out, prefix, "udp", "");
		add_candidate(out, prefix, "tcp", "");
		add_candidate(out, prefix, "http", "");
		break;
	}
}

/* The flag whose value the last word is, when the word before it is one that needs a value. */
static const struct flag *flag_before(const struct command *command, const char *word)
{
	const struct flag *flag = NULL;

	if (strncmp(word, "--", 2) == 0)
		flag = command_flag(command, word + 2, strlen(word + 2));
	else if (word[0] == '-' && word[1])
		flag = command_letter(command, word[strlen(word) - 1]);
	return flag && flag->argument ? flag : NULL;
}

/* For "--app=we": the candidates are whole words again. */
static void add_flag_value(struct cli *cli, const char *last, struct buf *out)
{
	size_t len = strcspn(last, "=");
	const struct flag *flag = command_flag(cli->args.command, last + 2, len - 2);
	_cleanup_(buf_clear) struct buf values = {};
	char *line, *at;

	if (!flag || !flag->argument)
		return;
	add_values(cli, flag->completes, last + len + 1, &values);
	at = values.data;
	while ((line = strsep(&at, "\n")) && *line)
		buf_addf(out, "%.*s%s\n", *line == ':' ? 0 : (int)len + 1, last, line);
}

static enum completes positional_completes(const struct args *args)
{
	const struct positional *p = args->command->positionals;
	size_t i = 0;

	for (; p && p->name; p++, i++)
		if (i == args->positional_count || p->repeats)
			return p->completes;
	return COMPLETES_NOTHING;
}

void completion_add(struct cli *cli, const char *const words[], size_t count, struct buf *out)
{
	const char *last = count ? words[count - 1] : "";
	const char *before = count > 1 ? words[count - 2] : "";
	const struct command *command;
	const struct flag *flag;
	char **argv = calloc(count + 1, sizeof(argv[0]));

	if (!argv)
		abort();
	/* What stands before the last word says what it can be; that something is missing is no
	 * surprise. */
	argv[0] = (char *)"wherry";
	for (size_t i = 1; i < count; i++)
		argv[i] = (char *)words[i - 1];
	args_clear(&cli->args);
	args_parse(count ? (int)count : 1, argv, &cli->args, NULL);
	free(argv);

	if (!cli->socket)
		cli->socket = args_get(&cli->args, "socket");
	command = cli->args.command;
	flag = flag_before(command, before);
	if (cli->args.program_count)
		return;
	if (flag) {
		add_values(cli, flag->completes, last, out);
	} else if (strncmp(last, "--", 2) == 0 && strchr(last, '=')) {
		add_flag_value(cli, last, out);
	} else if (last[0] == '-') {
		add_flags(command->flags, last, out);
		add_flags(global_flags, last, out);
	} else if (!command->run) {
		add_commands(command, last, out);
	} else {
		add_values(cli, positional_completes(&cli->args), last, out);
	}
}

const char *completion_script(const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		return bash_script;
	if (strcmp(shell, "zsh") == 0)
		return zsh_script;
	if (strcmp(shell, "fish") == 0)
		return fish_script;
	return NULL;
}

int completion_command(struct cli *cli)
{
	const char *shell = args_positional(&cli->args, 0);
	const char *script = completion_script(shell);

	if (!script)
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"there is no completion for %s; it is bash, zsh or fish", shell);
	fputs(script, stdout);
	return CLI_OK;
}

int complete_command(struct cli *cli)
{
	_cleanup_(buf_clear) struct buf out = {};
	const char **words = take_ptr(cli->args.program);
	size_t count = cli->args.program_count;

	/* The first word is "__complete" itself. */
	completion_add(cli, words + 1, count - 1, &out);
	if (out.data)
		fputs(out.data, stdout);
	cli_forget(cli);
	free(words);
	return CLI_OK;
}
