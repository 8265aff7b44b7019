/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running another program to its end: podman, nft. The child gets /dev/null as standard input, no
 * descriptors of ours and default signal dispositions; it is killed when the time is over.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct err;

struct run_result {
	int status;   /* as of waitpid(2) */
	char *output; /* standard output, NUL-terminated, at most 1 MiB; the caller frees */
	char *errors; /* standard error, likewise */
};

/*
 * Runs argv[0] (looked up in PATH) with at most @timeout_ms of time. @input (may be NULL) becomes
 * its standard input. Returns 0 when the program ran, whatever its exit status; -ETIMEDOUT when it
 * was killed; -ENOENT when there is no such program (the sentence names the Debian package where
 * it is known).
 */
int run_program(const char *const argv[], const char *input, unsigned int timeout_ms,
	struct run_result *out, struct err *err);

/* Like run_program(), and a non-zero exit is -EIO with the last line of standard error as reason.
 */
int run_checked(const char *const argv[], const char *input, unsigned int timeout_ms, char **output,
	struct err *err);

/*
 * Starts argv[0] with these three streams, which stay the caller's, and returns when it runs. The
 * caller reaps it with run_wait().
 */
int run_start(const char *const argv[], int in, int out, int errors, pid_t *pid, struct err *err);

/* Waits for its end. -ETIMEDOUT when it had to be killed for it. *status as of waitpid(2). */
int run_wait(pid_t pid, unsigned int timeout_ms, int *status);

void run_result_clear(struct run_result *result);
