/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets inside a machine's network namespace. Such a socket talks over the machine's own stack:
 * its datagrams come from an address of the machine, pass its loopback and never leave it, so what
 * is found says how the program is, and nothing about the fabric between it and its clients.
 */
#pragma once

#include <sys/socket.h>

#include "base/addr.h"

struct err;

/*
 * Makes a non-blocking socket in the namespace of the file @netns_path. Returns a descriptor that
 * the caller closes; -ENOENT or -EINVAL when the namespace is not there (any more).
 */
int health_socket(const char *netns_path, int family, int type, int protocol, struct err *err);

/* Fills @out; returns its length. */
socklen_t health_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *out);
