/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes by namespace. Namespaces are made by children, which wait to be killed; without the
 * privilege to make them the tests are skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "lab/process.h"

struct child {
	pid_t pid;
	char path[64]; /* of its network namespace */
};

static struct child start_child(void)
{
	struct child child = {};
	char byte;
	int ready[2];

	assert_int_equal(pipe(ready), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed assertion leaves it behind */
		byte = unshare(CLONE_NEWNET) == 0;
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	if (!byte) {
		kill(child.pid, SIGKILL);
		waitpid(child.pid, NULL, 0);
		skip();
	}
	snprintf(child.path, sizeof(child.path), "/proc/%d/ns/net", child.pid);
	return child;
}

static void end_child(const struct child *child)
{
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
}

static void processes_are_found_by_their_namespace(void **state)
{
	struct child one = start_child(), two = start_child();
	struct ns_set set = {};
	struct err err = {};

	(void)state;
	ns_set_hold(&set, one.path);
	assert_int_equal(set.count, 1);
	assert_true(process_is_in(one.pid, &set));
	assert_false(process_is_in(two.pid, &set));
	assert_int_equal(process_signal_all(&set, SIGKILL, NULL, &err), 0);
	assert_int_equal(process_state(one.pid), 'Z');
	assert_int_not_equal(process_state(two.pid), 'Z');
	end_child(&one);
	end_child(&two);
	ns_set_clear(&set);
}

/* The kernel gives the lowest free number to the next namespace, which may be another lab's. */
static void a_held_namespace_keeps_its_number(void **state)
{
	const unsigned int pause_us = 300000; /* what nobody holds goes in the background */

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct ns_set set = {};
		struct child held, next;

		usleep(pause_us);
		held = start_child();
		ns_set_hold(&set, held.path);
		end_child(&held);
		usleep(pause_us);
		next = start_child();
		assert_false(process_is_in(next.pid, &set));
		end_child(&next);
		ns_set_clear(&set);
	}
}

static void what_is_no_namespace_and_ones_own_are_left_out(void **state)
{
	struct ns_set set = {};

	(void)state;
	ns_set_hold(&set, "/proc/self/ns/net");
	ns_set_hold(&set, "/proc/self/status");
	ns_set_hold(&set, "/nonexistent");
	ns_set_add(&set, 0);
	assert_int_equal(set.count, 0);
	ns_set_clear(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processes_are_found_by_their_namespace),
		cmocka_unit_test(a_held_namespace_keeps_its_number),
		cmocka_unit_test(what_is_no_namespace_and_ones_own_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
