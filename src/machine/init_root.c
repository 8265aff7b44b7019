/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of a machine's root; see init_root.h. Every mount is private to the machine: the host's
 * own tree is never changed, but for empty files and directories that a foreign rootfs lacks as
 * mount points. In the host's own root ("/") nothing is created at all.
 */
#include "machine/init_root.h"

#include "base/err.h"
#include "base/mem.h"
#include "machine/init_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static bool is_host_root(const char *rootfs)
{
	struct stat a, b;

	return stat(rootfs, &a) == 0 && stat("/", &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/*
 * Opens @path as the program inside will see it: symbolic links (resolv.conf is one in many
 * roots) are followed inside the root only.
 */
static int open_inside(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? 0644 : 0,
		.resolve = RESOLVE_IN_ROOT,
	};
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* Where a dangling link of the root points to, one step; false when @path is none. */
static bool read_link(int root, const char *path, char target[static PATH_MAX])
{
	_close_ int fd = open_inside(root, path, O_PATH | O_NOFOLLOW);
	ssize_t len = fd < 0 ? -1 : readlinkat(fd, "", target, PATH_MAX - 1);

	if (len <= 0)
		return false;
	target[len] = '\0';
	return true;
}

static void make_parents(int root, const char *path)
{
	char part[PATH_MAX];
	size_t len = (size_t)snprintf(part, sizeof(part), "%s", path);

	for (size_t i = 1; i < len && i < sizeof(part); i++) {
		_close_ int parent = -1;
		char *name;

		if (part[i] != '/')
			continue;
		part[i] = '\0';
		name = strrchr(part, '/');
		if (name && name > part) {
			*name = '\0';
			parent = open_inside(root, part, O_PATH | O_DIRECTORY);
			*name = '/';
		} else {
			parent = open_inside(root, "/", O_PATH | O_DIRECTORY);
		}
		if (parent >= 0)
			mkdirat(parent, name ? name + 1 : part, 0755);
		part[i] = '/';
	}
}

/* A file of the root to mount over, made when it is not there and may be. */
static int open_target(int root, const char *path, bool may_create)
{
	char target[PATH_MAX], full[PATH_MAX + 8];
	int fd = open_inside(root, path, O_PATH);

	if (fd != -ENOENT || !may_create)
		return fd;
	make_parents(root, path);
	/* The usual dangling one: resolv.conf to /run/systemd/resolve, with /run empty. */
	if (read_link(root, path, target)) {
		snprintf(full, sizeof(full), "%s%s", target[0] == '/' ? "" : "/etc/", target);
		make_parents(root, full);
	}
	fd = open_inside(root, path, O_WRONLY | O_CREAT);
	if (fd < 0)
		return fd;
	close(fd);
	return open_inside(root, path, O_PATH);
}

static int mount_file(
	int root, const struct init_spec *spec, const char *name, bool may_create, struct err *err)
{
	char source[PATH_MAX], target[64], path[64];
	_close_ int fd = -1;

	snprintf(source, sizeof(source), "%s/%s", spec->state_dir, name);
	snprintf(path, sizeof(path), "/etc/%s", name);
	fd = open_target(root, path, may_create);
	/* The host lives without that file, so can its programs. */
	if (fd == -ENOENT && !may_create)
		return 0;
	if (fd < 0)
		return err_errno(err, fd, "cannot open %s in %s", path, spec->rootfs);
	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	if (mount(source, target, NULL, MS_BIND, NULL) < 0)
		return err_errno(
			err, -errno, "cannot mount %s over %s in %s", source, path, spec->rootfs);
	return 0;
}

/*
 * sysfs shows the network namespace that it was mounted in, so it has to be a fresh one for
 * /sys/class/net; the cgroup mounts below the host's are taken along. Best effort: hardly any
 * program needs it.
 */
static void mount_sys(const char *rootfs)
{
	_close_ int cgroup = (int)syscall(SYS_open_tree, AT_FDCWD, "/sys/fs/cgroup",
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys", rootfs);
	if (mount("sysfs", path, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return;
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup", rootfs);
	if (cgroup >= 0)
		syscall(SYS_move_mount, cgroup, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

static int mount_proc(const char *rootfs, bool may_create, struct err *err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/proc", rootfs);
	if (may_create)
		mkdir(path, 0555);
	if (mount("proc", path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_errno(err, -errno, "cannot mount %s", path);
	return 0;
}

static void mount_dev(const char *rootfs)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/dev", rootfs);
	mkdir(path, 0755);
	mount("/dev", path, NULL, MS_BIND | MS_REC, NULL);
}

int init_root_enter(const struct init_spec *spec, struct err *err)
{
	const char *rootfs = strcmp(spec->rootfs, "/") == 0 ? "" : spec->rootfs;
	bool is_host = is_host_root(spec->rootfs);
	_close_ int root = -1;
	int r;

	/* Mounts of the host still arrive; none of ours leaves. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_errno(err, -errno, "cannot make the machine's mounts private");
	root = open(spec->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, -errno, "cannot open the root directory %s", spec->rootfs);
	r = mount_file(root, spec, "hosts", !is_host, err);
	if (r == 0)
		r = mount_file(root, spec, "resolv.conf", !is_host, err);
	if (r < 0)
		return r;
	if (!is_host)
		mount_dev(rootfs);
	mount_sys(rootfs);
	r = mount_proc(rootfs, !is_host, err);
	if (r < 0)
		return r;
	if (fchdir(root) < 0 || (!is_host && chroot(".") < 0) || chdir("/") < 0)
		return err_errno(err, -errno, "cannot enter the root directory %s", spec->rootfs);
	return 0;
}
