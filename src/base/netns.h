/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces: named ones under /run/netns as ip-netns(8) makes them, and files of any
 * other. No function changes the namespace of the calling thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;
struct netlink;

#define NETNS_DIR "/run/netns"

/* Makes the namespace NETNS_DIR/@name, or completes a half-made one; one that is there is kept. */
int netns_create(const char *name, struct err *err);

/* Unbinds NETNS_DIR/@name; absent is fine. The namespace itself ends with its last user. */
int netns_remove(const char *name, struct err *err);

/*
 * Opens a namespace file. Returns a descriptor that the caller closes; -ENOENT when there is no
 * such file, -EINVAL when it is no network namespace.
 */
int netns_open(const char *path, struct err *err);

/* The namespace's identity; 0 on failure. */
uint64_t netns_inode(int fd);

/* Whether @fd is the namespace of the calling thread. */
bool netns_is_current(int fd);

/* Calls @fn in a thread of its own that has joined @fd; returns what it returns. */
int netns_call(int fd, int (*fn)(void *arg), void *arg);

/* A netlink whose requests are about the namespace @fd. */
int netns_netlink(int fd, struct netlink **out, struct err *err);
