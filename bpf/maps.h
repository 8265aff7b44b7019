/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * All maps of the UDP plane. All are pinned: they belong to the host, not to a process, and a new
 * build of the programs takes them over.
 */
#pragma once

#include "compiler.h"
#include "wherry/abi.h"

/* Written by wherryd, read by every program. Full: wherryd refuses the service in words. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WHERRY_MAX_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wherry_service_key);
	__type(value, struct wherry_service);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_services SEC(".maps");

/* Written by wherryd. One entry a public address that has a service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WHERRY_MAX_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be32);
	__type(value, struct wherry_address);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_addresses SEC(".maps");

/*
 * The Maglev table of one backend group: flow hash modulo its size -> machine. Mapped into wherryd
 * to be read and filled: by system calls either takes some 10 ms.
 * Sizes, not types: kernel 6.1 takes a map without type information, as wherryd makes them, for
 * another kind than one with it.
 */
struct maglev_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WHERRY_MAGLEV_SLOTS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct wherry_slot));
};

/* Written by wherryd, which replaces whole tables: readers see the old one or the new one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WHERRY_MAX_TABLES);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct maglev_table);
} wherry_tables SEC(".maps");

/*
 * Written and read by wherryd alone: the map's id behind each index of wherry_tables, 0 for none.
 * Kernels before 6.8 wait a grace period, some 10 ms, for each look into a map of maps.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WHERRY_MAX_TABLES);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_table_ids SEC(".maps");

/* Written by wherryd. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WHERRY_MAX_MACHINES);
	__type(key, __u32);
	__type(value, struct wherry_machine);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_machines SEC(".maps");

/* Written by wherryd: the host's end of a machine's veth -> the machine's index. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WHERRY_MAX_MACHINES);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_interfaces SEC(".maps");

/*
 * Written by the programs, towards the machine. Full: the least recently used flow goes, and with
 * it the way back for answers of a wildcard socket until its client is heard again. The common
 * LRU list, not per-CPU ones: those split the budget.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WHERRY_MAX_FLOWS);
	__type(key, struct wherry_flow_key);
	__type(value, struct wherry_flow);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_flows SEC(".maps");

/* Written by the programs. Small and apart, so that a flood of ids evicts fragments only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WHERRY_MAX_FRAGMENTS);
	__type(key, struct wherry_fragment_key);
	__type(value, struct wherry_fragment);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_fragments SEC(".maps");

/* Written by the programs, from the machine. Full: the least recently used goes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WHERRY_MAX_OUTFLOWS);
	__type(key, struct wherry_outflow_key);
	__type(value, struct wherry_outflow);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_outflows SEC(".maps");

/* Written by wherryd. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, WHERRY_MAX_POOLS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wherry_pool_key);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_pools SEC(".maps");

/* Counted by the programs: enum wherry_verdict -> packets. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WHERRY_VERDICT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_verdicts SEC(".maps");

/* Counted by the programs, by machine index. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WHERRY_MAX_MACHINES);
	__type(key, __u32);
	__type(value, struct wherry_traffic);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_traffic SEC(".maps");

/*
 * Written by wherryd: both addresses of every machine of the fleet -> the machine's index. Only the
 * service address is one on the mesh; the primary one is there to be recognised inside.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * WHERRY_MAX_MACHINES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_endpoints SEC(".maps");

/* Written by wherryd: mesh address -> the other host. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WHERRY_MAX_HOSTS);
	__type(key, __be32);
	__type(value, struct wherry_host);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_hosts SEC(".maps");

/* Written by wherryd: which hosts have machines of which app. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WHERRY_MAX_MACHINES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wherry_app_host_key);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_app_hosts SEC(".maps");

/* Written by wherryd. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wherry_mesh);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_mesh SEC(".maps");

/*
 * Written by the programs: service addresses to which an edge sent although the machine is not
 * here (any more), with when; wherryd tells the edges that they are behind.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct wherry_stale_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_stale SEC(".maps");

/* Written by wherryd: programs that others go on to; see enum wherry_next_program. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, WHERRY_NEXT_COUNT);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} wherry_next SEC(".maps");
