/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals to a machine. Its processes are those of the first process's PID namespace and of the
 * namespaces below it (a machine may run containers of its own). The init that wherry put there
 * (catatonit under podman, wherry-init) gets none: it would pass the signal on a second time.
 *
 * Each process is held by a pidfd from before its namespace is looked at, so that a reused pid is
 * never signalled. One that is forked while the list is made may be missed; SIGKILL to the first
 * process misses nothing, since the kernel ends the namespace with it.
 */
#include "machine/signal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "machine/machine.h"
#include "machine/proc.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* How long the rest may take to end by itself once those that handle the signal have. */
#define SETTLE_MS 100
#define POLL_MS	  10

struct member {
	pid_t pid, parent;
	int pidfd;
	bool handles; /* catches or ignores the signal */
	bool is_sent;
};

struct members {
	struct member *items;
	size_t count;
};

static void members_clear(struct members *members)
{
	for (size_t i = 0; i < members->count; i++)
		close(members->items[i].pidfd);
	free(members->items);
	*members = (struct members){};
}

static ino_t pid_namespace_of(pid_t pid)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* Whether @pid lives in the namespace @wanted or below it; @own is ours, above all of them. */
static bool is_in_namespace(pid_t pid, ino_t wanted, ino_t own)
{
	ino_t inode = pid_namespace_of(pid);
	_close_ int fd = -1;
	char path[64];

	if (inode == wanted)
		return true;
	if (inode == own || inode == 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0) {
		struct stat st;
		int parent = ioctl(fd, NS_GET_PARENT);

		close(fd);
		fd = parent;
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == wanted)
			return true;
	}
	return false;
}

static bool is_init_of_ours(pid_t pid)
{
	struct proc_info info;

	/* podman binds catatonit under this name. */
	return proc_read(pid, &info) == 0 &&
	       (strcmp(info.name, "podman-init") == 0 || strcmp(info.name, "catatonit") == 0 ||
		       strcmp(info.name, "wherry-init") == 0);
}

/* Whether @pid catches or ignores @signo, from its /proc status. */
static bool handles_signal(pid_t pid, int signo)
{
	static const char *const fields[] = {"\nSigCgt:", "\nSigIgn:"};
	_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (file_read(path, 64 * 1024, &text, NULL, NULL) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const char *field = strstr(text, fields[i]);

		if (field && strtoull(field + strlen(fields[i]), NULL, 16) >> (signo - 1) & 1)
			return true;
	}
	return false;
}

static void add_member(struct members *members, pid_t pid, ino_t wanted, ino_t own, int signo)
{
	_close_ int pidfd = proc_open(pid);
	struct proc_info info;
	struct member *items;

	if (pidfd < 0 || !is_in_namespace(pid, wanted, own) || proc_read(pid, &info) != 0 ||
		info.state == 'Z')
		return;
	items = realloc(members->items, (members->count + 1) * sizeof(*items));
	if (!items)
		return;
	items[members->count++] = (struct member){
		.pid = pid,
		.parent = info.parent,
		.pidfd = take_fd(pidfd),
		.handles = handles_signal(pid, signo),
	};
	members->items = items;
}

/* Lists the living processes of the machine but for our init. */
static int list_members(pid_t first_pid, int signo, struct members *out)
{
	ino_t wanted = pid_namespace_of(first_pid), own = pid_namespace_of(getpid());
	bool skip_first = is_init_of_ours(first_pid);
	_closedir_ DIR *dir = NULL;
	struct dirent *entry;

	if (wanted == 0)
		return -ESRCH;
	/* The namespace that we live in is nobody's machine. */
	if (wanted == own)
		return -EINVAL;
	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (isdigit((unsigned char)entry->d_name[0]) && !(skip_first && pid == first_pid))
			add_member(out, pid, wanted, own, signo);
	}
	return 0;
}

static void send_signal(struct member *member, int signo)
{
	syscall(SYS_pidfd_send_signal, member->pidfd, signo, NULL, 0);
	member->is_sent = true;
}

static bool has_children(const struct members *members, pid_t pid)
{
	for (size_t i = 0; i < members->count; i++)
		if (members->items[i].parent == pid)
			return true;
	return false;
}

/* Sends to those that handle the signal and to the leaves; returns whether some were held back. */
static bool send_first(struct members *members, int signo)
{
	bool is_held = false;

	for (size_t i = 0; i < members->count; i++) {
		struct member *member = &members->items[i];

		if (member->handles || !has_children(members, member->pid))
			send_signal(member, signo);
		else
			is_held = true;
	}
	return is_held;
}

static bool all_sent_ended(const struct members *members)
{
	for (size_t i = 0; i < members->count; i++)
		if (members->items[i].is_sent && proc_wait(members->items[i].pidfd, 0) != 0)
			return false;
	return true;
}

static unsigned int left_ms(uint64_t deadline_ms)
{
	uint64_t now = clock_now_ms();

	return now < deadline_ms ? (unsigned int)(deadline_ms - now) : 0;
}

/* Waits for the held-back ones to end by themselves, then signals what there is. */
static int send_rest(
	pid_t first_pid, int watch_fd, struct members *members, int signo, uint64_t deadline_ms)
{
	_cleanup_(members_clear) struct members now = {};
	int r;

	while (!all_sent_ended(members)) {
		unsigned int left = left_ms(deadline_ms);

		r = proc_wait(watch_fd, left < POLL_MS ? left : POLL_MS);
		if (r <= 0 || left == 0)
			return r;
	}
	r = proc_wait(
		watch_fd, left_ms(deadline_ms) < SETTLE_MS ? left_ms(deadline_ms) : SETTLE_MS);
	if (r <= 0)
		return r;
	/* A shell may have started the next program meanwhile: the list is made anew. */
	if (list_members(first_pid, signo, &now) == 0)
		for (size_t i = 0; i < now.count; i++)
			send_signal(&now.items[i], signo);
	return 1;
}

int signal_stop(pid_t first_pid, int watch_fd, int signo, unsigned int timeout_ms)
{
	_cleanup_(members_clear) struct members members = {};
	uint64_t deadline_ms = clock_now_ms() + timeout_ms;
	_close_ int first_fd = proc_open(first_pid);
	int r = list_members(first_pid, signo, &members);

	if (r == -EINVAL)
		return r;
	r = 1;
	if (send_first(&members, signo))
		r = send_rest(first_pid, watch_fd, &members, signo, deadline_ms);
	if (r > 0)
		r = proc_wait(watch_fd, left_ms(deadline_ms));
	if (r <= 0)
		return r;
	if (first_fd >= 0)
		syscall(SYS_pidfd_send_signal, first_fd, SIGKILL, NULL, 0);
	return proc_wait(watch_fd, 10000) == 0 ? 0 : -ETIMEDOUT;
}

int machine_signal_all(pid_t first_pid, int signo)
{
	_cleanup_(members_clear) struct members members = {};
	int r = list_members(first_pid, signo, &members);

	if (r < 0)
		return r == -ESRCH ? 0 : r;
	for (size_t i = 0; i < members.count; i++)
		send_signal(&members.items[i], signo);
	return (int)members.count;
}
