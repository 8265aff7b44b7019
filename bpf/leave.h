/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Out of the fleet: a packet that has its public source, to the client, by where the routes of this
 * host lead. Used where nothing is known of how the client came in: at an edge, which keeps no
 * flows of machines elsewhere.
 */
#pragma once

#include "answer.h"

static __always_inline int leave_to_client(
	struct __sk_buff *skb, enum packet_kind kind, const struct packet *packet)
{
	static const __u8 none[ETH_ALEN];
	__u32 ifindex = packet->ifindex;
	struct wherry_mesh *mesh = find_mesh();

	switch (find_place(skb, packet->saddr, packet->daddr, &ifindex)) {
	case PLACE_PUBLIC:
		return deliver(skb, kind, packet, WHERRY_VIA_FABRIC);
	case PLACE_MACHINE:
		return return_to_machine(skb, ifindex);
	case PLACE_HOST:
		return leave(WHERRY_TO_HOST);
	case PLACE_OUTSIDE:
		/* Addresses of the mesh and of machines elsewhere are no clients'. */
		if (mesh && ((!mesh->is_ethernet && ifindex == mesh->ifindex) ||
				    bpf_map_lookup_elem(&wherry_endpoints, &packet->daddr)))
			return drop(WHERRY_MARTIAN_SOURCE);
		/* Without a frame the kernel would lose it silently. */
		if (l2_len == 0 && put_ethernet(skb, none, none) < 0)
			return drop(WHERRY_REWRITE_FAILED);
		return bpf_redirect_neigh(ifindex, NULL, 0, 0);
	default:
		return drop(WHERRY_MARTIAN_SOURCE);
	}
}
