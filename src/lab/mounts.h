/* SPDX-License-Identifier: Apache-2.0 */
/* What a node sees of the host's files. */
#pragma once

struct err;

/* Inside a node: its own network namespace, bound there so that the mount namespace pins it. */
#define NODE_NET_PATH "/run/wherry-lab/net"

/* Whose images and containers a node sees. */
enum mounts_containers {
	MOUNTS_HOST_CONTAINERS, /* those of the machine the lab runs on */
	MOUNTS_OWN_CONTAINERS,	/* none but what podman makes in the node */
};

/*
 * Turns the mount namespace that the caller has just unshared into that of node @node. The
 * network namespace must be the node's as well.
 */
int mounts_setup(
	const char *lab, const char *node, enum mounts_containers containers, struct err *err);
