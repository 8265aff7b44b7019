/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at the host, changing nothing. Three programs are run (nft two or three times, podman
 * once), each with little time: a doctor that hangs helps nobody.
 */
#include "control/doctor_facts.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/run.h"
#include "machine/podman_host.h"
#include "model/config_memory.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define NFT_TIMEOUT_MS	  3000
#define PODMAN_TIMEOUT_MS 5000
#define SMALL_FILE_BYTES  (64 * 1024)
#define ROUTES_MAX_BYTES  (64 * 1024 * 1024)

/* Debian 12's headers are older than tcx. */
#define TCX_INGRESS 46

/* Interface 1 is lo in every network namespace. */
#define LOOPBACK_IFINDEX 1

static enum doctor_answer answer(bool is_yes)
{
	return is_yes ? DOCTOR_YES : DOCTOR_NO;
}

static enum doctor_answer loads_programs(enum bpf_prog_type type)
{
	int r = libbpf_probe_bpf_prog_type(type, NULL);

	return r < 0 ? DOCTOR_UNKNOWN : answer(r == 1);
}

static enum doctor_answer has_tcx(void)
{
	uint32_t count = 0;
	int r = bpf_prog_query(LOOPBACK_IFINDEX, TCX_INGRESS, 0, NULL, NULL, &count);

	if (r == -EPERM || r == -EACCES)
		return DOCTOR_UNKNOWN;
	return answer(r == 0);
}

static void gather_kernel(const struct doctor_options *options, struct doctor_facts *facts)
{
	struct utsname name;
	struct statfs fs;

	if (uname(&name) == 0)
		snprintf(facts->kernel_release, sizeof(facts->kernel_release), "%s", name.release);
	facts->has_btf = answer(access("/sys/kernel/btf/vmlinux", R_OK) == 0);
	facts->has_tc = loads_programs(BPF_PROG_TYPE_SCHED_CLS);
	facts->has_sk_lookup = loads_programs(BPF_PROG_TYPE_SK_LOOKUP);
	facts->has_tcx = has_tcx();
	facts->has_bpffs = answer(
		statfs(options->bpf_dir, &fs) == 0 && (unsigned int)fs.f_type == BPF_FS_MAGIC);
}

/* Returns the number in a small file, or -1. */
static int read_number(const char *path)
{
	_free_ char *text = NULL;

	if (file_read(path, SMALL_FILE_BYTES, &text, NULL, NULL) < 0)
		return -1;
	return atoi(text);
}

static void gather_sysctls(const struct doctor_options *options, struct doctor_facts *facts)
{
	char path[128];

	facts->ip_forward = read_number("/proc/sys/net/ipv4/ip_forward");
	facts->rp_filter_all = read_number("/proc/sys/net/ipv4/conf/all/rp_filter");
	facts->rp_filter_public = -1;
	if (!options->public)
		return;
	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", options->public->name);
	facts->rp_filter_public = read_number(path);
}

/* Returns what a program prints when it succeeds; NULL otherwise. */
static char *output_of(const char *const argv[])
{
	char *text = NULL;

	return run_checked(argv, NULL, NFT_TIMEOUT_MS, &text, NULL) < 0 ? NULL : text;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool names_machines(const char *family, const char *table)
{
	const char *const argv[] = {"nft", "list", "table", family, table, NULL};
	_free_ char *text = output_of(argv);

	return text && strstr(text, "\"wm-*\"");
}

static void add_chain(struct doctor_facts *facts, const json_t *chain)
{
	const char *family = text_of(chain, "family");
	struct doctor_chain *added;

	if (strcmp(text_of(chain, "hook"), "forward") != 0 ||
		strcmp(text_of(chain, "policy"), "drop") != 0 ||
		(strcmp(family, "ip") != 0 && strcmp(family, "inet") != 0))
		return;
	added = array_add(facts->chains, facts->chain_count);
	added->family = text_copy(family);
	added->table = text_copy(text_of(chain, "table"));
	added->chain = text_copy(text_of(chain, "name"));
	added->accepts_machines = names_machines(family, added->table);
}

static void gather_nft(struct doctor_facts *facts)
{
	const char *const list_table[] = {"nft", "list", "table", "ip", HOST_NET_NFT_TABLE, NULL};
	const char *const list_chains[] = {"nft", "-j", "list", "chains", NULL};
	_cleanup_(run_result_clear) struct run_result result = {};
	_free_ char *text = NULL;
	json_auto_t *root = NULL;
	const json_t *items;
	int r = run_program(list_table, NULL, NFT_TIMEOUT_MS, &result, NULL);

	facts->has_nft = r == -ENOENT ? DOCTOR_NO : r < 0 ? DOCTOR_UNKNOWN : DOCTOR_YES;
	if (r < 0)
		return;
	facts->has_nft_table = answer(WIFEXITED(result.status) && WEXITSTATUS(result.status) == 0 &&
				      strstr(result.output, "masquerade"));
	text = output_of(list_chains);
	root = text ? json_loads(text, 0, NULL) : NULL;
	items = json_object_get(root, "nftables");
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *chain = json_object_get(json_array_get(items, i), "chain");

		if (chain)
			add_chain(facts, chain);
	}
}

/* iptables of the old kind is not in nft's lists; its tables are there when it was ever used. */
static void gather_legacy_iptables(struct doctor_facts *facts)
{
	const char *const argv[] = {"iptables-legacy", "-S", NULL};
	_free_ char *tables = NULL, *rules = NULL;
	struct doctor_chain *added;

	if (file_read("/proc/thread-self/net/ip_tables_names", SMALL_FILE_BYTES, &tables, NULL,
		    NULL) < 0 ||
		!strstr(tables, "filter"))
		return;
	rules = output_of(argv);
	if (!rules || !strstr(rules, "-P FORWARD DROP"))
		return;
	added = array_add(facts->chains, facts->chain_count);
	added->family = text_copy("ip");
	added->table = text_copy("filter");
	added->chain = text_copy("FORWARD");
	added->accepts_machines = strstr(rules, " wm-+ ") != NULL;
}

/* One line of /proc/net/route, whose addresses are 32-bit words as they are in memory. */
static bool read_route(const char *line, struct doctor_route *out)
{
	uint32_t to, mask;

	if (sscanf(line, "%15s %" SCNx32 " %*s %*s %*s %*s %*s %" SCNx32, out->dev, &to, &mask) !=
		3)
		return false;
	out->to = (struct prefix){
		.addr = addr_from_v4(to),
		.len_bits = (uint8_t)__builtin_popcount(mask),
	};
	return mask != 0 && strncmp(out->dev, "wm-", 3) != 0;
}

static void gather_routes(struct doctor_facts *facts)
{
	_free_ char *text = NULL;
	struct doctor_route route;
	char *rest, *line;

	if (file_read("/proc/thread-self/net/route", ROUTES_MAX_BYTES, &text, NULL, NULL) < 0)
		return;
	for (rest = text; (line = strsep(&rest, "\n")) != NULL;)
		if (read_route(line, &route))
			*array_add(facts->routes, facts->route_count) = route;
}

static void gather_podman(struct doctor_facts *facts)
{
	_cleanup_(argv_clear) struct argv argv = {};
	_free_ char *text = NULL;
	struct err err = {};
	int r;

	podman_host_command(&argv);
	argv_add(&argv, "info");
	argv_add(&argv, "--format={{.Version.Version}} {{.Host.CgroupManager}} "
			"{{.Host.CgroupsVersion}} {{.Host.OCIRuntime.Name}}");
	r = run_checked(argv_items(&argv), NULL, PODMAN_TIMEOUT_MS, &text, &err);
	facts->is_podman_there = r != -ENOENT;
	if (r < 0)
		facts->podman_problem = text_copy(err.text);
	else if (sscanf(text, "%31s %31s %15s %31s", facts->podman_version, facts->cgroup_manager,
			 facts->cgroup_version, facts->oci_runtime) != 4)
		facts->podman_problem = text_copy("podman info gives no version");
}

static enum doctor_answer may_raise_limits(void)
{
	_free_ char *text = NULL;
	const char *line;

	if (file_read("/proc/thread-self/status", SMALL_FILE_BYTES, &text, NULL, NULL) < 0)
		return DOCTOR_UNKNOWN;
	line = strstr(text, "CapEff:");
	if (!line)
		return DOCTOR_UNKNOWN;
	return answer(strtoull(line + strlen("CapEff:"), NULL, 16) & 1ULL << CAP_SYS_RESOURCE);
}

static void gather_limits(const struct doctor_options *options, struct doctor_facts *facts)
{
	struct rlimit files;
	struct timex clock = {}; /* no mode bit: nothing is set */
	struct statvfs disk;
	int state = adjtimex(&clock);

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		facts->max_files = files.rlim_cur;
	facts->may_raise_limits = may_raise_limits();
	facts->is_clock_synchronised =
		state < 0 ? DOCTOR_UNKNOWN
			  : answer(state != TIME_ERROR && !(clock.status & STA_UNSYNC));
	if (statvfs(options->state_dir, &disk) == 0) {
		facts->disk_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
		facts->disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	}
}

static void gather_sockets(const struct doctor_machine *machine, struct doctor_sockets *out)
{
	_cleanup_(machine_sockets_closep) struct machine_sockets *handle = NULL;
	struct err err = {};

	if (machine_sockets_open(&handle, machine->netns_path, &err) < 0 ||
		machine_sockets_list(handle, &out->list, &out->count, &err) < 0)
		out->problem = text_copy(err.text);
}

static void gather_mesh(const struct doctor_fleet *fleet, struct doctor_facts *facts)
{
	_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", fleet->mesh_device);
	if (fd >= 0 && ioctl(fd, SIOCGIFMTU, &request) == 0)
		facts->mesh_mtu_bytes = (unsigned int)request.ifr_mtu;
	if (fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0)
		facts->is_mesh_up = request.ifr_flags & IFF_UP;
}

void doctor_gather(const struct doctor_options *options, struct doctor_facts *out)
{
	*out = (struct doctor_facts){};
	gather_kernel(options, out);
	gather_sysctls(options, out);
	gather_nft(out);
	gather_legacy_iptables(out);
	gather_routes(out);
	gather_podman(out);
	gather_limits(options, out);
	if (options->fleet)
		gather_mesh(options->fleet, out);
	for (size_t i = 0; i < options->machine_count; i++)
		gather_sockets(&options->machines[i], array_add(out->machines, out->machine_count));
}

void doctor_facts_clear(struct doctor_facts *facts)
{
	for (size_t i = 0; i < facts->chain_count; i++) {
		free(facts->chains[i].family);
		free(facts->chains[i].table);
		free(facts->chains[i].chain);
	}
	for (size_t i = 0; i < facts->machine_count; i++) {
		free(facts->machines[i].list);
		free(facts->machines[i].problem);
	}
	free(facts->chains);
	free(facts->routes);
	free(facts->machines);
	free(facts->podman_problem);
	*facts = (struct doctor_facts){};
}
