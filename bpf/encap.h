/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Onto the mesh: put the mesh's addresses around a packet and send it out by the mesh's device.
 * Minimal encapsulation (RFC 2004) for ordinary datagrams; IP in IP (RFC 2003) where the kernel
 * must understand what it sees (segmentation) or where RFC 2004 has no place (fragments, options).
 * What is inside stays as it is. A packet too large for the mesh goes to the resizer: a namespace
 * whose kernel refuses it by ICMP or cuts it, and which sends back what it made of it.
 */
#pragma once

#include "packet.h"
#include "verdict.h"

#define IP_HEADER_LEN  20
#define UDP_HEADER_LEN 8
#define OUTER_TTL      64

/* RFC 2004, section 3.1, with the original source present. */
struct minimal_header {
	__u8 protocol;
	__u8 flags;
	__sum16 check;
	__be32 daddr;
	__be32 saddr;
};
_Static_assert(sizeof(struct minimal_header) == WHERRY_MINIMAL_BYTES, "as on the wire");

#define MINIMAL_HAS_SOURCE 0x80

static __always_inline struct wherry_mesh *find_mesh(void)
{
	__u32 zero = 0;
	struct wherry_mesh *mesh = bpf_map_lookup_elem(&wherry_mesh, &zero);

	return mesh && mesh->ifindex ? mesh : NULL;
}

static __always_inline __sum16 fold_sum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__sum16)~sum;
}

/* Of @count words with their checksum field zero; with it as it stands, 0 says that it is right. */
static __always_inline __sum16 sum_words(const __u32 *words, int count)
{
	__u64 sum = 0;

	for (int i = 0; i < count; i++)
		sum += words[i];
	return fold_sum(sum);
}

static __always_inline bool fits_minimal(struct __sk_buff *skb, const struct packet *packet)
{
	return !skb->gso_size && packet->l4_offset - packet->l3_offset == IP_HEADER_LEN &&
	       !(packet->frag_off & bpf_htons(IP_MF | IP_OFFSET));
}

/* Of the largest packet that it makes on the mesh. */
static __always_inline __u32 mesh_bytes(struct __sk_buff *skb, const struct packet *packet)
{
	if (likely(fits_minimal(skb, packet)))
		return packet->tot_len + WHERRY_MINIMAL_BYTES;
	if (!skb->gso_size || packet->tot_len + WHERRY_IPIP_BYTES > 0xffff)
		return packet->tot_len + WHERRY_IPIP_BYTES;
	return packet->l4_offset - packet->l3_offset + UDP_HEADER_LEN + skb->gso_size +
	       WHERRY_IPIP_BYTES;
}

/* Writes the frame's addresses where the packet came without (WireGuard) or with others. */
static __always_inline int put_ethernet(
	struct __sk_buff *skb, const __u8 dest[ETH_ALEN], const __u8 source[ETH_ALEN])
{
	struct ethhdr *eth;

	if (l2_len == 0 && bpf_skb_change_head(skb, ETH_HLEN, 0) < 0)
		return -1;
	reload(skb);
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return -1;
	__builtin_memcpy(eth->h_dest, dest, ETH_ALEN);
	__builtin_memcpy(eth->h_source, source, ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_IP);
	return 0;
}

/* Untouched, to where the kernel makes packets of the right size, or a refusal, of it. */
static __always_inline int send_to_resizer(
	struct __sk_buff *skb, const struct packet *packet, const struct wherry_mesh *mesh)
{
	static const __u8 mac[ETH_ALEN] = RESIZER_MAC;
	__u32 ifindex = skb->gso_size || packet->frag_off & bpf_htons(IP_DF) ? mesh->whole_ifindex
									     : mesh->pieces_ifindex;

	/* What has been there once does not become smaller. */
	if (!ifindex || packet->ifindex == mesh->whole_ifindex ||
		packet->ifindex == mesh->pieces_ifindex)
		return drop(WHERRY_TOO_BIG);
	if (put_ethernet(skb, mac, mac) < 0)
		return drop(WHERRY_REWRITE_FAILED);
	count(WHERRY_RESIZED);
	return bpf_redirect(ifindex, 0);
}

static __always_inline int push_minimal(struct __sk_buff *skb, __be32 from, __be32 to)
{
	struct minimal_header *minimal;
	struct iphdr *ip;

	if (bpf_skb_adjust_room(
		    skb, WHERRY_MINIMAL_BYTES, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return -1;
	reload(skb);
	ip = (void *)(long)skb->data + l2_len;
	minimal = (void *)(ip + 1);
	if ((void *)(minimal + 1) > (void *)(long)skb->data_end)
		return -1;
	minimal->protocol = ip->protocol;
	minimal->flags = MINIMAL_HAS_SOURCE;
	minimal->check = 0;
	minimal->daddr = ip->daddr;
	minimal->saddr = ip->saddr;
	minimal->check = sum_words((__u32 *)minimal, sizeof(*minimal) / 4);
	ip->protocol = IPPROTO_MINIMAL;
	ip->tot_len = bpf_htons(bpf_ntohs(ip->tot_len) + WHERRY_MINIMAL_BYTES);
	ip->saddr = from;
	ip->daddr = to;
	ip->check = 0;
	ip->check = sum_words((__u32 *)ip, sizeof(*ip) / 4);
	return 0;
}

/* The outer header never needs to be fragmented: see mesh_bytes(). */
static __always_inline int push_ipip(
	struct __sk_buff *skb, const struct packet *packet, __be32 from, __be32 to)
{
	struct iphdr *ip;
	__u8 tos;

	if (bpf_skb_load_bytes(skb, l2_len + offsetof(struct iphdr, tos), &tos, sizeof(tos)) < 0 ||
		bpf_skb_adjust_room(skb, WHERRY_IPIP_BYTES, BPF_ADJ_ROOM_MAC,
			BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return -1;
	reload(skb);
	ip = (void *)(long)skb->data + l2_len;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return -1;
	ip->version = 4;
	ip->ihl = IHL_MIN;
	ip->tos = tos; /* RFC 6040: ECN is copied too */
	ip->tot_len = bpf_htons(packet->tot_len + WHERRY_IPIP_BYTES);
	ip->id = packet->id;
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = OUTER_TTL;
	ip->protocol = IPPROTO_IPIP;
	ip->check = 0;
	ip->saddr = from;
	ip->daddr = to;
	ip->check = sum_words((__u32 *)ip, sizeof(*ip) / 4);
	return 0;
}

/* Out of the mesh's device, with the mesh's addresses on. */
static __always_inline int leave_by_mesh(const struct wherry_mesh *mesh)
{
	return mesh->is_ethernet ? bpf_redirect_neigh(mesh->ifindex, NULL, 0, 0)
				 : bpf_redirect(mesh->ifindex, 0);
}

/*
 * The packet to @to, which is a machine's service address or an edge, from @from, which is this
 * host's mesh address or a machine's. It fits: see mesh_bytes(). A function of its own, for the
 * stack and for the sake of programs that have it in many places.
 */
static __attribute__((noinline)) int encapsulate(struct __sk_buff *skb, const struct packet *packet,
	const struct wherry_mesh *mesh, __be32 from, __be32 to)
{
	/* Short frames are padded, and the far end would take that for data. */
	if (unlikely(!skb->gso_size && skb->len > (__u32)l2_len + packet->tot_len &&
		     bpf_skb_change_tail(skb, l2_len + packet->tot_len, 0) < 0))
		return drop(WHERRY_REWRITE_FAILED);
	if (likely(fits_minimal(skb, packet))) {
		if (push_minimal(skb, from, to) < 0)
			return drop(WHERRY_REWRITE_FAILED);
	} else if (push_ipip(skb, packet, from, to) < 0) {
		return drop(WHERRY_REWRITE_FAILED);
	}
	return leave_by_mesh(mesh);
}
