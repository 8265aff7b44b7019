/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What floor.c tells floor.bpf.c: one host with one client-side and one app-side interface. */
#pragma once

enum floor_return {
	FLOOR_RETURN_NEIGH, /* the kernel looks the route and the neighbour up */
	FLOOR_RETURN_MAC,   /* both Ethernet addresses are known beforehand */
	FLOOR_RETURN_PEER,  /* straight into the client's namespace: veth only, no real host can */
};

struct floor_config {
	__u32 client_ifindex;
	__u32 app_ifindex;
	__u32 public_be; /* what the client sends to; 0: the app's own address, nothing is edited */
	__u32 app_be;
	__u32 returns_by; /* enum floor_return */
	__u8 client_mac[6];
	__u8 host_mac[6];
};
