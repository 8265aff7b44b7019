/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemons in nodes; see daemon.h. They are started as on a real host: config from /etc/wherry,
 * readiness by sd_notify(3). What they write to stderr is kept in the lab's state directory. They
 * outlive the command that started them; the lab remembers no pid but reads the daemon's own pid
 * file, and believes it only if that process lives in the node. etcd has none: it is written here.
 *
 * etcd keeps its data in the node's /run/wherry, which is in memory: every write to it is synced,
 * and a lab does not outlive a reboot anyway.
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

#define READY_LIMIT_MS 30000
#define LOG_MAX_BYTES  (64 * 1024 * 1024)

const char *const *daemon_programs(const struct lab_node *node)
{
	static const char *const of_host[] = {"wherryd", NULL};
	static const char *const of_store[] = {"etcd", NULL};
	static const char *const none[] = {NULL};

	if (node->kind == LAB_SHARED)
		return of_store;
	return node->kind == LAB_HOST ? of_host : none;
}

static const char *const wherryd_argv[] = {"wherryd", NULL};

/* Its timing is etcd's own. The peers' port is for itself: it has none. */
static const char *const etcd_argv[] = {"etcd", "--name=store", "--data-dir=/run/wherry/etcd",
	"--listen-client-urls=" LAB_ETCD_URL ",http://127.0.0.1:2379",
	"--advertise-client-urls=" LAB_ETCD_URL, "--listen-peer-urls=http://127.0.0.1:2380",
	"--initial-advertise-peer-urls=http://127.0.0.1:2380",
	"--initial-cluster=store=http://127.0.0.1:2380", "--logger=zap", "--log-outputs=stderr",
	NULL};

static void add_words(struct buf *text, const char *key, const char *const *words, size_t count)
{
	buf_addf(text, "%s = [", key);
	for (size_t i = 0; i < count; i++)
		buf_addf(text, "%s\"%s\"", i ? ", " : "", words[i]);
	buf_adds(text, "]\n");
}

/* What a host has to know beyond itself. */
static void add_fleet_config(const struct lab *lab, const struct lab_node *node, struct buf *text)
{
	const char *roles[2];
	size_t count = 0;

	if (node->roles & LAB_EDGE)
		roles[count++] = "edge";
	if (node->roles & LAB_WORKER)
		roles[count++] = "worker";
	buf_addf(text, "host_name = \"%s\"\n", node->name);
	add_words(text, "roles", roles, count);
	buf_adds(text, "store = \"" LAB_STORE_URL "\"\n");
	if (lab_underlay_name(lab->underlay))
		buf_addf(text, "underlay = \"%s\"\n", lab_underlay_name(lab->underlay));
}

int daemon_write_config(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	_cleanup_(buf_clear) struct buf text = {};
	char path[PATH_MAX];

	buf_addf(&text, "region = \"%s\"\n", node->region);
	buf_addf(&text, "public_pools = [\"%s\", \"%s\"]\n", LAB_POOL_V4, LAB_POOL_V6);
	buf_adds(&text, "public_interface = \"eth0\"\n");
	buf_addf(&text, "nameservers = [\"%s\"]\n", lab_segment(node->kind)->router_v4);
	if (lab->store == LAB_ETCD)
		add_fleet_config(lab, node, &text);
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

/* The daemon's notification socket: a file in the node's /run/wherry. */
static char *notify_path(const struct lab *lab, const struct lab_node *node, const char *program,
	char path[static PATH_MAX])
{
	char suffix[LAB_NAME_MAX + 16];

	snprintf(suffix, sizeof(suffix), ".run/%s.notify", program);
	return lab_node_path(lab->name, node->name, suffix, path);
}

static int open_notify(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char path[PATH_MAX];

	notify_path(lab, node, program, path);
	if (fd < 0 || strlen(path) >= sizeof(name.sun_path))
		return err_errno(err, fd < 0 ? -errno : -ENAMETOOLONG, "cannot make %s", path);
	unlink(path);
	memcpy(name.sun_path, path, strlen(path) + 1);
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		return err_errno(err, -errno, "cannot make the socket %s", path);
	return take_fd(fd);
}

/* A variable that says the same as an option is an error to etcd. */
static void clear_etcd_environment(void)
{
	for (char **variable = environ; *variable;) {
		char name[256];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*variable, "="), *variable);
		if (strncmp(name, "ETCD_", 5) == 0 && unsetenv(name) == 0)
			variable = environ; /* what follows has moved */
		else
			variable++;
	}
}

/* For a program that writes none itself; the process stays the same when it becomes the program. */
static void write_pid_file(const char *program)
{
	char path[LAB_NAME_MAX + 32], text[16];

	snprintf(path, sizeof(path), "/run/wherry/%s.pid", program);
	snprintf(text, sizeof(text), "%d\n", getpid());
	file_replace(path, text, strlen(text), 0644, NULL);
}

static _Noreturn void become_daemon(
	const struct lab *lab, const struct lab_node *node, const char *program, int log)
{
	bool is_etcd = node->kind == LAB_SHARED;
	char *const *argv = (char *const *)(is_etcd ? etcd_argv : wherryd_argv);
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
	snprintf(path, sizeof(path), "/run/wherry/%s.notify", program);
	setenv("NOTIFY_SOCKET", path, 1);
	if (is_etcd) {
		clear_etcd_environment();
		write_pid_file(program);
	}
	daemon_own_dir(path);
	strcat(path, "/");
	strcat(path, program);
	if (access(path, X_OK) == 0)
		execv(path, argv);
	execvp(program, argv);
	dprintf(STDERR_FILENO, "cannot run %s: %s; %s\n", program, strerror(errno),
		is_etcd ? "apt-get install etcd-server" : "it belongs beside wherry or into PATH");
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
static int wait_ready(const struct daemon_run *run)
{
	_close_ int process = pidfd_open(run->pid, 0);
	struct pollfd fds[] = {
		{.fd = run->notify_fd, .events = POLLIN}, {.fd = process, .events = POLLIN}};

	if (process < 0)
		return -errno;
	for (;;) {
		uint64_t now_ms = clock_now_ms();

		if (now_ms >= run->deadline_ms)
			return -ETIMEDOUT;
		/* A signal to the command that waits ends the waiting. */
		if (poll(fds, ARRAY_LEN(fds), (int)(run->deadline_ms - now_ms)) < 0)
			return -errno;
		if (fds[0].revents && says_ready(run->notify_fd))
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

static int explain(int result, const struct daemon_run *run, const char *log_path, struct err *err)
{
	const char *program = run->program;
	const struct lab_node *node = run->node;
	char words[512];

	last_words(log_path, run->log_start, words, sizeof(words));
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

char *daemon_log_path(const struct lab *lab, const struct lab_node *node, const char *program,
	char path[static PATH_MAX])
{
	char name[LAB_NAME_MAX + 8];

	snprintf(name, sizeof(name), "%s.log", program);
	return lab_state_path(lab->name, node->name, name, path);
}

int daemon_begin(const struct lab *lab, const struct lab_node *node, const char *program,
	struct daemon_run *run, struct err *err)
{
	_close_ int notify = -1, log = -1;
	char path[PATH_MAX];
	off_t log_start;
	pid_t pid;
	int r = check_startable(lab, node, program, err);

	if (r < 0)
		return r;
	log = open(daemon_log_path(lab, node, program, path),
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	log_start = lseek(log, 0, SEEK_END);
	notify = open_notify(lab, node, program, err);
	if (notify < 0)
		return notify;
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "cannot start %s", program);
	if (pid == 0)
		become_daemon(lab, node, program, log);
	*run = (struct daemon_run){.node = node,
		.program = program,
		.pid = pid,
		.notify_fd = take_fd(notify),
		.log_start = log_start,
		.deadline_ms = clock_now_ms() + READY_LIMIT_MS};
	return 0;
}

int daemon_await(const struct lab *lab, struct daemon_run *run, struct err *err)
{
	char path[PATH_MAX];
	int r = wait_ready(run);

	close(take_fd(run->notify_fd));
	unlink(notify_path(lab, run->node, run->program, path));
	if (r == 0)
		return 0;
	kill(run->pid, SIGKILL);
	waitpid(run->pid, NULL, 0);
	return explain(r, run, daemon_log_path(lab, run->node, run->program, path), err);
}

int daemon_start(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err)
{
	struct daemon_run run;
	int r = daemon_begin(lab, node, program, &run, err);

	return r < 0 ? r : daemon_await(lab, &run, err);
}
