/* SPDX-License-Identifier: Apache-2.0 */
/* Running programs; see run.h. */
#include "base/run.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define OUTPUT_MAX_BYTES (1024 * 1024)

static const struct {
	const char *program, *package;
} packages[] = {
	{"ip", "iproute2"},
	{"podman", "podman"},
	{"nft", "nftables"},
	{"wg", "wireguard-tools"},
};

static int open_input(const char *text)
{
	_close_ int fd = -1;
	size_t len;

	if (!text)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	len = strlen(text);
	fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)
		return -EIO;
	return take_fd(fd);
}

static _Noreturn void exec_child(const char *const argv[], int in, int out, int errors, int report)
{
	sigset_t none;
	int code;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	dup2(report, 3);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	close_range(4, ~0U, 0);
	execvp(argv[0], (char *const *)argv);
	code = errno;
	if (write(3, &code, sizeof(code)) < 0)
		_exit(126);
	_exit(127);
}

/* Reads what is there. Returns false at the end of the stream. */
static bool drain(int fd, struct buf *to)
{
	char chunk[8192];
	ssize_t got = read(fd, chunk, sizeof(chunk));

	if (got < 0)
		return errno == EINTR || errno == EAGAIN;
	if (got > 0 && to->len + (size_t)got <= OUTPUT_MAX_BYTES)
		buf_add(to, chunk, (size_t)got);
	return got > 0;
}

/* Collects both streams until they end or the time is over. */
static int collect(int out, int errors, struct buf bufs[2], uint64_t deadline_ms)
{
	struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = errors, .events = POLLIN}};

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		uint64_t now = clock_now_ms();

		if (now >= deadline_ms)
			return -ETIMEDOUT;
		if (poll(fds, 2, (int)(deadline_ms - now)) < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < 2; i++)
			if (fds[i].revents && !drain(fds[i].fd, &bufs[i]))
				fds[i].fd = -1;
	}
	return 0;
}

static int no_program(const char *program, int code, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(packages); i++)
		if (code == ENOENT && strcmp(packages[i].program, program) == 0)
			return err_set(err, -ENOENT, "%s is not installed; apt-get install %s",
				program, packages[i].package);
	return err_errno(err, -code, "cannot run %s", program);
}

int run_start(const char *const argv[], int in, int out, int errors, pid_t *pid, struct err *err)
{
	_close_ int report_read = -1, report_write = -1;
	int report[2], code = 0;
	pid_t child;

	if (pipe2(report, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot run %s", argv[0]);
	report_read = report[0];
	report_write = report[1];
	child = fork();
	if (child < 0)
		return err_errno(err, -errno, "cannot run %s", argv[0]);
	if (child == 0)
		exec_child(argv, in, out, errors, report_write);
	close(take_fd(report_write));
	if (read(report_read, &code, sizeof(code)) == sizeof(code)) {
		waitpid(child, NULL, 0);
		return no_program(argv[0], code, err);
	}
	*pid = child;
	return 0;
}

int run_wait(pid_t pid, unsigned int timeout_ms, int *status)
{
	_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd fd = {.fd = pidfd, .events = POLLIN};
	uint64_t now_ms = clock_now_ms(), deadline_ms = now_ms + timeout_ms;
	int ended = pidfd < 0, r = 0;

	while (!ended && now_ms < deadline_ms) {
		ended = poll(&fd, 1, (int)(deadline_ms - now_ms)) > 0;
		now_ms = clock_now_ms();
	}
	if (!ended) {
		kill(pid, SIGKILL);
		r = -ETIMEDOUT;
	}
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return r;
}

int run_program(const char *const argv[], const char *input, unsigned int timeout_ms,
	struct run_result *result, struct err *err)
{
	_close_ int in = -1, out_read = -1, out_write = -1, err_read = -1, err_write = -1;
	_cleanup_(buf_clear) struct buf out = {}, errors = {};
	struct buf bufs[2] = {};
	int pipes[2][2], status, r;
	pid_t pid;

	in = open_input(input);
	if (in < 0)
		return err_errno(err, in, "cannot run %s", argv[0]);
	for (int i = 0; i < 2; i++) {
		if (pipe2(pipes[i], O_CLOEXEC) < 0)
			return err_errno(err, -errno, "cannot run %s", argv[0]);
		if (i == 0)
			out_read = pipes[i][0], out_write = pipes[i][1];
		else
			err_read = pipes[i][0], err_write = pipes[i][1];
	}
	r = run_start(argv, in, out_write, err_write, &pid, err);
	if (r < 0)
		return r;
	close(take_fd(out_write));
	close(take_fd(err_write));
	r = collect(out_read, err_read, bufs, clock_now_ms() + timeout_ms);
	out = bufs[0];
	errors = bufs[1];
	if (r < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, -errno, "cannot wait for %s", argv[0]);
	if (r == -ETIMEDOUT)
		return err_set(err, r, "%s did not finish within %u s and was stopped", argv[0],
			timeout_ms / 1000);
	if (r < 0)
		return err_errno(err, r, "cannot read what %s prints", argv[0]);
	result->status = status;
	result->output = buf_take(&out);
	result->errors = buf_take(&errors);
	return 0;
}

/* The last line that is not blank; programs put the cause there. */
static const char *last_line(char *text)
{
	char *end = text + strlen(text), *line;

	while (end > text && (end[-1] == '\n' || end[-1] == ' '))
		*--end = '\0';
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

int run_checked(const char *const argv[], const char *input, unsigned int timeout_ms, char **output,
	struct err *err)
{
	_cleanup_(run_result_clear) struct run_result result = {};
	int r = run_program(argv, input, timeout_ms, &result, err);

	if (r < 0)
		return r;
	if (WIFSIGNALED(result.status))
		return err_set(
			err, -EIO, "%s was ended by signal %d", argv[0], WTERMSIG(result.status));
	if (WEXITSTATUS(result.status) != 0)
		return err_set(err, -EIO, "%s %s failed: %s", argv[0], argv[1] ? argv[1] : "",
			last_line(result.errors));
	if (output)
		*output = take_ptr(result.output);
	return 0;
}

void run_result_clear(struct run_result *result)
{
	free(result->output);
	free(result->errors);
	*result = (struct run_result){};
}
