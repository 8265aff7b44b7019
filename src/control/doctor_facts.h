/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor sees on a host, as plain data. Gathering never fails: what could not be seen is
 * said to be unknown, so that one broken part does not hide the others.
 */
#pragma once

#include "control/doctor.h"

enum doctor_answer {
	DOCTOR_UNKNOWN,
	DOCTOR_NO,
	DOCTOR_YES,
};

/* A base chain at the forward hook that drops what no rule of it accepts. */
struct doctor_chain {
	char *family, *table, *chain;
	bool accepts_machines; /* some rule of its table names wm-* */
};

struct doctor_route {
	struct prefix to;
	char dev[IFNAMSIZ];
};

/* The sockets of the machine of the same place in the options. */
struct doctor_sockets {
	struct machine_socket *list;
	size_t count;
	char *problem; /* NULL when they could be listed */
};

struct doctor_facts {
	char kernel_release[65];
	enum doctor_answer has_btf, has_tc, has_tcx, has_sk_lookup;
	enum doctor_answer has_bpffs;	     /* bpf_dir is there, on a bpffs */
	int ip_forward;			     /* -1: unknown */
	int rp_filter_all, rp_filter_public; /* likewise */
	enum doctor_answer has_nft, has_nft_table;
	struct doctor_chain *chains;
	size_t chain_count;
	struct doctor_route *routes; /* IPv4, of the main table, but default and machines' ones */
	size_t route_count;
	char *podman_problem; /* NULL when podman answers; then all of the next are set */
	bool is_podman_there;
	char podman_version[32], cgroup_manager[32], cgroup_version[16], oci_runtime[32];
	bool is_mesh_up;
	unsigned int mesh_mtu_bytes; /* 0: there is no such interface */
	uint64_t max_files;	     /* 0: unknown */
	enum doctor_answer may_raise_limits;
	enum doctor_answer is_clock_synchronised;
	uint64_t disk_bytes, disk_free_bytes; /* of state_dir's file system; 0, 0: unknown */
	struct doctor_sockets *machines;      /* as many as options->machine_count */
	size_t machine_count;
};

void doctor_gather(const struct doctor_options *options, struct doctor_facts *out);
void doctor_facts_clear(struct doctor_facts *facts);

/* Adds the checks to @report; pure. */
void doctor_judge(const struct doctor_options *options, const struct doctor_facts *facts,
	struct doctor_report *report);
