/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the BPF programs and userspace share: map keys and values, limits, counters. The only such
 * header. Maps are pinned and outlive programs and daemons; a change of any layout below raises
 * WHERRY_ABI_VERSION, which is part of the path they are pinned under, so that two builds with
 * different layouts never read each other's maps.
 *
 * Addresses and ports are in network byte order (__be32, __be16). Padding is explicit and zero:
 * hash keys are compared byte by byte.
 */
#pragma once

#include <linux/types.h>

#define WHERRY_ABI_VERSION 2

/* Entries of the Maglev table of one backend group; a prime (Maglev, NSDI 2016, section 3.4). */
#define WHERRY_MAGLEV_SLOTS 65537

#define WHERRY_MAX_MACHINES  65536 /* of the fleet, as one host numbers them; 0 is "none" */
#define WHERRY_MAX_HOSTS     4096
#define WHERRY_MAX_TABLES    4096   /* backend groups of two or more machines; 0 is "none" */
#define WHERRY_MAX_SERVICES  262144 /* (address, protocol, port block) entries */
#define WHERRY_MAX_ADDRESSES 65536
#define WHERRY_MAX_POOLS     1024
#define WHERRY_MAX_FLOWS     262144 /* default; wherryd.toml may say otherwise */
#define WHERRY_MAX_FRAGMENTS 8192
#define WHERRY_MAX_OUTFLOWS  65536

/*
 * A service entry covers an aligned block of ports: 2^(16 - port_bits) of them, a single port
 * with port_bits 16. A range is cut into at most 30 such blocks. @port has the block's low bits
 * zero.
 */
struct wherry_service_key {
	__be32 addr;
	__be16 port;
	__u8 protocol;
	__u8 port_bits;
};
_Static_assert(sizeof(struct wherry_service_key) == 8, "hash key without holes");

/*
 * A choice of machine: the owner of a flow hash, and the former owner while flows from before the
 * last change live there. Flows that the former owner knows stay with it.
 */
struct wherry_slot {
	__u16 machine; /* index into the machines; 0: none */
	__u16 former;  /* likewise */
};
_Static_assert(sizeof(struct wherry_slot) == 4, "one word, written at once");

struct wherry_service {
	struct wherry_slot slot; /* when table is 0: the whole service */
	__u32 table;		 /* index into the tables, or 0 */
	__u32 flags;		 /* enum wherry_service_flag */
	__u32 zero;
};
_Static_assert(sizeof(struct wherry_service) == 16, "no holes");

enum wherry_service_flag {
	WHERRY_SERVICE_BY_CLIENT = 1 << 0, /* a client's flows all go to one machine */
	/* Set by the programs: a machine sent from this port first; see wherry_outflows. */
	WHERRY_SERVICE_HAS_OUTFLOWS = 1 << 1,
};

/*
 * Set by the programs in udp_port_bits: a machine sent first from a port of the address that no
 * service has. Only then is what comes in there looked for among the outflows.
 */
#define WHERRY_ADDRESS_HAS_OUTFLOWS (1U << 31)

/* Per public address: which block sizes occur, bit N for port_bits N. Spares lookups on a miss. */
struct wherry_address {
	__u32 udp_port_bits;
	__u32 tcp_port_bits;
	__u64 app; /* whose it is: of the machines that may speak for it; 0: shared by apps */
};
_Static_assert(sizeof(struct wherry_address) == 16, "no holes");

/*
 * Bob Jenkins' lookup3 final mix over three words: which slot of a table a flow has. Our own,
 * because the kernel's flow hash has a key per host and two hosts would disagree. Of a service with
 * WHERRY_SERVICE_BY_CLIENT, both ports are 0.
 */
static inline __u32 wherry_hash_flow(__be32 client, __be32 addr, __be16 client_port, __be16 port)
{
	__u32 a = 0xdeadbeef + client; /* JHASH_INITVAL */
	__u32 b = 0xdeadbeef + addr;
	__u32 c = 0xdeadbeef + ((__u32)client_port << 16 | port);

#define WHERRY_ROL(word, shift) ((word) << (shift) | (word) >> (32 - (shift)))
	c ^= b, c -= WHERRY_ROL(b, 14);
	a ^= c, a -= WHERRY_ROL(c, 11);
	b ^= a, b -= WHERRY_ROL(a, 25);
	c ^= b, c -= WHERRY_ROL(b, 16);
	a ^= c, a -= WHERRY_ROL(c, 4);
	b ^= a, b -= WHERRY_ROL(a, 14);
	c ^= b, c -= WHERRY_ROL(b, 24);
#undef WHERRY_ROL
	return c;
}

/* A machine of the fleet, as the data plane of this host sees it. In use when host or ifindex is.
 */
struct wherry_machine {
	char id[16];	     /* the machine's id, NUL-terminated */
	__u64 app;	     /* a hash of its app's name, as in struct wherry_address */
	__be32 host;	     /* mesh address of the host it is on; 0: this one */
	__u32 ifindex;	     /* on this host: the host's end of its veth; else 0 */
	__s32 netns_id;	     /* on this host: its network namespace, as the host's knows it */
	__be32 primary;	     /* its first address: the source of its own traffic */
	__be32 service;	     /* fly-global-services */
	__be32 public_addr;  /* what it sends from when no flow says otherwise; 0: none */
	__u32 flow_tag;	     /* in the key of its flows; a new machine in this place has another */
	__u8 mac[6];	     /* eth0's */
	__u8 gateway_mac[6]; /* the host end's */
};
_Static_assert(sizeof(struct wherry_machine) == 64, "no holes, one cache line");

/* Another host, by its mesh address. */
struct wherry_host {
	__u32 roles; /* enum wherry_host_role */
};
_Static_assert(sizeof(struct wherry_host) == 4, "no holes");

enum wherry_host_role {
	WHERRY_HOST_EDGE = 1 << 0,
	WHERRY_HOST_WORKER = 1 << 1,
	WHERRY_HOST_NEAR = 1 << 2, /* of this host's region: it has the same tables */
};

/* A host has machines of the app: it may pass on packets for its services. */
struct wherry_app_host_key {
	__u64 app;
	__be32 host; /* mesh address */
	__u32 zero;
};
_Static_assert(sizeof(struct wherry_app_host_key) == 16, "hash key without holes");

#define WHERRY_MESH_OWN	 8
#define WHERRY_MESH_OURS 4

struct wherry_network {
	__be32 addr, mask; /* unused: a mask of 0 and another address than that */
};
_Static_assert(sizeof(struct wherry_network) == 8, "no holes");

/*
 * The mesh as this host has it: element 0 of wherry_mesh. All zero: a host of its own. Packets of
 * the mesh have the mesh addresses of hosts and the service addresses of machines outside.
 */
struct wherry_mesh {
	__u32 ifindex;	      /* the WireGuard device, or the underlay's with underlay plain */
	__be32 addr;	      /* this host's mesh address */
	__be32 nearest_edge;  /* for what machines send first; @addr: this host; 0: none */
	__u32 mtu_bytes;      /* of the device: encapsulated packets are no larger */
	__u32 is_ethernet;    /* the device has Ethernet headers (underlay plain) */
	__u32 whole_ifindex;  /* to the namespace that refuses or segments what is too large */
	__u32 pieces_ifindex; /* to the same one, where datagrams without DF are fragmented */
	__be32 resizer_addr;  /* source of ICMP errors from that namespace */
	/* Who can be no client of this edge: the host itself, and what is in these networks and
	 * ours. */
	__be32 own[WHERRY_MESH_OWN];
	struct wherry_network ours[WHERRY_MESH_OURS];
	__u32 asks_routes; /* there are more than that: the routes know them all */
	__u32 zero;
};
_Static_assert(sizeof(struct wherry_mesh) == 104, "no holes");

/* Programs that are gone on to from others. */
enum wherry_next_program {
	WHERRY_NEXT_MESH, /* of the mesh, by a device with Ethernet headers (underlay plain) */
	WHERRY_NEXT_COUNT,
};

/* An edge that sent to a machine which is not here; the value is when, CLOCK_MONOTONIC. */
struct wherry_stale_key {
	__be32 edge;	/* its mesh address */
	__be32 service; /* the machine's service address */
};
_Static_assert(sizeof(struct wherry_stale_key) == 8, "hash key without holes");

/*
 * Ethernet address of the resizer's ends of its two links: 02:77:72:00:00:01. Packets are sent
 * there without asking for it.
 */
#define RESIZER_MAC                                                                                \
	{                                                                                          \
		0x02, 0x77, 0x72, 0x00, 0x00, 0x01                                                 \
	}

/* What encapsulation adds: RFC 2004 with the source present; RFC 2003. */
#define WHERRY_MINIMAL_BYTES 12
#define WHERRY_IPIP_BYTES    20

/* One client's flow to one port of a machine. */
struct wherry_flow_key {
	__u32 flow_tag;
	__be32 client;
	__be16 client_port;
	__be16 port;
	__u8 protocol;
	__u8 zero[3];
};
_Static_assert(sizeof(struct wherry_flow_key) == 16, "hash key without holes");

/* How the answer of a flow leaves. */
enum wherry_via {
	WHERRY_VIA_NEIGHBOUR, /* out of the interface, to the next hop of the client's address */
	WHERRY_VIA_STACK,     /* the client is a program of this host */
	WHERRY_VIA_FABRIC,    /* the client is a machine of this host: look its address up again */
	WHERRY_VIA_MESH,      /* the client came in by another host, the edge */
};

struct wherry_flow {
	__be32 public_addr; /* where the client sent to: the source of the answer */
	__be32 local_addr;  /* where the machine's socket is: service or primary address */
	__u32 ifindex;	    /* the interface the client came in by */
	__u32 via;	    /* enum wherry_via */
	__u64 seen_ns;	    /* last packet of the client; CLOCK_MONOTONIC, a few ms coarse */
	/* WHERRY_VIA_NEIGHBOUR: the next hop as the routes had it then. Written by the answers. */
	__u64 next_hop_ns;
	__u8 next_hop_mac[6], source_mac[6];
	__be32 edge; /* WHERRY_VIA_MESH: mesh address of the edge it was heard by last */
};
_Static_assert(sizeof(struct wherry_flow) == 48, "no holes");

/* Fragments after the first carry no ports; the first one leaves the verdict here for them. */
struct wherry_fragment_key {
	__be32 saddr;
	__be32 daddr;
	__be16 id;
	__u8 protocol;
	__u8 zero;
	__u32 ifindex; /* where it came in: ids of different links do not mix */
};
_Static_assert(sizeof(struct wherry_fragment_key) == 16, "hash key without holes");

struct wherry_fragment {
	__be32 addr;   /* towards the machine: destination; from it: source */
	__u32 machine; /* towards the machine: its index */
	__u32 ifindex; /* from the machine: where it leaves */
	__u32 via;     /* from the machine: enum wherry_via */
	__u64 seen_ns;
	__be32 edge; /* from the machine, WHERRY_VIA_MESH */
	__u32 zero;
};
_Static_assert(sizeof(struct wherry_fragment) == 32, "no holes");

/* Reassembly gives up after this; a fragment id may mean another datagram then (RFC 791, 6.3). */
#define WHERRY_FRAGMENT_LIFE_NS 30000000000ULL

/* A flow that a machine opened from its service address. */
struct wherry_outflow_key {
	__be32 public_addr;
	__be32 remote;
	__be16 port;
	__be16 remote_port;
	__u8 protocol;
	__u8 zero[3];
};
_Static_assert(sizeof(struct wherry_outflow_key) == 16, "hash key without holes");

struct wherry_outflow {
	__u32 machine;
	__u32 flow_tag; /* the machine's when it sent; stale when it differs */
};
_Static_assert(sizeof(struct wherry_outflow) == 8, "no holes");

/* Longest-prefix-match key of the public pools; IPv4 as ::ffff:a.b.c.d, prefix 96 + n. */
struct wherry_pool_key {
	__u32 prefix_bits;
	__be32 addr[4];
};
_Static_assert(sizeof(struct wherry_pool_key) == 20, "no holes");

enum wherry_pool {
	WHERRY_POOL_CLOSED = 1, /* sockets of the host do not answer here */
	WHERRY_POOL_HOST = 2,	/* the host's own address: they do */
};

struct wherry_traffic {
	__u64 rx_packets, rx_bytes; /* to the machine, through the fabric */
	__u64 tx_packets, tx_bytes; /* from it */
};
_Static_assert(sizeof(struct wherry_traffic) == 32, "no holes");

/*
 * What becomes of a packet. X(NAME, "name", kind, sentence): every packet that the programs drop or
 * leave to the kernel is counted under exactly one of these; forwarded packets count in the
 * machine's traffic. The text is what people and the API see.
 */
#define WHERRY_VERDICTS(X)                                                                         \
	X(MALFORMED, "malformed", DROP,                                                            \
		"the IP, UDP or ICMP header is cut short or contradicts itself")                   \
	X(FRAGMENT_UNKNOWN, "fragment_unknown", DROP,                                              \
		"a later fragment came before the first one or 30 s after it")                     \
	X(SPOOFED_SOURCE, "spoofed_source", DROP,                                                  \
		"a machine sent from an address that is not its own")                              \
	X(MARTIAN_SOURCE, "martian_source", DROP,                                                  \
		"a client outside has an address of this host, or one that is nobody's")           \
	X(UNKNOWN_INTERFACE, "unknown_interface", DROP, "no machine is known on the interface")    \
	X(NO_PRIVATE_NETWORK, "no_private_network", DROP,                                          \
		"a machine sent IPv6, which no private network carries yet")                       \
	X(HAIRPIN_TO_SELF, "hairpin_to_self", DROP,                                                \
		"a machine sent to a public address that leads to itself")                         \
	X(STALE_MACHINE, "stale_machine", DROP,                                                    \
		"the machine left between the choice and the delivery")                            \
	X(MESH_MALFORMED, "mesh_malformed", DROP,                                                  \
		"the encapsulation of a packet of the mesh is cut short or wrong")                 \
	X(MESH_UNKNOWN_HOST, "mesh_unknown_host", DROP,                                            \
		"a packet of the mesh is from an address that is no host's or machine's")          \
	X(MESH_NOT_ALLOWED, "mesh_not_allowed", DROP,                                              \
		"a host or machine sent what it may not: not an edge, or not its own address")     \
	X(MESH_NO_MACHINE, "mesh_no_machine", DROP,                                                \
		"an edge sent to a machine that is not here, and no other machine serves")         \
	X(MESH_LOOP, "mesh_loop", DROP, "a packet was passed on until its TTL was used up")        \
	X(BYPASS, "bypass", DROP,                                                                  \
		"a packet straight to a machine's address, or bare through the mesh")              \
	X(NO_EDGE, "no_edge", DROP, "a machine sent to a client and no edge is known")             \
	X(TOO_BIG, "too_big", DROP,                                                                \
		"too large for the mesh, and there is no namespace to resize it in")               \
	X(REWRITE_FAILED, "rewrite_failed", DROP,                                                  \
		"the kernel refused to change the packet (out of memory)")                         \
	X(NO_SERVICE, "no_service", PASS,                                                          \
		"no service at this port; the kernel answers port unreachable")                    \
	X(NO_MACHINE, "no_machine", PASS,                                                          \
		"no machine serves this port now; the kernel answers port unreachable")            \
	X(OWN_TRAFFIC, "own_traffic", PASS, "a machine's own traffic, left to NAT")                \
	X(TO_HOST, "to_host", PASS, "answers to a program of the host itself")                     \
	X(PASSED_ON, "passed_on", PASS,                                                            \
		"a flow of a former machine that it did not know, passed on to the next one")      \
	X(RETURNED, "returned", PASS,                                                              \
		"a former machine did not know the flow; back to the edge, which knows the next")  \
	X(STALE_ROUTE, "stale_route", PASS,                                                        \
		"an edge sent to a machine that is not here any more, passed on to one that is")   \
	X(RESIZED, "resized", PASS, "too large for the mesh; refused by ICMP, or cut to size")

enum wherry_verdict {
#define X(name, text, kind, sentence) WHERRY_##name,
	WHERRY_VERDICTS(X)
#undef X
		WHERRY_VERDICT_COUNT
};
