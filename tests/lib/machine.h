/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine tests share: a network namespace of the test's own (so that nothing of it shows
 * on the host), a scratch directory, machine specs with addresses, the test program of
 * machine_app.c. Include after cmocka.h.
 */
#pragma once

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/netns.h"
#include "base/run.h"
#include "machine/logs.h"
#include "machine/machine.h"
#include "machine/proc.h"

static char fixture_dir[64];

static inline void fixture_skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	exit(77);
}

/* For main(): skips without root; afterwards the process is in a namespace of its own. */
static inline void fixture_begin(const char *name)
{
	if (geteuid() != 0)
		fixture_skip("needs root");
	if (unshare(CLONE_NEWNET) < 0)
		fixture_skip("cannot make a network namespace");
	snprintf(fixture_dir, sizeof(fixture_dir), "/tmp/wherry-%s-XXXXXX", name);
	if (!mkdtemp(fixture_dir))
		fixture_skip("cannot make a directory in /tmp");
}

/* What the ids of this process's machines begin with. */
static inline char *fixture_prefix(char prefix[static 16])
{
	snprintf(prefix, 16, "7e%06x", (unsigned int)getpid() & 0xffffff);
	return prefix;
}

/* A test that fails leaves its machine: the namespaces at least go here. */
static inline int fixture_end(int failed)
{
	_closedir_ DIR *dir = opendir(NETNS_DIR);
	struct dirent *entry;
	char prefix[16];

	fixture_prefix(prefix);
	while (dir && (entry = readdir(dir)))
		if (strstr(entry->d_name, prefix))
			netns_remove(entry->d_name, NULL);
	file_remove_all(fixture_dir, NULL);
	return failed;
}

/* Builds the test program; the path is in the scratch directory. */
static inline void fixture_build_app(char path[static PATH_MAX])
{
	char source[PATH_MAX];
	const char *const argv[] = {"cc", "-static", "-O1", "-w", "-o", path, source, NULL};
	struct err err;

	/* __FILE__ is tests/lib/machine.h as the build named it; tests run at the same place. */
	snprintf(source, sizeof(source), "%.*s_app.c", (int)(strlen(__FILE__) - 2), __FILE__);
	snprintf(path, PATH_MAX, "%s/app", fixture_dir);
	if (run_checked(argv, NULL, 60000, NULL, &err) < 0)
		fixture_skip(err.text);
}

/* Ids differ in their first ten digits, between machines and between tests that run at once. */
static inline struct machine_spec fixture_spec(unsigned int index, enum machine_kind kind)
{
	struct machine_spec spec = {.kind = kind,
		.mtu_bytes = 1500,
		.kill_signal = 2,
		.kill_timeout_s = 5,
		.nameserver_count = 1};
	struct addr base;
	char prefix[16];

	snprintf(spec.id, sizeof(spec.id), "%.8s%02x0000", fixture_prefix(prefix), index & 0xff);
	assert_int_equal(addr_parse("172.29.0.0", &base), 0);
	spec.network = addr_add(&base, index * 8);
	spec.gateway = addr_add(&spec.network, 1);
	spec.primary = addr_add(&spec.network, 2);
	spec.service = addr_add(&spec.network, 3);
	assert_int_equal(addr_parse("fdaa:0:1:2:3::2", &spec.private_v6), 0);
	spec.private_v6.bytes[11] = (uint8_t)index;
	spec.nameservers[0] = spec.gateway;
	assert_true(asprintf(&spec.state_dir, "%s/%s", fixture_dir, spec.id) > 0);
	return spec;
}

static inline void fixture_command(struct machine_spec *spec, const char *const words[])
{
	size_t count = 0;

	while (words[count])
		count++;
	for (size_t i = 0; i < spec->command.count; i++)
		free(spec->command.items[i]);
	free(spec->command.items);
	spec->command.items = calloc(count + 1, sizeof(char *));
	spec->command.count = count;
	for (size_t i = 0; i < count; i++)
		spec->command.items[i] = strdup(words[i]);
}

#define COMMAND(spec, ...) fixture_command(spec, (const char *const[]){__VA_ARGS__, NULL})

static inline void fixture_ok(int r, const struct err *err)
{
	if (r != 0)
		fail_msg("%d: %s", r, err->text);
}

/* Removes the machine and its network, and frees the spec. */
static inline void fixture_destroy(struct machine_spec *spec)
{
	struct err err = {};

	fixture_ok(machine_remove(spec, &err), &err);
	fixture_ok(machine_net_teardown(spec, &err), &err);
	machine_spec_clear(spec);
}

static inline void fixture_sleep_ms(unsigned int ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static inline void fixture_add_line(void *arg, const struct log_line *line)
{
	buf_addf(arg, "%s: %s\n", line->stream, line->message);
}

/* The log as "stdout: text" lines; the caller frees. */
static inline char *fixture_log(const struct machine_spec *spec)
{
	struct logs_cursor cursor = {};
	struct buf buf = {};

	buf_adds(&buf, "");
	assert_int_equal(logs_read(spec->state_dir, &cursor, fixture_add_line, &buf), 0);
	return buf_take(&buf);
}

static inline void fixture_expect_log(const struct machine_spec *spec, const char *text)
{
	_free_ char *log = fixture_log(spec);

	if (!strstr(log, text))
		fail_msg("\"%s\" is not in the log:\n%s", text, log);
}

static inline void fixture_await_log(const struct machine_spec *spec, const char *text)
{
	for (int i = 0; i < 500; i++) {
		_free_ char *log = fixture_log(spec);

		if (strstr(log, text))
			return;
		fixture_sleep_ms(10);
	}
	fixture_expect_log(spec, text);
}

/* Waits until the program ended, by the supervisor as wherryd does. */
static inline void fixture_await_exit(const struct machine_spec *spec, struct machine_run *run)
{
	struct err err = {};

	if (run->state == MACHINE_RUN_RUNNING) {
		_close_ int pidfd = proc_open(run->watch_pid);

		if (pidfd >= 0)
			assert_int_equal(proc_wait(pidfd, 20000), 0);
	}
	fixture_ok(machine_inspect(spec, run, &err), &err);
	assert_int_equal(run->state, MACHINE_RUN_EXITED);
}
