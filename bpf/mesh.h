/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From the mesh. Two kinds of packets come from there: from an edge, or from a host that passes
 * them on, to a machine of this host; and from a machine elsewhere, to clients, by this edge. Who
 * may send what is judged before anything is looked at: the mesh proves the outer source, the maps
 * say what it may.
 */
#pragma once

#include "decap.h"
#include "leave.h"

/* A packet of the mesh to a machine of ours, or one that was. */
struct arrival {
	struct outside outside;
	struct wherry_mesh *mesh;
	struct wherry_machine *machine; /* NULL: not here */
	__u32 index;
	bool is_from_edge;
	bool is_near;	  /* from a host of the same region */
	bool is_asked;	  /* as a former machine: only for flows that it knows */
	bool is_returned; /* by a former machine that did not know the flow, to this edge */
	enum wherry_verdict passed; /* why it is for another machine; COUNT: it is not */
};

static __always_inline void count_passed(const struct arrival *arrival)
{
	if (arrival->passed != WHERRY_VERDICT_COUNT)
		count(arrival->passed);
}

/* Who may send to @machine: edges, and hosts that have machines of the same app. */
static __always_inline bool may_send(
	const struct wherry_machine *machine, const struct wherry_host *host, __be32 from)
{
	struct wherry_app_host_key key = {.host = from};

	if (host->roles & WHERRY_HOST_EDGE)
		return true;
	if (!machine || !(host->roles & WHERRY_HOST_WORKER))
		return false;
	key.app = machine->app;
	return bpf_map_lookup_elem(&wherry_app_hosts, &key);
}

/*
 * Which machine the packet is for, if not the one it was sent to: its index, 0 for none. Hosts of
 * one region have the same tables; what an edge of another one meant, it has to say itself.
 */
static __always_inline __u32 find_next(
	const struct arrival *arrival, const struct conversation *talk, bool is_known)
{
	struct wherry_service *service;
	struct wherry_slot slot;

	if (is_known || (arrival->is_asked && !arrival->is_near))
		return 0;
	service = find_service(talk->addr, IPPROTO_UDP, talk->port);
	if (!service)
		return 0;
	slot = find_slot(service, talk->client, talk->addr, talk->client_port, talk->port);
	/* What another host passed on is taken: two that disagree must not play with it. */
	if (arrival->machine &&
		(!arrival->is_from_edge || !arrival->is_near || slot.former != arrival->index ||
			slot.machine == arrival->index))
		return 0;
	return slot.machine;
}

/*
 * Clients that no edge lets in. A machine's own address is one where its host is the edge: its
 * programs are clients like others.
 */
static __always_inline bool is_forged(
	const struct arrival *arrival, const struct wherry_machine *machine, __be32 client)
{
	struct wherry_machine *source;
	__u32 index;

	if (!is_unicast(client))
		return true;
	source = find_endpoint(client, &index);
	return source && (source == machine || source->host != arrival->outside.from);
}

/* An edge that is behind: wherryd tells it. */
static __always_inline void note_stale(const struct arrival *arrival)
{
	struct wherry_stale_key key = {
		.edge = arrival->outside.from,
		.service = arrival->outside.to,
	};
	__u64 now_ns = bpf_ktime_get_coarse_ns();

	if (arrival->is_from_edge)
		bpf_map_update_elem(&wherry_stale, &key, &now_ns, BPF_ANY);
}

static __always_inline __sum16 replace_addrs(
	__sum16 check, const struct iphdr *ip, __be32 from, __be32 to)
{
	return csum_replace(csum_replace(check, ip->saddr, from), ip->daddr, to);
}

/*
 * Sends the packet on as it is, to @machine's host: only the outside changes, and the TTL of the
 * packet itself, so that hosts that disagree do not play with it for ever. With RFC 2004 both are
 * one header.
 */
static __always_inline int pass_on(struct __sk_buff *skb, const struct packet *packet,
	const struct arrival *arrival, __be32 from, __be32 to)
{
	const __u32 inside = arrival->outside.bytes == WHERRY_IPIP_BYTES ? IP_HEADER_LEN : 0;
	const struct wherry_mesh *mesh = arrival->mesh;
	struct iphdr ip, outer;

	if (packet->tot_len + arrival->outside.bytes > mesh->mtu_bytes && !skb->gso_size)
		return drop(WHERRY_TOO_BIG);
	if (bpf_skb_load_bytes(skb, l2_len + inside, &ip, sizeof(ip)) < 0)
		return drop(WHERRY_MESH_MALFORMED);
	if (ip.ttl <= 1)
		return drop(WHERRY_MESH_LOOP);
	ip.ttl--;
	ip.check = 0;
	ip.check = sum_words((__u32 *)&ip, sizeof(ip) / 4);
	if (inside) {
		if (bpf_skb_store_bytes(skb, l2_len + inside, &ip, sizeof(ip), 0) < 0 ||
			bpf_skb_load_bytes(skb, l2_len, &outer, sizeof(outer)) < 0)
			return drop(WHERRY_REWRITE_FAILED);
		ip = outer;
	}
	ip.saddr = from;
	ip.daddr = to;
	ip.check = 0;
	ip.check = sum_words((__u32 *)&ip, sizeof(ip) / 4);
	if (bpf_skb_store_bytes(skb, l2_len, &ip, sizeof(ip), 0) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	count_passed(arrival);
	return leave_by_mesh(mesh);
}

static __always_inline int pass_on_elsewhere(struct __sk_buff *skb, const struct packet *packet,
	const struct arrival *arrival, const struct wherry_machine *machine)
{
	return pass_on(skb, packet, arrival, arrival->mesh->addr, machine->service);
}

/* To the edge that asked: the address from which it comes says that this is no answer. */
static __always_inline int give_back(
	struct __sk_buff *skb, const struct packet *packet, struct arrival *arrival)
{
	arrival->passed = WHERRY_RETURNED;
	return pass_on(skb, packet, arrival, arrival->outside.to, arrival->outside.from);
}

/* To @machine, which is on this host, at @local_addr. */
static __always_inline int take_in(struct __sk_buff *skb, enum packet_kind kind,
	struct packet *packet, const struct arrival *arrival, struct wherry_machine *machine,
	__u32 index, __be32 local_addr)
{
	const __u32 daddr = offsetof(struct iphdr, daddr), saddr = offsetof(struct iphdr, saddr);

	if (decapsulate(skb, packet, &arrival->outside) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	if (kind == PACKET_UDP && rewrite_udp_checksum(skb, packet, packet->daddr, local_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	if (kind == PACKET_ICMP_ERROR &&
		rewrite_quoted(skb, packet, saddr, packet->quoted_saddr, local_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	if (rewrite_ip(skb, daddr, packet->daddr, local_addr) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	count_passed(arrival);
	return hand_over(skb, machine, index, WHERRY_VIA_MESH);
}

/* Datagrams, their first fragments, and ICMP errors: what says whose it is. */
static __always_inline int take_whole(struct __sk_buff *skb, enum packet_kind kind,
	struct packet *packet, struct arrival *arrival)
{
	const bool is_error = kind == PACKET_ICMP_ERROR;
	struct conversation talk = {
		.client = is_error ? packet->quoted_daddr : packet->saddr,
		.addr = packet->daddr,
		.client_port = is_error ? packet->quoted_dport : packet->sport,
		.port = is_error ? packet->quoted_sport : packet->dport,
		.ifindex = packet->ifindex,
		.edge = arrival->is_from_edge ? arrival->outside.from : 0,
	};
	struct wherry_flow_key key = {
		.client = talk.client,
		.client_port = talk.client_port,
		.port = talk.port,
		.protocol = IPPROTO_UDP,
	};
	struct target target = {.machine = arrival->machine, .index = arrival->index};
	struct wherry_flow *flow = NULL;
	__u32 next;

	if (is_error && packet->quoted_saddr != packet->daddr)
		return drop(WHERRY_MESH_NOT_ALLOWED);
	if (target.machine)
		flow = find_flow(target.machine, &key);
	next = find_next(
		arrival, &talk, flow || (target.machine && find_outflow(&talk) == target.index));
	if (unlikely(arrival->is_asked && !next && !flow)) {
		if (packet->more_fragments)
			remember_fragment(packet, (struct wherry_fragment){
							  .machine = target.index,
							  .edge = arrival->outside.from,
						  });
		return give_back(skb, packet, arrival);
	}
	if (unlikely(next || !target.machine)) {
		target.index = next;
		target.machine = find_machine(next);
		if (!target.machine)
			return drop(WHERRY_MESH_NO_MACHINE);
		arrival->passed = arrival->machine || arrival->is_returned ? WHERRY_PASSED_ON
									   : WHERRY_STALE_ROUTE;
		if (target.machine->host) {
			if (packet->more_fragments)
				remember_fragment(
					packet, (struct wherry_fragment){.machine = target.index});
			return pass_on_elsewhere(skb, packet, arrival, target.machine);
		}
		flow = find_flow(target.machine, &key);
	}
	if (is_error) {
		target.local_addr =
			flow ? flow->local_addr : find_local_addr(skb, target.machine, &talk);
	} else {
		if (!flow && is_forged(arrival, target.machine, talk.client))
			return drop(WHERRY_MARTIAN_SOURCE);
		/* A client of this edge, whose packet was elsewhere: it came in by a route. */
		if (arrival->is_returned &&
			find_place(skb, talk.addr, talk.client, &talk.ifindex) != PLACE_OUTSIDE)
			return drop(WHERRY_MARTIAN_SOURCE);
		target.local_addr = learn_flow(skb, target.machine, &key, flow, &talk,
			arrival->is_returned ? WHERRY_VIA_NEIGHBOUR : WHERRY_VIA_MESH);
		if (!target.local_addr)
			return drop(WHERRY_MARTIAN_SOURCE);
	}
	if (packet->more_fragments)
		remember_fragment(packet, (struct wherry_fragment){
						  .addr = target.local_addr,
						  .machine = target.index,
					  });
	return take_in(skb, kind, packet, arrival, target.machine, target.index, target.local_addr);
}

static __always_inline int take_later(
	struct __sk_buff *skb, struct packet *packet, struct arrival *arrival)
{
	struct wherry_fragment *fragment = find_fragment(packet);
	struct wherry_machine *machine;
	__be32 addr;
	__u32 index;

	if (!fragment)
		return drop(WHERRY_FRAGMENT_UNKNOWN);
	index = fragment->machine;
	addr = fragment->addr;
	machine = find_machine(index);
	if (!machine)
		return drop(WHERRY_STALE_MACHINE);
	if (fragment->edge) {
		arrival->machine = machine;
		return give_back(skb, packet, arrival);
	}
	if (machine->host) {
		arrival->passed = arrival->machine || arrival->is_returned ? WHERRY_PASSED_ON
									   : WHERRY_STALE_ROUTE;
		return pass_on_elsewhere(skb, packet, arrival, machine);
	}
	if (addr != machine->primary && addr != machine->service)
		return drop(WHERRY_STALE_MACHINE);
	return take_in(skb, PACKET_UDP_LATER, packet, arrival, machine, index, addr);
}

/* Whether the packet may come to a machine of this host; COUNT: it may. */
static __always_inline enum wherry_verdict admit(
	const struct packet *packet, struct arrival *arrival)
{
	struct wherry_machine *machine = find_endpoint(arrival->outside.to, &arrival->index);
	struct wherry_host *host = bpf_map_lookup_elem(&wherry_hosts, &arrival->outside.from);
	struct wherry_address *address;

	if (!host)
		return WHERRY_MESH_UNKNOWN_HOST;
	if (!may_send(machine, host, arrival->outside.from))
		return WHERRY_MESH_NOT_ALLOWED;
	address = bpf_map_lookup_elem(&wherry_addresses, &packet->daddr);
	if (!address || (machine && address->app != machine->app))
		return WHERRY_MESH_NOT_ALLOWED;
	arrival->is_from_edge = host->roles & WHERRY_HOST_EDGE;
	arrival->is_near = host->roles & WHERRY_HOST_NEAR;
	arrival->is_asked = machine && machine->service != arrival->outside.to;
	if (arrival->is_asked && !arrival->is_from_edge)
		return WHERRY_MESH_NOT_ALLOWED;
	if (machine && !machine->host)
		arrival->machine = machine;
	else
		note_stale(arrival);
	return WHERRY_VERDICT_COUNT;
}

/* Likewise a packet that this edge asked @machine's host about, and that came back. */
static __always_inline enum wherry_verdict admit_returned(
	const struct packet *packet, struct arrival *arrival, const struct wherry_machine *machine)
{
	struct wherry_address *address = bpf_map_lookup_elem(&wherry_addresses, &packet->daddr);

	if (!machine->host || !address || address->app != machine->app)
		return WHERRY_MESH_NOT_ALLOWED;
	arrival->is_returned = true;
	return WHERRY_VERDICT_COUNT;
}

/*
 * The answer to what this machine sends may come in where its service would not lead it back: there
 * is none at that port, or the client's packets would go to another machine.
 */
static __always_inline void learn_sender(
	struct wherry_machine *machine, __u32 index, const struct packet *packet)
{
	struct wherry_service *service = find_service(packet->saddr, IPPROTO_UDP, packet->sport);
	struct wherry_slot slot = {};

	if (service)
		slot = find_slot(
			service, packet->daddr, packet->saddr, packet->dport, packet->sport);
	if (slot.machine != index && slot.former != index)
		learn_outflow(machine, index, packet->saddr, packet);
}

/* From @machine, which is elsewhere, by this edge. */
static __always_inline int to_client(struct __sk_buff *skb, enum packet_kind kind,
	struct packet *packet, const struct outside *outside, struct wherry_machine *machine,
	__u32 index)
{
	struct wherry_address *address = bpf_map_lookup_elem(&wherry_addresses, &packet->saddr);

	if (!machine->host || !address || address->app != machine->app)
		return drop(WHERRY_MESH_NOT_ALLOWED);
	if (kind == PACKET_UDP)
		learn_sender(machine, index, packet);
	count_tx(index, packet->tot_len);
	if (decapsulate(skb, packet, outside) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	return leave_to_client(skb, kind, packet);
}

/*
 * What came over a WireGuard device as it is: hosts talk to each other so, and nothing else does.
 * The host would route it to a machine that it is for, or on to the world.
 */
static __always_inline int from_host(const struct packet *packet)
{
	struct wherry_mesh *mesh = find_mesh();

	if (!mesh || mesh->is_ethernet || packet->daddr == mesh->addr)
		return TCX_NEXT;
	return drop(WHERRY_BYPASS);
}

/* The caller has seen that it is encapsulated. */
static __always_inline int from_mesh(struct __sk_buff *skb)
{
	struct packet packet = {.ifindex = load_once(skb->ifindex)};
	struct arrival arrival = {.passed = WHERRY_VERDICT_COUNT};
	enum packet_kind kind = parse_encapsulated(skb, &packet, &arrival.outside);
	enum wherry_verdict verdict;

	arrival.mesh = find_mesh();
	if (!arrival.mesh)
		return TCX_NEXT;
	/* With underlay plain others may use these protocols on the same device. */
	if (arrival.mesh->is_ethernet && arrival.outside.to != arrival.mesh->addr &&
		!bpf_map_lookup_elem(&wherry_endpoints, &arrival.outside.to) &&
		!bpf_map_lookup_elem(&wherry_hosts, &arrival.outside.from))
		return TCX_NEXT;
	if (kind == PACKET_MALFORMED)
		return drop(WHERRY_MESH_MALFORMED);
	if (kind == PACKET_OTHER)
		return drop(WHERRY_MESH_NOT_ALLOWED);
	if (arrival.outside.to == arrival.mesh->addr) {
		__u32 index = 0;
		struct wherry_machine *machine = find_endpoint(arrival.outside.from, &index);

		if (!machine)
			return drop(WHERRY_MESH_UNKNOWN_HOST);
		if (likely(machine->service == arrival.outside.from))
			return to_client(skb, kind, &packet, &arrival.outside, machine, index);
		verdict = admit_returned(&packet, &arrival, machine);
	} else {
		verdict = admit(&packet, &arrival);
	}
	if (verdict != WHERRY_VERDICT_COUNT)
		return drop(verdict);
	return kind == PACKET_UDP_LATER ? take_later(skb, &packet, &arrival)
					: take_whole(skb, kind, &packet, &arrival);
}
