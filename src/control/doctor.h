/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with this host, and what to do about it. Looking at the host (doctor_facts.h)
 * changes nothing; the judgement is a pure function of what was seen. Looking runs nft and podman,
 * takes half a second and, when they hang, up to 20: not for a loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "control/host_net.h"
#include "machine/sockets.h"
#include "model/config.h"

enum doctor_status {
	DOCTOR_OK,
	DOCTOR_WARN,
	DOCTOR_FAIL,
};

struct doctor_check {
	const char *name; /* "kernel.btf"; static, stable */
	enum doctor_status status;
	char *message; /* a sentence; for all but DOCTOR_OK it says what to do */
};

struct doctor_report {
	struct doctor_check *checks;
	size_t count;
};

void doctor_report_clear(struct doctor_report *report);

/* "ok", "warn", "fail" */
const char *doctor_status_name(enum doctor_status status);

/* A started machine whose app has UDP services. */
struct doctor_machine {
	const char *id;
	const char *netns_path;
	struct addr primary, service;
	const struct port_range *udp_ports; /* internal ports its services declare */
	size_t udp_port_count;
};

/* Of a host that is one of many. */
struct doctor_fleet {
	const char *underlay;	     /* "wireguard" or "plain" */
	const char *mesh_device;     /* the interface that packets of the mesh leave by */
	unsigned int mesh_mtu_bytes; /* what it should have */
	const char *store;	     /* its URL */
	const char *store_problem;   /* why it does not answer, a sentence; NULL: it does */
	size_t other_count;	     /* the other hosts */
	const char *lost;	     /* "worker-1, worker-2": packets do not reach them; "": none */
	const char *silent;	     /* those whose wherryd the store does not hear of */
	const struct prefix *slices; /* parts of the machine pool that are some host's */
	size_t slice_count;
};

/* What wherryd knows already. Nothing is kept after the call. */
struct doctor_options {
	const struct host_public *public; /* NULL: none was found */
	const char *public_problem;	  /* the sentence when public is NULL */
	const struct prefix *pools;	  /* of host_net_pools() */
	size_t pool_count;
	struct prefix machine_pool;
	size_t nameserver_count;
	bool is_edge, is_worker;
	const struct doctor_fleet *fleet; /* NULL: a fleet of one */
	const char *state_dir;		  /* /var/lib/wherry */
	const char *bpf_dir;		  /* /sys/fs/bpf/wherry */
	const struct doctor_machine *machines;
	size_t machine_count;
};

/* Looks and judges. Adds to @report, which starts out empty and is cleared by the caller. */
void doctor_run(const struct doctor_options *options, struct doctor_report *report);
