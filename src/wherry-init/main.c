/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry-init SPEC: runs one program as a machine of kind rootfs, apart from wherryd.
 *
 *   wherry-init (ends with 0 when the program runs, else prints one sentence and ends with 1)
 *     supervisor: own session, no parent; writes the log, the pid file and, last, the exit code
 *       reaper: PID 1 of the machine's PID namespace; ends with the program, and the kernel ends
 *               what is left of the namespace with it
 *         program: own session, /dev/null as input, pipes to the supervisor as output
 *
 * The supervisor's end is what wherryd watches. If it is killed, the reaper dies with it: a
 * machine never runs unseen.
 */
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "machine/init_root.h"
#include "machine/init_spec.h"
#include "machine/log_writer.h"
#include "machine/logs.h"
#include "machine/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* An unfinished line is logged when its end does not come in this time. */
#define LINE_TIMEOUT_MS 500

/* What the reaper tells the supervisor before the program runs: nothing, or why it does not. */
struct channel {
	int in, out;
};

static int channel_open(struct channel *channel)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	channel->in = fds[0];
	channel->out = fds[1];
	return 0;
}

static void channel_say(int fd, const struct err *err)
{
	/* Fits a pipe's buffer; nobody listens any more when it fails. */
	if (write(fd, err->text, strlen(err->text)) < 0)
		return;
}

/* Waits for the other end to close. Returns 0 when it said nothing, else 1 and the sentence. */
static int channel_listen(int fd, struct err *err)
{
	size_t len = 0;

	while (len < sizeof(err->text) - 1) {
		ssize_t got = read(fd, err->text + len, sizeof(err->text) - 1 - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	err->text[len] = '\0';
	return len > 0;
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void default_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static bool has_env(const struct init_spec *spec, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < spec->env.count; i++)
		if (strncmp(spec->env.items[i], name, len) == 0 && spec->env.items[i][len] == '=')
			return true;
	return false;
}

static void run_program_here(struct init_spec *spec, const struct channel output[2], int report)
{
	struct err err;
	int null;

	if (!has_env(spec, "PATH"))
		argv_add(&spec->env,
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (!has_env(spec, "HOME"))
		argv_add(&spec->env, "HOME=/root");
	/* Opened here: the root may have a /dev of its own. */
	null = open("/dev/null", O_RDONLY);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(output[0].out, STDOUT_FILENO);
	dup2(output[1].out, STDERR_FILENO);
	dup2(report, 3);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	close_range(4, ~0U, 0);
	setsid();
	default_signals();
	/* execvp() looks the program up in our own PATH, which has to be the machine's. */
	environ = spec->env.items;
	execvp(spec->command.items[0], spec->command.items);
	err_errno(&err, -errno, "cannot run %s in %s", spec->command.items[0], spec->rootfs);
	channel_say(3, &err);
	_exit(127);
}

/* Reaps until the program ends; its end is this process's, and the namespace's. */
static _Noreturn void reap(pid_t program)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid == program)
			_exit(exit_code(status));
		if (pid < 0 && errno != EINTR)
			_exit(127);
	}
}

static int enter_namespaces(const struct init_spec *spec, struct err *err)
{
	_close_ int netns = open(spec->netns, O_RDONLY | O_CLOEXEC);

	/* The daemon may be protected from the OOM killer; the app must not inherit that. */
	file_set("/proc/self/oom_score_adj", "0", NULL);
	if (netns < 0)
		return err_errno(err, -errno, "cannot open the network namespace %s", spec->netns);
	if (setns(netns, CLONE_NEWNET) < 0)
		return err_errno(err, -errno, "cannot join the network namespace %s", spec->netns);
	if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return err_errno(err, -errno, "cannot make namespaces for the machine");
	if (sethostname(spec->id, strlen(spec->id)) < 0)
		return err_errno(err, -errno, "cannot set the machine's host name");
	return init_root_enter(spec, err);
}

static _Noreturn void reaper_main(
	struct init_spec *spec, const struct channel output[2], int report)
{
	struct err err;
	pid_t program;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter_namespaces(spec, &err) < 0) {
		channel_say(report, &err);
		_exit(127);
	}
	program = fork();
	if (program == 0)
		run_program_here(spec, output, report);
	if (program < 0) {
		err_errno(&err, -errno, "cannot start a process");
		channel_say(report, &err);
		_exit(127);
	}
	close(report);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	reap(program);
}

/* Logs one chunk. Returns false at the end of the stream. */
static bool log_chunk(struct log_writer *log, enum log_stream stream, int fd)
{
	char chunk[16384];
	ssize_t got = read(fd, chunk, sizeof(chunk));

	if (got < 0)
		return errno == EINTR || errno == EAGAIN;
	log_writer_add(log, stream, chunk, (size_t)got);
	return got > 0;
}

/* Logs until the reaper has ended and the pipes are empty. */
static void supervise(struct log_writer *log, const struct channel output[2], int reaper_fd)
{
	struct pollfd fds[3] = {
		{.fd = output[0].in, .events = POLLIN},
		{.fd = output[1].in, .events = POLLIN},
		{.fd = reaper_fd, .events = POLLIN},
	};
	bool has_ended = false;

	while (!has_ended || fds[0].fd >= 0 || fds[1].fd >= 0) {
		int timeout_ms = log_writer_is_waiting(log) ? LINE_TIMEOUT_MS : -1;
		/* Whoever was handed a pipe and left the namespace does not keep us. */
		int ready = poll(fds, ARRAY_LEN(fds), has_ended ? 0 : timeout_ms);

		if (ready < 0 && errno != EINTR)
			return;
		if (ready == 0 && has_ended)
			return;
		if (ready == 0)
			log_writer_flush(log);
		for (int i = 0; i < 2; i++)
			if (ready > 0 && fds[i].revents &&
				!log_chunk(log, (enum log_stream)i, fds[i].fd))
				fds[i].fd = -1;
		if (ready > 0 && fds[2].revents) {
			has_ended = true;
			fds[2].fd = -1;
		}
	}
}

/* In the supervisor: what it needs before the program may run. */
static int start_reaper(
	struct init_spec *spec, struct channel output[2], pid_t *reaper, struct err *err)
{
	struct channel report;
	int r = channel_open(&report);

	if (r == 0)
		r = channel_open(&output[0]);
	if (r == 0)
		r = channel_open(&output[1]);
	if (r < 0)
		return err_errno(err, r, "cannot make pipes for the machine");
	if (unshare(CLONE_NEWPID) < 0)
		return err_errno(err, -errno, "cannot make a PID namespace");
	*reaper = fork();
	if (*reaper < 0)
		return err_errno(err, -errno, "cannot start a process");
	if (*reaper == 0)
		reaper_main(spec, output, report.out);
	close(report.out);
	close(output[0].out);
	close(output[1].out);
	r = channel_listen(report.in, err) ? -EIO : 0;
	close(report.in);
	return r;
}

static int write_pids(const struct init_spec *spec, pid_t reaper, struct err *err)
{
	struct init_pids pids = {.first = reaper, .supervisor = getpid()};
	struct proc_info info;

	/* The reaper is our child and not waited for yet: it is there, if only as a zombie. */
	if (proc_read(reaper, &info) != 0)
		return err_set(err, -ESRCH, "cannot find the machine's first process");
	pids.first_start = info.start_ticks;
	if (proc_read(pids.supervisor, &info) != 0)
		return err_set(err, -ESRCH, "cannot find the machine's supervisor in /proc");
	pids.supervisor_start = info.start_ticks;
	return init_pids_write(spec->state_dir, &pids, err);
}

static int supervisor_main(struct init_spec *spec, int report)
{
	struct channel output[2];
	_close_ int reaper_fd = -1;
	struct log_writer *log;
	struct err err;
	pid_t reaper = 0;
	int status = 0, r;

	setsid();
	block_signals();
	/* No directory of the starter's stays in use. */
	r = chdir("/") < 0 ? err_errno(&err, -errno, "cannot enter /") : 0;
	if (r == 0)
		r = log_writer_open(&log, spec->state_dir, LOGS_MAX_BYTES, &err);
	if (r == 0)
		r = start_reaper(spec, output, &reaper, &err);
	if (r == 0)
		r = write_pids(spec, reaper, &err);
	if (r < 0) {
		/* A reaper that runs dies with us. */
		channel_say(report, &err);
		return 1;
	}
	close(report);
	reaper_fd = proc_open(reaper);
	supervise(log, output, reaper_fd);
	while (waitpid(reaper, &status, 0) < 0 && errno == EINTR)
		continue;
	log_writer_close(log);
	return init_exit_write(spec->state_dir, exit_code(status), NULL) < 0;
}

/* Standard descriptors of the supervisor: whoever waits for our output must not wait for its. */
static int redirect_to_null(void)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0)
		return -errno;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	return 0;
}

int main(int argc, char *argv[])
{
	_cleanup_(init_spec_clear) struct init_spec spec = {};
	struct channel report = {-1, -1};
	struct err err;
	pid_t pid;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: wherry-init SPEC (wherryd starts it; see wherryd(8))\n");
		return 2;
	}
	r = init_spec_read(argv[1], &spec, &err);
	if (r == 0 && (r = channel_open(&report)) < 0)
		err_errno(&err, r, "cannot make a pipe");
	if (r < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	pid = fork();
	if (pid == 0) {
		close(report.in);
		/* No exit handlers: those of main() are its own. */
		_exit(redirect_to_null() < 0 ? 1 : supervisor_main(&spec, report.out));
	}
	close(report.out);
	if (pid < 0 || channel_listen(report.in, &err)) {
		if (pid < 0)
			err_errno(&err, -errno, "cannot start a process");
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return 0;
}
