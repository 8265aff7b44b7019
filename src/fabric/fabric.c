/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the data plane, and its counters. Maps are pinned by name below bpf_dir/vN, N being the
 * layout's version; links below bpf_dir/links. The skeletons are let go once their descriptors
 * are ours: the ELF images are most of what they hold.
 */
#include "fabric/fabric_impl.h"

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"

#include "bpf/accept.skel.h"
#include "bpf/edge.skel.h"
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
};

static const struct {
	const char *name, *sentence;
	bool is_drop;
} verdicts[WHERRY_VERDICT_COUNT] = {
#define DROP			      true
#define PASS			      false
#define X(name, text, kind, sentence) [WHERRY_##name] = {text, sentence, kind},
	WHERRY_VERDICTS(X)
#undef X
#undef DROP
#undef PASS
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

static int load_programs(
	struct fabric *fabric, const char *maps_dir, uint32_t max_flows, struct err *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = maps_dir);
	_cleanup_(edge_bpf__destroyp) struct edge_bpf *edge = edge_bpf__open_opts(&opts);
	_cleanup_(worker_bpf__destroyp) struct worker_bpf *worker = worker_bpf__open_opts(&opts);
	_cleanup_(accept_bpf__destroyp) struct accept_bpf *accept = accept_bpf__open_opts(&opts);
	uint32_t pinned = pinned_max_entries(maps_dir, "wherry_flows");
	int r;

	if (!edge || !worker || !accept)
		return err_errno(err, -errno, "cannot open the BPF programs");
	if (pinned)
		max_flows = pinned;
	bpf_map__set_max_entries(edge->maps.wherry_flows, max_flows);
	bpf_map__set_max_entries(worker->maps.wherry_flows, max_flows);
	bpf_map__set_max_entries(accept->maps.wherry_flows, max_flows);
	r = edge_bpf__load(edge);
	if (r == 0)
		r = worker_bpf__load(worker);
	if (r == 0)
		r = accept_bpf__load(accept);
	if (r == -EPERM)
		return err_set(err, r,
			"the kernel refuses BPF programs: wherryd needs root with "
			"CAP_BPF and CAP_NET_ADMIN");
	if (r < 0)
		return err_errno(
			err, r, "the kernel refuses the BPF programs or the maps in %s", maps_dir);
	fabric->programs[PROGRAM_EDGE] = take_descriptor(bpf_program__fd(edge->progs.wherry_edge));
	fabric->programs[PROGRAM_WORKER] =
		take_descriptor(bpf_program__fd(worker->progs.wherry_worker));
	fabric->programs[PROGRAM_ACCEPT] =
		take_descriptor(bpf_program__fd(accept->progs.wherry_accept));
	for (int i = 0; i < MAP_COUNT; i++)
		fabric->maps[i] =
			take_descriptor(bpf_object__find_map_fd_by_name(worker->obj, map_names[i]));
	for (int i = 0; i < PROGRAM_COUNT; i++)
		if (fabric->programs[i] < 0)
			return err_errno(err, fabric->programs[i], "cannot keep a BPF program");
	for (int i = 0; i < MAP_COUNT; i++)
		if (fabric->maps[i] < 0)
			return err_errno(
				err, fabric->maps[i], "cannot keep the map %s", map_names[i]);
	return 0;
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
	fabric->machines = calloc(WHERRY_MAX_MACHINES, sizeof(*fabric->machines));
	fabric->table_ids = calloc(WHERRY_MAX_TABLES, sizeof(*fabric->table_ids));
	if (!fabric->bpf_dir || !fabric->machines || !fabric->table_ids)
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
	if (r < 0)
		return r;
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
	free(fabric->machines);
	free(fabric->table_ids);
	free(fabric->bpf_dir);
	free(fabric);
}

int fabric_remove(const char *bpf_dir, struct err *err)
{
	attach_remove_all(bpf_dir);
	return file_remove_all(bpf_dir, err);
}

static struct wherry_pool_key pool_key(const struct prefix *prefix)
{
	struct wherry_pool_key key = {.prefix_bits = prefix->len_bits};

	if (prefix->addr.family == AF_INET) {
		key.prefix_bits += 96;
		key.addr[2] = htonl(0xffff);
		memcpy(&key.addr[3], prefix->addr.bytes, 4);
	} else {
		memcpy(key.addr, prefix->addr.bytes, 16);
	}
	return key;
}

static bool pool_is_wanted(
	const struct wherry_pool_key *key, const struct fabric_pool *pools, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct wherry_pool_key wanted = pool_key(&pools[i].prefix);

		if (memcmp(&wanted, key, sizeof(wanted)) == 0)
			return true;
	}
	return false;
}

int fabric_set_pools(
	struct fabric *fabric, const struct fabric_pool *pools, size_t count, struct err *err)
{
	struct wherry_pool_key key, *after = NULL, last;
	int fd = fabric->maps[MAP_POOLS];

	for (size_t i = 0; i < count; i++) {
		uint32_t kind = pools[i].kind;

		key = pool_key(&pools[i].prefix);
		if (bpf_map_update_elem(fd, &key, &kind, BPF_ANY) < 0)
			return err_errno(err, -errno, "cannot write the public pools");
	}
	while (bpf_map_get_next_key(fd, after, &key) == 0) {
		if (pool_is_wanted(&key, pools, count)) {
			last = key;
			after = &last;
		} else {
			/* The walk starts again: the key to go on from is gone. */
			bpf_map_delete_elem(fd, &key);
			after = NULL;
		}
	}
	return 0;
}

int fabric_verdicts(struct fabric *fabric, uint64_t sums[static WHERRY_VERDICT_COUNT])
{
	_free_ uint64_t *values = calloc(fabric->cpu_count, sizeof(*values));

	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < WHERRY_VERDICT_COUNT; i++) {
		sums[i] = 0;
		if (bpf_map_lookup_elem(fabric->maps[MAP_VERDICTS], &i, values) < 0)
			return -errno;
		for (unsigned int cpu = 0; cpu < fabric->cpu_count; cpu++)
			sums[i] += values[cpu];
	}
	return 0;
}

int fabric_machine_traffic(struct fabric *fabric, const char *id, struct wherry_traffic *sum)
{
	_free_ struct wherry_traffic *values = calloc(fabric->cpu_count, sizeof(*values));
	uint32_t index = machine_index(fabric, id);

	if (!index)
		return -ENOENT;
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fabric->maps[MAP_TRAFFIC], &index, values) < 0)
		return -errno;
	*sum = (struct wherry_traffic){};
	for (unsigned int cpu = 0; cpu < fabric->cpu_count; cpu++) {
		sum->rx_packets += values[cpu].rx_packets;
		sum->rx_bytes += values[cpu].rx_bytes;
		sum->tx_packets += values[cpu].tx_packets;
		sum->tx_bytes += values[cpu].tx_bytes;
	}
	return 0;
}

const char *fabric_verdict_name(enum wherry_verdict verdict)
{
	return verdicts[verdict].name;
}

const char *fabric_verdict_sentence(enum wherry_verdict verdict)
{
	return verdicts[verdict].sentence;
}

bool fabric_verdict_is_drop(enum wherry_verdict verdict)
{
	return verdicts[verdict].is_drop;
}
