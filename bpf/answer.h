/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a machine to a client: recognise an answer by its flow, put the public address in place of
 * the machine's, send it out by where the client came in: an interface of this host, or the edge
 * that sent it over the mesh. What leaves the service address leaves from the public address, flow
 * or not, by the nearest edge; everything else is the machine's own traffic.
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
	/* WHERRY_VIA_MESH, once the edge is found: */
	struct wherry_mesh *mesh;
	__be32 service; /* the machine's */
	__be32 edge;	/* 0: the nearest */
};

/* True when what machines send first leaves by another host, the nearest edge. */
static __always_inline bool leaves_by_mesh(const struct wherry_mesh *mesh)
{
	return mesh && mesh->nearest_edge && mesh->nearest_edge != mesh->addr;
}

/* True when the service that the packet is for would have this host's machine serve it. */
static __always_inline bool is_served_here(const struct packet *packet)
{
	struct wherry_service *service = find_service(packet->daddr, IPPROTO_UDP, packet->dport);
	struct wherry_machine *machine;
	struct wherry_slot slot;

	if (!service)
		return false;
	slot = find_slot(service, packet->saddr, packet->daddr, packet->sport, packet->dport);
	machine = find_machine(slot.machine);
	return machine && !machine->host;
}

/* Addresses of the machine's own link, the host's end among them: a /29. */
static __always_inline bool is_on_link(const struct wherry_machine *machine, __be32 addr)
{
	return !((machine->primary ^ addr) & bpf_htonl(~7U));
}

/*
 * Where the host's routes lead. False: nowhere by which a public address could leave. That includes
 * the private addresses of other machines: whether those may be reached is for the host's rules,
 * which redirected packets do not meet. A worker need not have a route to clients.
 */
static __always_inline bool find_route(struct __sk_buff *skb, const struct wherry_machine *machine,
	const struct packet *packet, struct way_out *out)
{
	struct wherry_mesh *mesh = find_mesh();
	const bool by_mesh = leaves_by_mesh(mesh);

	out->ifindex = packet->ifindex;
	switch (find_place(skb, machine->public_addr, packet->daddr, &out->ifindex)) {
	case PLACE_PUBLIC:
		out->via = by_mesh && !is_served_here(packet) ? WHERRY_VIA_MESH : WHERRY_VIA_FABRIC;
		return true;
	case PLACE_OUTSIDE:
		if (mesh && (bpf_map_lookup_elem(&wherry_endpoints, &packet->daddr) ||
				    (!mesh->is_ethernet && out->ifindex == mesh->ifindex)))
			return false;
		out->via = by_mesh ? WHERRY_VIA_MESH : WHERRY_VIA_NEIGHBOUR;
		return true;
	case PLACE_HOST:
		/* Also said of what has no route. */
		if (by_mesh && (is_on_link(machine, packet->daddr) || !is_unicast(packet->daddr)))
			return false;
		out->via = by_mesh ? WHERRY_VIA_MESH : WHERRY_VIA_STACK;
		return true;
	default:
		return false;
	}
}

/*
 * Completes a way over the mesh: by the edge that is known, as long as it is one; else by the
 * nearest, which may be this host. False: there is none.
 */
static __always_inline bool find_edge(
	struct __sk_buff *skb, const struct packet *packet, struct way_out *out)
{
	struct wherry_host *host;

	if (likely(out->via != WHERRY_VIA_MESH))
		return true;
	out->mesh = find_mesh();
	if (!out->mesh)
		return false;
	host = bpf_map_lookup_elem(&wherry_hosts, &out->edge);
	if (unlikely(!host || !(host->roles & WHERRY_HOST_EDGE)))
		out->edge = out->mesh->nearest_edge;
	if (out->edge != out->mesh->addr)
		return out->edge;
	out->via = WHERRY_VIA_NEIGHBOUR;
	out->mesh = NULL;
	out->flow = NULL; /* its next hop is none of this host's */
	out->ifindex = packet->ifindex;
	return find_place(skb, out->public_addr, packet->daddr, &out->ifindex) == PLACE_OUTSIDE;
}

static __always_inline bool is_too_large(
	struct __sk_buff *skb, const struct packet *packet, const struct way_out *out)
{
	return out->mesh && mesh_bytes(skb, packet) > out->mesh->mtu_bytes;
}

/*
 * Remembers what a machine sent first, so that the answer finds back where no service would lead
 * it. The service at that port, or the address, is marked: only then is it asked for.
 */
static __always_inline void learn_outflow(struct wherry_machine *machine, __u32 index,
	__be32 public_addr, const struct packet *packet)
{
	const struct place_of_service place = look_up(public_addr, IPPROTO_UDP, packet->sport);
	struct wherry_outflow_key key = {
		.public_addr = public_addr,
		.remote = packet->daddr,
		.port = packet->sport,
		.remote_port = packet->dport,
		.protocol = IPPROTO_UDP,
	};
	struct wherry_outflow *known = bpf_map_lookup_elem(&wherry_outflows, &key);
	struct wherry_outflow outflow = {.machine = index, .flow_tag = machine->flow_tag};

	if (!known || known->machine != index || known->flow_tag != outflow.flow_tag)
		bpf_map_update_elem(&wherry_outflows, &key, &outflow, BPF_ANY);
	if (place.service) {
		if (!(place.service->flags & WHERRY_SERVICE_HAS_OUTFLOWS))
			__sync_fetch_and_or(&place.service->flags, WHERRY_SERVICE_HAS_OUTFLOWS);
	} else if (place.address && !(place.address->udp_port_bits & WHERRY_ADDRESS_HAS_OUTFLOWS)) {
		__sync_fetch_and_or(&place.address->udp_port_bits, WHERRY_ADDRESS_HAS_OUTFLOWS);
	}
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
	out->edge = flow->edge;
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
	case WHERRY_VIA_MESH:
		if (!out->mesh)
			return drop(WHERRY_NO_EDGE);
		return encapsulate(skb, packet, out->mesh, out->service, out->edge);
	default:
		return is_public(packet->daddr) ? deliver(skb, kind, packet, WHERRY_VIA_FABRIC)
						: return_to_machine(skb, out->ifindex);
	}
}

/*
 * What NAT would let by as the host's: to another machine's service address, to machines elsewhere,
 * and to other hosts inside the mesh, who take what comes from there for this host's word. Whether
 * the primary addresses of this host's machines may be reached is for the host's rules.
 */
static __always_inline bool is_bypass(const struct packet *packet)
{
	struct wherry_machine *machine;
	struct wherry_mesh *mesh = find_mesh();
	__u32 index;

	machine = find_endpoint(packet->daddr, &index);
	if (machine)
		return machine->host || machine->service == packet->daddr;
	return mesh && !mesh->is_ethernet && bpf_map_lookup_elem(&wherry_hosts, &packet->daddr);
}

static __always_inline int leave_to_nat(const struct packet *packet)
{
	return is_bypass(packet) ? drop(WHERRY_BYPASS) : leave(WHERRY_OWN_TRAFFIC);
}

/*
 * A machine's own packet: to a public address of ours it goes as any client's would. Where that is
 * by another host, its source must be one that clients have: NAT gives it one.
 */
static __always_inline int own_traffic(
	struct __sk_buff *skb, enum packet_kind kind, const struct packet *packet)
{
	if (unlikely(is_public(packet->daddr)) &&
		(!leaves_by_mesh(find_mesh()) || (kind == PACKET_UDP && is_served_here(packet)) ||
			(kind == PACKET_UDP_LATER && find_fragment(packet))))
		return deliver(skb, kind, packet, WHERRY_VIA_FABRIC);
	return leave_to_nat(packet);
}

static __always_inline int answer_udp(
	struct __sk_buff *skb, struct packet *packet, struct wherry_machine *machine, __u32 index)
{
	struct way_out out = {.service = machine->service};

	if (!find_answer(machine, packet->daddr, packet->dport, packet->sport, &out)) {
		if (packet->saddr != machine->service || !machine->public_addr ||
			!find_route(skb, machine, packet, &out))
			return own_traffic(skb, PACKET_UDP, packet);
		out.public_addr = machine->public_addr;
		learn_outflow(machine, index, out.public_addr, packet);
	}
	if (!find_edge(skb, packet, &out))
		return drop(WHERRY_NO_EDGE);
	if (unlikely(packet->more_fragments))
		remember_fragment(packet, (struct wherry_fragment){
						  .addr = out.public_addr,
						  .machine = index,
						  .ifindex = out.ifindex,
						  .via = out.via,
						  .edge = out.edge,
					  });
	if (unlikely(is_too_large(skb, packet, &out)))
		return send_to_resizer(skb, packet, out.mesh);
	if (rewrite_udp(
		    skb, packet, offsetof(struct iphdr, saddr), packet->saddr, out.public_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	packet->saddr = out.public_addr;
	count_tx(index, skb->len - l2_len);
	return send_out(skb, PACKET_UDP, packet, &out);
}

static __always_inline int answer_udp_later(
	struct __sk_buff *skb, struct packet *packet, struct wherry_machine *machine, __u32 index)
{
	struct wherry_fragment *fragment = find_fragment(packet);
	struct way_out out = {.service = machine->service};

	/*
	 * Nothing left by the first one: it was the machine's own traffic. Another machine's index:
	 * it went there as a client's packet would.
	 */
	if (!fragment || fragment->machine != index)
		return own_traffic(skb, PACKET_UDP_LATER, packet);
	out.public_addr = fragment->addr;
	out.ifindex = fragment->ifindex;
	out.via = fragment->via;
	out.edge = fragment->edge;
	if (!find_edge(skb, packet, &out))
		return drop(WHERRY_NO_EDGE);
	if (unlikely(is_too_large(skb, packet, &out)))
		return send_to_resizer(skb, packet, out.mesh);
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
	struct way_out out = {.service = machine->service};

	if (!find_answer(machine, packet->quoted_saddr, packet->quoted_sport, packet->quoted_dport,
		    &out))
		return own_traffic(skb, PACKET_ICMP_ERROR, packet);
	if (packet->daddr != packet->quoted_saddr)
		out.flow = NULL; /* not to the client: its next hop is another's */
	if (!find_edge(skb, packet, &out))
		return drop(WHERRY_NO_EDGE);
	if (unlikely(is_too_large(skb, packet, &out)))
		return send_to_resizer(skb, packet, out.mesh);
	if (rewrite_quoted(skb, packet, offsetof(struct iphdr, daddr), packet->quoted_daddr,
		    out.public_addr) < 0 ||
		rewrite_ip(skb, offsetof(struct iphdr, saddr), packet->saddr, out.public_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	packet->saddr = out.public_addr;
	packet->quoted_daddr = out.public_addr;
	count_tx(index, skb->len - l2_len);
	return send_out(skb, PACKET_ICMP_ERROR, packet, &out);
}

/* What @machine sent. */
static __always_inline int answer(struct __sk_buff *skb, enum packet_kind kind,
	struct packet *packet, struct wherry_machine *machine, __u32 index)
{
	switch (kind) {
	case PACKET_UDP:
		return answer_udp(skb, packet, machine, index);
	case PACKET_UDP_LATER:
		return answer_udp_later(skb, packet, machine, index);
	case PACKET_ICMP_ERROR:
		return answer_icmp(skb, packet, machine, index);
	case PACKET_MALFORMED:
		return drop(WHERRY_MALFORMED);
	default:
		return leave_to_nat(packet);
	}
}
