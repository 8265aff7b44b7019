/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Parse: what an IPv4 packet says of itself, copied out of it so that nothing has to be read again
 * after a helper has moved the packet. Ports are those of UDP, or those of the packet that an ICMP
 * error quotes.
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include "compiler.h"

#define IP_DF	  0x4000 /* "don't fragment" */
#define IP_MF	  0x2000 /* "more fragments" */
#define IP_OFFSET 0x1fff
#define IHL_MIN	  5

/* RFC 792. linux/icmp.h cannot be had without the C library's headers. */
#define ICMP_HEADER_LEN	   8
#define ICMP_DEST_UNREACH  3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

/* Linux' headers have no name for it: RFC 2004. */
#define IPPROTO_MINIMAL 55

/* Bytes before the IP header: Ethernet, but 0 on a WireGuard device. */
const volatile __u32 l2_len = ETH_HLEN;

enum packet_kind {
	PACKET_OTHER,	   /* not for the UDP plane */
	PACKET_UDP,	   /* a whole datagram or its first fragment: ports are there */
	PACKET_UDP_LATER,  /* a later fragment of a datagram: no ports */
	PACKET_ICMP_ERROR, /* an error about a UDP packet, which is quoted in it */
	PACKET_MESH,	   /* encapsulated in one of the forms that the mesh has */
	PACKET_MALFORMED,
};

struct packet {
	__u32 ifindex; /* where it came in */
	__be32 saddr, daddr;
	__be16 sport, dport; /* host meaning: of the packet itself, PACKET_UDP */
	__be16 id;
	__be16 frag_off; /* with the flags */
	__u16 l3_offset; /* from the start of the packet, as all offsets */
	__u16 l4_offset;
	__u16 tot_len;
	bool more_fragments;
	/* PACKET_ICMP_ERROR: the quoted packet. */
	__u16 quoted_offset;
	__be32 quoted_saddr, quoted_daddr;
	__be16 quoted_sport, quoted_dport;
};

static __always_inline enum packet_kind parse_udp(struct __sk_buff *skb, struct packet *packet)
{
	__be16 ports[2];

	/* The 8 bytes are there in any honest packet: fragments but the last are multiples of 8. */
	if (unlikely(packet->l4_offset - packet->l3_offset + sizeof(struct udphdr) >
			     packet->tot_len ||
		     bpf_skb_load_bytes(skb, packet->l4_offset, ports, sizeof(ports)) < 0))
		return PACKET_MALFORMED;
	packet->sport = ports[0];
	packet->dport = ports[1];
	return PACKET_UDP;
}

/* RFC 792: type, code, checksum, four bytes, then the header and 8 bytes of the packet at fault. */
static __always_inline enum packet_kind parse_icmp(struct __sk_buff *skb, struct packet *packet)
{
	const __u32 end = packet->l3_offset + packet->tot_len; /* what follows is padding */
	struct iphdr quoted;
	__be16 ports[2];
	__u8 type;

	if (packet->l4_offset + ICMP_HEADER_LEN > end ||
		bpf_skb_load_bytes(skb, packet->l4_offset, &type, sizeof(type)) < 0)
		return PACKET_MALFORMED;
	if (type != ICMP_DEST_UNREACH && type != ICMP_TIME_EXCEEDED && type != ICMP_PARAMETERPROB)
		return PACKET_OTHER;
	packet->quoted_offset = packet->l4_offset + ICMP_HEADER_LEN;
	if (packet->quoted_offset + sizeof(quoted) > end ||
		bpf_skb_load_bytes(skb, packet->quoted_offset, &quoted, sizeof(quoted)) < 0 ||
		quoted.version != 4 || quoted.ihl < IHL_MIN)
		return PACKET_MALFORMED;
	/* About a later fragment: it quotes no ports, and no host sends such an error in practice.
	 */
	if (quoted.protocol != IPPROTO_UDP || quoted.frag_off & bpf_htons(IP_OFFSET))
		return PACKET_OTHER;
	if (packet->quoted_offset + quoted.ihl * 4 + sizeof(ports) > end ||
		bpf_skb_load_bytes(
			skb, packet->quoted_offset + quoted.ihl * 4, ports, sizeof(ports)) < 0)
		return PACKET_MALFORMED;
	packet->quoted_saddr = quoted.saddr;
	packet->quoted_daddr = quoted.daddr;
	packet->quoted_sport = ports[0];
	packet->quoted_dport = ports[1];
	return PACKET_ICMP_ERROR;
}

/* RFC 791. The caller has seen that the packet is IPv4. */
static __always_inline enum packet_kind parse_packet(struct __sk_buff *skb, struct packet *packet)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + l2_len;
	__be16 *ports;

	if (unlikely((void *)(ip + 1) > end)) {
		/* The header need not be linear; pulling it makes it so when it is there at all. */
		if (bpf_skb_pull_data(skb, l2_len + sizeof(*ip)) < 0)
			return PACKET_MALFORMED;
		reload(skb);
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		ip = data + l2_len;
		if ((void *)(ip + 1) > end)
			return PACKET_MALFORMED;
	}
	packet->saddr = ip->saddr;
	packet->daddr = ip->daddr;
	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_ICMP)
		return ip->protocol == IPPROTO_MINIMAL || ip->protocol == IPPROTO_IPIP
			       ? PACKET_MESH
			       : PACKET_OTHER;
	packet->id = ip->id;
	packet->frag_off = ip->frag_off;
	packet->tot_len = bpf_ntohs(ip->tot_len);
	packet->l3_offset = l2_len;
	packet->l4_offset = l2_len + ip->ihl * 4;
	if (unlikely(ip->version != 4 || ip->ihl < IHL_MIN ||
		     (!skb->gso_size && l2_len + packet->tot_len > skb->len)))
		return PACKET_MALFORMED;
	packet->more_fragments = ip->frag_off & bpf_htons(IP_MF);
	if (ip->protocol == IPPROTO_ICMP)
		return ip->frag_off & bpf_htons(IP_MF | IP_OFFSET) ? PACKET_OTHER
								   : parse_icmp(skb, packet);
	if (unlikely(ip->frag_off & bpf_htons(IP_OFFSET)))
		return PACKET_UDP_LATER;
	/* Most packets: no options, and the ports are at hand. */
	ports = (void *)(ip + 1);
	if (likely(ip->ihl == IHL_MIN && (void *)(ports + 2) <= end &&
		    packet->tot_len >= sizeof(*ip) + sizeof(struct udphdr))) {
		packet->sport = ports[0];
		packet->dport = ports[1];
		return PACKET_UDP;
	}
	return parse_udp(skb, packet);
}
