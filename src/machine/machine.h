/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine on this host: a network namespace with eth0 in it, and in most cases a program that
 * wherryd started there. Three kinds: an image under podman, a program of a root directory under
 * wherry-init, and a namespace that someone else made (attached).
 *
 * Everything here blocks (some calls for seconds) and is safe to call from any thread, one call a
 * machine at a time. What it makes outlives the process: the namespace is bound under
 * /run/netns, the veth lives in it, the program's supervisor (conmon or wherry-init) is no child
 * of ours. A later process finds all of it again by the machine's id alone.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "model/config.h"
#include "model/machine_kind.h"

struct err;

struct machine_spec {
	char id[MACHINE_ID_LEN];
	enum machine_kind kind;
	char *app, *group;
	char *image;		/* MACHINE_IMAGE: what podman run takes */
	char *image_id;		/* taken instead, so that no other image has the name; or NULL */
	char *rootfs;		/* MACHINE_ROOTFS: absolute path; "/" is the host's own */
	char *netns;		/* MACHINE_ATTACHED: path of the namespace */
	struct strings command; /* empty: what the image says */
	struct env_var *env;	/* complete: FLY_* and [env] */
	size_t env_count;
	struct addr network, gateway, primary, service; /* IPv4, of one /29 */
	struct addr private_v6;				/* 6PN address, a /112; family 0: none */
	unsigned int mtu_bytes;
	struct addr nameservers[3];
	size_t nameserver_count;
	int kill_signal;
	unsigned int kill_timeout_s;
	char *state_dir; /* the machine's own directory, under the daemon's: logs, hosts, state */
};

void machine_spec_clear(struct machine_spec *spec);

/* What the data plane needs to know of a machine's network. */
struct machine_net {
	int ifindex;		/* of the host's end of the veth, in our namespace */
	char ifname[IFNAMSIZ];	/* likewise */
	uint8_t mac[6];		/* eth0's */
	uint8_t gateway_mac[6]; /* the host end's */
	int32_t netns_id;	/* the machine's namespace as seen from ours (RTM_NEWNSID) */
	uint64_t netns_inode;	/* identity of the namespace */
};

/*
 * Makes (or completes, when a part is there) the machine's namespace and its veth, addresses,
 * routes and MTU. For MACHINE_ATTACHED the namespace is opened, never made. Idempotent.
 * -ENOENT when an attached namespace is not there; -EEXIST when it has another eth0.
 */
int machine_net_setup(const struct machine_spec *spec, struct machine_net *out, struct err *err);

/*
 * Finds what machine_net_setup() made, and brings its MTU up to date. Returns 1 when it is not (or
 * no longer) whole.
 */
int machine_net_find(const struct machine_spec *spec, struct machine_net *out, struct err *err);

/*
 * Removes the veth and, but for MACHINE_ATTACHED, the namespace. Absent parts are fine.
 */
int machine_net_teardown(const struct machine_spec *spec, struct err *err);

/* Name of the machine's namespace under /run/netns. */
#define MACHINE_NETNS_LEN 32
char *machine_netns_name(const char *id, char name[static MACHINE_NETNS_LEN]);

enum machine_run_state {
	MACHINE_RUN_ABSENT, /* never started, or removed */
	MACHINE_RUN_RUNNING,
	MACHINE_RUN_EXITED,
};

struct machine_run {
	enum machine_run_state state;
	pid_t pid;	 /* the program's first process, in our PID namespace; RUNNING only */
	pid_t watch_pid; /* the supervisor's: its end means that the machine's program ended */
	int exit_code;	 /* EXITED only; 128 + N for signal N */
	bool oom_killed;
};

/*
 * Starts the program in the machine's namespace and returns when its first process runs. Writes
 * /etc/hosts and /etc/resolv.conf for it. An exited one is started again. MACHINE_ATTACHED has no
 * program: returns 0 with state RUNNING and no pid.
 */
int machine_start(const struct machine_spec *spec, struct machine_run *out, struct err *err);

/* What became of the program. Cheap for wherry-init (reads a file), a podman call otherwise. */
int machine_inspect(const struct machine_spec *spec, struct machine_run *out, struct err *err);

/*
 * Sends kill_signal to every process of the machine, waits up to kill_timeout, then SIGKILL to
 * what is left. Returns when the program has ended. One that does not run is success. A process
 * that would just die of the signal while its children still work (a shell) gets it after them.
 */
int machine_stop(const struct machine_spec *spec, struct machine_run *out, struct err *err);

/*
 * Removes the container or wherry-init's files; the program must have ended or is killed. The log
 * stays: it goes with the state directory, which is the caller's.
 */
int machine_remove(const struct machine_spec *spec, struct err *err);

/*
 * Sends @signo to every process of the machine but the init that wherry put there. Returns how many
 * there were; -EINVAL when @first_pid is in our own PID namespace.
 */
int machine_signal_all(pid_t first_pid, int signo);

/*
 * Whether podman has @image here already: 0 yes, 1 no. @digest (may be NULL) receives
 * "sha256:..." and is freed by the caller.
 */
int machine_image_exists(const char *image, char **digest, struct err *err);
