/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherryd: the daemon of one host. This file is its command line, its lock, its signals and its
 * word to the service manager; src/control/ is what it does.
 */
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATIENCE_MS 2000 /* between the wish to stop and the end */

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"state-dir", required_argument, NULL, 's'},
	{"run-dir", required_argument, NULL, 'r'},
	{"bpf-dir", required_argument, NULL, 'b'},
	{"store", required_argument, NULL, 'S'},
	{"teardown", no_argument, NULL, 't'},
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static const char usage[] =
	"Usage: wherryd [--config FILE] [--state-dir DIR] [--run-dir DIR] [--bpf-dir DIR]\n"
	"               [--store URL]\n"
	"       wherryd --teardown    stop forwarding and undo the host's network settings\n"
	"       wherryd --version | --help\n"
	"See wherryd(8).\n";

struct daemon {
	uv_loop_t loop;
	uv_signal_t term, interrupt;
	uv_timer_t patience;
	bool is_impatient;
	struct control *control;
	const char *run_dir;
};

/* sd_notify(3), without its library: one datagram. */
static void tell_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_close_ int fd = -1;
	size_t len;

	if (!path || !*path || strlen(path) >= sizeof(addr.sun_path))
		return;
	len = strlen(path);
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

/*
 * One daemon a state directory. The lock is the open file: it goes with the process, however that
 * ends. Returns the descriptor.
 */
static int lock_state(const char *state_dir, struct err *err)
{
	char path[4096], pid[32] = "";
	_close_ int fd = -1;
	ssize_t len;
	int r = file_mkdirs(state_dir, 0700, err);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/lock", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		len = read(fd, pid, sizeof(pid) - 1);
		if (len > 0)
			pid[strcspn(pid, "\n")] = '\0';
		return err_set(err, -EBUSY,
			"another wherryd (pid %s) uses %s; stop it first, or "
			"give this one a --state-dir of its own",
			pid, state_dir);
	}
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* For people and the sentence above; the lock does not depend on it. */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
		log_warn("lock-file-not-written", "path=%s reason=\"%s\"", path, strerror(errno));
	return take_fd(fd);
}

static void write_pid_file(const char *run_dir)
{
	char path[4096], pid[32];
	struct err err;

	snprintf(path, sizeof(path), "%s/wherryd.pid", run_dir);
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (file_replace(path, pid, strlen(pid), 0644, &err) < 0)
		log_warn("pid-file-not-written", "reason=\"%s\"", err.text);
}

static void ready(void *arg)
{
	struct daemon *daemon = arg;

	write_pid_file(daemon->run_dir);
	log_info("ready", "pid=%d", (int)getpid());
	tell_manager("READY=1");
}

/* A worker waits for a program to end: the next daemon sees to that. */
static void give_up(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;

	daemon->is_impatient = true;
	uv_stop(&daemon->loop);
}

static void stop(uv_signal_t *handle, int signo)
{
	struct daemon *daemon = handle->data;

	log_info("stopping", "signal=%d", signo);
	tell_manager("STOPPING=1");
	control_close(daemon->control);
	uv_close((uv_handle_t *)&daemon->term, NULL);
	uv_close((uv_handle_t *)&daemon->interrupt, NULL);
	uv_timer_start(&daemon->patience, give_up, PATIENCE_MS, 0);
	uv_unref((uv_handle_t *)&daemon->patience);
}

static int run(const struct control_options *options, struct err *err)
{
	struct daemon daemon = {.run_dir = options->run_dir};
	_close_ int lock = lock_state(options->state_dir, err);
	int r;

	if (lock < 0)
		return lock;
	r = file_mkdirs(options->run_dir, 0755, err);
	if (r < 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	/* Workers wait for podman, not for a core; transfers of images may take 8 for minutes. */
	setenv("UV_THREADPOOL_SIZE", "24", 0);
	uv_loop_init(&daemon.loop);
	r = control_new(&daemon.control, &daemon.loop, options, ready, &daemon, err);
	if (r < 0) {
		uv_loop_close(&daemon.loop);
		return r;
	}
	uv_signal_init(&daemon.loop, &daemon.term);
	uv_signal_init(&daemon.loop, &daemon.interrupt);
	daemon.term.data = daemon.interrupt.data = &daemon;
	uv_signal_start(&daemon.term, stop, SIGTERM);
	uv_signal_start(&daemon.interrupt, stop, SIGINT);
	uv_timer_init(&daemon.loop, &daemon.patience);
	daemon.patience.data = &daemon;
	uv_run(&daemon.loop, UV_RUN_DEFAULT);
	if (daemon.is_impatient)
		_exit(0); /* what the workers use must not be freed under them */
	control_free(daemon.control);
	uv_close((uv_handle_t *)&daemon.patience, NULL);
	uv_run(&daemon.loop, UV_RUN_DEFAULT);
	uv_loop_close(&daemon.loop);
	return 0;
}

int main(int argc, char **argv)
{
	struct control_options options = {
		.config_path = "/etc/wherry/wherryd.toml",
		.state_dir = "/var/lib/wherry",
		.run_dir = "/run/wherry",
		.bpf_dir = "/sys/fs/bpf/wherry",
	};
	bool is_teardown = false;
	struct err err = {};
	int option, r;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			options.config_path = optarg;
			break;
		case 's':
			options.state_dir = optarg;
			break;
		case 'r':
			options.run_dir = optarg;
			break;
		case 'b':
			options.bpf_dir = optarg;
			break;
		case 'S':
			options.store = optarg;
			break;
		case 't':
			is_teardown = true;
			break;
		case 'v':
			printf("wherryd %s (%s)\n", WHERRY_VERSION, WHERRY_COMMIT);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "wherryd: %s is not expected\n%s", argv[optind], usage);
		return 2;
	}
	if (geteuid() != 0) {
		fprintf(stderr, "wherryd: needs root: it loads BPF programs and makes network "
				"namespaces\n");
		return 1;
	}
	r = is_teardown ? control_teardown(&options, &err) : run(&options, &err);
	if (r < 0) {
		/* A person reads the sentence, a journal the line. */
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "wherryd: %s\n", err.text);
		else
			log_error("fatal", "reason=\"%s\"", err.text);
		return 1;
	}
	return 0;
}
