/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that the lab runs in its nodes; today wherryd on hosts. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lab/topology.h"

struct err;

/* Names of the programs that run on @node, ending with NULL. */
const char *const *daemon_programs(const struct lab_node *node);

/* Writes /etc/wherry/wherryd.toml of a host. */
int daemon_write_config(const struct lab *lab, const struct lab_node *node, struct err *err);

/*
 * Starts @program in @node and waits until it says READY=1 (sd_notify(3)). -ENOENT: not a program
 * of this node; -EEXIST: it runs already.
 */
int daemon_start(
	const struct lab *lab, const struct lab_node *node, const char *program, struct err *err);

/*
 * The process that the node's /run/wherry/PROGRAM.pid names, if it lives in the node; else 0.
 */
pid_t daemon_pid(const struct lab *lab, const struct lab_node *node, const char *program);

/* Directory of the running executable, where the other programs are looked for first. */
char *daemon_own_dir(char path[static PATH_MAX]);

/* Puts daemon_own_dir() in front of PATH, and names lab and node in the environment. */
void daemon_set_environment(const char *lab, const char *node);
