/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of a namespace, found by looking at /proc: pids are never remembered, so that a
 * pid that was used again is never hit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

/* Inodes of network and mount namespaces, some of which it keeps alive. */
struct ns_set {
	uint64_t *inodes;
	int *fds; /* -1: someone else keeps it */
	size_t count;
};

/*
 * Adds @inode, which has to stay the namespace's for as long as the set is used: the kernel gives
 * a number to the next namespace at once. Zero and the namespaces of the calling process are left
 * out.
 */
void ns_set_add(struct ns_set *set, uint64_t inode);

/* Adds the namespace at @path, if there is one, and keeps it alive until ns_set_clear(). */
void ns_set_hold(struct ns_set *set, const char *path);
void ns_set_clear(struct ns_set *set);

/* The inode of the namespace at @path; 0 when that is no namespace. */
uint64_t ns_inode(const char *path);

/* Whether @pid lives (a zombie does not) in one of the namespaces. */
bool process_is_in(pid_t pid, const struct ns_set *set);

/* The state letter of proc(5): 'R', 'S', 'T', 'Z', ...; 0 when there is no such process. */
char process_state(pid_t pid);

/* Which processes process_signal_all() leaves alone. */
typedef bool process_filter(pid_t pid);

/*
 * Sends @signo to every process in the namespaces that @spare (may be NULL) does not spare, again
 * and again while they fork. With SIGKILL and SIGSTOP returns when all of them are dead or
 * stopped; -ETIMEDOUT when some are not after 5 s.
 */
int process_signal_all(const struct ns_set *set, int signo, process_filter *spare, struct err *err);

/* Supervisors of machines: conmon and wherry-init. */
bool process_is_supervisor(pid_t pid);
