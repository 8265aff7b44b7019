/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lab's directories; see paths.h. Two locks: the global one (LAB_RUN_DIR itself) is held for
 * moments, while directories come and go, since labs share the mount points on the host; a lab's
 * own is held by what changes the lab. What labs made on the host is listed in a file, and undone
 * by the last lab: an rmdir() would take the mount away from the nodes of another lab.
 */
#include "lab/paths.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define MADE_FILE LAB_RUN_DIR "/.made-on-host"
#define NETNS_DIR "/run/netns"
/* Stands in MADE_FILE for the mount on NETNS_DIR; its directory is listed by its name. */
#define NETNS_MOUNT "mount:" NETNS_DIR

static const char *const mount_points[] = {"/var/lib/wherry", "/etc/wherry", "/run/wherry",
	"/run/wireguard", "/var/lib/containers", "/run/containers", "/run/libpod", LAB_STATE_DIR};

static char *join(char path[static PATH_MAX], const char *base, const char *a, const char *b,
	const char *suffix)
{
	snprintf(path, PATH_MAX, "%s%s%s%s%s%s", base, a ? "/" : "", a ? a : "", b ? "/" : "",
		b ? b : "", suffix);
	return path;
}

char *lab_run_path(const char *lab, const char *file, char path[static PATH_MAX])
{
	return join(path, LAB_RUN_DIR, lab, file, "");
}

char *lab_node_path(
	const char *lab, const char *node, const char *suffix, char path[static PATH_MAX])
{
	return join(path, LAB_RUN_DIR, lab, node, suffix);
}

char *lab_state_path(
	const char *lab, const char *node, const char *file, char path[static PATH_MAX])
{
	join(path, LAB_STATE_DIR, lab, node, "");
	if (file && strlen(path) + strlen(file) + 2 <= PATH_MAX) {
		strcat(path, "/");
		strcat(path, file);
	}
	return path;
}

static bool is_same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

/* Locks the file or directory at @path; again when it was replaced meanwhile. */
static int lock_path(const char *path, int flags)
{
	for (;;) {
		_close_ int fd = open(path, flags | O_CLOEXEC, 0600);
		int r;

		if (fd < 0)
			return -errno;
		do
			r = flock(fd, LOCK_EX);
		while (r < 0 && errno == EINTR);
		if (r < 0)
			return -errno;
		if (is_same_file(fd, path))
			return take_fd(fd);
	}
}

static int lock_all(bool make, int *out, struct err *err)
{
	int fd;

	do {
		if (make && mkdir(LAB_RUN_DIR, 0755) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "cannot make %s", LAB_RUN_DIR);
		fd = lock_path(LAB_RUN_DIR, O_RDONLY | O_DIRECTORY);
	} while (fd == -ENOENT && make);
	if (fd < 0)
		return err_errno(err, fd, "cannot lock %s", LAB_RUN_DIR);
	*out = fd;
	return 0;
}

int lab_lock(const char *lab, int *fd, struct err *err)
{
	char path[PATH_MAX];
	int r = lock_path(lab_run_path(lab, "lock", path), O_RDWR);

	if (r == -ENOENT)
		return 1;
	if (r < 0)
		return err_errno(err, r, "cannot lock %s", path);
	*fd = r;
	return 0;
}

static int note_made(const char *what, struct err *err)
{
	_fclose_ FILE *file = fopen(MADE_FILE, "ae");

	if (!file || fprintf(file, "%s\n", what) < 0 || fflush(file) != 0)
		return err_errno(err, -errno, "cannot write %s", MADE_FILE);
	return 0;
}

static int make_mount_point(const char *path, struct err *err)
{
	if (mkdir(path, 0755) == 0)
		return note_made(path, err);
	return errno == EEXIST ? 0 : err_errno(err, -errno, "cannot make %s", path);
}

/*
 * As ip-netns(8) does: a mount of its own that is shared, so that namespaces bound in one mount
 * namespace are seen in all. The lock is ip's as well; without it two of us would stack mounts.
 */
static int share_netns_dir(struct err *err)
{
	_close_ int fd = -1;
	bool is_mount = false;
	int r = make_mount_point(NETNS_DIR, err);

	if (r < 0)
		return r;
	fd = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return err_errno(err, -errno, "cannot lock %s", NETNS_DIR);
	while (mount(NULL, NETNS_DIR, NULL, MS_SHARED | MS_REC, NULL) < 0) {
		if (errno != EINVAL || is_mount)
			return err_errno(err, -errno, "cannot share %s", NETNS_DIR);
		if (mount(NETNS_DIR, NETNS_DIR, NULL, MS_BIND | MS_REC, NULL) < 0)
			return err_errno(err, -errno, "cannot mount %s", NETNS_DIR);
		is_mount = true;
	}
	return is_mount ? note_made(NETNS_MOUNT, err) : 0;
}

/*
 * The tmpfs is private because a mount namespace cannot be bound where the bind would propagate
 * into that same namespace.
 */
static int mount_run_dir(const char *lab, int *lock, struct err *err)
{
	char path[PATH_MAX];

	lab_run_path(lab, NULL, path);
	if (mount("wherry-lab", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
		return err_errno(err, -errno, "cannot mount a tmpfs on %s", path);
	if (mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0)
		return err_errno(err, -errno, "cannot make %s private", path);
	*lock = lock_path(lab_run_path(lab, "lock", path), O_RDWR | O_CREAT);
	return *lock < 0 ? err_errno(err, *lock, "cannot lock %s", path) : 0;
}

int lab_dirs_make(const char *lab, int *fd, struct err *err)
{
	_close_ int lock = -1;
	char path[PATH_MAX];
	int r = lock_all(true, &lock, err);

	if (r < 0)
		return r;
	if (mkdir(lab_run_path(lab, NULL, path), 0755) < 0)
		return errno == EEXIST ? 1 : err_errno(err, -errno, "cannot make %s", path);
	r = mount_run_dir(lab, fd, err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(mount_points); i++)
		r = make_mount_point(mount_points[i], err);
	if (r == 0)
		r = share_netns_dir(err);
	return r < 0 ? r : file_mkdirs(lab_state_path(lab, NULL, NULL, path), 0755, err);
}

/* Undoes one line of MADE_FILE. What is in use or filled by now is not ours any more. */
static void undo_made(const char *what)
{
	if (strcmp(what, NETNS_MOUNT) != 0) {
		rmdir(what);
		return;
	}
	/* rmdir() of the directory below only works when no namespace is bound there. */
	_closedir_ DIR *dir = opendir(NETNS_DIR);
	const struct dirent *entry;

	if (!dir || flock(dirfd(dir), LOCK_EX) < 0)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			return;
	umount2(NETNS_DIR, MNT_DETACH);
}

static void undo_host(void)
{
	_free_ char *text = NULL;
	char *end;

	if (file_read(MADE_FILE, 65536, &text, NULL, NULL) == 0) {
		/* Last made, first undone: the mount lies on the directory. */
		while ((end = strrchr(text, '\n'))) {
			char *line;

			*end = '\0';
			line = strrchr(text, '\n');
			undo_made(line ? line + 1 : text);
		}
	}
	unlink(MADE_FILE);
	rmdir(LAB_RUN_DIR);
}

static bool has_labs(void)
{
	_closedir_ DIR *dir = opendir(LAB_RUN_DIR);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			return true;
	return false;
}

int lab_dirs_remove(const char *lab, struct err *err)
{
	_close_ int lock = -1;
	char path[PATH_MAX];
	int r = lock_all(true, &lock, err);

	if (r < 0)
		return r;
	r = file_remove_all(lab_state_path(lab, NULL, NULL, path), err);
	if (r < 0)
		return r;
	lab_run_path(lab, NULL, path);
	while (umount2(path, MNT_DETACH) == 0)
		;
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_errno(err, -errno, "cannot remove %s", path);
	if (!has_labs())
		undo_host();
	return 0;
}

bool lab_dirs_exist(const char *lab)
{
	char path[PATH_MAX];

	return access(lab_run_path(lab, NULL, path), F_OK) == 0 ||
	       access(lab_state_path(lab, NULL, NULL, path), F_OK) == 0;
}
