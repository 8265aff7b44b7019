/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Edit: one address of a packet, with every checksum that covers it (RFC 1624). Ports are never
 * touched. After each of these functions all packet pointers are dead.
 */
#pragma once

#include <stddef.h>

#include "packet.h"

static __always_inline __sum16 csum_replace(__sum16 check, __be32 from, __be32 to)
{
	__u64 sum = (__u16)~check;

	sum += (__u16)~from;
	sum += (__u16)(~from >> 16);
	sum += (__u16)to;
	sum += (__u16)(to >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__sum16)~sum;
}

/*
 * The transport checksum goes through the helper: it alone knows whether the field holds a whole
 * checksum or, with offload, only the pseudo-header's part. A UDP checksum of zero stays zero.
 */
static __always_inline int rewrite_udp_checksum(
	struct __sk_buff *skb, const struct packet *packet, __be32 from, __be32 to)
{
	return bpf_l4_csum_replace(skb, packet->l4_offset + offsetof(struct udphdr, check), from,
		to, sizeof(to) | BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
}

/* @field is offsetof(struct iphdr, saddr) or daddr. */
static __always_inline int rewrite_ip(struct __sk_buff *skb, __u32 field, __be32 from, __be32 to)
{
	struct iphdr *ip;

	reload(skb);
	ip = (void *)(long)skb->data + l2_len;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return -1;
	*(__be32 *)((void *)ip + field) = to;
	ip->check = csum_replace(ip->check, from, to);
	return 0;
}

/* A datagram or its first fragment. */
static __always_inline int rewrite_udp(
	struct __sk_buff *skb, const struct packet *packet, __u32 field, __be32 from, __be32 to)
{
	if (rewrite_udp_checksum(skb, packet, from, to) < 0)
		return -1;
	return rewrite_ip(skb, field, from, to);
}

/*
 * The packet inside an ICMP error. Its header checksum changes by as much as its address, so that
 * the ICMP checksum, which covers both, stays right; the quoted UDP checksum is left as it is.
 */
static __always_inline int rewrite_quoted(
	struct __sk_buff *skb, const struct packet *packet, __u32 field, __be32 from, __be32 to)
{
	__u32 check_offset = packet->quoted_offset + offsetof(struct iphdr, check);
	__sum16 check;

	if (bpf_skb_load_bytes(skb, check_offset, &check, sizeof(check)) < 0)
		return -1;
	check = csum_replace(check, from, to);
	if (bpf_skb_store_bytes(skb, check_offset, &check, sizeof(check), 0) < 0)
		return -1;
	return bpf_skb_store_bytes(skb, packet->quoted_offset + field, &to, sizeof(to), 0);
}
