/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending a machine's program: the signal goes to all its processes, in an order that gives each
 * of them its time to finish.
 */
#pragma once

#include <sys/types.h>

/*
 * Sends @signo to the processes of the machine and waits for @watch_fd (a pidfd of the supervisor)
 * to end, then kills the namespace by SIGKILL to @first_pid, and waits for the end again. Returns 0
 * when it ended, -ETIMEDOUT when it did not even then.
 *
 * A process that does not handle the signal and waits for children (a shell, in most cases) would
 * end at once and take the whole namespace along, before the children have finished. It gets the
 * signal after those that handle it have ended, as if it were the PID 1 that ignores it.
 */
int signal_stop(pid_t first_pid, int watch_fd, int signo, unsigned int timeout_ms);
