/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that are no children of ours: are they alive, are they still the ones we mean, when do
 * they end. A zombie is not alive: kill(pid, 0) is no test, since PID 1 of a container may reap
 * slowly or never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_info {
	pid_t parent;
	char state;	      /* 'R', 'S', ... */
	uint64_t start_ticks; /* since boot: with the pid it names one process */
	char name[32];	      /* comm */
};

/* Returns 1 when there is no such process. */
int proc_read(pid_t pid, struct proc_info *out);

/* Not a zombie, and if @start_ticks is not 0, started then. */
bool proc_is_alive(pid_t pid, uint64_t start_ticks);

/* A pidfd, or a negative errno; -ESRCH when there is no such process. */
int proc_open(pid_t pid);

/* Waits until the process ended. Returns 1 when @timeout_ms went by. */
int proc_wait(int pidfd, unsigned int timeout_ms);

/* Whether the process has @argument as one whole argument of its command line. */
bool proc_has_argument(pid_t pid, const char *argument);

/* A positive number at the beginning of the file, as in pid files; 0 when there is none. */
pid_t proc_read_pid_file(const char *path);
