/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lab down`: removes a lab whole, half made, or with everything in it killed. Nothing in it is
 * asked: nodes are found by their files, processes by their namespaces. Order: the daemons die,
 * so that they start nothing again; the machines are removed while their supervisors live and are
 * not stopped, which podman wants; what is left in the namespaces is killed; then the namespaces
 * go. A failure in between is reported, but does not stop the rest.
 */
#include "lab/verbs.h"

#include "base/err.h"
#include "base/mem.h"
#include "lab/cleanup.h"
#include "lab/node.h"
#include "lab/paths.h"
#include "lab/process.h"
#include "lab/state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef void node_name_fn(void *arg, const char *node);

/* Calls @fn for each directory of the lab's state; every node has one from its beginning on. */
static void for_each_node(const char *lab, node_name_fn *fn, void *arg)
{
	char path[PATH_MAX];
	_closedir_ DIR *dir = opendir(lab_state_path(lab, NULL, NULL, path));
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (lab_name_is_valid(entry->d_name))
			fn(arg, entry->d_name);
}

struct removal {
	const char *lab;
	/* Namespaces of nodes; those of machines too, which are held: machines are removed, and
	 * their numbers must not become another lab's before the last processes are killed. */
	struct ns_set nodes, all;
	int result; /* the first failure */
	struct err err;
};

static void note_failure(struct removal *removal, int r, const struct err *err)
{
	if (r == 0 || removal->result)
		return;
	removal->result = r;
	removal->err = *err;
}

static void find_namespaces(void *arg, const char *node)
{
	struct removal *removal = arg;

	node_namespaces(removal->lab, node, &removal->nodes);
	node_namespaces(removal->lab, node, &removal->all);
	cleanup_find_machines(removal->lab, node, &removal->all);
}

static void remove_machines(void *arg, const char *node)
{
	struct removal *removal = arg;
	struct err err = {};
	int r = cleanup_machines(removal->lab, node, &err);

	note_failure(removal, r, &err);
}

static void unbind_machines(void *arg, const char *node)
{
	struct removal *removal = arg;

	cleanup_unbind_machines(removal->lab, node);
}

static void signal_all(
	struct removal *removal, const struct ns_set *set, int signo, process_filter *spare)
{
	struct err err = {};
	int r = process_signal_all(set, signo, spare, &err);

	note_failure(removal, r, &err);
}

int lab_remove(const char *name, struct err *err)
{
	struct removal removal = {.lab = name};
	struct err failure = {};
	int r;

	for_each_node(name, find_namespaces, &removal);
	signal_all(&removal, &removal.nodes, SIGKILL, process_is_supervisor);
	signal_all(&removal, &removal.all, SIGCONT, NULL); /* of a paused node */
	for_each_node(name, remove_machines, &removal);
	signal_all(&removal, &removal.all, SIGKILL, NULL);
	for_each_node(name, unbind_machines, &removal);
	ns_set_clear(&removal.nodes);
	ns_set_clear(&removal.all);
	r = lab_dirs_remove(name, &failure);
	note_failure(&removal, r, &failure);
	if (removal.result && err)
		*err = removal.err;
	return removal.result;
}

int lab_down(const struct lab_args *args, struct err *err)
{
	_cleanup_(lab_clear) struct lab lab = {};
	_close_ int lock = -1;
	int r;

	r = lab_lock(args->name, &lock, err);
	if (r < 0)
		return r;
	if (!lab_dirs_exist(args->name))
		return lab_load(args->name, &lab, err); /* says which labs there are */
	if (lab_remove(args->name, err) < 0)
		return -EIO; /* whatever it was: not "no such lab" */
	printf("the lab \"%s\" is down\n", args->name);
	return 0;
}
