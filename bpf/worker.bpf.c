// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * tc ingress of the host's end of each machine's veth: what machines send comes in here. A machine
 * speaks from its own addresses only; answers to clients leave from the public address; the rest
 * is the machine's own traffic, which the kernel routes and translates.
 */
#include "answer.h"

/* Neighbour discovery and multicast listener reports stay on the link and do no harm. */
static __always_inline int private_network(struct __sk_buff *skb)
{
	__u8 daddr[2];

	if (bpf_skb_load_bytes(skb, l2_len + 24, daddr, sizeof(daddr)) < 0)
		return drop(WHERRY_MALFORMED);
	if (daddr[0] == 0xff || (daddr[0] == 0xfe && (daddr[1] & 0xc0) == 0x80))
		return TCX_NEXT;
	return drop(WHERRY_NO_PRIVATE_NETWORK);
}

SEC("tc")
int wherry_worker(struct __sk_buff *skb)
{
	__u32 ifindex = load_once(skb->ifindex), *index;
	struct wherry_machine *machine;
	struct packet packet = {.ifindex = ifindex};
	enum packet_kind kind;

	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return private_network(skb);
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TCX_NEXT;
	index = bpf_map_lookup_elem(&wherry_interfaces, &ifindex);
	machine = index ? find_machine(*index) : NULL;
	if (!machine)
		return drop(WHERRY_UNKNOWN_INTERFACE);
	kind = parse_packet(skb, &packet);
	if (packet.saddr != machine->primary && packet.saddr != machine->service)
		return drop(kind == PACKET_MALFORMED ? WHERRY_MALFORMED : WHERRY_SPOOFED_SOURCE);
	return answer(skb, kind, &packet, machine, *index);
}

const char LICENSE[] SEC("license") = "GPL";
