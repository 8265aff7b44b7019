/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lab status`: the nodes as lab.json has them, and their programs by the pid files in the node's
 * /run/wherry. A program whose pid file names no process of the node is dead.
 */
#include "lab/verbs.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "lab/daemon.h"
#include "lab/draw.h"
#include "lab/paths.h"
#include "lab/process.h"
#include "lab/state.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PID_SUFFIX ".pid"

static json_t *program_status(
	const struct lab *lab, const struct lab_node *node, const char *program)
{
	pid_t pid = daemon_pid(lab, node, program);
	char state = pid ? process_state(pid) : 0;
	const char *word = "running";

	if (state == 0 || state == 'Z' || state == 'X')
		word = "dead";
	else if (state == 'T' || state == 't')
		word = "stopped";
	return json_pack("{s:s, s:o, s:s}", "name", program, "pid",
		pid ? json_integer(pid) : json_null(), "state", word);
}

static bool is_listed(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/* The programs that belong on the node, and others that have a pid file there. */
static json_t *node_programs(const struct lab *lab, const struct lab_node *node)
{
	const char *const *own = daemon_programs(node);
	char path[PATH_MAX];
	_closedir_ DIR *dir = opendir(lab_node_path(lab->name, node->name, ".run", path));
	const struct dirent *entry;
	json_t *list = json_array();

	for (size_t i = 0; own[i]; i++)
		json_array_append_new(list, program_status(lab, node, own[i]));
	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name), suffix = strlen(PID_SUFFIX);
		char name[LAB_NAME_MAX + 1];

		if (len <= suffix || len - suffix > LAB_NAME_MAX ||
			strcmp(entry->d_name + len - suffix, PID_SUFFIX) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(len - suffix), entry->d_name);
		if (lab_name_is_valid(name) && !is_listed(own, name))
			json_array_append_new(list, program_status(lab, node, name));
	}
	return list;
}

static json_t *node_status(const struct lab *lab, const struct lab_node *node)
{
	json_t *roles = json_array(), *addresses = json_array(), *json;

	if (node->roles & LAB_EDGE)
		json_array_append_new(roles, json_string("edge"));
	if (node->roles & LAB_WORKER)
		json_array_append_new(roles, json_string("worker"));
	for (size_t i = 0; i < node->address_count; i++)
		json_array_append_new(addresses, json_string(node->addresses[i]));
	json = json_pack("{s:s, s:s, s:o, s:s, s:o, s:o}", "name", node->name, "kind",
		lab_kind_name(node->kind), "roles", roles, "state", lab_state_name(node->state),
		"addresses", addresses, "programs", node_programs(lab, node));
	if (node->kind == LAB_HOST)
		json_object_set_new(json, "region", json_string(node->region));
	if (node->kind == LAB_CLIENT)
		json_object_set_new(json, "edge", json_string(node->edge));
	return json;
}

static int describe(const struct lab *lab, json_t **out, struct err *err)
{
	json_t *nodes = json_array();

	for (size_t i = 0; i < lab->node_count; i++)
		json_array_append_new(nodes, node_status(lab, &lab->nodes[i]));
	*out = json_pack("{s:s, s:s, s:s?, s:o}", "name", lab->name, "store",
		lab_store_name(lab->store), "underlay", lab_underlay_name(lab->underlay), "nodes",
		nodes);
	return *out ? 0 : err_errno(err, -ENOMEM, "cannot describe the lab %s", lab->name);
}

int lab_print_json(const char *name, struct err *err)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	_cleanup_(lab_clear) struct lab lab = {};
	int r = lab_load(name, &lab, err);

	if (r == 0)
		r = describe(&lab, &status, err);
	if (r < 0)
		return r;
	json_dumpf(status, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

/* @with_pids: there is room for them. */
static void add_programs(const json_t *node, bool with_pids, struct buf *out)
{
	json_t *programs = json_object_get(node, "programs"), *program;
	size_t i;

	json_array_foreach(programs, i, program)
	{
		json_int_t pid = json_integer_value(json_object_get(program, "pid"));

		buf_addf(out, "%s%s %s", i ? ", " : "",
			json_string_value(json_object_get(program, "name")),
			json_string_value(json_object_get(program, "state")));
		if (pid && with_pids)
			buf_addf(out, " (%lld)", (long long)pid);
	}
}

static void print_fleet(const struct lab *lab, const json_t *status)
{
	_cleanup_(buf_clear) struct buf text = {};
	_free_ char **notes = calloc(lab->node_count, sizeof(*notes));
	json_t *node;
	size_t i;

	if (!notes)
		abort();
	json_array_foreach(json_object_get(status, "nodes"), i, node)
	{
		struct buf note = {};

		add_programs(node, false, &note);
		notes[i] = buf_take(&note);
	}
	buf_addf(&text, "lab %s: store %s, underlay %s\n\n", lab->name, lab_store_name(lab->store),
		lab_underlay_name(lab->underlay));
	draw_lab(lab, notes, &text);
	fputs(text.data, stdout);
	for (i = 0; i < lab->node_count; i++)
		free(notes[i]);
}

static void print_table(const struct lab *lab, const json_t *status)
{
	_cleanup_(buf_clear) struct buf text = {};
	json_t *node;
	size_t i;

	buf_addf(&text, "lab %s\n%-10s  %-6s  %-13s  %-17s  %s\n", lab->name, "NODE", "STATE",
		"IPV4", "IPV6", "PROGRAMS");
	json_array_foreach(json_object_get(status, "nodes"), i, node)
	{
		json_t *addresses = json_object_get(node, "addresses");

		buf_addf(&text, "%-10s  %-6s  %-13s  %-17s  ",
			json_string_value(json_object_get(node, "name")),
			json_string_value(json_object_get(node, "state")),
			json_string_value(json_array_get(addresses, 0)),
			json_string_value(json_array_get(addresses, 1)));
		add_programs(node, true, &text);
		while (text.data[text.len - 1] == ' ')
			text.data[--text.len] = '\0';
		buf_adds(&text, "\n");
	}
	fputs(text.data, stdout);
}

static int print_lab(const char *name, struct err *err)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	_cleanup_(lab_clear) struct lab lab = {};
	int r = lab_load(name, &lab, err);

	if (r == 0)
		r = describe(&lab, &status, err);
	if (r < 0)
		return r;
	if (lab_is_fleet(&lab))
		print_fleet(&lab, status);
	else
		print_table(&lab, status);
	return 0;
}

/* Without --name: every lab for people, one object for programs. */
int lab_status(const struct lab_args *args, struct err *err)
{
	char **names;
	size_t count;
	int r = 0;

	if (args->has_name)
		return args->is_json ? lab_print_json(args->name, err) : print_lab(args->name, err);
	count = lab_list(&names);
	if (args->is_json || count == 0)
		r = lab_print_json(count == 1 ? names[0] : args->name, err);
	for (size_t i = 0; r == 0 && !args->is_json && i < count; i++) {
		if (i)
			putchar('\n');
		r = print_lab(names[i], err);
	}
	lab_list_free(names, count);
	return r;
}
