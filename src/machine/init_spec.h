/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wherryd tells wherry-init, and what wherry-init tells back, by files in the machine's state
 * directory: init.spec (what to run), init.pid (what runs), init.exit (how it ended).
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "machine/argv.h"

struct err;

#define INIT_SPEC_FILE "init.spec"
#define INIT_PID_FILE  "init.pid"
#define INIT_EXIT_FILE "init.exit"

struct init_spec {
	char *id;	 /* also the host name */
	char *netns;	 /* path of the namespace */
	char *rootfs;	 /* absolute path */
	char *state_dir; /* absolute path; hosts and resolv.conf are there */
	struct argv command;
	struct argv env; /* NAME=VALUE */
};

void init_spec_clear(struct init_spec *spec);

/* Mode 0600: the environment may hold secrets. */
int init_spec_write(const struct init_spec *spec, struct err *err);
int init_spec_read(const char *path, struct init_spec *out, struct err *err);

/*
 * The processes of a running machine. Start times and the boot's id tell them from later processes
 * with the same numbers.
 */
struct init_pids {
	pid_t first; /* PID 1 of the machine's PID namespace */
	uint64_t first_start;
	pid_t supervisor;
	uint64_t supervisor_start;
};

int init_pids_write(const char *state_dir, const struct init_pids *pids, struct err *err);

/* Returns 1 when there is no such file or it is from before the last boot. */
int init_pids_read(const char *state_dir, struct init_pids *out);

int init_exit_write(const char *state_dir, int code, struct err *err);

/* Returns 1 when there is no such file. */
int init_exit_read(const char *state_dir, int *code);
