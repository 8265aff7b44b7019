/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The least that forwarding by tc programs can cost on one host: no lookup, no state, no counter,
 * one address and two interfaces fixed at load time. It is the floor under the real data plane and
 * forwards nothing but the bench: IPv4 without options, no fragments, no ICMP.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stddef.h>

#include "floor.h"

#define IP_SUM_AT  (ETH_HLEN + offsetof(struct iphdr, check))
#define UDP_SUM_AT (ETH_HLEN + sizeof(struct iphdr) + offsetof(struct udphdr, check))

const volatile struct floor_config config = {};

/* The packet's IPv4 header when it is UDP without options, else NULL. */
static __always_inline struct iphdr *parse(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;

	if ((void *)(ip + 1) + sizeof(struct udphdr) > end)
		return NULL;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return NULL;
	return ip;
}

static __always_inline void replace(struct __sk_buff *skb, __u32 at, __u32 from, __u32 to)
{
	bpf_l3_csum_replace(skb, IP_SUM_AT, from, to, 4);
	bpf_l4_csum_replace(skb, UDP_SUM_AT, from, to, 4 | BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

SEC("tc")
int from_client(struct __sk_buff *skb)
{
	struct iphdr *ip = parse(skb);
	__u32 wanted = config.public_be ? config.public_be : config.app_be;

	if (!ip || ip->daddr != wanted)
		return TC_ACT_OK;
	if (config.public_be)
		replace(skb, ETH_HLEN + offsetof(struct iphdr, daddr), config.public_be,
			config.app_be);
	/* The frame was addressed to the host, so the packet is "for this host" already: the
	 * app's side needs no Ethernet addresses. */
	return bpf_redirect_peer(config.app_ifindex, 0);
}

SEC("tc")
int from_app(struct __sk_buff *skb)
{
	struct iphdr *ip = parse(skb);

	if (!ip || ip->saddr != config.app_be)
		return TC_ACT_OK;
	if (config.public_be)
		replace(skb, ETH_HLEN + offsetof(struct iphdr, saddr), config.app_be,
			config.public_be);
	if (config.returns_by == FLOOR_RETURN_NEIGH)
		return bpf_redirect_neigh(config.client_ifindex, NULL, 0, 0);
	if (config.returns_by == FLOOR_RETURN_PEER)
		return bpf_redirect_peer(config.client_ifindex, 0);
	bpf_skb_store_bytes(skb, 0, (const void *)config.client_mac, 6, 0);
	bpf_skb_store_bytes(skb, 6, (const void *)config.host_mac, 6, 0);
	return bpf_redirect(config.client_ifindex, 0);
}

char LICENSE[] SEC("license") = "GPL";
