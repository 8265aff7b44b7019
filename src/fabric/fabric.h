/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane as userspace sees it: BPF programs and maps that belong to the host, pinned under
 * a directory of bpffs. Opening takes over what is pinned (links keep forwarding all the while,
 * programs are replaced by this build's in one step) or makes it. Closing leaves everything as it
 * is; fabric_remove() is the only thing that stops packets.
 *
 * All calls come from one thread; all but fabric_open() are short, apart from replacing a Maglev
 * table, which waits for an RCU grace period (some 10 ms).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/mem.h"
#include "model/config.h"
#include "wherry/abi.h"

struct err;
struct fabric;

struct fabric_options {
	const char
		*bpf_dir;   /* below a bpffs, which is mounted when it is not: /sys/fs/bpf/wherry */
	uint32_t max_flows; /* 0: WHERRY_MAX_FLOWS */
};

/*
 * -ENOTSUP when the kernel lacks something: the sentence says what. -EPERM when not root.
 */
int fabric_open(struct fabric **out, const struct fabric_options *options, struct err *err);
void fabric_close(struct fabric *fabric);
DEFINE_CLEANUP(struct fabric *, fabric_close)

/* Unpins everything below @bpf_dir: forwarding ends. An absent directory is success. */
int fabric_remove(const char *bpf_dir, struct err *err);

/* Clients come in by @ifindex. An interface may come back under a new ifindex: attach it again. */
int fabric_attach_edge(struct fabric *fabric, unsigned int ifindex, struct err *err);

/* Refuses sockets of the host on the pools' addresses, in the current network namespace. */
int fabric_attach_accept(struct fabric *fabric, struct err *err);

struct fabric_pool {
	struct prefix prefix;
	enum wherry_pool kind;
};

/* Makes the pools these and no others. */
int fabric_set_pools(
	struct fabric *fabric, const struct fabric_pool *pools, size_t count, struct err *err);

struct fabric_machine {
	const char *id;
	unsigned int ifindex;
	int32_t netns_id;
	struct addr primary, service, public_addr; /* public_addr: family 0 for none */
	uint8_t mac[6], gateway_mac[6];
};

/*
 * Makes the machine known and attaches the program to its interface. A machine that is known (by
 * id) is brought up to date and keeps its index, and its flows with it.
 */
int fabric_machine_set(struct fabric *fabric, const struct fabric_machine *machine, uint16_t *index,
	struct err *err);

/* Forgets the machine, its flows and it as anyone's former machine. An unknown id is success. */
int fabric_machine_remove(struct fabric *fabric, const char *id, struct err *err);

/* Calls @fn with the id of every machine that is known. */
void fabric_machines_each(struct fabric *fabric, void (*fn)(void *arg, const char *id), void *arg);

/* A set of machines that serve the same: those of an app's process group that take new flows. */
struct fabric_group {
	const char *name; /* "APP/GROUP": what its history goes by */
	const char *const *machine_ids;
	size_t machine_count;
};

struct fabric_service {
	struct addr addr; /* IPv4 */
	enum protocol protocol;
	struct port_range range;
	size_t group; /* index into the groups */
};

/*
 * Makes the data plane serve exactly these. Flows of a machine that left its group while it is
 * still known stay with it; fabric_machine_remove() ends that. @addrs are all public IPv4
 * addresses that belong to apps, with or without services. On failure what was changed is
 * consistent, and calling again completes it. -ENOSPC when a map is full.
 */
int fabric_apply(struct fabric *fabric, const struct fabric_group *groups, size_t group_count,
	const struct fabric_service *services, size_t service_count, const struct addr *addrs,
	size_t addr_count, struct err *err);

/* Sums over all CPUs. @traffic counts since the machine's index was taken by it. */
int fabric_verdicts(struct fabric *fabric, uint64_t verdicts[static WHERRY_VERDICT_COUNT]);
int fabric_machine_traffic(struct fabric *fabric, const char *id, struct wherry_traffic *traffic);

/* Lower-case name and sentence of a verdict, and whether the packet was dropped. */
const char *fabric_verdict_name(enum wherry_verdict verdict);
const char *fabric_verdict_sentence(enum wherry_verdict verdict);
bool fabric_verdict_is_drop(enum wherry_verdict verdict);
