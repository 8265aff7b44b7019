/* SPDX-License-Identifier: Apache-2.0 */
/* The mesh over WireGuard, between network namespaces on a bridge. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "../../lib/mesh.h"

static char log_path[128];

/* The programs that the mesh runs, each with a line in a log. */
static void log_programs(void)
{
	char command[512];

	snprintf(log_path, sizeof(log_path), "%s/log", mesh_fixture_dir);
	snprintf(command, sizeof(command),
		"mkdir -p %s/bin && cd %s/bin && for p in wg ip; do "
		"printf '#!/bin/sh\\necho \"%%s $*\" >>%s\\nexec %%s \"$@\"\\n' "
		"$p $(command -v $p) >$p && chmod 755 $p; done",
		mesh_fixture_dir, mesh_fixture_dir, log_path);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "%s/bin:%s", mesh_fixture_dir, getenv("PATH"));
	setenv("PATH", command, 1);
}

static bool was_logged(const char *text)
{
	_free_ char *log = NULL;

	return file_read(log_path, 1 << 20, &log, NULL, NULL) == 0 && strstr(log, text);
}

static void open_pair(struct node nodes[2])
{
	for (int i = 0; i < 2; i++) {
		node_new(&nodes[i], i + 1);
		node_open(&nodes[i]);
	}
	node_know(&nodes[0], &nodes[1]);
	node_know(&nodes[1], &nodes[0]);
}

static void free_nodes(struct node *nodes, int count)
{
	for (int i = 0; i < count; i++)
		node_free(&nodes[i]);
}

static void expect_ping(const struct node *from, const char *to)
{
	if (node_try(from, "ping -q -c 1 -W 5 %s >/dev/null", to) != 0)
		fail_msg("%s does not answer to %s: %s", to, from->device,
			node_output(from, "wg show %s; ip route", from->device));
}

static bool pings(const struct node *from, const char *options, const char *to)
{
	return node_try(from, "ping -q -c 1 -W 1 %s %s >/dev/null 2>&1", options, to) == 0;
}

static int peers_of(const struct node *node, struct wg_device *out)
{
	return wg_dump_read(node->device, out, NULL);
}

/* The process that serves the device. */
static pid_t go_of(const struct node *node)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(struct ucred);
	struct ucred peer;

	snprintf(at.sun_path, sizeof(at.sun_path), "/run/wireguard/%s.sock", node->device);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -1;
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
	return peer.pid;
}

/* Its end is when the tun has no carrier any more. */
static void kill_go(const struct node *node)
{
	pid_t pid = go_of(node);

	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	for (int i = 0; i < 200; i++) {
		if (!strstr(node_output(node, "ip link show %s", node->device), "LOWER_UP"))
			return;
		usleep(10000);
	}
	fail_msg("wireguard-go does not end");
}

static void hosts_reach_each_other_by_mesh_addresses(void **state)
{
	struct node nodes[2];
	struct mesh_device device;

	(void)state;
	open_pair(nodes);
	expect_ping(&nodes[0], "10.64.0.2");
	expect_ping(&nodes[0], "fd64::2");
	expect_ping(&nodes[1], "10.64.0.1");
	mesh_device(nodes[0].mesh, &device);
	assert_string_equal(device.name, nodes[0].device);
	assert_int_equal(device.mtu_bytes, 1440);
	assert_false(device.is_ethernet);
	assert_non_null(strstr(node_output(&nodes[0], "ip link show %s", device.name), "mtu 1440"));
	/* A packet of the mesh's MTU fills the underlay, and not a byte more fits. */
	assert_true(pings(&nodes[0], "-M do -s 1412", "10.64.0.2"));
	assert_false(pings(&nodes[0], "-M do -s 1413", "10.64.0.2"));
	assert_true(mesh_handshake_age_s(nodes[0].mesh, nodes[1].public_key) >= 0);
	assert_true(mesh_handshake_age_s(nodes[0].mesh, nodes[1].public_key) < 10);
	assert_int_equal(mesh_handshake_age_s(nodes[0].mesh, nodes[0].public_key), -1);
	free_nodes(nodes, 2);
}

static void what_a_host_holds_is_routed_to_it(void **state)
{
	struct node nodes[2];

	(void)state;
	open_pair(nodes);
	node_sh(&nodes[1], "ip addr add 172.18.0.9/32 dev lo");
	expect_ping(&nodes[0], "172.18.0.9");
	assert_string_equal(node_output(&nodes[0], "ip route show proto 188 172.18.0.0/16 | "
						   "grep -o 'dev wtm'"),
		"dev wtm\n");
	/* Its own slice, where no machine is: not back to the mesh, nor elsewhere. */
	assert_string_equal(
		node_output(&nodes[0], "ip route show proto 188 type unreachable | tr -d '\\n '"),
		"unreachable172.17.0.0/16");
	free_nodes(nodes, 2);
}

static void the_device_lets_in_what_clients_and_public_addresses_send(void **state)
{
	struct node node;

	(void)state;
	node_new(&node, 1);
	node_sh(&node, "cd /proc/sys/net/ipv4/conf && echo 1 >all/rp_filter && "
		       "echo 2 >lo/rp_filter && echo 0 >eth0/rp_filter");
	node_open(&node);
	assert_string_equal(node_output(&node,
				    "cd /proc/sys/net/ipv4/conf && cat %s/rp_filter "
				    "%s/accept_local all/rp_filter default/rp_filter "
				    "eth0/rp_filter lo/rp_filter | tr -d '\\n'",
				    node.device, node.device),
		/* What "all" said is what each link says now. */
		"010112");
	free_nodes(&node, 1);
}

static void a_second_reconcile_writes_nothing(void **state)
{
	struct node nodes[2];
	struct wg_device before = {}, after = {};

	(void)state;
	open_pair(nodes);
	expect_ping(&nodes[0], "10.64.0.2");
	assert_int_equal(peers_of(&nodes[0], &before), 0);
	assert_int_equal(truncate(log_path, 0), 0);
	node_know(&nodes[0], &nodes[1]);
	assert_int_equal(node_repair(&nodes[0]), 0);
	mesh_close(nodes[0].mesh);
	node_open(&nodes[0]);
	node_know(&nodes[0], &nodes[1]);
	assert_true(was_logged("wg show"));
	assert_false(was_logged("wg set"));
	assert_false(was_logged("-batch"));
	assert_false(was_logged("tuntap"));
	expect_ping(&nodes[0], "10.64.0.2");
	assert_int_equal(peers_of(&nodes[0], &after), 0);
	assert_int_equal(after.peer_count, 1);
	assert_int_equal(before.peers[0].handshake_s, after.peers[0].handshake_s);
	assert_true(after.peers[0].received_bytes > before.peers[0].received_bytes);
	wg_device_clear(&before);
	wg_device_clear(&after);
	free_nodes(nodes, 2);
}

static void a_change_of_one_peer_leaves_the_others_sessions(void **state)
{
	struct node nodes[3];
	struct wg_device before = {}, after = {};
	const struct wg_peer *second;
	struct mesh_peer peers[2];
	struct prefix moved[2];

	(void)state;
	open_pair(nodes);
	node_new(&nodes[2], 3);
	node_open(&nodes[2]);
	expect_ping(&nodes[0], "10.64.0.2");
	assert_int_equal(peers_of(&nodes[0], &before), 0);
	peers[0] = peer_of(&nodes[1]);
	peers[1] = peer_of(&nodes[2]);
	node_set_peers(&nodes[0], peers, 2);
	node_know(&nodes[2], &nodes[0]);
	expect_ping(&nodes[0], "10.64.0.3");
	/* The third takes over what the second held, and the second lives on without. */
	moved[0] = nodes[2].slice;
	moved[1] = nodes[1].slice;
	peers[1].prefixes = moved;
	peers[1].prefix_count = 2;
	peers[0].prefix_count = 0;
	node_set_peers(&nodes[0], peers, 2);
	node_sh(&nodes[2], "ip addr add 172.18.0.9/32 dev lo");
	expect_ping(&nodes[0], "172.18.0.9");
	expect_ping(&nodes[0], "10.64.0.2");
	assert_int_equal(peers_of(&nodes[0], &after), 0);
	second = wg_dump_find(&after, nodes[1].public_key);
	assert_int_equal(second->handshake_s, before.peers[0].handshake_s);
	assert_int_equal(second->allowed_count, 2);
	/* The second leaves: peer and routes go. */
	node_set_peers(&nodes[0], &peers[1], 1);
	wg_device_clear(&after);
	assert_int_equal(peers_of(&nodes[0], &after), 0);
	assert_int_equal(after.peer_count, 1);
	assert_null(strstr(node_output(&nodes[0], "ip route; ip -6 route"), "10.64.0.2"));
	expect_ping(&nodes[0], "172.18.0.9");
	assert_false(pings(&nodes[0], "", "10.64.0.2"));
	wg_device_clear(&before);
	wg_device_clear(&after);
	free_nodes(nodes, 3);
}

static void an_endpoint_that_roamed_stays_until_the_catalogs_changes(void **state)
{
	struct node nodes[2];
	struct wg_device shown = {};
	struct mesh_peer peer;
	char text[ADDR_TEXT_LEN];

	(void)state;
	open_pair(nodes);
	expect_ping(&nodes[0], "10.64.0.2");
	node_sh(&nodes[1], "wg set %s listen-port 4444", nodes[1].device);
	expect_ping(&nodes[1], "10.64.0.1");
	node_know(&nodes[0], &nodes[1]);
	assert_int_equal(node_repair(&nodes[0]), 0);
	assert_int_equal(peers_of(&nodes[0], &shown), 0);
	assert_int_equal(shown.peers[0].endpoint_port, 4444);
	wg_device_clear(&shown);
	peer = peer_of(&nodes[1]);
	peer.endpoint_addr = addr_of("10.77.0.33");
	node_set_peers(&nodes[0], &peer, 1);
	assert_int_equal(peers_of(&nodes[0], &shown), 0);
	assert_string_equal(addr_format(&shown.peers[0].endpoint_addr, text), "10.77.0.33");
	wg_device_clear(&shown);
	free_nodes(nodes, 2);
}

static void keys_rotate(void **state)
{
	struct node nodes[2];
	struct wg_device shown = {};
	char before[MESH_KEY_LEN];

	(void)state;
	open_pair(nodes);
	expect_ping(&nodes[0], "10.64.0.2");
	memcpy(before, nodes[1].public_key, sizeof(before));
	assert_int_equal(mesh_new_key(nodes[1].key_path, NULL), 0);
	assert_int_equal(node_repair(&nodes[1]), 0);
	assert_int_equal(mesh_public_key(nodes[1].key_path, nodes[1].public_key, NULL), 0);
	assert_string_not_equal(before, nodes[1].public_key);
	node_know(&nodes[0], &nodes[1]);
	expect_ping(&nodes[0], "10.64.0.2");
	assert_int_equal(peers_of(&nodes[0], &shown), 0);
	assert_int_equal(shown.peer_count, 1);
	assert_string_equal(shown.peers[0].public_key, nodes[1].public_key);
	wg_device_clear(&shown);
	free_nodes(nodes, 2);
}

static void a_killed_wireguard_go_is_started_on_the_same_device(void **state)
{
	struct node nodes[2];
	struct mesh_device before, after;
	pid_t first;

	(void)state;
	open_pair(nodes);
	mesh_device(nodes[0].mesh, &before);
	if (before.is_kernel) {
		free_nodes(nodes, 2);
		skip();
	}
	expect_ping(&nodes[0], "10.64.0.2");
	first = go_of(&nodes[0]);
	kill_go(&nodes[0]);
	assert_false(pings(&nodes[0], "", "10.64.0.2"));
	assert_int_equal(access("/run/wireguard", F_OK), 0);
	assert_int_equal(node_repair(&nodes[0]), 0);
	assert_true(go_of(&nodes[0]) > 1);
	assert_true(go_of(&nodes[0]) != first);
	mesh_device(nodes[0].mesh, &after);
	assert_int_equal(before.ifindex, after.ifindex);
	assert_int_equal(after.mtu_bytes, 1440);
	assert_non_null(strstr(node_output(&nodes[0], "ip link show %s", after.name), "mtu 1440"));
	expect_ping(&nodes[0], "10.64.0.2");
	expect_ping(&nodes[0], "fd64::2");
	free_nodes(nodes, 2);
}

static void the_device_outlives_its_owner(void **state)
{
	struct node nodes[2];
	pid_t first;

	(void)state;
	open_pair(nodes);
	first = go_of(&nodes[0]);
	mesh_close(nodes[0].mesh);
	expect_ping(&nodes[0], "10.64.0.2");
	if (first > 1) {
		assert_int_equal(getsid(first), first);
		assert_int_not_equal(getsid(first), getsid(0));
	}
	node_open(&nodes[0]);
	assert_int_equal(go_of(&nodes[0]), first);
	free_nodes(nodes, 2);
}

static void a_device_that_was_removed_is_made_anew_and_told(void **state)
{
	struct node nodes[2];
	struct mesh_device before, after;

	(void)state;
	open_pair(nodes);
	mesh_device(nodes[0].mesh, &before);
	node_sh(&nodes[0], "ip link del %s", nodes[0].device);
	assert_int_equal(node_repair(&nodes[0]), 1);
	assert_int_equal(node_repair(&nodes[0]), 0);
	mesh_device(nodes[0].mesh, &after);
	assert_int_not_equal(before.ifindex, after.ifindex);
	expect_ping(&nodes[0], "10.64.0.2");
	free_nodes(nodes, 2);
}

static void what_others_changed_is_put_back(void **state)
{
	struct node nodes[2];

	(void)state;
	open_pair(nodes);
	node_sh(&nodes[0],
		"d=%s; ip link set $d mtu 1300; ip addr flush dev $d; ip addr add 10.9.9.9/24 dev "
		"$d;"
		"ip route flush proto 188; ip -6 route flush proto 188;"
		"wg set $d listen-port 4444 peer %s allowed-ips 10.1.0.0/16 persistent-keepalive 9;"
		"ip link set $d down",
		nodes[0].device, nodes[1].public_key);
	assert_int_equal(node_repair(&nodes[0]), 0);
	expect_ping(&nodes[0], "10.64.0.2");
	expect_ping(&nodes[0], "fd64::2");
	assert_null(strstr(node_output(&nodes[0], "ip addr"), "10.9.9.9"));
	assert_non_null(
		strstr(node_output(&nodes[0], "ip link show %s", nodes[0].device), "mtu 1440"));
	assert_string_equal(
		node_output(&nodes[0], "wg show %s listen-port", nodes[0].device), "51820\n");
	assert_null(strstr(node_output(&nodes[0], "wg show %s", nodes[0].device), "keepalive"));
	free_nodes(nodes, 2);
}

static void an_underlay_of_ipv6_costs_twenty_bytes_more(void **state)
{
	struct node nodes[2];
	struct mesh_peer peer;

	(void)state;
	open_pair(nodes);
	peer = peer_of(&nodes[1]);
	peer.endpoint_addr = addr_of("fd77::2");
	node_set_peers(&nodes[0], &peer, 1);
	expect_ping(&nodes[0], "10.64.0.2");
	assert_non_null(
		strstr(node_output(&nodes[0], "ip link show %s", nodes[0].device), "mtu 1420"));
	/* The next daemon finds it so and leaves it so. */
	mesh_close(nodes[0].mesh);
	node_open(&nodes[0]);
	assert_non_null(
		strstr(node_output(&nodes[0], "ip link show %s", nodes[0].device), "mtu 1420"));
	free_nodes(nodes, 2);
}

static void the_mtu_follows_the_underlay(void **state)
{
	struct node node;

	(void)state;
	assert_int_equal(mesh_mtu(MESH_WIREGUARD, 1500, AF_INET), 1440);
	assert_int_equal(mesh_mtu(MESH_WIREGUARD, 1500, AF_INET6), 1420);
	assert_int_equal(mesh_mtu(MESH_WIREGUARD, 9000, AF_INET), 8940);
	assert_int_equal(mesh_mtu(MESH_WIREGUARD, 65536, AF_INET), 65475);
	assert_int_equal(mesh_mtu(MESH_WIREGUARD, 1280, AF_INET6), 1280);
	assert_int_equal(mesh_mtu(MESH_WIREGUARD, 0, AF_INET), 1280);
	assert_int_equal(mesh_mtu(MESH_PLAIN, 1500, AF_INET), 1500);
	node_new(&node, 1);
	node_sh(&node, "ip link set eth0 mtu 9000");
	node_open(&node);
	assert_non_null(strstr(node_output(&node, "ip link show %s", node.device), "mtu 8940"));
	node_sh(&node, "ip link set eth0 mtu 1500");
	assert_int_equal(node_repair(&node), 0);
	assert_non_null(strstr(node_output(&node, "ip link show %s", node.device), "mtu 1440"));
	free_nodes(&node, 1);
}

static int send_garbage(void *arg)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(MESH_PORT)};
	_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned char bytes[1400];
	unsigned int seed = 1;

	(void)arg;
	at.sin_addr.s_addr = inet_addr("10.77.0.1");
	for (int i = 0; i < 20000; i++) {
		for (size_t j = 0; j < 160; j++)
			bytes[j] = (unsigned char)rand_r(&seed);
		/* Half of them begin as messages of WireGuard do, of the right lengths. */
		if (i % 2)
			memcpy(bytes, (unsigned char[]){1 + (i / 2) % 4, 0, 0, 0}, 4);
		sendto(fd, bytes, (size_t[]){0, 1, 31, 32, 64, 92, 148, 160}[i % 8], 0,
			(struct sockaddr *)&at, sizeof(at));
	}
	return 0;
}

static void garbage_on_the_port_harms_nothing(void **state)
{
	struct node nodes[2];
	struct wg_device before = {}, after = {};
	pid_t go;

	(void)state;
	open_pair(nodes);
	expect_ping(&nodes[0], "10.64.0.2");
	go = go_of(&nodes[0]);
	assert_int_equal(peers_of(&nodes[0], &before), 0);
	assert_int_equal(netns_call(nodes[1].netns, send_garbage, NULL), 0);
	expect_ping(&nodes[0], "10.64.0.2");
	assert_int_equal(go_of(&nodes[0]), go);
	assert_int_equal(peers_of(&nodes[0], &after), 0);
	assert_int_equal(before.peers[0].handshake_s, after.peers[0].handshake_s);
	wg_device_clear(&before);
	wg_device_clear(&after);
	free_nodes(nodes, 2);
}

static void peers_that_clash_are_told_and_the_others_set(void **state)
{
	struct node nodes[2];
	struct mesh_peer peers[5];
	struct wg_device shown = {};
	struct node_call call = {.node = &nodes[0], .peers = peers, .count = 5};
	static const char *const claims[] = {
		"172.18.7.0/24", "10.64.0.2", "172.17.8.0/24", "10.64.0.1", "0.0.0.0/1"};

	(void)state;
	open_pair(nodes);
	for (int i = 0; i < 5; i++)
		peers[i] = peer_of(&nodes[1]);
	/* The second claims the first's prefix, the third has our key, the fourth the first's. */
	strcpy(peers[1].public_key, "YnYZ1iI+3PcPjIgxZoLBt0t2F0S3GFkh2DgrvJtNqGk=");
	peers[1].addr_v4 = addr_of("10.64.0.3");
	peers[1].addr_v6 = (struct addr){};
	strcpy(peers[2].public_key, nodes[0].public_key);
	peers[2].prefix_count = 0;
	peers[2].addr_v4 = addr_of("10.64.0.4");
	peers[3].prefix_count = 0;
	peers[3].addr_v4 = addr_of("10.64.0.5");
	strcpy(peers[4].public_key, "not a key");
	assert_int_equal(netns_call(nodes[0].netns, call_set, &call), -EINVAL);
	assert_non_null(strstr(call.err.text, "10.64.0.4 has the WireGuard key of this host"));
	assert_int_equal(peers_of(&nodes[0], &shown), 0);
	assert_int_equal(shown.peer_count, 1);
	assert_int_equal(shown.peers[0].allowed_count, 3);
	expect_ping(&nodes[0], "10.64.0.2");
	call.count = 2;
	assert_int_equal(netns_call(nodes[0].netns, call_set, &call), -EINVAL);
	assert_non_null(strstr(call.err.text, "both hold 172.18.0.0/16"));
	expect_ping(&nodes[0], "10.64.0.2");
	/* Nor a part of the first's, or of ours, or all there is: nothing of it is routed. */
	peers[1].prefix_count = 1;
	for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
		const struct prefix prefix = prefix_of(claims[i]);

		peers[1].prefixes = &prefix;
		assert_int_equal(netns_call(nodes[0].netns, call_set, &call), -EINVAL);
		assert_non_null(strstr(call.err.text, "leaves 10.64.0.3 out"));
		expect_ping(&nodes[0], "10.64.0.2");
		assert_null(
			strstr(node_output(&nodes[0], "ip route | grep -v 10.64.0.2"), claims[i]));
	}
	wg_device_clear(&shown);
	free_nodes(nodes, 2);
}

static void a_route_of_someone_else_is_not_taken(void **state)
{
	struct node nodes[2];
	struct mesh_peer peer;
	struct node_call call = {.node = &nodes[0], .peers = &peer, .count = 1};

	(void)state;
	open_pair(nodes);
	peer = peer_of(&nodes[1]);
	node_set_peers(&nodes[0], NULL, 0);
	node_sh(&nodes[0], "ip route add 10.64.0.2/32 via 10.77.0.99");
	assert_int_equal(netns_call(nodes[0].netns, call_set, &call), -EIO);
	assert_non_null(strstr(call.err.text, "route add 10.64.0.2/32"));
	assert_non_null(strstr(call.err.text, "File exists"));
	assert_non_null(strstr(node_output(&nodes[0], "ip route"), "10.64.0.2 via 10.77.0.99"));
	expect_ping(&nodes[0], "fd64::2"); /* the routes after it were made */
	node_sh(&nodes[0], "ip route del 10.64.0.2/32");
	assert_int_equal(node_repair(&nodes[0]), 0);
	expect_ping(&nodes[0], "10.64.0.2");
	free_nodes(nodes, 2);
}

static void removal_leaves_nothing_and_may_be_repeated(void **state)
{
	struct node nodes[2];
	struct node_call call = {.node = &nodes[0]};
	pid_t go;

	(void)state;
	open_pair(nodes);
	go = go_of(&nodes[0]);
	check(netns_call(nodes[0].netns, call_remove, &call), &call.err);
	check(netns_call(nodes[0].netns, call_remove, &call), &call.err);
	assert_int_equal(go_of(&nodes[0]), -1);
	assert_true(go < 0 ||
		    !strstr(node_output(&nodes[0], "cat /proc/%d/comm 2>&1", go), "wire") ||
		    strstr(node_output(&nodes[0], "cat /proc/%d/stat", go), ") Z"));
	assert_null(strstr(node_output(&nodes[0], "ip link; ip route; ip -6 route; ip addr"),
		nodes[0].device));
	assert_string_equal(
		node_output(&nodes[0], "ip route show proto 188; ip -6 route show proto 188"), "");
	free_nodes(nodes, 2);
}

static void without_wireguard_it_is_told_what_to_install(void **state)
{
	_free_ char *path = strdup(getenv("PATH"));
	struct node node;
	struct node_call call = {.node = &node};
	char dir[128];
	int r;

	(void)state;
	node_new(&node, 1);
	if (node_try(&node, "ip link add type wireguard 2>/dev/null") == 0) {
		free_nodes(&node, 1);
		skip();
	}
	snprintf(dir, sizeof(dir), "%s/bin", mesh_fixture_dir);
	setenv("PATH", dir, 1);
	r = netns_call(node.netns, call_open, &call);
	setenv("PATH", path, 1);
	assert_int_equal(r, -ENOTSUP);
	assert_non_null(strstr(call.err.text, "apt-get install wireguard-go"));
	free_nodes(&node, 1);
}

static void a_device_of_another_kind_is_left_alone(void **state)
{
	struct node node;
	struct node_call call = {.node = &node};

	(void)state;
	node_new(&node, 1);
	node_sh(&node, "ip link add %s type bridge", node.device);
	assert_int_equal(netns_call(node.netns, call_open, &call), -EEXIST);
	assert_non_null(strstr(call.err.text, "bridge"));
	check(netns_call(node.netns, call_remove, &call), &call.err);
	node_sh(&node, "ip link show %s >/dev/null", node.device);
	free_nodes(&node, 1);
}

static void a_wireguard_go_of_another_namespace_is_not_taken_for_ours(void **state)
{
	struct node nodes[2];
	struct node_call call = {.node = &nodes[1]};
	struct mesh_device device;

	(void)state;
	for (int i = 0; i < 2; i++)
		node_new(&nodes[i], i + 1);
	strcpy(nodes[1].device, nodes[0].device);
	node_open(&nodes[0]);
	mesh_device(nodes[0].mesh, &device);
	if (!device.is_kernel) {
		assert_int_equal(netns_call(nodes[1].netns, call_open, &call), -EBUSY);
		assert_non_null(strstr(call.err.text, "another name"));
	}
	node_free(&nodes[1]);
	node_free(&nodes[0]);
}

static void plain_routes_go_by_way_of_the_hosts_themselves(void **state)
{
	struct node nodes[2];
	struct mesh_device device;
	struct mesh_peer peers[2];
	struct node_call call = {.node = &nodes[0], .peers = peers, .count = 2};

	(void)state;
	for (int i = 0; i < 2; i++) {
		char text[64];

		node_new(&nodes[i], i + 1);
		snprintf(text, sizeof(text), "10.77.0.%d", i + 1);
		nodes[i].options.underlay = MESH_PLAIN;
		nodes[i].options.device = NULL;
		nodes[i].options.key_path = NULL;
		nodes[i].options.addr_v4 = addr_of(text);
		nodes[i].options.addr_v6 = (struct addr){};
		node_open(&nodes[i]);
	}
	node_know(&nodes[0], &nodes[1]);
	node_know(&nodes[1], &nodes[0]);
	mesh_device(nodes[0].mesh, &device);
	assert_string_equal(device.name, "eth0");
	assert_int_equal(device.mtu_bytes, 1500);
	assert_true(device.is_ethernet);
	assert_false(device.is_kernel);
	node_sh(&nodes[1], "ip addr add 172.18.0.9/32 dev lo");
	expect_ping(&nodes[0], "172.18.0.9");
	assert_string_equal(
		node_output(&nodes[0], "cat /proc/sys/net/ipv4/conf/eth0/accept_local"), "1\n");
	assert_int_equal(truncate(log_path, 0), 0);
	assert_int_equal(node_repair(&nodes[0]), 0);
	assert_false(was_logged("-batch"));
	/* Behind a router nobody would know the prefix: told, and the others are set. */
	peers[1] = peer_of(&nodes[1]);
	peers[0] = peers[1];
	peers[0].endpoint_addr = peers[0].addr_v4 = addr_of("192.0.2.9");
	peers[0].prefixes = &nodes[0].options.slices[0];
	peers[0].prefix_count = 0;
	check(netns_call(nodes[0].netns, call_set, &call), &call.err);
	peers[0].prefixes = (struct prefix[]){prefix_of("172.30.0.0/16")};
	peers[0].prefix_count = 1;
	assert_int_equal(netns_call(nodes[0].netns, call_set, &call), -EIO);
	assert_non_null(strstr(call.err.text, "172.30.0.0/16 via 192.0.2.9"));
	expect_ping(&nodes[0], "172.18.0.9");
	strcpy(nodes[0].device, "eth0");
	check(netns_call(nodes[0].netns, call_remove, &call), &call.err);
	node_sh(&nodes[0], "ip link show eth0 >/dev/null");
	assert_string_equal(node_output(&nodes[0], "ip route show proto 188"), "");
	free_nodes(nodes, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_reach_each_other_by_mesh_addresses),
		cmocka_unit_test(what_a_host_holds_is_routed_to_it),
		cmocka_unit_test(the_device_lets_in_what_clients_and_public_addresses_send),
		cmocka_unit_test(a_second_reconcile_writes_nothing),
		cmocka_unit_test(a_change_of_one_peer_leaves_the_others_sessions),
		cmocka_unit_test(an_endpoint_that_roamed_stays_until_the_catalogs_changes),
		cmocka_unit_test(keys_rotate),
		cmocka_unit_test(a_killed_wireguard_go_is_started_on_the_same_device),
		cmocka_unit_test(the_device_outlives_its_owner),
		cmocka_unit_test(a_device_that_was_removed_is_made_anew_and_told),
		cmocka_unit_test(what_others_changed_is_put_back),
		cmocka_unit_test(an_underlay_of_ipv6_costs_twenty_bytes_more),
		cmocka_unit_test(the_mtu_follows_the_underlay),
		cmocka_unit_test(garbage_on_the_port_harms_nothing),
		cmocka_unit_test(peers_that_clash_are_told_and_the_others_set),
		cmocka_unit_test(a_route_of_someone_else_is_not_taken),
		cmocka_unit_test(removal_leaves_nothing_and_may_be_repeated),
		cmocka_unit_test(without_wireguard_it_is_told_what_to_install),
		cmocka_unit_test(a_device_of_another_kind_is_left_alone),
		cmocka_unit_test(a_wireguard_go_of_another_namespace_is_not_taken_for_ours),
		cmocka_unit_test(plain_routes_go_by_way_of_the_hosts_themselves),
	};

	mesh_fixture_begin("mesh");
	log_programs();
	return mesh_fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
