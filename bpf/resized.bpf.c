// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * tc ingress of the host's ends of the resizer's links: what its kernel made of packets that were
 * too large for the mesh. Fragments and segments go the way that the whole would have gone;
 * refusals go to who sent it.
 */
#include "leave.h"

/*
 * "Fragmentation needed": to a machine of this host, as from its gateway; to a client, from the
 * public address that it sent to.
 */
static __always_inline int refuse(struct __sk_buff *skb, struct packet *packet)
{
	struct wherry_machine *machine;
	__u32 index;

	if (packet->daddr != packet->quoted_saddr)
		return drop(WHERRY_MALFORMED);
	machine = find_endpoint(packet->daddr, &index);
	if (machine)
		return machine->host ? drop(WHERRY_STALE_MACHINE)
				     : hand_over(skb, machine, index, WHERRY_VIA_FABRIC);
	if (!is_public(packet->quoted_daddr))
		return drop(WHERRY_MALFORMED);
	if (rewrite_ip(skb, offsetof(struct iphdr, saddr), packet->saddr, packet->quoted_daddr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	packet->saddr = packet->quoted_daddr;
	return leave_to_client(skb, PACKET_ICMP_ERROR, packet);
}

SEC("tc")
int wherry_resized(struct __sk_buff *skb)
{
	struct packet packet = {.ifindex = load_once(skb->ifindex)};
	struct wherry_machine *machine;
	struct wherry_mesh *mesh;
	enum packet_kind kind;
	__u32 index;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TCX_NEXT;
	kind = parse_packet(skb, &packet);
	mesh = find_mesh();
	if (!mesh)
		return drop(WHERRY_TOO_BIG);
	if (kind == PACKET_ICMP_ERROR && packet.saddr == mesh->resizer_addr)
		return refuse(skb, &packet);
	machine = find_endpoint(packet.saddr, &index);
	if (machine && !machine->host)
		return answer(skb, kind, &packet, machine, index);
	/* No interface that a client came in by: where the routes lead must do. */
	return deliver(skb, kind, &packet, WHERRY_VIA_MESH);
}

const char LICENSE[] SEC("license") = "GPL";
