/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machines of a node, found by their directories under the node's /var/lib/wherry/machines;
 * see cleanup.h. The catalog is not asked: it may be damaged, and its daemon is dead. Which kind a
 * machine was is not known either, so each is removed as every kind that has something to remove;
 * removing what is not there is no failure. An attached namespace is someone else's: it only loses
 * its link, which goes with the node.
 */
#include "lab/cleanup.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "lab/node.h"
#include "lab/paths.h"
#include "lab/process.h"
#include "machine/machine.h"
#include "mesh/resizer.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#define MACHINES_DIR "/var/lib/wherry/machines"

static bool is_machine_id(const char *name)
{
	return strlen(name) == MACHINE_ID_LEN - 1 &&
	       strspn(name, "0123456789abcdef") == MACHINE_ID_LEN - 1;
}

typedef void machine_fn(void *arg, const char *id);

/* Calls @fn for each machine that has a directory in @dir_path. */
static void for_each_machine(const char *dir_path, machine_fn *fn, void *arg)
{
	_closedir_ DIR *dir = opendir(dir_path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (is_machine_id(entry->d_name))
			fn(arg, entry->d_name);
}

static void netns_path(const char *id, char path[static 64])
{
	char name[MACHINE_NETNS_LEN];

	snprintf(path, 64, "/run/netns/%s", machine_netns_name(id, name));
}

static void add_namespace(void *arg, const char *id)
{
	char path[64];

	netns_path(id, path);
	ns_set_hold(arg, path);
}

void cleanup_find_machines(const char *lab, const char *node, struct ns_set *set)
{
	char path[PATH_MAX];

	for_each_machine(lab_state_path(lab, node, "lib/machines", path), add_namespace, set);
}

static void unbind_path(const char *path)
{
	while (umount2(path, MNT_DETACH) == 0)
		;
	unlink(path);
}

static void unbind(void *arg, const char *id)
{
	char path[64];

	(void)arg;
	netns_path(id, path);
	unbind_path(path);
}

/* The namespace that a host of a fleet makes beside its own, whose number it is called by. */
static void unbind_resizer(const char *lab, const char *node)
{
	char path[PATH_MAX];
	_free_ char *text = NULL;

	if (file_read(lab_node_path(lab, node, ".net", path), 64, &text, NULL, NULL) < 0)
		return;
	snprintf(path, sizeof(path), "/run/netns/" RESIZER_NETNS "-%llx", strtoull(text, NULL, 10));
	unbind_path(path);
}

void cleanup_unbind_machines(const char *lab, const char *node)
{
	char path[PATH_MAX];

	for_each_machine(lab_state_path(lab, node, "lib/machines", path), unbind, NULL);
	unbind_resizer(lab, node);
}

struct removal {
	const char *dir; /* of all machines, as seen from where we are */
	int result;	 /* the first failure */
	struct err err;
};

static void remove_machine(void *arg, const char *id)
{
	static const enum machine_kind kinds[] = {MACHINE_ROOTFS, MACHINE_IMAGE};
	struct removal *removal = arg;
	char state_dir[PATH_MAX];
	struct machine_spec spec = {.state_dir = state_dir};

	snprintf(spec.id, sizeof(spec.id), "%s", id);
	snprintf(state_dir, sizeof(state_dir), "%s/%s", removal->dir, id);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct err err = {};
		int r;

		spec.kind = kinds[i];
		r = machine_remove(&spec, &err);
		/* Without podman there is no container either. */
		if (r == 0 || (r == -ENOENT && spec.kind == MACHINE_IMAGE))
			r = machine_net_teardown(&spec, &err);
		if (r < 0 && removal->result == 0) {
			removal->result = err_wrap(&err, r, "machine %s", id);
			removal->err = err;
		}
	}
}

static int remove_all(void *arg, struct err *err)
{
	struct removal *removal = arg;

	for_each_machine(removal->dir, remove_machine, removal);
	*err = removal->err;
	return removal->result;
}

int cleanup_machines(const char *lab, const char *node, struct err *err)
{
	char outside[PATH_MAX], mnt[PATH_MAX];
	struct removal removal = {.dir = MACHINES_DIR};

	if (access(lab_state_path(lab, node, "lib/machines", outside), F_OK) < 0)
		return 0;
	if (ns_inode(lab_node_path(lab, node, ".mnt", mnt)))
		return node_call(lab, node, remove_all, &removal, err);
	/* The namespaces are gone, after a reboot say; containers may still be stored. */
	removal.dir = outside;
	return node_call_outside(remove_all, &removal, err);
}
