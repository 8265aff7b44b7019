/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's namespaces. They need no process: the mount namespace is bound on the host as NODE.mnt,
 * and holds a bind of the network namespace. So nothing inside a node can end the node, and
 * unmounting NODE.mnt frees both when the last process is gone.
 */
#pragma once

#include <stddef.h>

#include "lab/mounts.h"
#include "lab/process.h"

struct err;

/*
 * Makes the namespaces of a node. @net_fd (may be NULL) receives its network namespace, which the
 * caller closes.
 */
int node_make(const char *lab, const char *node, enum mounts_containers containers, int *net_fd,
	struct err *err);

/* Moves the calling process, which must have one thread, into the node; it stays there. */
int node_enter(const char *lab, const char *node, struct err *err);

typedef int node_fn(void *arg, struct err *err);

/* Runs @fn in a child process that has entered the node. Returns what it returns, with its @err. */
int node_call(const char *lab, const char *node, node_fn *fn, void *arg, struct err *err);

/* Runs @fn in a child process that stays where we are. */
int node_call_outside(node_fn *fn, void *arg, struct err *err);

/* Adds the node's two namespaces to @set, as far as they were made. */
void node_namespaces(const char *lab, const char *node, struct ns_set *set);
