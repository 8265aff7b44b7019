/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The only ways by which a packet leaves the programs other than to where it is going: dropped or
 * left to the kernel, counted under its reason either way.
 */
#pragma once

#include "maps.h"

static __always_inline void count(__u32 verdict)
{
	__u64 *packets = bpf_map_lookup_elem(&wherry_verdicts, &verdict);

	if (packets)
		*packets += 1;
}

static __always_inline int drop(enum wherry_verdict verdict)
{
	count(verdict);
	return TCX_DROP;
}

static __always_inline int leave(enum wherry_verdict verdict)
{
	count(verdict);
	return TCX_NEXT;
}

static __always_inline void count_rx(__u32 machine, __u32 bytes)
{
	struct wherry_traffic *traffic = bpf_map_lookup_elem(&wherry_traffic, &machine);

	if (traffic) {
		traffic->rx_packets++;
		traffic->rx_bytes += bytes;
	}
}

static __always_inline void count_tx(__u32 machine, __u32 bytes)
{
	struct wherry_traffic *traffic = bpf_map_lookup_elem(&wherry_traffic, &machine);

	if (traffic) {
		traffic->tx_packets++;
		traffic->tx_bytes += bytes;
	}
}
