/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lab up`: makes what the plan in topology.c says, the internet first, and starts the daemons:
 * etcd as soon as it has an address, since it takes a second, and all wherryds at once when it is
 * ready. A failure or an interrupt on the way removes everything again. The lab's lock is held all
 * the time, so that a `lab down` meanwhile waits.
 */
#include "lab/verbs.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "lab/daemon.h"
#include "lab/draw.h"
#include "lab/links.h"
#include "lab/node.h"
#include "lab/paths.h"
#include "lab/state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signo)
{
	(void)signo;
	is_interrupted = 1;
}

/* Without SA_RESTART, so that waiting for a daemon ends too. */
static void catch_interrupts(void)
{
	const struct sigaction action = {.sa_handler = on_interrupt};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int check_interrupt(struct err *err)
{
	return is_interrupted ? err_set(err, -EINTR, "interrupted; the lab was removed again") : 0;
}

static enum mounts_containers containers_of(const struct lab *lab, const struct lab_node *node)
{
	return lab_is_fleet(lab) && node->kind == LAB_HOST ? MOUNTS_OWN_CONTAINERS
							   : MOUNTS_HOST_CONTAINERS;
}

/* Daemons that were started and are to be waited for. */
struct runs {
	struct daemon_run *list;
	size_t count;
};

static void runs_clear(struct runs *runs)
{
	free(runs->list);
	*runs = (struct runs){};
}

static int begin_daemons(
	const struct lab *lab, const struct lab_node *node, struct runs *runs, struct err *err)
{
	for (const char *const *program = daemon_programs(node); *program; program++) {
		int r = check_interrupt(err);

		runs->list = reallocarray(runs->list, runs->count + 1, sizeof(*runs->list));
		if (!runs->list)
			abort();
		if (r == 0)
			r = daemon_begin(lab, node, *program, &runs->list[runs->count], err);
		if (r < 0)
			return r;
		runs->count++;
	}
	return 0;
}

/* After the first failure the rest is left as it is: `up` removes everything then. */
static int await_daemons(const struct lab *lab, struct runs *runs, struct err *err)
{
	for (size_t i = 0; i < runs->count; i++) {
		int r = daemon_await(lab, &runs->list[i], err);

		if (r < 0)
			return r;
	}
	runs->count = 0;
	return check_interrupt(err);
}

static int make_network(const struct lab *lab, struct runs *runs, struct err *err)
{
	const struct lab_node *internet = &lab->nodes[0];
	_close_ int internet_fd = -1;
	int r = node_make(
		lab->name, internet->name, containers_of(lab, internet), &internet_fd, err);

	if (r == 0)
		r = links_make_internet(lab, internet, err);
	for (size_t i = 1; r == 0 && i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];

		r = check_interrupt(err);
		if (r == 0)
			r = node_make(lab->name, node->name, containers_of(lab, node), NULL, err);
		if (r == 0)
			r = links_make_node(lab, node, internet_fd, err);
		if (r == 0 && node->kind == LAB_SHARED)
			r = begin_daemons(lab, node, runs, err);
	}
	return r < 0 ? r : links_join(lab, internet, err);
}

static int start_hosts(const struct lab *lab, struct runs *runs, struct err *err)
{
	for (size_t i = 0; i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];
		int r;

		if (node->kind != LAB_HOST)
			continue;
		r = daemon_write_config(lab, node, err);
		if (r == 0)
			r = begin_daemons(lab, node, runs, err);
		if (r < 0)
			return r;
	}
	return await_daemons(lab, runs, err);
}

static int make(const struct lab *lab, struct err *err)
{
	_cleanup_(runs_clear) struct runs runs = {};
	int r = make_network(lab, &runs, err);

	if (r == 0)
		r = await_daemons(lab, &runs, err);
	if (r == 0)
		r = start_hosts(lab, &runs, err);
	/* Last: a lab.json says that the lab is whole. */
	return r < 0 ? r : lab_save(lab, err);
}

static void print_lab(const struct lab *lab)
{
	_cleanup_(buf_clear) struct buf text = {};
	const char *other = strcmp(lab->name, LAB_DEFAULT_NAME) == 0 ? "" : " --name ";
	const char *name = *other ? lab->name : "";

	buf_addf(&text, "the lab \"%s\" is up\n\n", lab->name);
	draw_lab(lab, NULL, &text);
	buf_addf(&text,
		"\n  wherry lab exec%s%s %s -- wherry status\n"
		"  wherry lab exec%s%s client-1 -- ip route get 203.0.113.1\n"
		"  wherry lab down%s%s\n",
		other, name, lab_edge(lab, 0)->name, other, name, other, name);
	fputs(text.data, stdout);
}

/* What a reboot left of a lab of this name: its state, and maybe containers. */
static int remove_stale(const char *name, struct err *err)
{
	char run[PATH_MAX];

	if (!lab_dirs_exist(name) || access(lab_run_path(name, NULL, run), F_OK) == 0)
		return 0;
	return lab_remove(name, err);
}

int lab_up(const struct lab_args *args, struct err *err)
{
	_cleanup_(lab_clear) struct lab lab = {};
	_close_ int lock = -1;
	int r;

	umask(022);
	r = remove_stale(args->name, err);
	if (r < 0)
		return r;
	r = lab_dirs_make(args->name, &lock, err);
	if (r == 1)
		return err_set(err, -EEXIST,
			"the lab \"%s\" is up already, or was left half made; \"wherry lab down "
			"--name "
			"%s\" removes it, another --name makes another",
			args->name, args->name);
	catch_interrupts();
	lab_plan(args, &lab);
	if (r == 0)
		r = make(&lab, err);
	if (r < 0) {
		lab_remove(args->name, NULL);
		return -EIO; /* whatever it was: not "no such lab" */
	}
	if (args->is_json)
		return lab_print_json(args->name, err);
	print_lab(&lab);
	return 0;
}
