/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the data plane, and its counters. Maps are pinned by name below bpf_dir/vN, N being the
 * layout's version; links below bpf_dir/links. The skeletons are let go once their descriptors
 * are ours: the ELF images are most of what they hold.
 */
#include "fabric/tables.h"

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"

#include "bpf/accept.skel.h"
#include "bpf/edge.skel.h"
#include "bpf/mesh.skel.h"
#include "bpf/resized.skel.h"
#include "bpf/worker.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#define BPFFS_MOUNT "/sys/fs/bpf"
#define BPFFS_MAGIC 0xcafe4a11

DEFINE_CLEANUP(struct edge_bpf *, edge_bpf__destroy)
DEFINE_CLEANUP(struct worker_bpf *, worker_bpf__destroy)
DEFINE_CLEANUP(struct accept_bpf *, accept_bpf__destroy)
DEFINE_CLEANUP(struct mesh_bpf *, mesh_bpf__destroy)
DEFINE_CLEANUP(struct resized_bpf *, resized_bpf__destroy)

static const char *const map_names[MAP_COUNT] = {
	[MAP_SERVICES] = "wherry_services",
	[MAP_ADDRESSES] = "wherry_addresses",
	[MAP_TABLES] = "wherry_tables",
	[MAP_TABLE_IDS] = "wherry_table_ids",
	[MAP_MACHINES] = "wherry_machines",
	[MAP_INTERFACES] = "wherry_interfaces",
	[MAP_POOLS] = "wherry_pools",
	[MAP_VERDICTS] = "wherry_verdicts",
	[MAP_TRAFFIC] = "wherry_traffic",
	[MAP_FLOWS] = "wherry_flows",
	[MAP_ENDPOINTS] = "wherry_endpoints",
	[MAP_HOSTS] = "wherry_hosts",
	[MAP_APP_HOSTS] = "wherry_app_hosts",
	[MAP_MESH] = "wherry_mesh",
	[MAP_STALE] = "wherry_stale",
	[MAP_NEXT] = "wherry_next",
};

/* libbpf's own lines are for those who debug the loading of programs. */
static int print_libbpf(enum libbpf_print_level level, const char *format, va_list ap)
{
	char line[512];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, ap);
	log_debug("libbpf", "message=\"%s\"", line);
	return 0;
}

static int mount_bpffs(const char *bpf_dir, struct err *err)
{
	struct statfs fs;

	if (strncmp(bpf_dir, BPFFS_MOUNT "/", strlen(BPFFS_MOUNT "/")) != 0)
		return 0; /* the operator's own place; making the directory will tell */
	if (statfs(BPFFS_MOUNT, &fs) < 0)
		return err_errno(err, -errno, "cannot look at " BPFFS_MOUNT);
	if ((unsigned int)fs.f_type == BPFFS_MAGIC)
		return 0;
	if (mount("bpf", BPFFS_MOUNT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return err_errno(err, -errno, "cannot mount a bpffs on " BPFFS_MOUNT);
	return 0;
}

/* Says in words what a kernel lacks; loading would fail later with a number. */
static int check_kernel(struct err *err)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return err_set(err, -ENOTSUP,
			"this kernel has no BTF (/sys/kernel/btf/vmlinux is "
			"missing): run one with CONFIG_DEBUG_INFO_BTF=y, as Debian 12's is");
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SCHED_CLS, NULL) != 1)
		return err_set(err, -ENOTSUP,
			"this kernel does not load tc BPF programs: run one "
			"with CONFIG_NET_CLS_BPF and CONFIG_BPF_SYSCALL, as Debian 12's is");
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SK_LOOKUP, NULL) != 1)
		return err_set(err, -ENOTSUP,
			"this kernel does not load sk_lookup BPF programs "
			"(Linux 5.9 or newer does)");
	return 0;
}

/* A pinned map keeps its size; the wanted one counts when it is made. */
static uint32_t pinned_max_entries(const char *dir, const char *name)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	char path[PATH_MAX];
	_close_ int fd = -1;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return 0;
	return info.max_entries;
}

static int take_descriptor(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* Loads one object; @program is the one in it. */
#define LOAD(object, name, program)                                                                \
	({                                                                                         \
		int loaded_;                                                                       \
		bpf_map__set_max_entries((object)->maps.wherry_flows, max_flows);                  \
		loaded_ = name##_bpf__load(object);                                                \
		if (loaded_ == 0)                                                                  \
			loaded_ = take_descriptor(bpf_program__fd((object)->progs.program));       \
		loaded_;                                                                           \
	})

static int load_programs(
	struct fabric *fabric, const char *maps_dir, uint32_t max_flows, struct err *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = maps_dir);
	_cleanup_(edge_bpf__destroyp) struct edge_bpf *edge = edge_bpf__open_opts(&opts);
	_cleanup_(worker_bpf__destroyp) struct worker_bpf *worker = worker_bpf__open_opts(&opts);
	_cleanup_(accept_bpf__destroyp) struct accept_bpf *accept = accept_bpf__open_opts(&opts);
	_cleanup_(mesh_bpf__destroyp) struct mesh_bpf *mesh = mesh_bpf__open_opts(&opts);
	_cleanup_(mesh_bpf__destroyp) struct mesh_bpf *plain = mesh_bpf__open_opts(&opts);
	_cleanup_(resized_bpf__destroyp) struct resized_bpf *resized =
		resized_bpf__open_opts(&opts);
	uint32_t pinned = pinned_max_entries(maps_dir, "wherry_flows");
	int *programs = fabric->programs;

	if (!edge || !worker || !accept || !mesh || !plain || !resized)
		return err_errno(err, -errno, "cannot open the BPF programs");
	if (pinned)
		max_flows = pinned;
	mesh->rodata->l2_len = 0; /* WireGuard's packets begin with the IP header */
	programs[PROGRAM_EDGE] = LOAD(edge, edge, wherry_edge);
	programs[PROGRAM_WORKER] = LOAD(worker, worker, wherry_worker);
	programs[PROGRAM_ACCEPT] = LOAD(accept, accept, wherry_accept);
	programs[PROGRAM_MESH] = LOAD(mesh, mesh, wherry_unwrap);
	programs[PROGRAM_MESH_PLAIN] = LOAD(plain, mesh, wherry_unwrap);
	programs[PROGRAM_RESIZED] = LOAD(resized, resized, wherry_resized);
	for (int i = 0; i < PROGRAM_COUNT; i++) {
		if (programs[i] == -EPERM)
			return err_set(err, -EPERM,
				"the kernel refuses BPF programs: wherryd needs root with "
				"CAP_BPF and CAP_NET_ADMIN");
		if (programs[i] < 0)
			return err_errno(err, programs[i],
				"the kernel refuses the BPF programs or the maps in %s", maps_dir);
	}
	for (int i = 0; i < MAP_COUNT; i++) {
		fabric->maps[i] =
			take_descriptor(bpf_object__find_map_fd_by_name(worker->obj, map_names[i]));
		if (fabric->maps[i] < 0)
			return err_errno(
				err, fabric->maps[i], "cannot keep the map %s", map_names[i]);
	}
	return 0;
}

#undef LOAD

/*
 * Maps of builds with another layout. Their programs keep what they need of them until this build's
 * are attached in their places: links are pinned apart.
 */
static void remove_other_layouts(const char *bpf_dir)
{
	_closedir_ DIR *dir = opendir(bpf_dir);
	const struct dirent *entry;
	char path[PATH_MAX], own[16];

	snprintf(own, sizeof(own), "v%d", WHERRY_ABI_VERSION);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] != 'v' || strcmp(entry->d_name, own) == 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", bpf_dir, entry->d_name) <
			(int)sizeof(path))
			file_remove_all(path, NULL);
	}
}

int fabric_open(struct fabric **out, const struct fabric_options *options, struct err *err)
{
	_cleanup_(fabric_closep) struct fabric *fabric = calloc(1, sizeof(*fabric));
	char path[PATH_MAX];
	int r, cpus = libbpf_num_possible_cpus();

	if (!fabric || cpus < 0)
		return err_errno(err, -ENOMEM, "cannot open the data plane");
	libbpf_set_print(print_libbpf);
	for (int i = 0; i < PROGRAM_COUNT; i++)
		fabric->programs[i] = -1;
	for (int i = 0; i < MAP_COUNT; i++)
		fabric->maps[i] = -1;
	fabric->cpu_count = (unsigned int)cpus;
	fabric->bpf_dir = strdup(options->bpf_dir);
	fabric->table_ids = calloc(WHERRY_MAX_TABLES, sizeof(*fabric->table_ids));
	fabric->table_uses = calloc(WHERRY_MAX_TABLES, sizeof(*fabric->table_uses));
	if (!fabric->bpf_dir || !fabric->table_ids || !fabric->table_uses)
		return err_errno(err, -ENOMEM, "cannot open the data plane");
	r = check_kernel(err);
	if (r == 0)
		r = mount_bpffs(options->bpf_dir, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/links", options->bpf_dir);
	r = file_mkdirs(path, 0700, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/v%d", options->bpf_dir, WHERRY_ABI_VERSION);
	r = file_mkdirs(path, 0700, err);
	if (r == 0)
		r = load_programs(fabric, path,
			options->max_flows ? options->max_flows : WHERRY_MAX_FLOWS, err);
	if (r == 0)
		r = machines_load(fabric, err);
	if (r == 0)
		r = services_load(fabric, err);
	if (r == 0)
		r = mesh_load(fabric, err);
	if (r < 0)
		return r;
	remove_other_layouts(options->bpf_dir);
	*out = take_ptr(fabric);
	return 0;
}

void fabric_close(struct fabric *fabric)
{
	if (!fabric)
		return;
	for (int i = 0; i < PROGRAM_COUNT; i++)
		mem_closep(&fabric->programs[i]);
	for (int i = 0; i < MAP_COUNT; i++)
		mem_closep(&fabric->maps[i]);
	for (size_t i = 0; i < fabric->group_count; i++) {
		free(fabric->groups[i].name);
		free(fabric->groups[i].machines);
	}
	free(fabric->groups);
	free(fabric->services);
	free(fabric->addresses);
	machines_unload(fabric);
	tables_unload(fabric);
	free(fabric->table_ids);
	free(fabric->bpf_dir);
	free(fabric);
}

int fabric_remove(const char *bpf_dir, struct err *err)
{
	attach_remove_all(bpf_dir);
	return file_remove_all(bpf_dir, err);
}
