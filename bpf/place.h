/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where an address is, as the host's routes and the public addresses have it.
 */
#pragma once

#include "maps.h"

enum place {
	PLACE_NOWHERE, /* no route, or one that refuses */
	PLACE_PUBLIC,  /* a public address of an app */
	PLACE_HOST,    /* the host's own */
	PLACE_MACHINE, /* behind a machine's interface */
	PLACE_OUTSIDE, /* by any other interface */
};

static __always_inline bool is_public(__be32 addr)
{
	return bpf_map_lookup_elem(&wherry_addresses, &addr);
}

/*
 * @ifindex: where a packet from @saddr to @daddr came in; for an address that is neither public nor
 * the host's, where it would leave.
 */
static __always_inline enum place find_place(
	struct __sk_buff *skb, __be32 saddr, __be32 daddr, __u32 *ifindex)
{
	struct bpf_fib_lookup fib = {
		.family = 2, /* AF_INET */
		.l4_protocol = IPPROTO_UDP,
		.ipv4_src = saddr,
		.ipv4_dst = daddr,
		.ifindex = *ifindex,
	};

	if (is_public(daddr))
		return PLACE_PUBLIC;
	switch (bpf_fib_lookup(skb, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		*ifindex = fib.ifindex;
		return bpf_map_lookup_elem(&wherry_interfaces, ifindex) ? PLACE_MACHINE
									: PLACE_OUTSIDE;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		return PLACE_HOST;
	default:
		return PLACE_NOWHERE;
	}
}
