/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount namespace of a node. It begins as a copy of the host's. Invariants:
 *  - What the host mounts later is seen in the node (as far as the host's mounts are shared at
 *    all; on a host without systemd only /run/netns is), what the node mounts is not seen outside.
 *  - /run/netns alone goes both ways: a namespace that a daemon binds there in one node is seen by
 *    the host and the other nodes.
 *  - /run/wherry, /var/lib/wherry, /etc/wherry, /sys (with its /sys/class/net), the BPF file
 *    system and /run/wireguard (where a device is known by its name alone) are the node's own.
 *  - podman's storage is the host's when the lab has one host: images are there at once. Hosts of a
 *    fleet have one each, as on real machines, where an image does not come by itself.
 *  - Other labs and this lab's own directory are hidden, and not kept alive.
 */
#include "lab/mounts.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "lab/mountinfo.h"
#include "lab/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define NETNS_DIR "/run/netns"
#define SYS_NEW	  LAB_RUN_DIR "/sys"

static int mount_or_fail(const char *source, const char *target, const char *type,
	unsigned long flags, const char *data, struct err *err)
{
	if (mount(source, target, type, flags, data) < 0)
		return err_errno(
			err, -errno, "cannot mount %s on %s", type ? type : source, target);
	return 0;
}

/*
 * Everything becomes a slave of the host's mounts, also mounts that lie hidden under others; a
 * clone of /run/netns that was made before is still a peer of the host's, and goes on top.
 */
static int separate_from_host(struct err *err)
{
	_close_ int netns =
		open_tree(AT_FDCWD, NETNS_DIR, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (netns < 0)
		return err_errno(err, -errno, "cannot clone the mount %s", NETNS_DIR);
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_errno(err, -errno, "cannot separate the node's mounts from the host's");
	umount2(NETNS_DIR, MNT_DETACH);
	if (move_mount(netns, "", AT_FDCWD, NETNS_DIR, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(err, -errno, "cannot mount %s in the node", NETNS_DIR);
	return 0;
}

static int bind_own_dirs(const char *lab, const char *node, struct err *err)
{
	char path[PATH_MAX];
	int r;

	r = mount_or_fail(lab_state_path(lab, node, "lib", path), "/var/lib/wherry", NULL, MS_BIND,
		NULL, err);
	if (r < 0)
		return r;
	r = mount_or_fail(
		lab_state_path(lab, node, "etc", path), "/etc/wherry", NULL, MS_BIND, NULL, err);
	if (r < 0)
		return r;
	return mount_or_fail(
		lab_node_path(lab, node, ".run", path), "/run/wherry", NULL, MS_BIND, NULL, err);
}

/*
 * podman numbers its locks in /dev/shm/libpod_lock and believes in a reboot, which frees them all,
 * when /run/libpod is empty: so these belong to a storage, and there must not be one without them.
 */
static int bind_own_containers(const char *lab, const char *node, struct err *err)
{
	static const char *const volatile_dirs[][2] = {
		{"/run/containers", "mode=0700"},
		{"/run/libpod", "mode=0751"},
		{"/dev/shm", "mode=1777"},
	};
	char path[PATH_MAX];
	int r = mount_or_fail(lab_state_path(lab, node, "containers", path), "/var/lib/containers",
		NULL, MS_BIND, NULL, err);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(volatile_dirs); i++)
		r = mount_or_fail("wherry-lab", volatile_dirs[i][0], "tmpfs", MS_NOSUID | MS_NODEV,
			volatile_dirs[i][1], err);
	return r;
}

static int cover_labs(const struct mount_table *table, struct err *err)
{
	const size_t prefix = strlen(LAB_RUN_DIR "/");
	_close_ int fd = -1;
	int r;

	for (size_t i = 0; i < table->count; i++)
		if (strncmp(table->entries[i].target, LAB_RUN_DIR "/", prefix) == 0)
			umount2(table->entries[i].target, MNT_DETACH);
	r = mount_or_fail("wherry-lab", LAB_RUN_DIR, "tmpfs", MS_NOSUID | MS_NODEV,
		"mode=0755,size=64k", err);

	if (r < 0)
		return r;
	fd = open(NODE_NET_PATH, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
	if (fd < 0)
		return err_errno(err, -errno, "cannot make %s", NODE_NET_PATH);
	return mount_or_fail("/proc/self/ns/net", NODE_NET_PATH, NULL, MS_BIND, NULL, err);
}

/* Binds what is mounted directly on the old /sys (cgroups, debugfs) into the new one. */
static int carry_over(const struct mount_table *table, struct err *err)
{
	const struct mount_entry *sys = mount_table_find(table, "/sys");
	char target[PATH_MAX];

	for (size_t i = 0; sys && i < table->count; i++) {
		const struct mount_entry *entry = &table->entries[i];

		if (entry->parent_id != sys->id || strcmp(entry->type, "bpf") == 0)
			continue;
		snprintf(target, sizeof(target), "%s%s", SYS_NEW, entry->target + strlen("/sys"));
		if (mount(entry->target, target, NULL, MS_BIND | MS_REC, NULL) < 0 &&
			errno != ENOENT)
			return err_errno(
				err, -errno, "cannot bind %s into the node's /sys", entry->target);
	}
	return 0;
}

/* A sysfs shows the interfaces of the namespace in which it was mounted. */
static int mount_sys(const struct mount_table *table, struct err *err)
{
	int r;

	if (mkdir(SYS_NEW, 0755) < 0)
		return err_errno(err, -errno, "cannot make %s", SYS_NEW);
	r = mount_or_fail("sysfs", SYS_NEW, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, err);
	if (r == 0)
		r = carry_over(table, err);
	if (r < 0)
		return r;
	umount2("/sys", MNT_DETACH);
	r = mount_or_fail(SYS_NEW, "/sys", NULL, MS_MOVE, NULL, err);
	rmdir(SYS_NEW);
	if (r < 0)
		return r;
	return mount_or_fail(
		"bpf", "/sys/fs/bpf", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700", err);
}

int mounts_setup(
	const char *lab, const char *node, enum mounts_containers containers, struct err *err)
{
	_cleanup_(mount_table_clear) struct mount_table table = {};
	int r = separate_from_host(err);

	if (r == 0)
		r = mount_table_read(&table, err);
	if (r == 0)
		r = bind_own_dirs(lab, node, err);
	if (r == 0)
		r = mount_or_fail("wherry-lab", "/run/wireguard", "tmpfs", MS_NOSUID | MS_NODEV,
			"mode=0755,size=64k", err);
	if (r == 0 && containers == MOUNTS_OWN_CONTAINERS)
		r = bind_own_containers(lab, node, err);
	if (r == 0)
		r = cover_labs(&table, err);
	return r < 0 ? r : mount_sys(&table, err);
}
