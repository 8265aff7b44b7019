/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What programs.c tells programs.bpf.c of the packets to make, and hears of the time they took. */
#pragma once

struct programs_plan {
	__u32 flows;	/* so many different ones by turns; 0: every packet is of a new one */
	__u32 services; /* so many different ones by turns: 100 ports an address */
	__u32 daddr;	/* of the first, host byte order */
	__u32 dport;
	__u32 next; /* number of the next packet's flow */
	__u32 mesh_ifindex;
};

struct programs_time {
	__u64 ns, packets;
	__u64 left_ns; /* when the last packet was given away; 0: none yet */
};

/* The only global variable of programs.bpf.c. */
struct programs_state {
	struct programs_plan plan;
	struct programs_time time;
};

#define PROGRAMS_PORTS 100 /* services of one address */
