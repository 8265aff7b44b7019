/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry-init as seen from wherryd; see process.h. wherry-init is told by a file what to run and
 * tells by files what became of it, so that any later wherryd finds the machine again.
 */
#include "machine/process.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/netns.h"
#include "base/run.h"
#include "machine/init_spec.h"
#include "machine/machine.h"
#include "machine/proc.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define INSTALLED_PATH	 "/usr/libexec/wherry/wherry-init"
#define START_TIMEOUT_MS 30000
#define KILL_TIMEOUT_MS	 10000

/* $WHERRY_INIT, else beside the running program (a build tree), else where it is installed. */
static void find_init(char path[static PATH_MAX])
{
	const char *chosen = getenv("WHERRY_INIT");
	char self[PATH_MAX];
	ssize_t len;
	char *slash;

	if (chosen && *chosen) {
		snprintf(path, PATH_MAX, "%s", chosen);
		return;
	}
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (len > 0) {
		self[len] = '\0';
		slash = strrchr(self, '/');
		if (slash &&
			snprintf(path, PATH_MAX, "%.*s/wherry-init", (int)(slash - self), self) <
				PATH_MAX &&
			access(path, X_OK) == 0)
			return;
	}
	snprintf(path, PATH_MAX, "%s", INSTALLED_PATH);
}

static int write_spec(const struct machine_spec *spec, struct err *err)
{
	_cleanup_(init_spec_clear) struct init_spec init = {};
	char path[PATH_MAX], netns[MACHINE_NETNS_LEN];

	snprintf(path, sizeof(path), NETNS_DIR "/%s", machine_netns_name(spec->id, netns));
	init.id = strdup(spec->id);
	init.netns = strdup(path);
	init.rootfs = strdup(spec->rootfs);
	init.state_dir = strdup(spec->state_dir);
	if (!init.id || !init.netns || !init.rootfs || !init.state_dir)
		return err_errno(err, -ENOMEM, "cannot describe the machine %s", spec->id);
	for (size_t i = 0; i < spec->command.count; i++)
		argv_add(&init.command, spec->command.items[i]);
	for (size_t i = 0; i < spec->env_count; i++)
		argv_addf(&init.env, "%s=%s", spec->env[i].name, spec->env[i].value);
	return init_spec_write(&init, err);
}

static int check_spec(const struct machine_spec *spec, struct err *err)
{
	struct stat st;

	if (!spec->rootfs || spec->rootfs[0] != '/')
		return err_set(err, -EINVAL, "the root directory has to be an absolute path");
	if (stat(spec->rootfs, &st) < 0)
		return err_errno(err, -errno, "cannot use the root directory %s", spec->rootfs);
	if (!S_ISDIR(st.st_mode))
		return err_set(
			err, -ENOTDIR, "the root directory %s is not a directory", spec->rootfs);
	if (spec->command.count == 0)
		return err_set(err, -EINVAL,
			"a machine in a root directory needs a command: machine run --rootfs %s -- "
			"COMMAND",
			spec->rootfs);
	return 0;
}

static void remove_file(const struct machine_spec *spec, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", spec->state_dir, name);
	unlink(path);
}

int process_start(const struct machine_spec *spec, struct machine_run *out, struct err *err)
{
	_cleanup_(run_result_clear) struct run_result result = {};
	char init[PATH_MAX], path[PATH_MAX];
	const char *const argv[] = {init, path, NULL};
	int r = process_inspect(spec, out, err);

	if (r < 0 || out->state == MACHINE_RUN_RUNNING)
		return r;
	r = check_spec(spec, err);
	if (r == 0)
		r = write_spec(spec, err);
	if (r < 0)
		return r;
	remove_file(spec, INIT_EXIT_FILE);
	remove_file(spec, INIT_PID_FILE);
	find_init(init);
	snprintf(path, sizeof(path), "%s/" INIT_SPEC_FILE, spec->state_dir);
	r = run_program(argv, NULL, START_TIMEOUT_MS, &result, err);
	if (r < 0)
		return r;
	if (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 0) {
		result.errors[strcspn(result.errors, "\n")] = '\0';
		return err_set(err, -EIO, "%s",
			result.errors[0] ? result.errors : "wherry-init ended without a word");
	}
	return process_inspect(spec, out, err);
}

int process_inspect(const struct machine_spec *spec, struct machine_run *out, struct err *err)
{
	struct init_pids pids = {};
	int code, r = init_pids_read(spec->state_dir, &pids);

	*out = (struct machine_run){.state = MACHINE_RUN_ABSENT};
	if (r == 0 && proc_is_alive(pids.supervisor, pids.supervisor_start)) {
		out->state = MACHINE_RUN_RUNNING;
		out->pid = pids.first;
		out->watch_pid = pids.supervisor;
		return 0;
	}
	if (r < 0)
		return err_errno(err, r, "cannot read the state of machine %s", spec->id);
	/* Looked at after the supervisor was found dead: its last act was to write it. */
	r = init_exit_read(spec->state_dir, &code);
	if (r < 0)
		return err_errno(err, r, "cannot read the state of machine %s", spec->id);
	if (r == 0) {
		out->state = MACHINE_RUN_EXITED;
		out->exit_code = code;
	} else if (pids.supervisor) {
		/* The supervisor was killed, and the program with it. */
		out->state = MACHINE_RUN_EXITED;
		out->exit_code = 128 + SIGKILL;
	}
	return 0;
}

int process_remove(const struct machine_spec *spec, struct err *err)
{
	static const char *const files[] = {INIT_SPEC_FILE, INIT_PID_FILE, INIT_EXIT_FILE};
	struct machine_run run;
	int r = process_inspect(spec, &run, err);

	if (r < 0)
		return r;
	if (run.state == MACHINE_RUN_RUNNING) {
		_close_ int watch = proc_open(run.watch_pid);
		_close_ int first = proc_open(run.pid);

		if (first >= 0)
			syscall(SYS_pidfd_send_signal, first, SIGKILL, NULL, 0);
		if (watch >= 0 && proc_wait(watch, KILL_TIMEOUT_MS) != 0)
			return err_set(err, -ETIMEDOUT, "the program of machine %s does not end",
				spec->id);
	}
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		remove_file(spec, files[i]);
	return 0;
}
