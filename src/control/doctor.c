/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement. A check fails when packets are not forwarded or machines do not run because of it;
 * it warns of what will bite in some case. Each message that is not good news ends with what to do.
 */
#include "control/doctor.h"

#include "base/buf.h"
#include "base/mem.h"
#include "control/doctor_facts.h"
#include "control/host_config.h"
#include "model/config_memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define MAX_LISTED_ROUTES 4

/* Below this, a machine's veth cannot carry IPv6, and few apps expect it. */
#define MIN_MTU_BYTES 1280

/* The oldest podman Wherry is tested with is Debian 12's. */
#define MIN_PODMAN_MAJOR 4

#define MIN_FILES 4096

struct view {
	const struct doctor_options *options;
	const struct doctor_facts *facts;
	struct doctor_report *report;
};

static void add(struct view *view, const char *name, enum doctor_status status, const char *format,
	...) __attribute__((format(printf, 4, 5)));

static void add(
	struct view *view, const char *name, enum doctor_status status, const char *format, ...)
{
	struct doctor_check *check = array_add(view->report->checks, view->report->count);
	va_list ap;

	check->name = name;
	check->status = status;
	va_start(ap, format);
	if (vasprintf(&check->message, format, ap) < 0)
		abort();
	va_end(ap);
}

static void judge_kernel(struct view *view)
{
	const struct doctor_facts *facts = view->facts;

	if (facts->has_btf == DOCTOR_NO)
		add(view, "kernel.btf", DOCTOR_FAIL,
			"kernel %s has no BTF (/sys/kernel/btf/vmlinux is missing): run one with "
			"CONFIG_DEBUG_INFO_BTF=y, as Debian 12's is",
			facts->kernel_release);
	else
		add(view, "kernel.btf", DOCTOR_OK, "kernel %s has BTF", facts->kernel_release);

	if (facts->has_tc == DOCTOR_NO)
		add(view, "kernel.tc", DOCTOR_FAIL,
			"kernel %s does not load tc BPF programs: run one with CONFIG_NET_CLS_BPF "
			"and CONFIG_BPF_SYSCALL, as Debian 12's is",
			facts->kernel_release);
	else if (facts->has_tc == DOCTOR_UNKNOWN)
		add(view, "kernel.tc", DOCTOR_WARN,
			"cannot find out whether this kernel loads BPF programs; run wherryd as "
			"root");
	else
		add(view, "kernel.tc", DOCTOR_OK, "BPF programs are attached by %s",
			facts->has_tcx == DOCTOR_YES ? "tcx"
						     : "clsact (kernels before 6.6 have no tcx)");

	if (facts->has_sk_lookup == DOCTOR_NO)
		add(view, "kernel.sk_lookup", DOCTOR_FAIL,
			"kernel %s does not load sk_lookup BPF programs: run Linux 5.9 or newer",
			facts->kernel_release);
	else
		add(view, "kernel.sk_lookup", DOCTOR_OK, "sockets are steered by sk_lookup");
}

static void judge_bpffs(struct view *view)
{
	const char *dir = view->options->bpf_dir;

	if (view->facts->has_bpffs == DOCTOR_YES)
		add(view, "bpffs", DOCTOR_OK, "the data plane is pinned under %s", dir);
	else
		add(view, "bpffs", DOCTOR_FAIL,
			"%s is not there or not on a bpffs, so the data plane would end with "
			"wherryd; restart wherryd, which mounts it: systemctl restart wherryd",
			dir);
}

static void judge_forwarding(struct view *view)
{
	if (view->facts->ip_forward == 1)
		add(view, "ip_forward", DOCTOR_OK, "IPv4 forwarding is on");
	else
		add(view, "ip_forward", DOCTOR_FAIL,
			"IPv4 forwarding is off: machines reach nothing. Something switched it off "
			"after wherryd started; see /etc/sysctl.conf and /etc/sysctl.d, then: "
			"sysctl -w net.ipv4.ip_forward=1");
}

/* The stricter of both counts for an interface (ip-sysctl.txt). */
static void judge_rp_filter(struct view *view)
{
	const struct host_public *public = view->options->public;
	int all = view->facts->rp_filter_all, own = view->facts->rp_filter_public;

	if (!public || (all < 0 && own < 0))
		return;
	if ((all > own ? all : own) != 1) {
		add(view, "rp_filter", DOCTOR_OK, "the reverse path filter of %s is not strict",
			public->name);
		return;
	}
	add(view, "rp_filter", DOCTOR_WARN,
		"the reverse path filter of %s is strict: packets whose answers leave by another "
		"interface are dropped. Make it loose: sysctl -w net.ipv4.conf.%s.rp_filter=2",
		public->name, all == 1 && own != 1 ? "all" : public->name);
}

static void judge_nft(struct view *view)
{
	if (view->facts->has_nft == DOCTOR_NO)
		add(view, "nft", DOCTOR_FAIL,
			"nft is not installed, so machines' own traffic gets no NAT; apt-get "
			"install nftables, then: systemctl restart wherryd");
	else if (view->facts->has_nft == DOCTOR_UNKNOWN)
		add(view, "nft", DOCTOR_WARN,
			"nft does not answer; run it by hand: nft list table "
			"ip " HOST_NET_NFT_TABLE);
	else if (view->facts->has_nft_table == DOCTOR_NO)
		add(view, "nft", DOCTOR_FAIL,
			"the nft table ip " HOST_NET_NFT_TABLE
			" is gone, so machines reach nothing; \"nft flush ruleset\" and a restart "
			"of nftables.service do that. Make it anew: systemctl restart wherryd");
	else
		add(view, "nft", DOCTOR_OK,
			"machines' own traffic gets NAT by the nft table ip " HOST_NET_NFT_TABLE);
}

/* What lets machines through a chain that drops. Tables of iptables are best left to it. */
static void add_exception(struct buf *out, const struct doctor_chain *chain)
{
	if (strcmp(chain->family, "ip") == 0 && strcmp(chain->table, "filter") == 0 &&
		strcmp(chain->chain, "FORWARD") == 0)
		buf_adds(out, "iptables -I FORWARD -i wm-+ -j ACCEPT && iptables -I FORWARD -o "
			      "wm-+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
	else
		buf_addf(out,
			"nft insert rule %s %s %s iifname '\"wm-*\"' accept && nft insert rule %s "
			"%s %s oifname '\"wm-*\"' ct state established,related accept",
			chain->family, chain->table, chain->chain, chain->family, chain->table,
			chain->chain);
}

static void judge_forward_policy(struct view *view)
{
	bool is_fine = true;

	for (size_t i = 0; i < view->facts->chain_count; i++) {
		const struct doctor_chain *chain = &view->facts->chains[i];
		_cleanup_(buf_clear) struct buf commands = {};

		if (chain->accepts_machines)
			continue;
		is_fine = false;
		add_exception(&commands, chain);
		add(view, "forward_policy", DOCTOR_WARN,
			"the firewall drops forwarded packets (chain %s of table %s %s, as Docker "
			"or a firewall set it), so machines reach nothing outside; let them "
			"through: %s",
			chain->chain, chain->family, chain->table, commands.data);
	}
	if (is_fine && view->facts->has_nft == DOCTOR_YES)
		add(view, "forward_policy", DOCTOR_OK,
			"no firewall keeps machines from the outside");
}

static void judge_podman(struct view *view)
{
	const struct doctor_facts *facts = view->facts;

	if (!facts->is_podman_there)
		add(view, "podman", DOCTOR_WARN,
			"podman is not installed, so images do not run (rootfs and attached "
			"machines do); apt-get install podman");
	else if (facts->podman_problem)
		add(view, "podman", DOCTOR_FAIL,
			"podman does not work, so images do not run: %s. Run podman info by hand",
			facts->podman_problem);
	else if (atoi(facts->podman_version) < MIN_PODMAN_MAJOR)
		add(view, "podman", DOCTOR_WARN,
			"podman %s is older than Wherry is tested with; install %d or newer",
			facts->podman_version, MIN_PODMAN_MAJOR);
	else
		add(view, "podman", DOCTOR_OK, "podman %s with %s, cgroups %s by %s",
			facts->podman_version, facts->oci_runtime, facts->cgroup_version,
			facts->cgroup_manager);
}

static void judge_public(struct view *view)
{
	const struct host_public *public = view->options->public;
	const char *problem = view->options->public_problem;

	if (!public)
		add(view, "public_interface", DOCTOR_FAIL, "%s",
			problem ? problem : "the public interface was not found");
	else if (!public->is_ethernet)
		add(view, "public_interface", DOCTOR_FAIL,
			"%s is not an Ethernet interface, and nothing is forwarded from it; name "
			"another as public_interface in " HOST_CONFIG_PATH,
			public->name);
	else if (!public->is_up)
		add(view, "public_interface", DOCTOR_FAIL,
			"%s is down or has no carrier; check the cable, then: ip link set %s up",
			public->name, public->name);
	else if (public->mtu_bytes < MIN_MTU_BYTES)
		add(view, "public_interface", DOCTOR_WARN,
			"the MTU of %s is %u bytes, which is less than IPv6 and many apps need; "
			"raise it: ip link set %s mtu 1500",
			public->name, public->mtu_bytes, public->name);
	else
		add(view, "public_interface", DOCTOR_OK, "%s is up, MTU %u bytes", public->name,
			public->mtu_bytes);
}

static void judge_pools(struct view *view)
{
	const struct doctor_options *options = view->options;
	char text[PREFIX_TEXT_LEN];
	size_t v4_count = 0;

	for (size_t i = 0; i < options->pool_count; i++)
		v4_count += options->pools[i].addr.family == AF_INET;
	if (options->pool_count == 0)
		add(view, "public_pools", DOCTOR_FAIL,
			"there is no public address to give to apps; set public_pools "
			"in " HOST_CONFIG_PATH);
	else if (v4_count == 0)
		add(view, "public_pools", DOCTOR_WARN,
			"there is no public IPv4 address, which UDP services need; add some to "
			"public_pools in " HOST_CONFIG_PATH);
	else if (options->pool_count == 1)
		add(view, "public_pools", DOCTOR_OK, "apps get addresses of %s",
			prefix_format(&options->pools[0], text));
	else
		add(view, "public_pools", DOCTOR_OK, "apps get addresses of %s and %zu more pools",
			prefix_format(&options->pools[0], text), options->pool_count - 1);
}

/* The way to the machines of a host of the fleet. */
static bool is_slice(const struct doctor_fleet *fleet, const struct prefix *to)
{
	for (size_t i = 0; fleet && i < fleet->slice_count; i++)
		if (addr_equal(&fleet->slices[i].addr, &to->addr) &&
			fleet->slices[i].len_bits == to->len_bits)
			return true;
	return false;
}

static void judge_machine_pool(struct view *view)
{
	const struct prefix *pool = &view->options->machine_pool;
	_cleanup_(buf_clear) struct buf routes = {};
	char text[PREFIX_TEXT_LEN];
	size_t count = 0;

	for (size_t i = 0; i < view->facts->route_count; i++) {
		const struct doctor_route *route = &view->facts->routes[i];

		if ((!prefix_contains(pool, &route->to.addr) &&
			    !prefix_contains(&route->to, &pool->addr)) ||
			is_slice(view->options->fleet, &route->to))
			continue;
		if (++count <= MAX_LISTED_ROUTES)
			buf_addf(&routes, "%s%s on %s", count == 1 ? "" : ", ",
				prefix_format(&route->to, text), route->dev);
	}
	if (count > MAX_LISTED_ROUTES)
		buf_addf(&routes, " and %zu more", count - MAX_LISTED_ROUTES);
	if (count == 0)
		add(view, "machine_pool", DOCTOR_OK, "nothing else uses the machine pool %s",
			prefix_format(pool, text));
	else
		add(view, "machine_pool", DOCTOR_WARN,
			"the machine pool %s overlaps networks this host talks to (%s): machines "
			"may hide them; set another machine_pool in " HOST_CONFIG_PATH,
			prefix_format(pool, text), routes.data);
}

static void judge_nameservers(struct view *view)
{
	if (view->options->nameserver_count)
		add(view, "nameservers", DOCTOR_OK, "machines have %zu nameserver%s",
			view->options->nameserver_count,
			view->options->nameserver_count == 1 ? "" : "s");
	else
		add(view, "nameservers", DOCTOR_WARN,
			"machines have no nameserver: the host's are on its loopback or not IPv4. "
			"Set nameservers in " HOST_CONFIG_PATH);
}

static void judge_limits(struct view *view)
{
	const struct doctor_facts *facts = view->facts;

	if (facts->max_files && facts->max_files < MIN_FILES)
		add(view, "limits", DOCTOR_WARN,
			"wherryd may open %" PRIu64
			" files; each machine needs some. Set LimitNOFILE=1048576 in its unit",
			facts->max_files);
	else if (facts->may_raise_limits == DOCTOR_NO)
		add(view, "limits", DOCTOR_WARN,
			"wherryd lacks CAP_SYS_RESOURCE: containers get no more open files and "
			"processes than it has itself (%" PRIu64 " files). Give it all of root's "
			"capabilities",
			facts->max_files);
	else
		add(view, "limits", DOCTOR_OK, "wherryd may open %" PRIu64 " files",
			facts->max_files);
}

static void judge_clock(struct view *view)
{
	if (view->facts->is_clock_synchronised == DOCTOR_NO)
		add(view, "clock", DOCTOR_WARN,
			"the clock is not synchronised, so times in logs and events may be wrong; "
			"apt-get install systemd-timesyncd, or chrony");
	else if (view->facts->is_clock_synchronised == DOCTOR_YES)
		add(view, "clock", DOCTOR_OK, "the clock is synchronised");
}

static void judge_disk(struct view *view)
{
	uint64_t total = view->facts->disk_bytes, free_bytes = view->facts->disk_free_bytes;
	uint64_t free_mib = free_bytes >> 20;
	unsigned int percent = total ? (unsigned int)((double)free_bytes * 100 / (double)total) : 0;
	const char *dir = view->options->state_dir;

	if (total == 0)
		add(view, "disk", DOCTOR_WARN, "cannot look at the file system of %s; see df %s",
			dir, dir);
	else if (percent < 5)
		add(view, "disk", percent < 1 ? DOCTOR_FAIL : DOCTOR_WARN,
			"the file system of %s has %" PRIu64
			" MiB free (%u %%): the catalog cannot be written when it is full. Make "
			"room: podman image prune",
			dir, free_mib, percent);
	else
		add(view, "disk", DOCTOR_OK, "%" PRIu64 " MiB are free for %s (%u %%)", free_mib,
			dir, percent);
}

static void judge_mesh(struct view *view)
{
	const struct doctor_fleet *fleet = view->options->fleet;
	const struct doctor_facts *facts = view->facts;
	const bool is_plain = strcmp(fleet->underlay, "plain") == 0;

	if (!facts->mesh_mtu_bytes)
		add(view, "mesh", DOCTOR_FAIL,
			"the interface %s of the mesh is gone; wherryd makes it anew within 20 s, "
			"and says in its log why it cannot",
			fleet->mesh_device);
	else if (!facts->is_mesh_up)
		add(view, "mesh", DOCTOR_FAIL, "%s is down; ip link set %s up", fleet->mesh_device,
			fleet->mesh_device);
	else if (facts->mesh_mtu_bytes != fleet->mesh_mtu_bytes)
		add(view, "mesh", is_plain ? DOCTOR_WARN : DOCTOR_FAIL,
			"the MTU of %s is %u bytes instead of %u; ip link set %s mtu %u",
			fleet->mesh_device, facts->mesh_mtu_bytes, fleet->mesh_mtu_bytes,
			fleet->mesh_device, fleet->mesh_mtu_bytes);
	else
		add(view, "mesh", DOCTOR_OK, "%s is up, MTU %u bytes (%s)", fleet->mesh_device,
			facts->mesh_mtu_bytes, is_plain ? "no encryption" : "WireGuard");
}

static void judge_fleet(struct view *view)
{
	const struct doctor_fleet *fleet = view->options->fleet;

	if (!fleet)
		return;
	if (fleet->store_problem)
		add(view, "store", DOCTOR_WARN,
			"the catalog at %s is away: %s. Traffic goes on; changes are refused until "
			"it is back",
			fleet->store, fleet->store_problem);
	else
		add(view, "store", DOCTOR_OK, "the catalog at %s answers", fleet->store);
	judge_mesh(view);
	if (*fleet->lost)
		add(view, "hosts", DOCTOR_WARN,
			"no packet of the mesh comes back from %s; if they run, see that their "
			"endpoints (wherry hosts list) are reached from here by UDP",
			fleet->lost);
	else if (*fleet->silent)
		add(view, "hosts", DOCTOR_WARN,
			"the catalog does not hear of the wherryd of %s; see systemctl status "
			"wherryd there",
			fleet->silent);
	else
		add(view, "hosts", DOCTOR_OK, "%zu other host%s answer%s", fleet->other_count,
			fleet->other_count == 1 ? "" : "s", fleet->other_count == 1 ? "s" : "");
}

/* A socket on @port that no client reaches, to be named as the probable slip; or NULL. */
static const struct machine_socket *find_useless(
	const struct doctor_sockets *sockets, struct port_range range)
{
	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->list[i].protocol == PROTOCOL_UDP &&
			sockets->list[i].port >= range.first && sockets->list[i].port <= range.last)
			return &sockets->list[i];
	return NULL;
}

/* Apps need not use all of a range. */
static bool serves_range(const struct doctor_machine *machine, const struct doctor_sockets *sockets,
	struct port_range range)
{
	for (size_t i = 0; i < sockets->count; i++) {
		uint16_t port = sockets->list[i].port;

		if (port >= range.first && port <= range.last &&
			machine_sockets_serve(sockets->list, sockets->count, &machine->primary,
				&machine->service, port))
			return true;
	}
	return false;
}

static void add_unserved(struct view *view, const struct doctor_machine *machine,
	const struct doctor_sockets *sockets, struct port_range range)
{
	const struct machine_socket *useless = find_useless(sockets, range);
	char port[16], addr[ADDR_TEXT_LEN];

	snprintf(port, sizeof(port), range.first == range.last ? "%u" : "%u-%u", range.first,
		range.last);
	if (!useless)
		add(view, "machine.sockets", DOCTOR_WARN,
			"machine %s: nothing is bound to UDP %s; bind fly-global-services:%u or "
			"0.0.0.0:%u",
			machine->id, port, range.first, range.first);
	else if (useless->is_connected)
		add(view, "machine.sockets", DOCTOR_WARN,
			"machine %s: the socket of UDP %s is connected to one peer and hears no "
			"other; bind another to fly-global-services:%u",
			machine->id, port, useless->port);
	else
		add(view, "machine.sockets", DOCTOR_WARN,
			"machine %s: UDP %u is bound to %s, where no client reaches it; bind "
			"fly-global-services:%u or 0.0.0.0:%u",
			machine->id, useless->port, addr_format(&useless->addr, addr),
			useless->port, useless->port);
}

static void judge_machine(struct view *view, const struct doctor_machine *machine,
	const struct doctor_sockets *sockets)
{
	bool is_fine = true;

	if (sockets->problem) {
		add(view, "machine.sockets", DOCTOR_FAIL,
			"machine %s: %s; restart it: wherry machine stop %s && wherry machine "
			"start %s",
			machine->id, sockets->problem, machine->id, machine->id);
		return;
	}
	for (size_t i = 0; i < machine->udp_port_count; i++) {
		if (serves_range(machine, sockets, machine->udp_ports[i]))
			continue;
		is_fine = false;
		add_unserved(view, machine, sockets, machine->udp_ports[i]);
	}
	if (is_fine && machine->udp_port_count)
		add(view, "machine.sockets", DOCTOR_OK,
			"machine %s listens on the UDP ports of its services", machine->id);
}

void doctor_judge(const struct doctor_options *options, const struct doctor_facts *facts,
	struct doctor_report *report)
{
	struct view view = {options, facts, report};

	judge_kernel(&view);
	judge_bpffs(&view);
	judge_public(&view);
	judge_fleet(&view);
	if (options->is_edge)
		judge_pools(&view);
	judge_machine_pool(&view);
	judge_forwarding(&view);
	judge_rp_filter(&view);
	judge_nft(&view);
	judge_forward_policy(&view);
	if (options->is_worker) {
		judge_nameservers(&view);
		judge_podman(&view);
	}
	judge_limits(&view);
	judge_clock(&view);
	judge_disk(&view);
	for (size_t i = 0; i < options->machine_count; i++)
		judge_machine(&view, &options->machines[i], &facts->machines[i]);
}

void doctor_run(const struct doctor_options *options, struct doctor_report *report)
{
	_cleanup_(doctor_facts_clear) struct doctor_facts facts;

	doctor_gather(options, &facts);
	doctor_judge(options, &facts, report);
}

void doctor_report_clear(struct doctor_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		free(report->checks[i].message);
	free(report->checks);
	*report = (struct doctor_report){};
}

const char *doctor_status_name(enum doctor_status status)
{
	static const char *const names[] = {
		[DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};

	return names[status];
}
