/* SPDX-License-Identifier: Apache-2.0 */
/* Processes by namespace; see process.h. */
#include "lab/process.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>

#define SIGNAL_LIMIT_MS 5000
#define ROUND_PAUSE_MS	5

static const char *const own_namespaces[] = {"/proc/self/ns/net", "/proc/self/ns/mnt"};

uint64_t ns_inode(const char *path)
{
	struct statfs fs;
	struct stat st;

	if (statfs(path, &fs) < 0 || fs.f_type != NSFS_MAGIC || stat(path, &st) < 0)
		return 0;
	return st.st_ino;
}

static bool is_own(uint64_t inode)
{
	for (size_t i = 0; i < ARRAY_LEN(own_namespaces); i++)
		if (ns_inode(own_namespaces[i]) == inode)
			return true;
	return false;
}

static void add(struct ns_set *set, uint64_t inode, int fd)
{
	set->inodes = reallocarray(set->inodes, set->count + 1, sizeof(*set->inodes));
	set->fds = reallocarray(set->fds, set->count + 1, sizeof(*set->fds));
	if (!set->inodes || !set->fds)
		abort();
	set->inodes[set->count] = inode;
	set->fds[set->count++] = fd;
}

void ns_set_add(struct ns_set *set, uint64_t inode)
{
	if (inode && !is_own(inode))
		add(set, inode, -1);
}

void ns_set_hold(struct ns_set *set, const char *path)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char opened[64];
	uint64_t inode;

	if (fd < 0)
		return;
	snprintf(opened, sizeof(opened), "/proc/self/fd/%d", fd);
	inode = ns_inode(opened);
	if (inode && !is_own(inode))
		add(set, inode, take_fd(fd));
}

void ns_set_clear(struct ns_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->fds[i] >= 0)
			close(set->fds[i]);
	free(set->inodes);
	free(set->fds);
	*set = (struct ns_set){};
}

static bool set_has(const struct ns_set *set, uint64_t inode)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->inodes[i] == inode)
			return true;
	return false;
}

bool process_is_in(pid_t pid, const struct ns_set *set)
{
	static const char *const kinds[] = {"net", "mnt"};
	char path[64];
	struct stat st;

	/* A zombie has no namespaces any more: stat fails. */
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i]);
		if (stat(path, &st) == 0 && set_has(set, st.st_ino))
			return true;
	}
	return false;
}

char process_state(pid_t pid)
{
	_free_ char *text = NULL;
	char path[64];
	const char *paren;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, 4096, &text, NULL, NULL) < 0)
		return 0;
	/* The name in parentheses may itself hold parentheses and spaces. */
	paren = strrchr(text, ')');
	return paren && paren[1] == ' ' ? paren[2] : 0;
}

bool process_is_supervisor(pid_t pid)
{
	_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (file_read(path, 64, &text, NULL, NULL) < 0)
		return false;
	return strcmp(text, "conmon\n") == 0 || strcmp(text, "wherry-init\n") == 0;
}

static bool needs(pid_t pid, int signo)
{
	char state = process_state(pid);

	if (state == 0 || state == 'Z' || state == 'X')
		return false;
	return signo != SIGSTOP || (state != 'T' && state != 't');
}

/* Returns how many processes did not have the state yet that @signo leads to; -errno. */
static int signal_round(const struct ns_set *set, int signo, process_filter *spare)
{
	_closedir_ DIR *dir = opendir("/proc");
	const struct dirent *entry;
	int count = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);

		if (pid <= 0 || pid == getpid() || !process_is_in(pid, set))
			continue;
		if ((spare && spare(pid)) || !needs(pid, signo))
			continue;
		count++;
		kill(pid, signo);
	}
	return count;
}

int process_signal_all(const struct ns_set *set, int signo, process_filter *spare, struct err *err)
{
	const struct timespec pause = {.tv_nsec = ROUND_PAUSE_MS * 1000000L};
	uint64_t deadline_ms = clock_now_ms() + SIGNAL_LIMIT_MS;

	if (set->count == 0)
		return 0;
	for (;;) {
		int count = signal_round(set, signo, spare);

		if (count < 0)
			return err_errno(err, count, "cannot list the processes");
		if (count == 0 || (signo != SIGKILL && signo != SIGSTOP))
			return 0;
		if (clock_now_ms() >= deadline_ms)
			return err_set(err, -ETIMEDOUT,
				"%d processes of the lab did not react to signal %d within %d s",
				count, signo, SIGNAL_LIMIT_MS / 1000);
		nanosleep(&pause, NULL);
	}
}
