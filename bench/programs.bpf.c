/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What one packet costs in one program, under BPF_PROG_TEST_RUN. The kernel's loop does not put the
 * packet back between repeats, so what is run is again(): it takes off the header that the program
 * has put on, makes the packet one of another flow, and goes on to the program by a tail call. The
 * time between its end and its next beginning is the program's, and that of the loop and of asking
 * for the time, which nothing() alone has, too. Times that no program takes are left out: somebody
 * else had the CPU.
 *
 * bare() is the least that choosing and encapsulating can be: parse, hash once, push the header.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "programs.h"
#include "wherry/abi.h"

#define IPPROTO_MINIMAL 55
#define SOURCE_PRESENT	0x80
#define AWAY_NS		5000
#define FIRST_CLIENT	0x64400000U /* 100.64.0.0 */

struct minimal_header {
	__u8 protocol, flags;
	__u16 check;
	__be32 daddr, saddr;
};
_Static_assert(sizeof(struct minimal_header) == WHERRY_MINIMAL_BYTES, "as on the wire");

struct programs_state state;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} subject SEC(".maps");

struct packet {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed));

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u16 sum_words(const __u32 *words, int count)
{
	__u64 sum = 0;

	for (int i = 0; i < count; i++)
		sum += words[i];
	return fold(sum);
}

/* The whole packet as it is before the program, of flow number @flow: each has a client of its own.
 */
static __always_inline void make_packet(struct packet *packet, __u32 len, __u32 flow)
{
	__u32 service = state.plan.services > 1 ? flow % state.plan.services : 0;
	struct iphdr *ip = &packet->ip;

	ip->tot_len = bpf_htons(len - ETH_HLEN);
	ip->protocol = IPPROTO_UDP;
	ip->saddr = bpf_htonl(FIRST_CLIENT + flow);
	ip->daddr = bpf_htonl(state.plan.daddr + service / PROGRAMS_PORTS);
	ip->check = 0;
	ip->check = sum_words((__u32 *)ip, sizeof(*ip) / 4);
	packet->udp.source = bpf_htons(1024 + flow % 16384);
	packet->udp.dest = bpf_htons(state.plan.dport + service % PROGRAMS_PORTS);
}

SEC("tc")
int again(struct __sk_buff *skb)
{
	__u64 began_ns = bpf_ktime_get_ns();
	struct packet *packet = (void *)(long)skb->data;
	__u32 flow = state.plan.next++;

	if (state.time.left_ns && began_ns - state.time.left_ns < AWAY_NS) {
		state.time.ns += began_ns - state.time.left_ns;
		state.time.packets++;
	}
	if ((void *)(packet + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	if (packet->ip.protocol == IPPROTO_MINIMAL &&
		bpf_skb_adjust_room(
			skb, -WHERRY_MINIMAL_BYTES, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return TC_ACT_SHOT;
	packet = (void *)(long)skb->data;
	if ((void *)(packet + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	if (state.plan.flows)
		flow %= state.plan.flows;
	make_packet(packet, skb->len, flow);
	state.time.left_ns = bpf_ktime_get_ns();
	bpf_tail_call(skb, &subject, 0);
	return TC_ACT_SHOT;
}

SEC("tc")
int nothing(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("tc")
int bare(struct __sk_buff *skb)
{
	struct packet *packet = (void *)(long)skb->data;
	struct minimal_header *minimal;
	struct iphdr *ip;
	__u32 hash;

	if ((void *)(packet + 1) > (void *)(long)skb->data_end)
		return TC_ACT_OK;
	if (packet->eth.h_proto != bpf_htons(ETH_P_IP) || packet->ip.ihl != 5 ||
		packet->ip.protocol != IPPROTO_UDP)
		return TC_ACT_OK;
	hash = wherry_hash_flow(
		packet->ip.saddr, packet->ip.daddr, packet->udp.source, packet->udp.dest);
	if (bpf_skb_adjust_room(
		    skb, WHERRY_MINIMAL_BYTES, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return TC_ACT_SHOT;
	ip = (void *)(long)skb->data + ETH_HLEN;
	minimal = (void *)(ip + 1);
	if ((void *)(minimal + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	minimal->protocol = ip->protocol;
	minimal->flags = SOURCE_PRESENT;
	minimal->check = 0;
	minimal->daddr = ip->daddr;
	minimal->saddr = ip->saddr;
	minimal->check = sum_words((__u32 *)minimal, sizeof(*minimal) / 4);
	ip->protocol = IPPROTO_MINIMAL;
	ip->tot_len = bpf_htons(bpf_ntohs(ip->tot_len) + WHERRY_MINIMAL_BYTES);
	ip->saddr = bpf_htonl(0xc0000201); /* 192.0.2.1 */
	ip->daddr = bpf_htonl(0xac100003 + 8 * (hash % 8));
	ip->check = 0;
	ip->check = sum_words((__u32 *)ip, sizeof(*ip) / 4);
	return bpf_redirect_neigh(state.plan.mesh_ifindex, NULL, 0, 0);
}

char LICENSE[] SEC("license") = "GPL";
