/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and entering namespaces; see node.h. A function that has to work inside a node is called
 * in a forked child: the namespaces of the calling process never change. The child's error
 * sentence comes back through a shared page.
 */
#include "lab/node.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "lab/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* What a child reports; lives in a page that parent and child share. */
struct report {
	int code;
	struct err err;
};

static struct report *report_new(void)
{
	struct report *report = mmap(
		NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (report == MAP_FAILED)
		return NULL;
	report->code = -ECHILD;
	err_set(&report->err, 0, "a helper process of the lab was killed");
	return report;
}

static void report_free(struct report *report)
{
	munmap(report, sizeof(*report));
}

DEFINE_CLEANUP(struct report *, report_free)

static void wait_for(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int take_report(const struct report *report, struct err *err)
{
	if (report->code != 0 && err)
		*err = report->err;
	return report->code;
}

static int make_dirs(const char *lab, const char *node, struct err *err)
{
	static const char *const dirs[] = {"lib", "etc", "containers"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		int r = file_mkdirs(lab_state_path(lab, node, dirs[i], path), 0755, err);

		if (r < 0)
			return r;
	}
	return file_mkdirs(lab_node_path(lab, node, ".run", path), 0755, err);
}

/* Any CPU will do for the new node. */
#define CPU_ANY (-1)

static void pin_to(int cpu)
{
	cpu_set_t set;

	if (cpu == CPU_ANY)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* The child: becomes the node, says so by a byte, and stays until the parent closes its end. */
static _Noreturn void become_node(const char *lab, const char *node,
	enum mounts_containers containers, int cpu, int parent, struct report *report)
{
	char byte = 0;

	pin_to(cpu);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		report->code = err_errno(&report->err, -errno, "cannot make namespaces");
	else
		report->code = mounts_setup(lab, node, containers, &report->err);
	if (write(parent, &byte, 1) != 1 || read(parent, &byte, 1) < 0)
		_exit(1);
	_exit(0);
}

/* Keeps what the child @pid made. Returns 1 when the kernel takes it for older than ourselves. */
static int bind_node(const char *lab, const char *node, pid_t pid, int *net_fd, struct err *err)
{
	char path[PATH_MAX], source[64], inode[32];
	_close_ int file = -1, net = -1;
	int r;

	snprintf(source, sizeof(source), "/proc/%d/ns/net", pid);
	net = open(source, O_RDONLY | O_CLOEXEC);
	if (net < 0)
		return err_errno(err, -errno, "cannot open %s", source);
	snprintf(inode, sizeof(inode), "%" PRIu64 "\n", ns_inode(source));
	r = file_replace(lab_node_path(lab, node, ".net", path), inode, strlen(inode), 0644, err);
	if (r < 0)
		return r;
	snprintf(source, sizeof(source), "/proc/%d/ns/mnt", pid);
	file = open(lab_node_path(lab, node, ".mnt", path), O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
	if (file < 0)
		return err_errno(err, -errno, "cannot make %s", path);
	if (mount(source, path, NULL, MS_BIND, NULL) < 0)
		return errno == EINVAL ? 1
				       : err_errno(err, -errno,
						 "cannot bind a mount namespace on %s", path);
	if (net_fd)
		*net_fd = take_fd(net);
	return 0;
}

/* Returns 1 when the kernel does not let a namespace that was made on @cpu be bound. */
static int make_on(const char *lab, const char *node, enum mounts_containers containers, int cpu,
	int *net_fd, struct err *err)
{
	_cleanup_(report_freep) struct report *report = report_new();
	_close_ int own = -1, theirs = -1;
	int pair[2], r;
	char byte;
	pid_t pid;

	if (!report || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, -errno, "cannot start a helper process");
	own = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "cannot start a helper process");
	if (pid == 0) {
		close(take_fd(own));
		become_node(lab, node, containers, cpu, theirs, report);
	}
	close(take_fd(theirs));
	while (read(own, &byte, 1) < 0 && errno == EINTR)
		;
	r = take_report(report, err);
	if (r == 0)
		r = bind_node(lab, node, pid, net_fd, err);
	close(take_fd(own));
	wait_for(pid);
	return r;
}

/*
 * The kernel refuses to bind a mount namespace that is older than one's own, and since Linux 6.18
 * tells ages by numbers that each CPU deals out of a batch of its own: a newer namespace can look
 * older (seen where our own namespace is not the system's first, as in a container). Made on the
 * right CPU it never does.
 */
int node_make(const char *lab, const char *node, enum mounts_containers containers, int *net_fd,
	struct err *err)
{
	cpu_set_t allowed;
	int r = make_dirs(lab, node, err);

	if (r == 0)
		r = make_on(lab, node, containers, CPU_ANY, net_fd, err);
	if (r == 1 && sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		CPU_ZERO(&allowed);
	for (int cpu = 0; r == 1 && cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed))
			r = make_on(lab, node, containers, cpu, net_fd, err);
	if (r == 1)
		r = err_set(err, -EINVAL,
			"the kernel does not let this mount namespace keep another one; run "
			"wherry lab outside of containers");
	return r < 0 ? err_wrap(err, r, "node %s", node) : r;
}

int node_enter(const char *lab, const char *node, struct err *err)
{
	char path[PATH_MAX];
	_close_ int mnt = open(lab_node_path(lab, node, ".mnt", path), O_RDONLY | O_CLOEXEC);
	_close_ int net = -1;

	if (mnt < 0 || setns(mnt, CLONE_NEWNS) < 0)
		return err_errno(err, -errno, "cannot enter the node %s", node);
	net = open(NODE_NET_PATH, O_RDONLY | O_CLOEXEC);
	if (net < 0 || setns(net, CLONE_NEWNET) < 0)
		return err_errno(err, -errno, "cannot enter the network of the node %s", node);
	return 0;
}

static int call(const char *lab, const char *node, node_fn *fn, void *arg, struct err *err)
{
	_cleanup_(report_freep) struct report *report = report_new();
	pid_t pid;

	if (!report)
		return err_errno(err, -ENOMEM, "cannot start a helper process");
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "cannot start a helper process");
	if (pid == 0) {
		struct err failure = {};
		int r = node ? node_enter(lab, node, &failure) : 0;

		if (r == 0)
			r = fn(arg, &failure);
		report->err = failure;
		report->code = r;
		_exit(0);
	}
	wait_for(pid);
	return take_report(report, err);
}

int node_call(const char *lab, const char *node, node_fn *fn, void *arg, struct err *err)
{
	return call(lab, node, fn, arg, err);
}

int node_call_outside(node_fn *fn, void *arg, struct err *err)
{
	return call(NULL, NULL, fn, arg, err);
}

void node_namespaces(const char *lab, const char *node, struct ns_set *set)
{
	_free_ char *text = NULL;
	char path[PATH_MAX];
	uint64_t mnt = ns_inode(lab_node_path(lab, node, ".mnt", path));

	/* Without the bind nothing keeps the network namespace, and its number may be another's. */
	if (mnt == 0)
		return;
	ns_set_add(set, mnt);
	if (file_read(lab_node_path(lab, node, ".net", path), 64, &text, NULL, NULL) == 0)
		ns_set_add(set, strtoull(text, NULL, 10));
}
