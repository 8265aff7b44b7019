/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a client to a machine: find the machine; when it is elsewhere, send the packet over the
 * mesh; when it is here, learn the flow, put the address of the machine's socket in place of the
 * public one, hand the packet over. Used where clients' packets come in: the public interface, the
 * loopback device, and other machines' interfaces; and for what comes from the mesh.
 *
 * Of machines elsewhere no flow is kept: their hosts do that.
 */
#pragma once

#include "choose.h"
#include "encap.h"
#include "place.h"
#include "rewrite.h"
#include "verdict.h"

/*
 * How long an answer to "which address is the socket bound to?" may be used. Short, because the
 * app may close and bind again; not zero, because asking costs as much as the rest of the program.
 */
#define BIND_LIFE_NS 10000000ULL

struct target {
	struct wherry_machine *machine;
	__u32 index;
	__be32 local_addr;
	bool is_former; /* elsewhere, and asked whether it knows the flow */
};

/* Who sent it and whom it is for, in terms of the service: for an ICMP error, the quoted packet. */
struct conversation {
	__be32 client, addr;
	__be16 client_port, port;
	__u32 ifindex; /* where it came in */
	__be32 edge;   /* by which it came over the mesh; 0: another way, or another host */
};

/*
 * The service address where a socket is bound to it; else the primary one: the kernel answers from
 * there for wildcard sockets, and a socket that connected (iperf3's server) has it as its own.
 */
static __always_inline __be32 find_local_addr(
	struct __sk_buff *skb, struct wherry_machine *machine, const struct conversation *talk)
{
	__be32 local_addr = machine->primary;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sock;

	tuple.ipv4.saddr = talk->client;
	tuple.ipv4.daddr = machine->service;
	tuple.ipv4.sport = talk->client_port;
	tuple.ipv4.dport = talk->port;
	sock = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv4), (__u32)machine->netns_id, 0);
	if (sock) {
		if (sock->src_ip4 == machine->service)
			local_addr = machine->service;
		bpf_sk_release(sock);
	}
	return local_addr;
}

static __always_inline bool is_unicast(__be32 addr)
{
	__u32 first_byte = bpf_ntohl(addr) >> 24;

	return first_byte != 0 && first_byte != 127 && first_byte < 224;
}

/*
 * A source by which no answer could go outside again: the host's own, a public address of ours, a
 * machine's, no unicast address at all. Only forged packets have it, and one of them would keep two
 * echoing apps, or an app and itself, busy for ever. Asked of the routes, as the kernel does.
 */
static __always_inline bool is_martian(struct __sk_buff *skb, const struct conversation *talk)
{
	__u32 ifindex = talk->ifindex;

	if (!is_unicast(talk->client) || bpf_map_lookup_elem(&wherry_endpoints, &talk->client))
		return true;
	switch (find_place(skb, talk->addr, talk->client, &ifindex)) {
	case PLACE_OUTSIDE:
	case PLACE_NOWHERE:
		return false;
	default:
		return true;
	}
}

/*
 * The same of clients of machines elsewhere, of whom no flow is kept that says that the routes were
 * asked: asking them for each packet would cost more than all the rest.
 */
static __always_inline bool is_martian_abroad(
	struct __sk_buff *skb, const struct conversation *talk)
{
	struct wherry_mesh *mesh = find_mesh();
	bool is_ours = false;

	if (!mesh || !is_unicast(talk->client))
		return true;
	if (unlikely(mesh->asks_routes))
		return is_martian(skb, talk);
	for (int i = 0; i < WHERRY_MESH_OWN; i++)
		if (mesh->own[i] == talk->client)
			return true;
	for (int i = 0; i < WHERRY_MESH_OURS; i++)
		is_ours |= (talk->client & mesh->ours[i].mask) == mesh->ours[i].addr;
	return unlikely(is_ours) &&
	       (is_public(talk->client) || bpf_map_lookup_elem(&wherry_endpoints, &talk->client));
}

/*
 * Brings the machine's memory of the flow up to date. Returns the address to deliver to, 0 when the
 * client cannot be one.
 */
static __always_inline __be32 learn_flow(struct __sk_buff *skb, struct wherry_machine *machine,
	struct wherry_flow_key *key, struct wherry_flow *flow, const struct conversation *talk,
	enum wherry_via via)
{
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	struct wherry_flow fresh = {
		.public_addr = talk->addr,
		.ifindex = talk->ifindex,
		.via = via,
		.seen_ns = now_ns,
		.edge = talk->edge,
	};

	/* Passed on by a host that is no edge: that says nothing new of a client that is known. */
	if (flow && via == WHERRY_VIA_MESH && !talk->edge) {
		fresh.ifindex = flow->ifindex;
		fresh.via = flow->via;
		fresh.edge = flow->edge;
	}
	if (likely(flow && now_ns - flow->seen_ns < BIND_LIFE_NS &&
		    flow->public_addr == talk->addr && flow->ifindex == fresh.ifindex &&
		    flow->via == fresh.via && flow->edge == fresh.edge))
		return flow->local_addr;
	/* A flow from outside that is known was looked at when it was new. */
	if (via == WHERRY_VIA_NEIGHBOUR && (!flow || flow->via != via) && is_martian(skb, talk))
		return 0;
	fresh.local_addr = find_local_addr(skb, machine, talk);
	if (!flow) {
		bpf_map_update_elem(&wherry_flows, key, &fresh, BPF_ANY);
		return fresh.local_addr;
	}
	/* In place, and not the next hop, which is the answers' to write. */
	if (flow->ifindex != fresh.ifindex)
		flow->next_hop_ns = 0;
	flow->public_addr = fresh.public_addr;
	flow->local_addr = fresh.local_addr;
	flow->ifindex = fresh.ifindex;
	flow->via = fresh.via;
	flow->edge = fresh.edge;
	flow->seen_ns = now_ns;
	return fresh.local_addr;
}

/* The way back of a flow that a machine opened itself. 0: none. */
static __always_inline __u32 find_outflow(const struct conversation *talk)
{
	struct wherry_outflow_key key = {
		.public_addr = talk->addr,
		.remote = talk->client,
		.port = talk->port,
		.remote_port = talk->client_port,
		.protocol = IPPROTO_UDP,
	};
	struct wherry_outflow *outflow = bpf_map_lookup_elem(&wherry_outflows, &key);
	struct wherry_machine *machine;

	if (!outflow)
		return 0;
	machine = find_machine(outflow->machine);
	return machine && machine->flow_tag == outflow->flow_tag ? outflow->machine : 0;
}

enum found {
	FOUND,		 /* on this host */
	FOUND_ELSEWHERE, /* on another */
	FOUND_NOT_OURS,	 /* no address of an app */
	FOUND_NO_SERVICE,
	FOUND_NO_MACHINE,
	FOUND_MARTIAN,
};

/* The machine at @index when it is on this host and knows the flow. */
static __always_inline struct wherry_flow *find_flow_at(
	__u32 index, struct wherry_flow_key *key, struct target *target)
{
	struct wherry_machine *machine = find_machine(index);

	if (!machine)
		return NULL;
	target->index = index;
	target->machine = machine;
	return machine->host ? NULL : find_flow(machine, key);
}

/*
 * Who has the flow: the former machine or the slot's where they are here and know it, then one that
 * wrote to the client first; none: the former machine's host, which knows its flows, if it is
 * another; else the slot's machine. @target has no machine when there is none.
 */
static __always_inline struct wherry_flow *choose_machine(
	struct wherry_slot slot, __u32 sender, struct wherry_flow_key *key, struct target *target)
{
	struct wherry_flow *flow = NULL;
	struct target former = {};

	if (unlikely(slot.former)) {
		flow = find_flow_at(slot.former, key, target);
		if (flow)
			return flow;
		former = *target;
		*target = (struct target){};
	}
	flow = find_flow_at(slot.machine, key, target);
	if (flow)
		return flow;
	if (unlikely(sender && sender != target->index))
		return find_flow_at(sender, key, target);
	if (unlikely(former.machine && former.machine->host) && !sender) {
		*target = former;
		target->is_former = true;
	}
	return NULL;
}

/* @learn is false for ICMP errors: what a router says is no sign of the client. */
static __always_inline enum found find_target(struct __sk_buff *skb,
	const struct conversation *talk, enum wherry_via via, bool learn, struct target *target)
{
	const struct place_of_service place = look_up(talk->addr, IPPROTO_UDP, talk->port);
	struct wherry_service *service = place.service;
	struct wherry_flow *flow = NULL;
	struct wherry_slot slot = {};
	struct wherry_flow_key key = {
		.client = talk->client,
		.client_port = talk->client_port,
		.port = talk->port,
		.protocol = IPPROTO_UDP,
	};
	__u32 sender = 0;

	if (likely(service)) {
		slot = find_slot(service, talk->client, talk->addr, talk->client_port, talk->port);
		if (unlikely(service->flags & WHERRY_SERVICE_HAS_OUTFLOWS))
			sender = find_outflow(talk);
	} else {
		if (!place.address)
			return FOUND_NOT_OURS;
		if (place.address->udp_port_bits & WHERRY_ADDRESS_HAS_OUTFLOWS)
			sender = find_outflow(talk);
		if (!sender)
			return FOUND_NO_SERVICE;
	}
	flow = choose_machine(slot, sender, &key, target);
	if (!target->machine)
		return FOUND_NO_MACHINE;
	if (target->machine->host) {
		const bool is_martian_client = via == WHERRY_VIA_NEIGHBOUR && learn
						       ? is_martian_abroad(skb, talk)
						       : !is_unicast(talk->client);

		return is_martian_client ? FOUND_MARTIAN : FOUND_ELSEWHERE;
	}
	if (learn)
		target->local_addr = learn_flow(skb, target->machine, &key, flow, talk, via);
	else
		target->local_addr =
			flow ? flow->local_addr : find_local_addr(skb, target->machine, talk);
	return target->local_addr ? FOUND : FOUND_MARTIAN;
}

/* To the host that the machine is on. */
static __always_inline int send_to_machine(
	struct __sk_buff *skb, const struct packet *packet, const struct target *target)
{
	struct wherry_mesh *mesh = find_mesh();

	if (!mesh)
		return drop(WHERRY_STALE_MACHINE);
	if (unlikely(mesh_bytes(skb, packet) > mesh->mtu_bytes))
		return send_to_resizer(skb, packet, mesh);
	count_rx(target->index, packet->tot_len);
	/* By its primary address it is asked as a former machine: see bpf/mesh.h. */
	return encapsulate(skb, packet, mesh, mesh->addr,
		target->is_former ? target->machine->primary : target->machine->service);
}

/* The packet is the machine's now: out of the veth, inside its namespace. */
static __always_inline int hand_over(
	struct __sk_buff *skb, struct wherry_machine *machine, __u32 index, enum wherry_via via)
{
	count_rx(index, skb->len - l2_len);
	/* Nobody needs the frame's addresses there, but programs that listen to all frames. */
	if (l2_len == 0 && put_ethernet(skb, machine->mac, machine->gateway_mac) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	if (likely(via != WHERRY_VIA_STACK))
		return bpf_redirect_peer(machine->ifindex, 0);
	/*
	 * From the loopback device: it carries a route of the host, which older kernels keep over
	 * bpf_redirect_peer(); sending it through the veth takes it off everywhere.
	 */
	if (put_ethernet(skb, machine->mac, machine->gateway_mac) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	return bpf_redirect(machine->ifindex, 0);
}

static __always_inline struct wherry_fragment_key fragment_key(const struct packet *packet)
{
	struct wherry_fragment_key key = {
		.saddr = packet->saddr,
		.daddr = packet->daddr,
		.id = packet->id,
		.protocol = IPPROTO_UDP,
		.ifindex = packet->ifindex,
	};

	return key;
}

/* No service, no machine: the kernel answers that the port is closed (see accept.bpf.c). */
static __always_inline int leave_to_kernel(__be32 addr, enum wherry_verdict verdict)
{
	return is_public(addr) ? leave(verdict) : TCX_NEXT;
}

/* For the later ones of the datagram. @fragment with machine 0: they are the kernel's. */
static __always_inline void remember_fragment(
	const struct packet *packet, struct wherry_fragment fragment)
{
	struct wherry_fragment_key key = fragment_key(packet);

	fragment.seen_ns = bpf_ktime_get_coarse_ns();
	bpf_map_update_elem(&wherry_fragments, &key, &fragment, BPF_ANY);
}

/* What the first fragment left, or NULL. */
static __always_inline struct wherry_fragment *find_fragment(const struct packet *packet)
{
	struct wherry_fragment_key key = fragment_key(packet);
	struct wherry_fragment *fragment = bpf_map_lookup_elem(&wherry_fragments, &key);

	if (!fragment || bpf_ktime_get_coarse_ns() - fragment->seen_ns > WHERRY_FRAGMENT_LIFE_NS)
		return NULL;
	return fragment;
}

static __always_inline int deliver_udp(
	struct __sk_buff *skb, const struct packet *packet, enum wherry_via via)
{
	const struct conversation talk = {
		.client = packet->saddr,
		.addr = packet->daddr,
		.client_port = packet->sport,
		.port = packet->dport,
		.ifindex = packet->ifindex,
	};
	struct target target = {};
	enum found found = find_target(skb, &talk, via, true, &target);

	if (found == FOUND_MARTIAN)
		return drop(WHERRY_MARTIAN_SOURCE);
	if (found == FOUND_ELSEWHERE) {
		if (unlikely(packet->more_fragments))
			remember_fragment(
				packet, (struct wherry_fragment){.machine = target.index});
		return send_to_machine(skb, packet, &target);
	}
	if (found == FOUND_NOT_OURS)
		return TCX_NEXT;
	if (unlikely(found != FOUND)) {
		/* The kernel is to have all of it: the host may listen on an app's address. */
		if (packet->more_fragments)
			remember_fragment(packet, (struct wherry_fragment){});
		return leave(found == FOUND_NO_SERVICE ? WHERRY_NO_SERVICE : WHERRY_NO_MACHINE);
	}
	/* The machine's kernel would drop its own address coming in from outside, uncounted. */
	if (via == WHERRY_VIA_FABRIC && (packet->saddr == target.machine->primary ||
						packet->saddr == target.machine->service))
		return drop(WHERRY_HAIRPIN_TO_SELF);
	if (unlikely(packet->more_fragments))
		remember_fragment(packet, (struct wherry_fragment){
						  .addr = target.local_addr,
						  .machine = target.index,
					  });
	if (rewrite_udp(skb, packet, offsetof(struct iphdr, daddr), packet->daddr,
		    target.local_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	return hand_over(skb, target.machine, target.index, via);
}

static __always_inline int deliver_udp_later(
	struct __sk_buff *skb, const struct packet *packet, enum wherry_via via)
{
	struct wherry_fragment *fragment = find_fragment(packet);
	struct wherry_machine *machine;
	__be32 addr;
	__u32 index;

	if (!fragment) {
		struct wherry_address *address =
			bpf_map_lookup_elem(&wherry_addresses, &packet->daddr);

		/* The kernel could not complete it: the first one is not coming its way. */
		if (!address)
			return TCX_NEXT;
		return address->udp_port_bits ? drop(WHERRY_FRAGMENT_UNKNOWN)
					      : leave(WHERRY_NO_SERVICE);
	}
	addr = fragment->addr;
	index = fragment->machine;
	if (!index)
		return leave(WHERRY_NO_SERVICE);
	machine = find_machine(index);
	if (!machine)
		return drop(WHERRY_STALE_MACHINE);
	if (machine->host) {
		const struct target target = {.machine = machine, .index = index};

		return send_to_machine(skb, packet, &target);
	}
	if (addr != machine->primary && addr != machine->service)
		return drop(WHERRY_STALE_MACHINE);
	if (rewrite_ip(skb, offsetof(struct iphdr, daddr), packet->daddr, addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	return hand_over(skb, machine, index, via);
}

/* The client, or a router on the way to it, says that an answer could not be delivered. */
static __always_inline int deliver_icmp(
	struct __sk_buff *skb, const struct packet *packet, enum wherry_via via)
{
	const struct conversation talk = {
		.client = packet->quoted_daddr,
		.addr = packet->quoted_saddr,
		.client_port = packet->quoted_dport,
		.port = packet->quoted_sport,
		.ifindex = packet->ifindex,
	};
	struct target target = {};
	enum found found;

	if (packet->daddr != packet->quoted_saddr)
		return leave_to_kernel(packet->daddr, WHERRY_NO_SERVICE);
	found = find_target(skb, &talk, via, false, &target);
	if (found == FOUND_ELSEWHERE)
		return send_to_machine(skb, packet, &target);
	if (found != FOUND)
		return leave_to_kernel(packet->daddr, WHERRY_NO_SERVICE);
	if (rewrite_quoted(skb, packet, offsetof(struct iphdr, saddr), packet->quoted_saddr,
		    target.local_addr) < 0 ||
		rewrite_ip(skb, offsetof(struct iphdr, daddr), packet->daddr, target.local_addr) <
			0)
		return drop(WHERRY_REWRITE_FAILED);
	return hand_over(skb, target.machine, target.index, via);
}

static __always_inline int deliver(struct __sk_buff *skb, enum packet_kind kind,
	const struct packet *packet, enum wherry_via via)
{
	switch (kind) {
	case PACKET_UDP:
		return deliver_udp(skb, packet, via);
	case PACKET_UDP_LATER:
		return deliver_udp_later(skb, packet, via);
	case PACKET_ICMP_ERROR:
		return deliver_icmp(skb, packet, via);
	case PACKET_MALFORMED:
		/* Not ours to judge where it is for somebody else. */
		return is_public(packet->daddr) ? drop(WHERRY_MALFORMED) : TCX_NEXT;
	default:
		return TCX_NEXT;
	}
}
