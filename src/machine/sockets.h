/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets of a network namespace that can receive over IPv4: all of UDP, the listeners of TCP.
 * The handle is one descriptor inside the namespace, so listing is a few system calls and needs no
 * setns(2). It keeps the namespace alive: close it when the machine goes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/mem.h"
#include "model/config.h"

struct err;
struct machine_sockets;

struct machine_socket {
	enum protocol protocol;
	struct addr addr;  /* IPv4, also for a mapped address; or "::", for both families */
	uint16_t port;	   /* host byte order */
	bool is_connected; /* UDP: takes datagrams of one peer only */
};

/* -ENOENT when @netns_path is not there (any more). The caller's own namespace stays as it is. */
int machine_sockets_open(struct machine_sockets **out, const char *netns_path, struct err *err);
void machine_sockets_close(struct machine_sockets *sockets);
DEFINE_CLEANUP(struct machine_sockets *, machine_sockets_close)

/*
 * The sockets as they are now, ordered by protocol, port and address, each combination once
 * (SO_REUSEPORT makes several sockets of one). The caller frees *out.
 */
int machine_sockets_list(struct machine_sockets *sockets, struct machine_socket **out,
	size_t *count, struct err *err);

/*
 * Whether a datagram of a new client to UDP @port reaches a socket of @list: one bound to the
 * service or the primary address or to all addresses, and connected to nobody.
 */
bool machine_sockets_serve(const struct machine_socket *list, size_t count,
	const struct addr *primary, const struct addr *service, uint16_t port);
