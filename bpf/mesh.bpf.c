// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * tc ingress of the mesh's device: what other hosts encapsulated comes in here. Loaded twice: for a
 * WireGuard device, whose packets begin with the IP header; and for Ethernet (underlay plain),
 * where wherry_edge goes on to it. What hosts say to each other is the kernel's.
 */
#include "mesh.h"

SEC("tc")
int wherry_unwrap(struct __sk_buff *skb)
{
	struct packet packet = {};

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TCX_NEXT;
	return parse_packet(skb, &packet) == PACKET_MESH ? from_mesh(skb) : from_host(&packet);
}

const char LICENSE[] SEC("license") = "GPL";
