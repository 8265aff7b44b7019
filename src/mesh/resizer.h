/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace that brings packets to the mesh's size: what is larger goes in by one of two
 * links and comes back by the same, as the kernel's own forwarding makes it: DF packets as an ICMP
 * error, those without DF as fragments, GSO packets as segments. No ICMP or fragmentation code of
 * ours. The namespace holds no process and outlives the daemon.
 */
#pragma once

#include "base/addr.h"

struct err;

/*
 * The links' ends on the host; inside they are "whole" and "pieces". All four ends have the address
 * RESIZER_MAC of wherry/abi.h. The namespace is RESIZER_NETNS, "-" and the inode number of the
 * host's own in hexadecimal, so that the nodes of a lab have one each.
 */
#define RESIZER_NETNS  "wherry-resizer"
#define RESIZER_WHOLE  "wr-whole"
#define RESIZER_PIECES "wr-pieces"

struct resizer {
	unsigned int whole_ifindex, pieces_ifindex; /* on the host */
	struct addr addr;			    /* source of its ICMP errors, 169.254.x.y */
};

/*
 * Makes the namespace and its links, or takes over what is there. By "whole" go packets with DF
 * (refused with an ICMP error that says @whole_mtu) and GSO packets (segmented; each at most
 * @whole_mtu); by "pieces" those that are cut into fragments of at most @pieces_mtu. What is made
 * comes back by the link its packet went in by, but ICMP errors always by "whole". TTLs are one
 * less. Called again with other sizes it changes the routes only.
 */
int resizer_setup(unsigned int whole_mtu_bytes, unsigned int pieces_mtu_bytes, struct resizer *out,
	struct err *err);

/* Absent: success. */
int resizer_remove(struct err *err);
