// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * tc ingress of the public interface and of the loopback device: clients' packets come in here.
 * A datagram for a service goes to its machine; everything else goes on to the kernel untouched.
 */
#include "deliver.h"

SEC("tc")
int wherry_edge(struct __sk_buff *skb)
{
	struct packet packet = {.ifindex = load_once(skb->ifindex)};
	enum packet_kind kind;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TCX_NEXT;
	kind = parse_packet(skb, &packet);
	return deliver(skb, kind, &packet,
		packet.ifindex == LOOPBACK_IFINDEX ? WHERRY_VIA_STACK : WHERRY_VIA_NEIGHBOUR);
}

const char LICENSE[] SEC("license") = "GPL";
