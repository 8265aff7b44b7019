/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the kernel over rtnetlink, on top of libmnl. A netlink belongs to the network
 * namespace in which it was opened and to one thread at a time. The kernel's own explanation
 * (extended ack) becomes part of the sentence where there is one.
 */
#pragma once

#include <libmnl/libmnl.h>
#include <stdint.h>

#include "base/mem.h"

struct err;
struct netlink;

/* Opens a NETLINK_ROUTE socket in the calling thread's network namespace. */
int netlink_open(struct netlink **out, struct err *err);
void netlink_close(struct netlink *nl);
DEFINE_CLEANUP(struct netlink *, netlink_close)

/* A request needs at most this much room. */
#define NETLINK_REQUEST_BYTES 1024

/*
 * Begins a request in a buffer that @nl owns: there is one at a time. NLM_F_REQUEST is added to
 * @flags. @extra_len bytes of zeroed fixed header follow; *@extra points to them.
 */
struct nlmsghdr *netlink_begin(
	struct netlink *nl, uint16_t type, uint16_t flags, void **extra, size_t extra_len);

/*
 * Sends what netlink_begin() began and waits for the acknowledgement. Returns 0 or the kernel's
 * negative errno; the sentence is @format, ": " and the kernel's reason.
 */
int netlink_ack(struct netlink *nl, struct err *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Returns 0 to go on; a negative errno ends the dump with that value. */
typedef int netlink_fn(const struct nlmsghdr *message, void *arg);

/* Sends the request and calls @fn for each message of the answer (one, or all of a dump). */
int netlink_query(struct netlink *nl, netlink_fn *fn, void *arg, struct err *err,
	const char *format, ...) __attribute__((format(printf, 5, 6)));
