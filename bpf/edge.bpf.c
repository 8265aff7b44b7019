// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * tc ingress of the public interface and of the loopback device: clients' packets come in here.
 * A datagram for a service goes to its machine; everything else goes on to the kernel untouched,
 * but for what is sent to a machine's own address: the host would route it there.
 * With underlay plain the mesh's packets come in here, too, and go on to the mesh's program.
 */
#include "deliver.h"

SEC("tc")
int wherry_edge(struct __sk_buff *skb)
{
	struct packet packet = {.ifindex = load_once(skb->ifindex)};
	enum packet_kind kind;
	__u32 index;
	int verdict;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TCX_NEXT;
	kind = parse_packet(skb, &packet);
	if (unlikely(kind == PACKET_MESH)) {
		struct wherry_mesh *mesh = find_mesh();

		if (mesh && mesh->is_ethernet && mesh->ifindex == packet.ifindex)
			bpf_tail_call(skb, &wherry_next, WHERRY_NEXT_MESH);
		return TCX_NEXT;
	}
	verdict = deliver(skb, kind, &packet,
		packet.ifindex == LOOPBACK_IFINDEX ? WHERRY_VIA_STACK : WHERRY_VIA_NEIGHBOUR);
	if (verdict == TCX_NEXT && find_endpoint(packet.daddr, &index))
		return drop(WHERRY_BYPASS);
	return verdict;
}

const char LICENSE[] SEC("license") = "GPL";
