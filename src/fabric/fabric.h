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
	const char *app;  /* its name: which public addresses it may speak for */
	struct addr host; /* mesh address of the host it is on; family 0: this one */
	/* On this host only: */
	unsigned int ifindex;
	int32_t netns_id;
	uint8_t mac[6], gateway_mac[6];
	struct addr primary, service, public_addr; /* public_addr: family 0 for none */
};

/*
 * Makes the machine known and, on this host, attaches the program to its interface. A machine that
 * is known (by id) is brought up to date and keeps its index, and its flows with it.
 */
int fabric_machine_set(struct fabric *fabric, const struct fabric_machine *machine, uint16_t *index,
	struct err *err);

/* Forgets the machine, its flows and it as anyone's former machine. An unknown id is success. */
int fabric_machine_remove(struct fabric *fabric, const char *id, struct err *err);

/* Calls @fn with the id of every machine that is known. */
void fabric_machines_each(struct fabric *fabric, void (*fn)(void *arg, const char *id), void *arg);

/* The id of the machine that is known by this address, its primary or service one. */
bool fabric_endpoint_owner(
	const struct fabric *fabric, const struct addr *addr, char id[static 16]);

/*
 * Forgets the machine as anyone's former one: its flows go to the slots' machines from now on. It
 * stays in the service where it is the slots' own machine. For a host that died, and for a group
 * that has settled.
 */
int fabric_machine_forget_former(struct fabric *fabric, const char *id, struct err *err);

/*
 * Whether any slot of the group has @id as its former machine; and how many flows of it, seen in
 * the last @idle_s seconds, fall into such slots. The second reads all flows: some 50 ms for
 * 262,144 of them. Both return a negative errno on failure.
 */
int fabric_group_has_former(struct fabric *fabric, const char *group, const char *id);
int fabric_group_former_flows(struct fabric *fabric, const char *group, const char *id,
	unsigned int idle_s, size_t *count, struct err *err);

/* Calls @fn with every machine that is some slot's former one, by group. */
typedef void fabric_former_fn(void *arg, const char *group, const char *id);
int fabric_formers_each(struct fabric *fabric, fabric_former_fn *fn, void *arg, struct err *err);

struct fabric_host {
	struct addr mesh_addr; /* IPv4 */
	bool is_edge, is_worker;
	bool is_near; /* of the same region, so that it has the same tables */
};

/* Makes the other hosts of the fleet these and no others. */
int fabric_set_hosts(
	struct fabric *fabric, const struct fabric_host *hosts, size_t count, struct err *err);

/* See struct wherry_mesh. */
struct fabric_mesh {
	unsigned int ifindex;
	bool is_ethernet;		/* underlay plain */
	struct addr addr, nearest_edge; /* IPv4; nearest_edge: family 0 for none or this host */
	unsigned int mtu_bytes;
	unsigned int whole_ifindex, pieces_ifindex; /* 0: none */
	struct addr resizer_addr;
	/* No client from outside has these: the host's own addresses, and our networks. */
	const struct addr *own;
	size_t own_count;
	const struct prefix *ours;
	size_t ours_count;
};

/*
 * Makes the mesh this and attaches the programs to its device and to the resizer's links; NULL: no
 * mesh, programs are detached. Called again whenever something of it changes.
 */
int fabric_set_mesh(struct fabric *fabric, const struct fabric_mesh *mesh, struct err *err);

/*
 * Calls @fn with every edge that, since the last call, sent to a machine that is not here, and the
 * service address it sent to.
 */
typedef void fabric_stale_fn(void *arg, const struct addr *edge, const struct addr *service);
int fabric_stale_take(struct fabric *fabric, fabric_stale_fn *fn, void *arg, struct err *err);

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
	size_t group;	   /* index into the groups */
	bool is_by_client; /* affinity = "client": all flows of a client go to one machine */
};

/* A public IPv4 address of an app. */
struct fabric_address {
	struct addr addr;
	const char *app; /* NULL: shared by apps */
};

/*
 * Makes the data plane serve exactly these. Flows of a machine that left its group while it is
 * still known stay with it; fabric_machine_remove() ends that. @addresses are all public IPv4
 * addresses that belong to apps, with or without services. On failure what was changed is
 * consistent, and calling again completes it. -ENOSPC when a map is full.
 */
int fabric_apply(struct fabric *fabric, const struct fabric_group *groups, size_t group_count,
	const struct fabric_service *services, size_t service_count,
	const struct fabric_address *addresses, size_t address_count, struct err *err);

/* Sums over all CPUs. @traffic counts since the machine's index was taken by it. */
int fabric_verdicts(struct fabric *fabric, uint64_t verdicts[static WHERRY_VERDICT_COUNT]);
int fabric_machine_traffic(struct fabric *fabric, const char *id, struct wherry_traffic *traffic);

/* Lower-case name and sentence of a verdict, and whether the packet was dropped. */
const char *fabric_verdict_name(enum wherry_verdict verdict);
const char *fabric_verdict_sentence(enum wherry_verdict verdict);
bool fabric_verdict_is_drop(enum wherry_verdict verdict);
