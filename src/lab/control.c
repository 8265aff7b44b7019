/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lab kill|pause|resume|start`: what goes wrong in a fleet, on purpose.
 *
 *   kill NODE             every process of the node and its machines dies at once, the cable is out
 *   pause NODE            they are stopped; what the kernel does by itself goes on
 *   resume NODE           they go on; after a kill: the cable is in, the node's programs start
 *   kill NODE PROGRAM     SIGKILL, SIGSTOP, SIGCONT to the process of the program's pid file;
 *   pause|resume ...      resume starts a program of the lab that is dead
 *   start NODE PROGRAM    starts it; a running one is a conflict
 *   start NODE            starts what is dead of the node's programs; a killed node comes back
 *
 * What the kernel holds for a killed node (links, routes, pinned BPF programs, namespaces of its
 * machines) stays, as after kill -9 of everything: it is not a reboot.
 */
#include "lab/verbs.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "lab/cleanup.h"
#include "lab/daemon.h"
#include "lab/links.h"
#include "lab/node.h"
#include "lab/process.h"
#include "lab/state.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#define END_LIMIT_MS 5000

static int signal_node(
	const struct lab *lab, const struct lab_node *node, int signo, struct err *err)
{
	_cleanup_(ns_set_clear) struct ns_set set = {};

	node_namespaces(lab->name, node->name, &set);
	cleanup_find_machines(lab->name, node->name, &set);
	return process_signal_all(&set, signo, NULL, err);
}

/* The log stays, other than after an `up` that failed. */
static int start_program(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err)
{
	char path[PATH_MAX];
	struct err cause = {};
	int r = daemon_start(lab, node, program, &cause);

	if (r == 0)
		return 0;
	if (r == -ENOENT || r == -EEXIST)
		return err_set(err, r, "%s", cause.text);
	return err_set(
		err, r, "%s; its log is %s", cause.text, daemon_log_path(lab, node, program, path));
}

/* Returns how many were dead. */
static int start_all(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	int count = 0;

	for (const char *const *program = daemon_programs(node); *program; program++) {
		int r = start_program(lab, node, *program, err);

		if (r < 0 && r != -EEXIST)
			return r;
		count += r == 0;
	}
	return count;
}

static int set_carrier(const struct lab *lab, const struct lab_node *node, bool up, struct err *err)
{
	if (node->kind == LAB_INTERNET)
		return 0;
	return links_set_carrier(lab, &lab->nodes[0], node, up, err);
}

static int kill_node(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	/* The cable first: a dying node's last words do not get out. */
	int r = set_carrier(lab, node, false, err);

	if (r == 0)
		r = signal_node(lab, node, SIGKILL, err);
	return r < 0 ? r : lab_set_state(lab->name, node->name, LAB_NODE_DOWN, err);
}

static int pause_node(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	int r;

	if (node->state == LAB_NODE_DOWN)
		return err_set(err, -EINVAL, "%s is down; \"wherry lab resume %s\" brings it back",
			node->name, node->name);
	r = signal_node(lab, node, SIGSTOP, err);
	return r < 0 ? r : lab_set_state(lab->name, node->name, LAB_NODE_PAUSED, err);
}

static int resume_node(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	int r;

	if (node->state != LAB_NODE_DOWN) {
		r = signal_node(lab, node, SIGCONT, err);
		return r < 0 ? r : lab_set_state(lab->name, node->name, LAB_NODE_UP, err);
	}
	r = set_carrier(lab, node, true, err);
	if (r == 0)
		r = lab_set_state(lab->name, node->name, LAB_NODE_UP, err);
	if (r == 0)
		r = start_all(lab, node, err);
	return r < 0 ? r : 0;
}

static int start_node(const struct lab *lab, const struct lab_node *node, struct err *err)
{
	int r;

	if (node->state == LAB_NODE_DOWN)
		return resume_node(lab, node, err);
	if (node->state == LAB_NODE_PAUSED)
		return err_set(err, -EINVAL, "%s is paused; \"wherry lab resume %s\" lets it go on",
			node->name, node->name);
	r = start_all(lab, node, err);
	if (r == 0)
		return err_set(err, -EEXIST, "%s is up, and what belongs there runs", node->name);
	return r < 0 ? r : 0;
}

/* Sends through a pidfd, so that the process is surely the one that was looked at. */
static int signal_program(const struct lab *lab, const struct lab_node *node, const char *program,
	int signo, struct err *err)
{
	pid_t pid = daemon_pid(lab, node, program);
	_close_ int fd = pid ? pidfd_open(pid, 0) : -1;
	struct pollfd end = {.fd = fd, .events = POLLIN};

	if (fd < 0 || daemon_pid(lab, node, program) != pid)
		return err_set(err, -ESRCH, "%s does not run on %s", program, node->name);
	if (pidfd_send_signal(fd, signo, NULL, 0) < 0)
		return err_errno(err, -errno, "cannot signal %s on %s", program, node->name);
	if (signo == SIGKILL && poll(&end, 1, END_LIMIT_MS) == 0)
		return err_set(err, -ETIMEDOUT, "%s on %s did not die within %d s", program,
			node->name, END_LIMIT_MS / 1000);
	return 0;
}

static int resume_program(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err)
{
	int r = signal_program(lab, node, program, SIGCONT, err);

	return r == -ESRCH ? start_program(lab, node, program, err) : r;
}

static int control(const struct lab_args *args, const struct lab *lab, const struct lab_node *node,
	struct err *err)
{
	const char *program = args->program;

	switch (args->verb) {
	case LAB_KILL:
		return program ? signal_program(lab, node, program, SIGKILL, err)
			       : kill_node(lab, node, err);
	case LAB_PAUSE:
		return program ? signal_program(lab, node, program, SIGSTOP, err)
			       : pause_node(lab, node, err);
	case LAB_RESUME:
		return program ? resume_program(lab, node, program, err)
			       : resume_node(lab, node, err);
	default:
		return program ? start_program(lab, node, program, err)
			       : start_node(lab, node, err);
	}
}

int lab_control(const struct lab_args *args, struct err *err)
{
	_cleanup_(lab_clear) struct lab lab = {};
	const struct lab_node *node;
	int r = lab_load(args->name, &lab, err);

	if (r < 0)
		return r;
	node = lab_find(&lab, args->node);
	if (!node)
		return lab_no_node(&lab, args->node, err);
	return control(args, &lab, node, err);
}
