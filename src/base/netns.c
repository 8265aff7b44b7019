/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces; see netns.h. setns(2) and unshare(2) change the calling thread only, so both
 * happen in short-lived threads: the callers are threads of a pool, whose namespace must stay.
 */
#include "base/netns.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

struct call {
	int fd; /* the namespace to join, or -1: a new one */
	int (*fn)(void *arg);
	void *arg;
	int result;
};

static void *call_thread(void *arg)
{
	struct call *call = arg;

	if ((call->fd >= 0 ? setns(call->fd, CLONE_NEWNET) : unshare(CLONE_NEWNET)) < 0)
		call->result = -errno;
	else
		call->result = call->fn(call->arg);
	return NULL;
}

static int call_in_thread(struct call *call)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, call_thread, call);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	pthread_join(thread, NULL);
	return call->result;
}

int netns_call(int fd, int (*fn)(void *arg), void *arg)
{
	struct call call = {.fd = fd, .fn = fn, .arg = arg};

	return call_in_thread(&call);
}

/*
 * As ip-netns(8) does: the directory is a shared mount of its own, so that a namespace that is
 * removed in one mount namespace is removed in all. The caller holds the lock on the directory.
 */
static int share_dir(struct err *err)
{
	bool was_bound = false;

	while (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) < 0) {
		if (errno != EINVAL || was_bound)
			return err_errno(err, -errno, "cannot share the mount " NETNS_DIR);
		if (mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) < 0)
			return err_errno(err, -errno, "cannot bind " NETNS_DIR " to itself");
		was_bound = true;
	}
	return 0;
}

static bool is_namespace(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) == 0 && st.f_type == NSFS_MAGIC &&
	       ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

static int bind_current(void *arg)
{
	const char *path = arg;

	return mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0 ? -errno : 0;
}

static int create_locked(const char *path, struct err *err)
{
	struct call call = {.fd = -1, .fn = bind_current, .arg = (void *)path};
	_close_ int fd = -1;
	int r = share_dir(err);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, -errno, "cannot make %s", path);
	if (is_namespace(fd))
		return 0;
	r = call_in_thread(&call);
	if (r < 0) {
		unlink(path);
		return err_errno(err, r, "cannot make the network namespace %s", path);
	}
	return 0;
}

int netns_create(const char *name, struct err *err)
{
	char path[PATH_MAX];
	_close_ int dir = -1;
	int r = file_mkdirs(NETNS_DIR, 0755, err);

	if (r < 0)
		return r;
	dir = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(err, -errno, "cannot open " NETNS_DIR);
	/* The same lock as ip-netns(8) takes: two binds of the directory would hide names. */
	while (flock(dir, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(err, -errno, "cannot lock " NETNS_DIR);
	snprintf(path, sizeof(path), NETNS_DIR "/%s", name);
	return create_locked(path, err);
}

int netns_remove(const char *name, struct err *err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), NETNS_DIR "/%s", name);
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return err_errno(err, -errno, "cannot unmount %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(err, -errno, "cannot remove %s", path);
	return 0;
}

int netns_open(const char *path, struct err *err)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "the network namespace %s does not exist", path);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open the network namespace %s", path);
	if (!is_namespace(fd))
		return err_set(err, -EINVAL,
			"%s is not a network namespace; give a file such as /run/netns/NAME or "
			"/proc/PID/ns/net",
			path);
	return take_fd(fd);
}

uint64_t netns_inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

bool netns_is_current(int fd)
{
	struct stat st;

	return stat("/proc/thread-self/ns/net", &st) == 0 && st.st_ino == netns_inode(fd);
}

struct open_request {
	struct netlink **out;
	struct err *err;
};

static int open_netlink(void *arg)
{
	struct open_request *request = arg;

	return netlink_open(request->out, request->err);
}

int netns_netlink(int fd, struct netlink **out, struct err *err)
{
	struct open_request request = {out, err};

	return netns_call(fd, open_netlink, &request);
}
