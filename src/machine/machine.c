/* SPDX-License-Identifier: Apache-2.0 */
/* Machines of each kind; see machine.h. The kinds themselves are podman.c and process.c. */
#include "machine/machine.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "machine/hosts.h"
#include "machine/podman.h"
#include "machine/proc.h"
#include "machine/process.h"
#include "machine/signal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct kind {
	int (*start)(const struct machine_spec *spec, struct machine_run *out, struct err *err);
	int (*inspect)(const struct machine_spec *spec, struct machine_run *out, struct err *err);
	int (*remove)(const struct machine_spec *spec, struct err *err);
} kinds[] = {
	[MACHINE_IMAGE] = {podman_start, podman_inspect, podman_remove},
	[MACHINE_ROOTFS] = {process_start, process_inspect, process_remove},
};

void machine_spec_clear(struct machine_spec *spec)
{
	char *const texts[] = {spec->app, spec->group, spec->image, spec->image_id, spec->rootfs,
		spec->netns, spec->state_dir};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < spec->command.count; i++)
		free(spec->command.items[i]);
	free(spec->command.items);
	for (size_t i = 0; i < spec->env_count; i++) {
		free(spec->env[i].name);
		free(spec->env[i].value);
	}
	free(spec->env);
	*spec = (struct machine_spec){};
}

int machine_start(const struct machine_spec *spec, struct machine_run *out, struct err *err)
{
	int r;

	if (spec->kind == MACHINE_ATTACHED) {
		*out = (struct machine_run){.state = MACHINE_RUN_RUNNING};
		return 0;
	}
	/* The environment and the app's output are the owner's business only. */
	r = file_mkdirs(spec->state_dir, 0700, err);
	if (r == 0)
		r = hosts_write(spec, err);
	return r < 0 ? r : kinds[spec->kind].start(spec, out, err);
}

int machine_inspect(const struct machine_spec *spec, struct machine_run *out, struct err *err)
{
	if (spec->kind == MACHINE_ATTACHED) {
		*out = (struct machine_run){.state = MACHINE_RUN_RUNNING};
		return 0;
	}
	return kinds[spec->kind].inspect(spec, out, err);
}

int machine_stop(const struct machine_spec *spec, struct machine_run *out, struct err *err)
{
	_close_ int watch = -1;
	int r = machine_inspect(spec, out, err);

	if (r < 0 || out->state != MACHINE_RUN_RUNNING || spec->kind == MACHINE_ATTACHED)
		return r;
	watch = proc_open(out->watch_pid);
	if (watch >= 0) {
		r = signal_stop(out->pid, watch, spec->kill_signal ? spec->kill_signal : SIGINT,
			spec->kill_timeout_s * 1000);
		if (r < 0)
			return err_errno(err, r, "cannot stop the program of machine %s", spec->id);
	}
	return machine_inspect(spec, out, err);
}

int machine_remove(const struct machine_spec *spec, struct err *err)
{
	static const char *const files[] = {"hosts", "resolv.conf"};
	char path[PATH_MAX];
	int r;

	if (spec->kind == MACHINE_ATTACHED)
		return 0;
	r = kinds[spec->kind].remove(spec, err);
	for (size_t i = 0; i < ARRAY_LEN(files) && r == 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", spec->state_dir, files[i]);
		r = file_remove_all(path, err);
	}
	return r;
}
