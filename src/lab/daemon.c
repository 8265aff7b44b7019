/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemons in nodes; see daemon.h. They are started as on a real host: no arguments, config from
 * /etc/wherry, readiness by sd_notify(3). What they write to stderr is kept in the lab's state
 * directory. They outlive the command that started them; the lab remembers no pid but reads the
 * daemon's own pid file, and believes it only if that process lives in the node.
 */
#include "lab/daemon.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "lab/links.h"
#include "lab/node.h"
#include "lab/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define READY_LIMIT_MS 15000
#define LOG_MAX_BYTES  (64 * 1024 * 1024)
#define NOTIFY_NAME    "lab-notify"

const char *const *daemon_programs(const struct lab_node *node)
{
	static const char *const of_host[] = {"wherryd", NULL};
	static const char *const none[] = {NULL};

	return node->kind == LAB_HOST ? of_host : none;
}

int daemon_write_config(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	_cleanup_(buf_clear) struct buf text = {};
	char path[PATH_MAX];

	buf_adds(&text, "region = \"local\"\n");
	buf_addf(&text, "public_pools = [\"%s\", \"%s\"]\n", LAB_POOL_V4, LAB_POOL_V6);
	buf_adds(&text, "public_interface = \"eth0\"\n");
	buf_addf(&text, "nameservers = [\"%s\"]\n", lab_segment(node->kind)->router_v4);
	return file_replace(lab_state_path(lab->name, node->name, "etc/wherryd.toml", path),
		text.data, text.len, 0644, err);
}

char *daemon_own_dir(char path[static PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	path[len < 0 ? 0 : len] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	return path;
}

void daemon_set_environment(const char *lab, const char *node)
{
	_cleanup_(buf_clear) struct buf path = {};
	const char *old = getenv("PATH");
	char dir[PATH_MAX];

	buf_addf(&path, "%s:%s", daemon_own_dir(dir),
		old ? old : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (setenv("PATH", path.data, 1) < 0 || setenv("WHERRY_LAB", lab, 1) < 0 ||
		setenv("WHERRY_NODE", node, 1) < 0)
		abort();
}

pid_t daemon_pid(const struct lab *lab, const struct lab_node *node, const char *program)
{
	_cleanup_(ns_set_clear) struct ns_set set = {};
	char path[PATH_MAX], suffix[LAB_NAME_MAX + 16];
	_free_ char *text = NULL;
	pid_t pid;

	snprintf(suffix, sizeof(suffix), ".run/%s.pid", program);
	lab_node_path(lab->name, node->name, suffix, path);
	if (file_read(path, 64, &text, NULL, NULL) < 0)
		return 0;
	pid = atoi(text);
	node_namespaces(lab->name, node->name, &set);
	return pid > 0 && process_is_in(pid, &set) ? pid : 0;
}

/* The daemon's notification socket: a path that is the same file inside and outside the node. */
static int open_notify(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char path[PATH_MAX];

	lab_node_path(lab->name, node->name, ".run/" NOTIFY_NAME, path);
	if (fd < 0 || strlen(path) >= sizeof(name.sun_path))
		return err_errno(err, fd < 0 ? -errno : -ENAMETOOLONG, "cannot make %s", path);
	unlink(path);
	memcpy(name.sun_path, path, strlen(path) + 1);
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		return err_errno(err, -errno, "cannot make the socket %s", path);
	return take_fd(fd);
}

static _Noreturn void become_daemon(
	const struct lab *lab, const struct lab_node *node, const char *program, int log)
{
	struct err err = {};
	char path[PATH_MAX + LAB_NAME_MAX + 2];
	sigset_t none;
	int null;

	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (node_enter(lab->name, node->name, &err) < 0) {
		dprintf(STDERR_FILENO, "%s\n", err.text);
		_exit(126);
	}
	null = open("/dev/null", O_RDONLY);
	dup2(null, STDIN_FILENO);
	close_range(3, ~0U, 0);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	umask(022);
	daemon_set_environment(lab->name, node->name);
	setenv("NOTIFY_SOCKET", "/run/wherry/" NOTIFY_NAME, 1);
	daemon_own_dir(path);
	strcat(path, "/");
	strcat(path, program);
	if (access(path, X_OK) == 0)
		execl(path, program, (char *)NULL);
	execlp(program, program, (char *)NULL);
	dprintf(STDERR_FILENO, "cannot run %s: %s; it belongs beside wherry or into PATH\n",
		program, strerror(errno));
	_exit(127);
}

static bool says_ready(int fd)
{
	char text[4096], *rest = NULL;
	ssize_t len = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (len <= 0)
		return false;
	text[len] = '\0';
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (strcmp(line, "READY=1") == 0)
			return true;
	return false;
}

/* Returns 0 when ready, 1 when the process ended first, or a negative errno. */
static int wait_ready(pid_t pid, int notify)
{
	_close_ int process = pidfd_open(pid, 0);
	struct pollfd fds[] = {{.fd = notify, .events = POLLIN}, {.fd = process, .events = POLLIN}};
	uint64_t deadline_ms = clock_now_ms() + READY_LIMIT_MS;

	if (process < 0)
		return -errno;
	for (;;) {
		uint64_t now_ms = clock_now_ms();

		if (now_ms >= deadline_ms)
			return -ETIMEDOUT;
		/* A signal to the command that waits ends the waiting. */
		if (poll(fds, ARRAY_LEN(fds), (int)(deadline_ms - now_ms)) < 0)
			return -errno;
		if (fds[0].revents && says_ready(notify))
			return 0;
		if (fds[1].revents)
			return 1;
	}
}

/* The last line that the daemon wrote after @from bytes of its log. */
static void last_words(const char *path, off_t from, char *out, size_t size)
{
	_free_ char *text = NULL;
	char *line, *end;
	size_t len;

	snprintf(out, size, "it wrote nothing to its log");
	if (file_read(path, LOG_MAX_BYTES, &text, &len, NULL) < 0 || (size_t)from >= len)
		return;
	end = text + len;
	while (end > text + from && (end[-1] == '\n' || end[-1] == ' '))
		*--end = '\0';
	line = strrchr(text + from, '\n');
	line = line ? line + 1 : text + from;
	if (*line)
		snprintf(out, size, "%s", line);
}

static int explain(int result, const char *program, const struct lab_node *node, const char *log,
	off_t from, struct err *err)
{
	char words[512];

	last_words(log, from, words, sizeof(words));
	if (result == 1)
		return err_set(err, -EIO, "%s on %s ended at once: %s", program, node->name, words);
	if (result == -ETIMEDOUT)
		return err_set(err, result, "%s on %s was not ready within %d s: %s", program,
			node->name, READY_LIMIT_MS / 1000, words);
	if (result == -EINTR)
		return err_set(err, result, "interrupted while %s on %s was starting", program,
			node->name);
	return err_errno(err, result, "cannot wait for %s on %s", program, node->name);
}

static int check_startable(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err)
{
	const char *const *names = daemon_programs(node);

	while (*names && strcmp(*names, program) != 0)
		names++;
	if (!*names)
		return err_set(
			err, -ENOENT, "the lab starts no program %s on %s", program, node->name);
	if (daemon_pid(lab, node, program))
		return err_set(err, -EEXIST, "%s runs on %s already", program, node->name);
	return 0;
}

int daemon_start(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err)
{
	char log_path[PATH_MAX], log_name[LAB_NAME_MAX + 8], path[PATH_MAX];
	_close_ int notify = -1, log = -1;
	off_t log_start;
	pid_t pid;
	int r = check_startable(lab, node, program, err);

	if (r < 0)
		return r;
	snprintf(log_name, sizeof(log_name), "%s.log", program);
	lab_state_path(lab->name, node->name, log_name, log_path);
	log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log < 0)
		return err_errno(err, -errno, "cannot open %s", log_path);
	log_start = lseek(log, 0, SEEK_END);
	notify = open_notify(lab, node, err);
	if (notify < 0)
		return notify;
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "cannot start %s", program);
	if (pid == 0)
		become_daemon(lab, node, program, log);
	r = wait_ready(pid, notify);
	unlink(lab_node_path(lab->name, node->name, ".run/" NOTIFY_NAME, path));
	if (r == 0)
		return 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return explain(r, program, node, log_path, log_start, err);
}
