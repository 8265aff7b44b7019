/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes of the host for podman; see podman_host.h. Nothing is remembered: each probe is a system
 * call or two, and a host may change under a daemon that runs for months.
 */
#include "machine/podman_host.h"

#include "base/mem.h"

#include <linux/capability.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* sd_booted(3): without systemd as PID 1, podman's default cgroup manager finds nobody to ask. */
static bool is_systemd_running(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

static bool is_file_system(const char *path, long magic)
{
	struct statfs st;

	return statfs(path, &st) == 0 && (long)st.f_type == magic;
}

/* cgroup v1 controllers with v2 mounted beside them: crun, podman's first choice, refuses that. */
static bool has_hybrid_cgroups(void)
{
	return is_file_system("/sys/fs/cgroup", TMPFS_MAGIC) &&
	       is_file_system("/sys/fs/cgroup/unified", CGROUP2_SUPER_MAGIC);
}

static bool is_installed(const char *const paths[], const char **out)
{
	for (; *paths; paths++)
		if (access(*paths, X_OK) == 0) {
			*out = *paths;
			return true;
		}
	return false;
}

static bool may_raise_limits(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	if (syscall(SYS_capget, &header, data) < 0)
		return true;
	return data[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE);
}

static void add_limit(struct argv *argv, const char *name, int resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0)
		return;
	argv_add(argv, "--ulimit");
	if (limit.rlim_max == RLIM_INFINITY)
		argv_addf(argv, "%s=-1:-1", name);
	else
		argv_addf(argv, "%s=%ju:%ju", name, (uintmax_t)limit.rlim_max,
			(uintmax_t)limit.rlim_max);
}

void podman_host_command(struct argv *argv)
{
	static const char *const runc_paths[] = {
		"/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", NULL};
	const char *runc;

	argv_add(argv, "podman");
	if (!is_systemd_running())
		argv_add(argv, "--cgroup-manager=cgroupfs");
	if (has_hybrid_cgroups() && is_installed(runc_paths, &runc))
		argv_addf(argv, "--runtime=%s", runc);
}

void podman_host_run_options(struct argv *argv)
{
	/* podman asks for 1048576 of both, which needs CAP_SYS_RESOURCE above our own limits. */
	if (may_raise_limits())
		return;
	add_limit(argv, "nofile", RLIMIT_NOFILE);
	add_limit(argv, "nproc", RLIMIT_NPROC);
}

const char *podman_host_init_path(void)
{
	static const char *const paths[] = {"/usr/libexec/podman/catatonit", "/usr/bin/catatonit",
		"/usr/local/bin/catatonit", NULL};
	const char *path = NULL;

	is_installed(paths, &path);
	return path;
}
