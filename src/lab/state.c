/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab.json; see state.h. The file says what the lab is meant to be; which processes live is always
 * read from /proc. Taking a lab down does not need it.
 */
#include "lab/state.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "lab/paths.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define STATE_MAX_BYTES (1024 * 1024)

int lab_save(const struct lab *lab, struct err *err)
{
	_cleanup_(json_decrefp) json_t *nodes = json_array();
	_cleanup_(json_decrefp) json_t *root = NULL;
	_free_ char *text = NULL;
	char path[PATH_MAX];

	for (size_t i = 0; i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];
		json_t *addresses = json_array();

		for (size_t k = 0; k < node->address_count; k++)
			json_array_append_new(addresses, json_string(node->addresses[k]));
		json_array_append_new(
			nodes, json_pack("{s:s, s:i, s:i, s:i, s:s, s:s, s:o}", "name", node->name,
				       "kind", (int)node->kind, "roles", (int)node->roles, "state",
				       (int)node->state, "region", node->region, "edge", node->edge,
				       "addresses", addresses));
	}
	root = json_pack("{s:i, s:s, s:i, s:i, s:O}", "version", 2, "name", lab->name, "store",
		(int)lab->store, "underlay", (int)lab->underlay, "nodes", nodes);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	if (!text)
		return err_errno(err, -ENOMEM, "cannot write the state of lab %s", lab->name);
	return file_replace(
		lab_run_path(lab->name, "lab.json", path), text, strlen(text), 0644, err);
}

static bool read_node(json_t *json, struct lab_node *out)
{
	json_t *addresses;
	const char *name, *region, *edge;
	int kind, roles, state;

	if (json_unpack(json, "{s:s, s:i, s:i, s:i, s:s, s:s, s:o}", "name", &name, "kind", &kind,
		    "roles", &roles, "state", &state, "region", &region, "edge", &edge, "addresses",
		    &addresses) < 0)
		return false;
	if (strlen(region) >= sizeof(out->region) || strlen(edge) >= sizeof(out->edge))
		return false;
	if (!lab_name_is_valid(name) || kind < LAB_INTERNET || kind > LAB_SHARED || roles < 0 ||
		roles > (LAB_EDGE | LAB_WORKER) || state < LAB_NODE_UP || state > LAB_NODE_DOWN ||
		json_array_size(addresses) > ARRAY_LEN(out->addresses))
		return false;
	*out = (struct lab_node){.kind = (enum lab_kind)kind,
		.roles = (unsigned int)roles,
		.state = (enum lab_node_state)state};
	snprintf(out->name, sizeof(out->name), "%s", name);
	snprintf(out->region, sizeof(out->region), "%s", region);
	snprintf(out->edge, sizeof(out->edge), "%s", edge);
	for (size_t i = 0; i < json_array_size(addresses); i++) {
		const char *text = json_string_value(json_array_get(addresses, i));

		if (!text)
			return false;
		snprintf(out->addresses[out->address_count++], sizeof(out->addresses[0]), "%s",
			text);
	}
	return true;
}

/* The nodes of lab.json; -EINVAL without a sentence when it is damaged. */
static int read_lab(json_t *root, struct lab *lab)
{
	json_t *nodes;
	int store, underlay;
	size_t count;

	if (json_unpack(root, "{s:i, s:i, s:o}", "store", &store, "underlay", &underlay, "nodes",
		    &nodes) < 0 ||
		store < LAB_SQLITE || store > LAB_ETCD || underlay < LAB_NO_UNDERLAY ||
		underlay > LAB_PLAIN)
		return -EINVAL;
	lab->store = (enum lab_store)store;
	lab->underlay = (enum lab_underlay)underlay;
	count = json_array_size(nodes);
	lab->nodes = calloc(count + 1, sizeof(*lab->nodes));
	if (!lab->nodes)
		abort();
	for (; lab->node_count < count; lab->node_count++)
		if (!read_node(
			    json_array_get(nodes, lab->node_count), &lab->nodes[lab->node_count]))
			return -EINVAL;
	return count && lab_edge(lab, 0) ? 0 : -EINVAL;
}

static int no_lab(const char *name, struct err *err)
{
	_cleanup_(buf_clear) struct buf list = {};
	char **names;
	size_t count = lab_list(&names);

	for (size_t i = 0; i < count; i++)
		buf_addf(&list, "%s%s", i ? ", " : "", names[i]);
	lab_list_free(names, count);
	if (count == 0)
		return err_set(err, -ENOENT, "no lab is up; \"wherry lab up\" makes one");
	return err_set(err, -ENOENT, "no lab called \"%s\" is up; there is: %s", name, list.data);
}

int lab_load(const char *name, struct lab *out, struct err *err)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	_cleanup_(lab_clear) struct lab lab = {};
	char path[PATH_MAX];
	_free_ char *text = NULL;
	int r;

	r = file_read(lab_run_path(name, "lab.json", path), STATE_MAX_BYTES, &text, NULL, err);
	if (r == -ENOENT && lab_dirs_exist(name))
		return err_set(err, r,
			"the lab \"%s\" is half made; \"wherry lab down --name %s\" removes it",
			name, name);
	if (r == -ENOENT)
		return no_lab(name, err);
	if (r < 0)
		return r;
	root = json_loads(text, 0, NULL);
	snprintf(lab.name, sizeof(lab.name), "%s", name);
	if (read_lab(root, &lab) < 0)
		return err_set(err, -EINVAL,
			"%s is damaged; \"wherry lab down --name %s\" removes the lab", path, name);
	*out = lab;
	lab = (struct lab){};
	return 0;
}

int lab_set_state(const char *name, const char *node, enum lab_node_state state, struct err *err)
{
	_cleanup_(lab_clear) struct lab lab = {};
	struct lab_node *found;
	_close_ int lock = -1;
	int r = lab_lock(name, &lock, err);

	if (r < 0)
		return r;
	r = lab_load(name, &lab, err);
	if (r < 0)
		return r;
	found = lab_find(&lab, node);
	if (!found)
		return lab_no_node(&lab, node, err);
	found->state = state;
	return lab_save(&lab, err);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t lab_list(char ***out)
{
	_closedir_ DIR *dir = opendir(LAB_RUN_DIR);
	const struct dirent *entry;
	char **names = NULL;
	size_t count = 0;

	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX], **bigger;

		if (!lab_name_is_valid(entry->d_name) ||
			access(lab_run_path(entry->d_name, "lab.json", path), F_OK) < 0)
			continue;
		bigger = reallocarray(names, count + 1, sizeof(*names));
		if (!bigger || !(bigger[count] = strdup(entry->d_name)))
			abort();
		names = bigger;
		count++;
	}
	if (count)
		qsort(names, count, sizeof(*names), compare_names);
	*out = names;
	return count;
}

void lab_list_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

int lab_no_node(const struct lab *lab, const char *node, struct err *err)
{
	_cleanup_(buf_clear) struct buf list = {};

	for (size_t i = 0; i < lab->node_count; i++)
		buf_addf(&list, "%s%s", i ? ", " : "", lab->nodes[i].name);
	return err_set(err, -ENOENT, "the lab \"%s\" has no node %s; it has: %s", lab->name, node,
		list.data);
}
