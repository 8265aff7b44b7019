/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement of made-up hosts, and what is seen of a real one in a network namespace of its own
 * (which needs root; without it those tests are left out and the program says so).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/doctor_facts.h"

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

/* A host with nothing wrong. What a test makes wrong in it points to static memory. */
struct fixture {
	struct host_public public;
	struct prefix pools[2];
	struct doctor_machine machine;
	struct port_range ports[1];
	struct machine_socket sockets[2];
	struct doctor_sockets machine_sockets;
	struct doctor_chain chain;
	struct doctor_route routes[6];
	struct doctor_options options;
	struct doctor_facts facts;
	struct doctor_report report;
};

static void fixture_clear(struct fixture *fixture)
{
	doctor_report_clear(&fixture->report);
}

static void make_healthy(struct fixture *fixture)
{
	doctor_report_clear(&fixture->report);
	*fixture = (struct fixture){
		.public = {.name = "eth0", .mtu_bytes = 1500, .is_ethernet = true, .is_up = true},
		.pools = {prefix_of("203.0.113.0/24"), prefix_of("2001:db8:ff::/64")},
		.machine = {.id = "3d8e0000000001",
			.primary = addr_of("172.16.0.2"),
			.service = addr_of("172.16.0.3"),
			.udp_port_count = 1},
		.ports = {{5000, 5000}},
		.sockets = {{PROTOCOL_UDP, addr_of("172.16.0.3"), 5000, false}},
		.machine_sockets = {.count = 1},
		.chain = {.family = (char *)"ip",
			.table = (char *)"filter",
			.chain = (char *)"FORWARD"},
		.routes = {{prefix_of("192.0.2.0/24"), "eth0"}},
		.facts = {.kernel_release = "6.1.0",
			.has_btf = DOCTOR_YES,
			.has_tc = DOCTOR_YES,
			.has_tcx = DOCTOR_YES,
			.has_sk_lookup = DOCTOR_YES,
			.has_bpffs = DOCTOR_YES,
			.ip_forward = 1,
			.has_nft = DOCTOR_YES,
			.has_nft_table = DOCTOR_YES,
			.route_count = 1,
			.is_podman_there = true,
			.podman_version = "4.3.1",
			.cgroup_manager = "systemd",
			.cgroup_version = "v2",
			.oci_runtime = "crun",
			.max_files = 1048576,
			.may_raise_limits = DOCTOR_YES,
			.is_clock_synchronised = DOCTOR_YES,
			.disk_bytes = 100ULL << 30,
			.disk_free_bytes = 50ULL << 30,
			.machine_count = 1},
		.options = {.pool_count = 2,
			.machine_pool = prefix_of("172.16.0.0/12"),
			.nameserver_count = 1,
			.is_edge = true,
			.is_worker = true,
			.state_dir = "/var/lib/wherry",
			.bpf_dir = "/sys/fs/bpf/wherry",
			.machine_count = 1},
	};
	fixture->machine.udp_ports = fixture->ports;
	fixture->machine_sockets.list = fixture->sockets;
	fixture->facts.machines = &fixture->machine_sockets;
	fixture->facts.routes = fixture->routes;
	fixture->facts.chains = &fixture->chain;
	fixture->options.public = &fixture->public;
	fixture->options.pools = fixture->pools;
	fixture->options.machines = &fixture->machine;
}

#define HEALTHY(name)                                                                              \
	struct fixture name _cleanup_(fixture_clear) = {};                                         \
	make_healthy(&name)

/* Judges. All checks are fine but @name, which has @status and says @words. */
static void finds(
	struct fixture *fixture, const char *name, enum doctor_status status, const char *words)
{
	bool is_found = false;

	doctor_report_clear(&fixture->report);
	doctor_judge(&fixture->options, &fixture->facts, &fixture->report);
	for (size_t i = 0; i < fixture->report.count; i++) {
		const struct doctor_check *check = &fixture->report.checks[i];

		if (strcmp(check->name, name) != 0) {
			if (check->status != DOCTOR_OK)
				fail_msg("%s: %s", check->name, check->message);
			continue;
		}
		is_found = true;
		if (check->status != status || !strstr(check->message, words))
			fail_msg("%s %s: expected ...%s..., got: %s", name,
				doctor_status_name(check->status), words, check->message);
	}
	if (!is_found)
		fail_msg("there is no check %s", name);
}

static void a_healthy_host_has_nothing_but_ok(void **state)
{
	HEALTHY(host);

	(void)state;
	finds(&host, "kernel.btf", DOCTOR_OK, "6.1.0");
	assert_int_equal(host.report.count, 17);
}

static void what_the_kernel_lacks_fails(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.has_btf = DOCTOR_NO;
	finds(&host, "kernel.btf", DOCTOR_FAIL, "CONFIG_DEBUG_INFO_BTF=y");
	make_healthy(&host);
	host.facts.has_tc = DOCTOR_NO;
	finds(&host, "kernel.tc", DOCTOR_FAIL, "CONFIG_NET_CLS_BPF");
	make_healthy(&host);
	host.facts.has_sk_lookup = DOCTOR_NO;
	finds(&host, "kernel.sk_lookup", DOCTOR_FAIL, "5.9");
	make_healthy(&host);
	host.facts.has_bpffs = DOCTOR_NO;
	finds(&host, "bpffs", DOCTOR_FAIL, "restart wherryd");
}

static void a_kernel_without_tcx_is_fine(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.has_tcx = DOCTOR_NO;
	finds(&host, "kernel.tc", DOCTOR_OK, "clsact");
}

static void forwarding_that_was_switched_off_fails(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.ip_forward = 0;
	finds(&host, "ip_forward", DOCTOR_FAIL, "sysctl -w net.ipv4.ip_forward=1");
}

static void the_stricter_reverse_path_filter_counts(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.rp_filter_public = 1;
	finds(&host, "rp_filter", DOCTOR_WARN, "conf.eth0.rp_filter=2");
	host.facts.rp_filter_all = 1;
	host.facts.rp_filter_public = 0;
	finds(&host, "rp_filter", DOCTOR_WARN, "conf.all.rp_filter=2");
	/* Loose is the larger number, and the larger one is in effect. */
	host.facts.rp_filter_public = 2;
	finds(&host, "rp_filter", DOCTOR_OK, "not strict");
}

static void nft_and_its_table_must_be_there(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.has_nft_table = DOCTOR_NO;
	finds(&host, "nft", DOCTOR_FAIL, "systemctl restart wherryd");
	host.facts.has_nft = DOCTOR_NO;
	finds(&host, "nft", DOCTOR_FAIL, "apt-get install nftables");
}

static void a_firewall_that_drops_is_told_with_the_command(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.chain_count = 1;
	finds(&host, "forward_policy", DOCTOR_WARN, "iptables -I FORWARD -i wm-+ -j ACCEPT");
	host.chain = (struct doctor_chain){
		.family = (char *)"inet", .table = (char *)"fw", .chain = (char *)"fwd"};
	finds(&host, "forward_policy", DOCTOR_WARN,
		"nft insert rule inet fw fwd iifname '\"wm-*\"' accept");
	host.chain.accepts_machines = true;
	finds(&host, "forward_policy", DOCTOR_OK, "no firewall");
}

static void podman_is_missed_only_for_images_and_must_work_when_there(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.is_podman_there = false;
	host.facts.podman_problem = (char *)"podman is not installed";
	finds(&host, "podman", DOCTOR_WARN, "apt-get install podman");
	host.facts.is_podman_there = true;
	host.facts.podman_problem = (char *)"podman info failed: no storage";
	finds(&host, "podman", DOCTOR_FAIL, "no storage");
	host.facts.podman_problem = NULL;
	strcpy(host.facts.podman_version, "3.0.1");
	finds(&host, "podman", DOCTOR_WARN, "3.0.1 is older");
}

static void the_public_interface_must_be_there_up_and_ethernet(void **state)
{
	HEALTHY(host);

	(void)state;
	host.public.mtu_bytes = 1000;
	finds(&host, "public_interface", DOCTOR_WARN, "1000 bytes");
	host.public.is_up = false;
	finds(&host, "public_interface", DOCTOR_FAIL, "ip link set eth0 up");
	host.public.is_ethernet = false;
	finds(&host, "public_interface", DOCTOR_FAIL, "not an Ethernet interface");
	host.options.public = NULL;
	host.options.public_problem = "there is no default route";
	finds(&host, "public_interface", DOCTOR_FAIL, "there is no default route");
}

static void without_public_addresses_nothing_can_be_given(void **state)
{
	HEALTHY(host);

	(void)state;
	host.options.pools = &host.pools[1];
	host.options.pool_count = 1;
	finds(&host, "public_pools", DOCTOR_WARN, "UDP services need");
	host.options.pool_count = 0;
	finds(&host, "public_pools", DOCTOR_FAIL, "set public_pools");
}

static void a_route_inside_or_around_the_machine_pool_is_told(void **state)
{
	HEALTHY(host);

	(void)state;
	host.routes[0] = (struct doctor_route){prefix_of("172.17.0.0/16"), "docker0"};
	finds(&host, "machine_pool", DOCTOR_WARN, "172.17.0.0/16 on docker0");
	host.routes[0] = (struct doctor_route){prefix_of("172.0.0.0/8"), "vpn0"};
	finds(&host, "machine_pool", DOCTOR_WARN, "172.0.0.0/8 on vpn0");
	host.routes[0] = (struct doctor_route){prefix_of("172.32.0.0/16"), "docker0"};
	finds(&host, "machine_pool", DOCTOR_OK, "172.16.0.0/12");
}

static void many_routes_in_the_way_are_counted(void **state)
{
	HEALTHY(host);

	(void)state;
	for (int i = 0; i < 6; i++)
		host.routes[i] = (struct doctor_route){prefix_of("172.18.0.0/16"), "br0"};
	host.facts.route_count = 6;
	finds(&host, "machine_pool", DOCTOR_WARN, " and 2 more");
}

static void a_machine_without_resolver_files_or_time_is_warned_about(void **state)
{
	HEALTHY(host);

	(void)state;
	host.options.nameserver_count = 0;
	finds(&host, "nameservers", DOCTOR_WARN, "Set nameservers");
	make_healthy(&host);
	host.facts.max_files = 1024;
	finds(&host, "limits", DOCTOR_WARN, "LimitNOFILE");
	make_healthy(&host);
	host.facts.may_raise_limits = DOCTOR_NO;
	finds(&host, "limits", DOCTOR_WARN, "CAP_SYS_RESOURCE");
	make_healthy(&host);
	host.facts.is_clock_synchronised = DOCTOR_NO;
	finds(&host, "clock", DOCTOR_WARN, "not synchronised");
}

static void hosts_are_asked_what_their_role_needs(void **state)
{
	HEALTHY(host);

	(void)state;
	host.options.is_edge = false;
	host.options.pool_count = 0;
	finds(&host, "kernel.btf", DOCTOR_OK, "");
	make_healthy(&host);
	host.options.is_worker = false;
	host.options.nameserver_count = 0;
	host.facts.is_podman_there = false;
	finds(&host, "kernel.btf", DOCTOR_OK, "");
}

static void the_fleet_is_judged(void **state)
{
	const struct prefix slice = prefix_of("172.16.16.0/20");
	struct doctor_fleet fleet = {
		.underlay = "wireguard",
		.mesh_device = "wherry0",
		.mesh_mtu_bytes = 1440,
		.store = "etcd://10.0.0.5:2379",
		.other_count = 2,
		.lost = "",
		.silent = "",
		.slices = &slice,
		.slice_count = 1,
	};
	HEALTHY(host);

	(void)state;
	host.options.fleet = &fleet;
	host.facts.is_mesh_up = true;
	host.facts.mesh_mtu_bytes = 1440;
	host.routes[0] = (struct doctor_route){slice, "wherry0"};
	finds(&host, "machine_pool", DOCTOR_OK, "");
	finds(&host, "mesh", DOCTOR_OK, "MTU 1440");
	finds(&host, "hosts", DOCTOR_OK, "2 other hosts answer");
	host.facts.mesh_mtu_bytes = 1420;
	finds(&host, "mesh", DOCTOR_FAIL, "ip link set wherry0 mtu 1440");
	host.facts.mesh_mtu_bytes = 0;
	finds(&host, "mesh", DOCTOR_FAIL, "is gone");
	host.facts.mesh_mtu_bytes = 1440;
	fleet.silent = "worker-2";
	finds(&host, "hosts", DOCTOR_WARN, "the wherryd of worker-2");
	fleet.lost = "worker-1";
	finds(&host, "hosts", DOCTOR_WARN, "comes back from worker-1");
	fleet.lost = fleet.silent = "";
	fleet.store_problem = "etcd does not answer";
	finds(&host, "store", DOCTOR_WARN, "is away: etcd does not answer");
}

static void a_disk_warns_below_five_percent_and_fails_below_one(void **state)
{
	HEALTHY(host);

	(void)state;
	host.facts.disk_free_bytes = 5ULL << 30;
	finds(&host, "disk", DOCTOR_OK, "(5 %)");
	host.facts.disk_free_bytes -= 1;
	finds(&host, "disk", DOCTOR_WARN, "(4 %)");
	host.facts.disk_free_bytes = (1ULL << 30) - 1;
	finds(&host, "disk", DOCTOR_FAIL, "(0 %)");
	host.facts.disk_bytes = 0;
	finds(&host, "disk", DOCTOR_WARN, "cannot look");
}

static void a_machine_that_listens_nowhere_is_told_what_to_bind(void **state)
{
	HEALTHY(host);

	(void)state;
	host.machine_sockets.count = 0;
	finds(&host, "machine.sockets", DOCTOR_WARN,
		"machine 3d8e0000000001: nothing is bound to UDP 5000; bind "
		"fly-global-services:5000 or 0.0.0.0:5000");
}

static void a_socket_on_the_wrong_address_is_named(void **state)
{
	HEALTHY(host);

	(void)state;
	host.sockets[0].addr = addr_of("127.0.0.1");
	finds(&host, "machine.sockets", DOCTOR_WARN, "UDP 5000 is bound to 127.0.0.1");
	host.sockets[0].addr = addr_of("172.16.0.3");
	host.sockets[0].is_connected = true;
	finds(&host, "machine.sockets", DOCTOR_WARN, "connected to one peer");
}

static void a_tcp_listener_does_not_stand_for_udp(void **state)
{
	HEALTHY(host);

	(void)state;
	host.sockets[0].protocol = PROTOCOL_TCP;
	finds(&host, "machine.sockets", DOCTOR_WARN, "nothing is bound to UDP 5000");
}

static void one_port_of_a_range_is_enough(void **state)
{
	HEALTHY(host);

	(void)state;
	host.ports[0] = (struct port_range){4000, 6000};
	finds(&host, "machine.sockets", DOCTOR_OK, "3d8e0000000001");
	host.ports[0] = (struct port_range){5001, 6000};
	finds(&host, "machine.sockets", DOCTOR_WARN, "nothing is bound to UDP 5001-6000");
}

static void a_machine_whose_namespace_is_gone_fails(void **state)
{
	HEALTHY(host);

	(void)state;
	host.machine_sockets.problem = (char *)"the network namespace /x does not exist";
	finds(&host, "machine.sockets", DOCTOR_FAIL, "/x does not exist");
}

static void sh(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static int enter_namespace(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET) < 0 ? -1 : 0;
}

struct seen {
	struct doctor_options options;
	struct doctor_facts facts;
};

static void seen_clear(struct seen *seen)
{
	doctor_facts_clear(&seen->facts);
}

static void look(struct seen *seen)
{
	doctor_facts_clear(&seen->facts);
	seen->options.state_dir = "/tmp";
	seen->options.bpf_dir = "/tmp";
	seen->options.machine_pool = prefix_of("172.16.0.0/12");
	doctor_gather(&seen->options, &seen->facts);
}

static void what_the_host_has_is_seen(void **state)
{
	struct seen seen _cleanup_(seen_clear) = {};

	(void)state;
	look(&seen);
	assert_true(strlen(seen.facts.kernel_release) > 0);
	assert_int_equal(
		seen.facts.has_btf == DOCTOR_YES, access("/sys/kernel/btf/vmlinux", R_OK) == 0);
	assert_int_equal(seen.facts.has_bpffs, DOCTOR_NO); /* /tmp is none */
	assert_int_equal(seen.facts.rp_filter_public, -1);
	assert_true(seen.facts.disk_bytes >= seen.facts.disk_free_bytes);
	assert_true(seen.facts.disk_bytes > 0);
	assert_true(seen.facts.max_files > 0);
}

static void forwarding_and_the_table_are_seen_as_they_are(void **state)
{
	struct seen seen _cleanup_(seen_clear) = {};

	(void)state;
	sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
	look(&seen);
	assert_int_equal(seen.facts.ip_forward, 0);
	assert_int_equal(seen.facts.has_nft_table, DOCTOR_NO);
	sh("echo 1 > /proc/sys/net/ipv4/ip_forward; nft add table ip wherry; nft add chain ip "
	   "wherry postrouting '{ type nat hook postrouting priority srcnat; }'; nft add rule ip "
	   "wherry postrouting masquerade");
	look(&seen);
	assert_int_equal(seen.facts.ip_forward, 1);
	assert_int_equal(seen.facts.has_nft_table, DOCTOR_YES);
}

static void only_chains_that_drop_what_is_forwarded_are_seen(void **state)
{
	struct seen seen _cleanup_(seen_clear) = {};

	(void)state;
	sh("nft add table inet fw; nft add chain inet fw in '{ type filter hook input priority 0; "
	   "policy drop; }'; nft add chain inet fw open '{ type filter hook forward priority 0; "
	   "}'");
	look(&seen);
	assert_int_equal(seen.facts.chain_count, 0);
	sh("nft add chain inet fw transit '{ type filter hook forward priority 1; policy drop; }'");
	look(&seen);
	assert_int_equal(seen.facts.chain_count, 1);
	assert_string_equal(seen.facts.chains[0].chain, "transit");
	assert_false(seen.facts.chains[0].accepts_machines);
}

/* The remedy that is told must be one: one chain warns now, none after the commands. */
static void the_told_commands_help(const char *start)
{
	struct seen seen _cleanup_(seen_clear) = {};
	_cleanup_(doctor_report_clear) struct doctor_report report = {};
	const char *commands = NULL;

	look(&seen);
	assert_int_equal(seen.facts.chain_count, 1);
	assert_false(seen.facts.chains[0].accepts_machines);
	doctor_judge(&seen.options, &seen.facts, &report);
	for (size_t i = 0; i < report.count; i++)
		if (strcmp(report.checks[i].name, "forward_policy") == 0)
			commands = strstr(report.checks[i].message, start);
	assert_non_null(commands);
	sh(commands);
	look(&seen);
	assert_int_equal(seen.facts.chain_count, 1);
	assert_true(seen.facts.chains[0].accepts_machines);
}

static void the_iptables_commands_that_are_told_help(void **state)
{
	(void)state;
	if (system("iptables -P FORWARD DROP 2>/dev/null") != 0)
		skip();
	the_told_commands_help("iptables -I");
}

static void the_nft_commands_that_are_told_help(void **state)
{
	(void)state;
	sh("nft add table inet filter; nft add chain inet filter forward '{ type filter hook "
	   "forward priority 0; policy drop; }'");
	the_told_commands_help("nft insert");
}

static void routes_are_seen_but_default_and_machines(void **state)
{
	struct seen seen _cleanup_(seen_clear) = {};
	char text[PREFIX_TEXT_LEN];

	(void)state;
	sh("ip link add dr0 type veth peer name wm-0123456789; ip link set dr0 up; ip link set "
	   "wm-0123456789 up; ip addr add 192.0.2.2/24 dev dr0; ip route add default via "
	   "192.0.2.1; ip route add 172.17.0.0/16 via 192.0.2.9; ip route add 172.16.0.8/29 dev "
	   "wm-0123456789");
	look(&seen);
	assert_int_equal(seen.facts.route_count, 2);
	assert_string_equal(prefix_format(&seen.facts.routes[0].to, text), "172.17.0.0/16");
	assert_string_equal(seen.facts.routes[0].dev, "dr0");
	assert_string_equal(prefix_format(&seen.facts.routes[1].to, text), "192.0.2.0/24");
}

static void a_machine_s_sockets_are_looked_at_in_its_namespace(void **state)
{
	struct seen seen _cleanup_(seen_clear) = {};
	const struct doctor_machine machines[] = {
		{.id = "a", .netns_path = "/proc/thread-self/ns/net"},
		{.id = "b", .netns_path = "/run/netns/wherry-no-such"},
	};
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5000)};
	_close_ int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	seen.options.machines = machines;
	seen.options.machine_count = ARRAY_LEN(machines);
	look(&seen);
	assert_int_equal(seen.facts.machine_count, 2);
	assert_null(seen.facts.machines[0].problem);
	assert_int_equal(seen.facts.machines[0].count, 1);
	assert_int_equal(seen.facts.machines[0].list[0].port, 5000);
	assert_non_null(seen.facts.machines[1].problem);
}

static void a_run_judges_what_was_seen(void **state)
{
	_cleanup_(doctor_report_clear) struct doctor_report report = {};
	const struct doctor_options options = {.is_edge = true,
		.state_dir = "/tmp",
		.bpf_dir = "/tmp",
		.machine_pool = prefix_of("172.16.0.0/12")};
	bool is_pool_missed = false;

	(void)state;
	doctor_run(&options, &report);
	assert_true(report.count >= 12);
	for (size_t i = 0; i < report.count; i++)
		if (strcmp(report.checks[i].name, "public_pools") == 0)
			is_pool_missed = report.checks[i].status == DOCTOR_FAIL;
	assert_true(is_pool_missed);
}

#define SEEING(name) cmocka_unit_test_setup(name, enter_namespace)

int main(void)
{
	const struct CMUnitTest judging[] = {
		cmocka_unit_test(a_healthy_host_has_nothing_but_ok),
		cmocka_unit_test(what_the_kernel_lacks_fails),
		cmocka_unit_test(a_kernel_without_tcx_is_fine),
		cmocka_unit_test(forwarding_that_was_switched_off_fails),
		cmocka_unit_test(the_stricter_reverse_path_filter_counts),
		cmocka_unit_test(nft_and_its_table_must_be_there),
		cmocka_unit_test(a_firewall_that_drops_is_told_with_the_command),
		cmocka_unit_test(podman_is_missed_only_for_images_and_must_work_when_there),
		cmocka_unit_test(the_public_interface_must_be_there_up_and_ethernet),
		cmocka_unit_test(without_public_addresses_nothing_can_be_given),
		cmocka_unit_test(a_route_inside_or_around_the_machine_pool_is_told),
		cmocka_unit_test(many_routes_in_the_way_are_counted),
		cmocka_unit_test(a_machine_without_resolver_files_or_time_is_warned_about),
		cmocka_unit_test(hosts_are_asked_what_their_role_needs),
		cmocka_unit_test(the_fleet_is_judged),
		cmocka_unit_test(a_disk_warns_below_five_percent_and_fails_below_one),
		cmocka_unit_test(a_machine_that_listens_nowhere_is_told_what_to_bind),
		cmocka_unit_test(a_socket_on_the_wrong_address_is_named),
		cmocka_unit_test(a_tcp_listener_does_not_stand_for_udp),
		cmocka_unit_test(one_port_of_a_range_is_enough),
		cmocka_unit_test(a_machine_whose_namespace_is_gone_fails),
	};
	const struct CMUnitTest seeing[] = {
		SEEING(what_the_host_has_is_seen),
		SEEING(forwarding_and_the_table_are_seen_as_they_are),
		SEEING(only_chains_that_drop_what_is_forwarded_are_seen),
		SEEING(the_iptables_commands_that_are_told_help),
		SEEING(the_nft_commands_that_are_told_help),
		SEEING(routes_are_seen_but_default_and_machines),
		SEEING(a_machine_s_sockets_are_looked_at_in_its_namespace),
		SEEING(a_run_judges_what_was_seen),
	};
	int failed = cmocka_run_group_tests(judging, NULL, NULL);

	if (failed)
		return failed;
	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "skipped: cannot make a network namespace: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(seeing, NULL, NULL);
}
