/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that the lab runs in its nodes: wherryd on hosts, etcd where they share it. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lab/topology.h"

struct err;

/* Names of the programs that run on @node, ending with NULL. */
const char *const *daemon_programs(const struct lab_node *node);

/* Writes /etc/wherry/wherryd.toml of a host. */
int daemon_write_config(const struct lab *lab, const struct lab_node *node, struct err *err);

/* A program that was started and has not said yet that it is ready. */
struct daemon_run {
	const struct lab_node *node;
	const char *program;
	pid_t pid;
	int notify_fd;
	off_t log_start; /* where its own words begin in the log */
	uint64_t deadline_ms;
};

/*
 * Starts @program in @node. -ENOENT: not a program of this node; -EEXIST: it runs already. @run
 * keeps @node and @program, and is given to daemon_await().
 */
int daemon_begin(const struct lab *lab, const struct lab_node *node, const char *program,
	struct daemon_run *run, struct err *err);

/* Waits until it says READY=1 (sd_notify(3)). One that does not is killed. */
int daemon_await(const struct lab *lab, struct daemon_run *run, struct err *err);

/* Both. */
int daemon_start(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err);

/* Where @program's standard error goes. Returns @path. */
char *daemon_log_path(const struct lab *lab, const struct lab_node *node, const char *program,
	char path[static PATH_MAX]);

/*
 * The process that the node's /run/wherry/PROGRAM.pid names, if it lives in the node; else 0.
 */
pid_t daemon_pid(const struct lab *lab, const struct lab_node *node, const char *program);

/* Directory of the running executable, where the other programs are looked for first. */
char *daemon_own_dir(char path[static PATH_MAX]);

/* Puts daemon_own_dir() in front of PATH, and names lab and node in the environment. */
void daemon_set_environment(const char *lab, const char *node);
