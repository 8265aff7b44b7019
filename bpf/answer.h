/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a machine to a client: recognise an answer by its flow, put the public address in place of
 * the machine's, send it out by where the client came in. What leaves the service address leaves
 * the host from the public address, flow or not; everything else is the machine's own traffic.
 */
#pragma once

#include "deliver.h"

/* How long a next hop may be used before the routes are asked again. */
#define NEXT_HOP_LIFE_NS 100000000ULL

struct way_out {
	struct wherry_flow *flow; /* NULL: no flow says so */
	__be32 public_addr;
	__u32 ifindex;
	enum wherry_via via;
};

/*
 * Where the host's routes lead. False: nowhere by which a public address could leave. That includes
 * the private addresses of other machines: whether those may be reached is for the host's rules,
 * which redirected packets do not meet.
 */
static __always_inline bool find_route(
	struct __sk_buff *skb, __be32 saddr, const struct packet *packet, struct way_out *out)
{
	out->ifindex = packet->ifindex;
	switch (find_place(skb, saddr, packet->daddr, &out->ifindex)) {
	case PLACE_PUBLIC:
		out->via = WHERRY_VIA_FABRIC;
		return true;
	case PLACE_OUTSIDE:
		out->via = WHERRY_VIA_NEIGHBOUR;
		return true;
	case PLACE_HOST:
		out->via = WHERRY_VIA_STACK;
		return true;
	default:
		return false;
	}
}

/* Remembers what a machine sent first, so that the answer finds back where no service would. */
static __always_inline void learn_outflow(
	struct wherry_machine *machine, __u32 index, const struct packet *packet)
{
	struct wherry_outflow_key key = {
		.public_addr = machine->public_addr,
		.remote = packet->daddr,
		.port = packet->sport,
		.remote_port = packet->dport,
		.protocol = IPPROTO_UDP,
	};
	struct wherry_outflow *known = bpf_map_lookup_elem(&wherry_outflows, &key);
	struct wherry_outflow outflow = {.machine = index, .flow_tag = machine->flow_tag};

	if (!known || known->machine != index || known->flow_tag != outflow.flow_tag)
		bpf_map_update_elem(&wherry_outflows, &key, &outflow, BPF_ANY);
}

/* False: not an answer. @client and the ports are the flow's, whoever the packet is from. */
static __always_inline bool find_answer(struct wherry_machine *machine, __be32 client,
	__be16 client_port, __be16 port, struct way_out *out)
{
	struct wherry_flow_key key = {
		.client = client,
		.client_port = client_port,
		.port = port,
		.protocol = IPPROTO_UDP,
	};
	struct wherry_flow *flow = find_flow(machine, &key);

	if (!flow)
		return false;
	out->flow = flow;
	out->public_addr = flow->public_addr;
	out->ifindex = flow->ifindex;
	out->via = flow->via;
	return true;
}

/* Asks the routes for the next hop to the client and remembers it. */
static __always_inline void learn_next_hop(struct __sk_buff *skb, struct wherry_flow *flow,
	const struct packet *packet, __u32 out_ifindex, __u64 now_ns)
{
	struct bpf_fib_lookup fib = {
		.family = 2, /* AF_INET */
		.l4_protocol = IPPROTO_UDP,
		.ipv4_src = packet->saddr,
		.ipv4_dst = packet->daddr,
		.ifindex = out_ifindex,
	};

	if (l2_len != ETH_HLEN || bpf_fib_lookup(skb, &fib, sizeof(fib), BPF_FIB_LOOKUP_OUTPUT) !=
					  BPF_FIB_LKUP_RET_SUCCESS)
		return;
	__builtin_memcpy(flow->next_hop_mac, fib.dmac, ETH_ALEN);
	__builtin_memcpy(flow->source_mac, fib.smac, ETH_ALEN);
	flow->next_hop_ns = now_ns;
}

/*
 * To the next hop. The kernel's own way, bpf_redirect_neigh(), looks up route and neighbour for
 * every packet; what it found is good for NEXT_HOP_LIFE_NS, and then a packet goes that way again,
 * which also keeps the neighbour's entry in use, and so probed.
 */
static __always_inline int send_to_next_hop(
	struct __sk_buff *skb, const struct packet *packet, const struct way_out *out)
{
	struct wherry_flow *flow = out->flow;
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	struct ethhdr *eth;

	/* clang must not trade the test for one that the verifier cannot follow. */
	asm volatile("" : "+r"(flow));
	if (!flow)
		return bpf_redirect_neigh(out->ifindex, NULL, 0, 0);
	if (now_ns - flow->next_hop_ns >= NEXT_HOP_LIFE_NS) {
		learn_next_hop(skb, flow, packet, out->ifindex, now_ns);
		return bpf_redirect_neigh(out->ifindex, NULL, 0, 0);
	}
	reload(skb);
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return drop(WHERRY_MALFORMED);
	__builtin_memcpy(eth->h_dest, flow->next_hop_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, flow->source_mac, ETH_ALEN);
	return bpf_redirect(out->ifindex, 0);
}

/* Straight to a machine that is a client by its own address. */
static __always_inline int return_to_machine(struct __sk_buff *skb, __u32 ifindex)
{
	__u32 *index = bpf_map_lookup_elem(&wherry_interfaces, &ifindex);
	struct wherry_machine *machine = index ? find_machine(*index) : NULL;

	if (!machine)
		return drop(WHERRY_STALE_MACHINE);
	return hand_over(skb, machine, *index, WHERRY_VIA_FABRIC);
}

/* @packet has its public source already. */
static __always_inline int send_out(struct __sk_buff *skb, enum packet_kind kind,
	const struct packet *packet, const struct way_out *out)
{
	switch (out->via) {
	case WHERRY_VIA_NEIGHBOUR:
		return send_to_next_hop(skb, packet, out);
	case WHERRY_VIA_STACK:
		return leave(WHERRY_TO_HOST);
	default:
		return is_public(packet->daddr) ? deliver(skb, kind, packet, WHERRY_VIA_FABRIC)
						: return_to_machine(skb, out->ifindex);
	}
}

/* A machine's own packet: to a public address of ours it goes as any client's would. */
static __always_inline int own_traffic(
	struct __sk_buff *skb, enum packet_kind kind, const struct packet *packet)
{
	if (unlikely(is_public(packet->daddr)))
		return deliver(skb, kind, packet, WHERRY_VIA_FABRIC);
	return leave(WHERRY_OWN_TRAFFIC);
}

static __always_inline int answer_udp(
	struct __sk_buff *skb, struct packet *packet, struct wherry_machine *machine, __u32 index)
{
	struct way_out out = {};

	if (!find_answer(machine, packet->daddr, packet->dport, packet->sport, &out)) {
		if (packet->saddr != machine->service || !machine->public_addr ||
			!find_route(skb, machine->public_addr, packet, &out))
			return own_traffic(skb, PACKET_UDP, packet);
		out.public_addr = machine->public_addr;
		learn_outflow(machine, index, packet);
	}
	if (unlikely(packet->more_fragments))
		remember_fragment(packet, (struct wherry_fragment){
						  .addr = out.public_addr,
						  .machine = index,
						  .ifindex = out.ifindex,
						  .via = out.via,
					  });
	if (rewrite_udp(
		    skb, packet, offsetof(struct iphdr, saddr), packet->saddr, out.public_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	packet->saddr = out.public_addr;
	count_tx(index, skb->len - l2_len);
	return send_out(skb, PACKET_UDP, packet, &out);
}

static __always_inline int answer_udp_later(
	struct __sk_buff *skb, struct packet *packet, __u32 index)
{
	struct wherry_fragment *fragment = find_fragment(packet);
	struct way_out out = {};

	/*
	 * Nothing left by the first one: it was the machine's own traffic. Another machine's index:
	 * it went there as a client's packet would.
	 */
	if (!fragment || fragment->machine != index)
		return own_traffic(skb, PACKET_UDP_LATER, packet);
	out.public_addr = fragment->addr;
	out.ifindex = fragment->ifindex;
	out.via = fragment->via;
	if (rewrite_ip(skb, offsetof(struct iphdr, saddr), packet->saddr, out.public_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	packet->saddr = out.public_addr;
	count_tx(index, skb->len - l2_len);
	return send_out(skb, PACKET_UDP_LATER, packet, &out);
}

/* The machine's kernel says that a client's packet could not be delivered: a closed port. */
static __always_inline int answer_icmp(
	struct __sk_buff *skb, struct packet *packet, struct wherry_machine *machine, __u32 index)
{
	struct way_out out = {};

	if (!find_answer(machine, packet->quoted_saddr, packet->quoted_sport, packet->quoted_dport,
		    &out))
		return own_traffic(skb, PACKET_ICMP_ERROR, packet);
	if (packet->daddr != packet->quoted_saddr)
		out.flow = NULL; /* not to the client: its next hop is another's */
	if (rewrite_quoted(skb, packet, offsetof(struct iphdr, daddr), packet->quoted_daddr,
		    out.public_addr) < 0 ||
		rewrite_ip(skb, offsetof(struct iphdr, saddr), packet->saddr, out.public_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	packet->saddr = out.public_addr;
	packet->quoted_daddr = out.public_addr;
	count_tx(index, skb->len - l2_len);
	return send_out(skb, PACKET_ICMP_ERROR, packet, &out);
}
