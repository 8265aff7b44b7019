/* SPDX-License-Identifier: Apache-2.0 */
/* What a node sees of the host's files. */
#pragma once

struct err;

/* Inside a node: its own network namespace, bound there so that the mount namespace pins it. */
#define NODE_NET_PATH "/run/wherry-lab/net"

/*
 * Turns the mount namespace that the caller has just unshared into that of node @node. The
 * network namespace must be the node's as well.
 */
int mounts_setup(const char *lab, const char *node, struct err *err);
