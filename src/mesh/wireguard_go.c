/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wireguard-go, where the kernel has no WireGuard. It runs on a persistent tun of ours, in a
 * session of its own, not as our child: it outlives the daemon, and a new one of it on the same tun
 * keeps ifindex, addresses and routes. (Under systemd it is in the daemon's cgroup; the unit says
 * KillMode=process.) It is found again by its socket, which a killed one leaves behind: only one
 * that takes a connection is there.
 */
#include "mesh/mesh_impl.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define START_MS      5000
#define STOP_MS	      2000
#define POLL_MS	      10
#define REPORT_FD     3
#define SOCKET_FORMAT "/var/run/wireguard/%s.sock"

extern char **environ;

/* Returns the connection, or -1. */
static int connect_to(const char *device)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), SOCKET_FORMAT, device);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -1;
	return take_fd(fd);
}

bool wireguard_go_answers(const char *device)
{
	_close_ int fd = connect_to(device);

	return fd >= 0;
}

/*
 * The descriptor of the report stays open in wireguard-go: its end is the end of the process. What
 * is written to it is the errno of a failure to run it.
 */
static _Noreturn void exec_it(const char *const argv[], char **env, int report)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR), code;

	setsid();
	if (chdir("/") < 0)
		_exit(126);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	/* First out of the way: it may be one of those that are written over. */
	report = fcntl(report, F_DUPFD, REPORT_FD + 1);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	dup2(report, REPORT_FD);
	close_range(REPORT_FD + 1, ~0U, 0);
	umask(077);
	execvpe(argv[0], (char *const *)argv, env);
	code = errno;
	if (write(REPORT_FD, &code, sizeof(code)) < 0)
		_exit(126);
	_exit(127);
}

/* Its parent is init from the start: nobody of us has to wait for it. */
static int spawn(const char *device, int report, struct err *err)
{
	const char *const argv[] = {"wireguard-go", "-f", device, NULL};
	size_t count = 0, used = 0;
	_free_ char **env = NULL;
	pid_t pid;
	int status;

	while (environ && environ[count])
		count++;
	env = calloc(count + 2, sizeof(*env));
	if (!env)
		return err_errno(err, -ENOMEM, "cannot run wireguard-go");
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "LOG_LEVEL=", 10) != 0)
			env[used++] = environ[i];
	env[used] = "LOG_LEVEL=error";
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "cannot run wireguard-go");
	if (pid == 0) {
		pid = fork();
		if (pid == 0)
			exec_it(argv, env, report);
		_exit(pid < 0 ? errno : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, -errno, "cannot run wireguard-go");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_errno(
		err, WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO, "cannot run wireguard-go");
}

static int ended(const char *device, int report, struct err *err)
{
	int code = 0;

	if (read(report, &code, sizeof(code)) != sizeof(code))
		return err_set(err, -EIO,
			"wireguard-go ended at once; \"wireguard-go -f %s\" tells why", device);
	if (code == ENOENT)
		return err_set(err, -ENOENT,
			"wireguard-go is not installed; apt-get install wireguard-go");
	return err_errno(err, -code, "cannot run wireguard-go");
}

int wireguard_go_start(const char *device, struct err *err)
{
	_close_ int report = -1, report_write = -1;
	uint64_t deadline_ms = clock_now_ms() + START_MS;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot run wireguard-go");
	report = ends[0];
	report_write = ends[1];
	r = spawn(device, report_write, err);
	if (r < 0)
		return r;
	close(take_fd(report_write));
	while (!wireguard_go_answers(device)) {
		struct pollfd fd = {.fd = report, .events = POLLIN};

		if (poll(&fd, 1, POLL_MS) > 0)
			return ended(device, report, err);
		if (clock_now_ms() > deadline_ms)
			return err_set(err, -ETIMEDOUT,
				"wireguard-go for %s did not open its socket within %d s", device,
				START_MS / 1000);
	}
	return 0;
}

/* The process that listens, whatever it is called; -1 when there is none. */
static int open_process(const char *device)
{
	_close_ int fd = connect_to(device);
	socklen_t len = sizeof(struct ucred);
	struct ucred peer;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 1)
		return -1;
	return pidfd_open(peer.pid, 0);
}

int wireguard_go_stop(const char *device, struct err *err)
{
	static const int signals[] = {SIGTERM, SIGKILL};
	_close_ int process = open_process(device);
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

	for (size_t i = 0; process >= 0 && i < ARRAY_LEN(signals); i++) {
		struct pollfd fd = {.fd = process, .events = POLLIN};

		if (pidfd_send_signal(process, signals[i], NULL, 0) < 0 && errno != ESRCH)
			return err_errno(err, -errno, "cannot end the wireguard-go of %s", device);
		if (poll(&fd, 1, STOP_MS) > 0)
			break;
	}
	snprintf(path, sizeof(path), SOCKET_FORMAT, device);
	if (!wireguard_go_answers(device))
		unlink(path);
	return 0;
}
