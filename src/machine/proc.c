/* SPDX-License-Identifier: Apache-2.0 */
/* Other processes; see proc.h and proc(5). */
#include "machine/proc.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

int proc_read(pid_t pid, struct proc_info *out)
{
	char path[64], *open_paren, *close_paren;
	_free_ char *text = NULL;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = file_read(path, 64 * 1024, &text, NULL, NULL);
	if (r == -ENOENT || r == -ESRCH)
		return 1;
	if (r < 0)
		return r;
	/* The name may hold anything, parentheses too: what follows the last one is regular. */
	open_paren = strchr(text, '(');
	close_paren = strrchr(text, ')');
	if (!open_paren || !close_paren)
		return -EBADMSG;
	*close_paren = '\0';
	snprintf(out->name, sizeof(out->name), "%s", open_paren + 1);
	if (sscanf(close_paren + 1,
		    " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
		    "%*d %" SCNu64,
		    &out->state, &out->parent, &out->start_ticks) != 3)
		return -EBADMSG;
	return 0;
}

bool proc_is_alive(pid_t pid, uint64_t start_ticks)
{
	struct proc_info info;

	if (pid <= 0 || proc_read(pid, &info) != 0)
		return false;
	return info.state != 'Z' && info.state != 'X' &&
	       (start_ticks == 0 || info.start_ticks == start_ticks);
}

int proc_open(pid_t pid)
{
	/* glibc has a wrapper since 2.36 only. */
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

int proc_wait(int pidfd, unsigned int timeout_ms)
{
	uint64_t deadline_ms = clock_now_ms() + timeout_ms;
	struct pollfd fd = {.fd = pidfd, .events = POLLIN};

	for (;;) {
		uint64_t now = clock_now_ms();
		int r = poll(&fd, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);

		if (r > 0)
			return 0;
		if (r == 0)
			return 1;
		if (errno != EINTR)
			return -errno;
	}
}

bool proc_has_argument(pid_t pid, const char *argument)
{
	_free_ char *text = NULL;
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (pid <= 0 || file_read(path, 1024 * 1024, &text, &len, NULL) < 0)
		return false;
	for (const char *p = text; p < text + len; p += strlen(p) + 1)
		if (strcmp(p, argument) == 0)
			return true;
	return false;
}

pid_t proc_read_pid_file(const char *path)
{
	_free_ char *text = NULL;
	long pid;

	if (file_read(path, 4096, &text, NULL, NULL) < 0)
		return 0;
	pid = strtol(text, NULL, 10);
	return pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}
