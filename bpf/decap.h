/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Off the mesh: what an encapsulated packet says of itself, inside and outside, read before
 * anything is changed; and taking the outside off. Strict: what this project's own hosts never
 * send is malformed.
 */
#pragma once

#include "encap.h"

struct outside {
	__be32 from, to; /* addresses of the mesh */
	__u32 bytes;	 /* what encapsulation added: WHERRY_MINIMAL_BYTES or WHERRY_IPIP_BYTES */
};

static __always_inline bool is_mesh_protocol(__u8 protocol)
{
	return protocol == IPPROTO_MINIMAL || protocol == IPPROTO_IPIP;
}

/*
 * RFC 2004. Its IP header is the packet's own, but for addresses, protocol, length and checksum.
 * Returns the protocol of what is inside, 0 when it is malformed.
 */
static __always_inline __u8 open_minimal(
	struct __sk_buff *skb, const struct iphdr *ip, struct packet *packet)
{
	struct minimal_header minimal;

	if (packet->tot_len < IP_HEADER_LEN + sizeof(minimal) ||
		bpf_skb_load_bytes(skb, l2_len + IP_HEADER_LEN, &minimal, sizeof(minimal)) < 0 ||
		!(minimal.flags & MINIMAL_HAS_SOURCE) ||
		sum_words((__u32 *)&minimal, sizeof(minimal) / 4))
		return 0;
	packet->saddr = minimal.saddr;
	packet->daddr = minimal.daddr;
	packet->frag_off = ip->frag_off;
	packet->id = ip->id;
	packet->tot_len -= sizeof(minimal);
	/* Where it will be once the header between is gone, as seen from what follows. */
	packet->l3_offset = l2_len + sizeof(minimal);
	packet->l4_offset = packet->l3_offset + IP_HEADER_LEN;
	return minimal.protocol;
}

/* RFC 2003. */
static __always_inline __u8 open_ipip(struct __sk_buff *skb, struct packet *packet)
{
	struct iphdr ip;

	if (packet->tot_len < IP_HEADER_LEN + sizeof(ip) ||
		bpf_skb_load_bytes(skb, l2_len + IP_HEADER_LEN, &ip, sizeof(ip)) < 0 ||
		ip.version != 4 || ip.ihl < IHL_MIN ||
		bpf_ntohs(ip.tot_len) != packet->tot_len - IP_HEADER_LEN ||
		ip.ihl * 4 > bpf_ntohs(ip.tot_len))
		return 0;
	packet->saddr = ip.saddr;
	packet->daddr = ip.daddr;
	packet->frag_off = ip.frag_off;
	packet->id = ip.id;
	packet->tot_len -= IP_HEADER_LEN;
	packet->l3_offset = l2_len + IP_HEADER_LEN;
	packet->l4_offset = packet->l3_offset + ip.ihl * 4;
	return ip.protocol;
}

/* What follows the headers of the packet inside. */
static __always_inline enum packet_kind parse_inside(
	struct __sk_buff *skb, struct packet *packet, __u8 protocol)
{
	const bool is_later = packet->frag_off & bpf_htons(IP_OFFSET);

	packet->more_fragments = packet->frag_off & bpf_htons(IP_MF);
	if (protocol == IPPROTO_ICMP)
		return is_later || packet->more_fragments ? PACKET_OTHER : parse_icmp(skb, packet);
	if (protocol != IPPROTO_UDP)
		return protocol && !is_mesh_protocol(protocol) ? PACKET_OTHER : PACKET_MALFORMED;
	return is_later ? PACKET_UDP_LATER : parse_udp(skb, packet);
}

/* The caller has seen that it is of the mesh. Offsets are those with the outside on. */
static __always_inline enum packet_kind parse_encapsulated(
	struct __sk_buff *skb, struct packet *packet, struct outside *outside)
{
	struct iphdr ip;
	__u8 protocol;

	if (bpf_skb_load_bytes(skb, l2_len, &ip, sizeof(ip)) < 0)
		return PACKET_MALFORMED;
	outside->from = ip.saddr;
	outside->to = ip.daddr;
	packet->tot_len = bpf_ntohs(ip.tot_len);
	/* Hosts send neither options nor fragments: they bring packets to size before. */
	if (ip.version != 4 || ip.ihl != IHL_MIN || ip.frag_off & bpf_htons(IP_MF | IP_OFFSET) ||
		(!skb->gso_size && l2_len + packet->tot_len > skb->len))
		return PACKET_MALFORMED;
	if (ip.protocol == IPPROTO_MINIMAL) {
		outside->bytes = WHERRY_MINIMAL_BYTES;
		protocol = open_minimal(skb, &ip, packet);
	} else {
		outside->bytes = WHERRY_IPIP_BYTES;
		protocol = open_ipip(skb, packet);
	}
	return parse_inside(skb, packet, protocol);
}

static __always_inline int pop_minimal(struct __sk_buff *skb)
{
	struct minimal_header *minimal;
	struct iphdr *ip;

	/* The header need not be linear. */
	if (bpf_skb_pull_data(skb, l2_len + IP_HEADER_LEN + WHERRY_MINIMAL_BYTES) < 0)
		return -1;
	reload(skb);
	ip = (void *)(long)skb->data + l2_len;
	minimal = (void *)(ip + 1);
	if ((void *)(minimal + 1) > (void *)(long)skb->data_end)
		return -1;
	ip->protocol = minimal->protocol;
	ip->tot_len = bpf_htons(bpf_ntohs(ip->tot_len) - WHERRY_MINIMAL_BYTES);
	ip->saddr = minimal->saddr;
	ip->daddr = minimal->daddr;
	ip->check = 0;
	ip->check = sum_words((__u32 *)ip, sizeof(*ip) / 4);
	return bpf_skb_adjust_room(
		skb, -WHERRY_MINIMAL_BYTES, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/*
 * Takes the outside off; offsets are those without it from here on. IPv4 from IPv4 needs no
 * BPF_F_ADJ_ROOM_DECAP_L3_IPV4, which kernels before 6.3 do not know.
 */
static __always_inline int decapsulate(
	struct __sk_buff *skb, struct packet *packet, const struct outside *outside)
{
	int r = outside->bytes == WHERRY_MINIMAL_BYTES
			? pop_minimal(skb)
			: bpf_skb_adjust_room(skb, -WHERRY_IPIP_BYTES, BPF_ADJ_ROOM_MAC,
				  BPF_F_ADJ_ROOM_FIXED_GSO);

	packet->l3_offset -= outside->bytes;
	packet->l4_offset -= outside->bytes;
	packet->quoted_offset -= outside->bytes;
	return r;
}
