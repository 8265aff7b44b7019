/* SPDX-License-Identifier: Apache-2.0 */
/* The network of machines, in real namespaces. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "../../lib/machine.h"
#include "base/netlink.h"
#include "base/netns.h"
#include "machine/link.h"

static char *netns_path(const struct machine_spec *spec)
{
	char name[MACHINE_NETNS_LEN], *path = NULL;

	assert_true(asprintf(&path, NETNS_DIR "/%s", machine_netns_name(spec->id, name)) > 0);
	return path;
}

static int open_inside(const struct machine_spec *spec)
{
	_free_ char *path = netns_path(spec);

	return netns_open(path, NULL);
}

static void setup(const struct machine_spec *spec, struct machine_net *net)
{
	struct err err = {};

	fixture_ok(machine_net_setup(spec, net, &err), &err);
}

static int bound_socket(void *arg)
{
	const struct sockaddr_in *at = arg;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)at, sizeof(*at)), 0);
	return fd;
}

static struct sockaddr_in socket_address(const struct addr *addr, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};

	sa.sin_addr.s_addr = addr_v4_be(addr);
	return sa;
}

static void expect_datagram(int fd, const char *text, struct sockaddr_in *from)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	socklen_t len = sizeof(*from);
	char got[64] = "";

	assert_int_equal(poll(&poll_fd, 1, 2000), 1);
	assert_true(recvfrom(fd, got, sizeof(got) - 1, 0, (struct sockaddr *)from, &len) >= 0);
	assert_string_equal(got, text);
}

static void send_datagram(int fd, const char *text, const struct sockaddr_in *to)
{
	assert_int_equal(
		sendto(fd, text, strlen(text), 0, (const struct sockaddr *)to, sizeof(*to)),
		strlen(text));
}

static void a_datagram_to_the_service_address_arrives_and_is_answered(void **state)
{
	struct machine_spec spec = fixture_spec(1, MACHINE_ROOTFS);
	struct machine_net net;
	struct addr any = {.family = AF_INET};
	struct sockaddr_in service = socket_address(&spec.service, 5000);
	struct sockaddr_in here = socket_address(&any, 0), from;
	_close_ int inside = -1, app = -1, client = -1;

	(void)state;
	setup(&spec, &net);
	inside = open_inside(&spec);
	app = netns_call(inside, bound_socket, &service);
	client = bound_socket(&here);
	send_datagram(client, "hello", &service);
	expect_datagram(app, "hello", &from);
	assert_int_equal(from.sin_addr.s_addr, addr_v4_be(&spec.gateway));
	send_datagram(app, "back", &from);
	expect_datagram(client, "back", &from);
	assert_int_equal(from.sin_addr.s_addr, addr_v4_be(&spec.service));
	fixture_destroy(&spec);
}

static void the_primary_address_is_the_default_source(void **state)
{
	struct machine_spec spec = fixture_spec(2, MACHINE_ROOTFS);
	struct machine_net net;
	struct addr any = {.family = AF_INET}, outside;
	struct sockaddr_in here = socket_address(&any, 0), to, name;
	socklen_t len = sizeof(name);
	_close_ int inside = -1, fd = -1;

	(void)state;
	setup(&spec, &net);
	inside = open_inside(&spec);
	fd = netns_call(inside, bound_socket, &here);
	assert_int_equal(addr_parse("192.0.2.1", &outside), 0);
	to = socket_address(&outside, 53);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	assert_int_equal(name.sin_addr.s_addr, addr_v4_be(&spec.primary));
	fixture_destroy(&spec);
}

static void eth0_has_the_addresses_mac_and_mtu_of_the_spec(void **state)
{
	struct machine_spec spec = fixture_spec(3, MACHINE_ROOTFS);
	_cleanup_(netlink_closep) struct netlink *there = NULL, *here = NULL;
	_close_ int inside = -1;
	struct addr have[8];
	struct machine_net net;
	struct link_info eth0, host;
	struct err err = {};

	(void)state;
	spec.mtu_bytes = 1420;
	setup(&spec, &net);
	inside = open_inside(&spec);
	fixture_ok(netns_netlink(inside, &there, &err), &err);
	fixture_ok(netlink_open(&here, &err), &err);
	fixture_ok(link_find(there, "eth0", &eth0, &err), &err);
	fixture_ok(link_find(here, net.ifname, &host, &err), &err);
	assert_int_equal(link_addresses(there, eth0.ifindex, AF_INET, have, 8, &err), 2);
	assert_true(addr_equal(&have[0], &spec.primary));
	assert_true(addr_equal(&have[1], &spec.service));
	assert_int_equal(eth0.mtu_bytes, 1420);
	assert_int_equal(host.mtu_bytes, 1420);
	assert_memory_equal(eth0.mac, net.mac, 6);
	assert_memory_equal(host.mac, net.gateway_mac, 6);
	assert_memory_equal(eth0.mac, ((uint8_t[]){0x02, 0x57, 172, 29, 0, 26}), 6);
	assert_int_equal(host.ifindex, net.ifindex);
	assert_int_equal(host.peer_netns_id, net.netns_id);
	assert_true(net.netns_id >= 0);
	assert_int_equal(net.netns_inode, netns_inode(inside));
	fixture_destroy(&spec);
}

static int find_private_v6(void *arg)
{
	const struct machine_spec *spec = arg;
	struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(7000)};
	_close_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(&at.sin6_addr, spec->private_v6.bytes, 16);
	/* Fails with EADDRNOTAVAIL while duplicate detection runs. */
	return bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
}

static void the_private_v6_address_is_usable_at_once(void **state)
{
	struct machine_spec spec = fixture_spec(4, MACHINE_ROOTFS);
	struct machine_net net;
	_close_ int inside = -1;

	(void)state;
	setup(&spec, &net);
	inside = open_inside(&spec);
	assert_int_equal(netns_call(inside, find_private_v6, &spec), 0);
	fixture_destroy(&spec);
}

static void the_callers_namespace_stays_and_a_second_setup_changes_nothing(void **state)
{
	struct machine_spec spec = fixture_spec(5, MACHINE_ROOTFS);
	struct machine_net first, second, found;
	struct err err = {};
	struct stat before, after;

	(void)state;
	assert_int_equal(stat("/proc/thread-self/ns/net", &before), 0);
	setup(&spec, &first);
	setup(&spec, &second);
	fixture_ok(machine_net_find(&spec, &found, &err), &err);
	assert_int_equal(stat("/proc/thread-self/ns/net", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(first.ifindex, second.ifindex);
	assert_int_equal(first.netns_inode, second.netns_inode);
	assert_int_equal(first.netns_id, found.netns_id);
	assert_int_equal(first.ifindex, found.ifindex);
	fixture_destroy(&spec);
}

static void a_half_made_network_is_completed(void **state)
{
	struct machine_spec spec = fixture_spec(6, MACHINE_ROOTFS);
	_cleanup_(netlink_closep) struct netlink *there = NULL;
	struct machine_net net, again;
	struct link_info eth0;
	struct addr have[8];
	struct err err = {};
	_close_ int inside = -1;

	(void)state;
	setup(&spec, &net);
	inside = open_inside(&spec);
	fixture_ok(netns_netlink(inside, &there, &err), &err);
	fixture_ok(link_find(there, "eth0", &eth0, &err), &err);
	fixture_ok(link_delete_address(there, eth0.ifindex, &spec.primary, 29, &err), &err);
	fixture_ok(link_add_address(there, eth0.ifindex, &spec.service, 29, &err), &err);
	assert_int_equal(machine_net_find(&spec, &again, &err), 1);
	setup(&spec, &again);
	assert_int_equal(link_addresses(there, eth0.ifindex, AF_INET, have, 8, &err), 2);
	assert_true(addr_equal(&have[0], &spec.primary));
	assert_int_equal(again.ifindex, net.ifindex);
	fixture_ok(machine_net_find(&spec, &again, &err), &err);
	fixture_destroy(&spec);
}

static void a_namespace_that_vanished_is_not_whole_and_is_made_anew(void **state)
{
	struct machine_spec spec = fixture_spec(7, MACHINE_ROOTFS);
	_free_ char *path = netns_path(&spec);
	struct machine_net net, again;
	struct err err = {};

	(void)state;
	setup(&spec, &net);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	/* What is left is the plain file that the namespace was bound to. */
	assert_int_equal(machine_net_find(&spec, &again, &err), 1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(machine_net_find(&spec, &again, &err), 1);
	setup(&spec, &again);
	fixture_ok(machine_net_find(&spec, &again, &err), &err);
	fixture_destroy(&spec);
}

static void teardown_leaves_nothing_and_may_be_repeated(void **state)
{
	struct machine_spec spec = fixture_spec(8, MACHINE_ROOTFS);
	_cleanup_(netlink_closep) struct netlink *here = NULL;
	_free_ char *path = netns_path(&spec);
	struct machine_net net;
	struct link_info link;
	struct err err = {};

	(void)state;
	setup(&spec, &net);
	fixture_ok(machine_net_teardown(&spec, &err), &err);
	fixture_ok(netlink_open(&here, &err), &err);
	assert_int_equal(link_find(here, net.ifname, &link, &err), 1);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(machine_net_find(&spec, &net, &err), 1);
	fixture_destroy(&spec);
}

/* A namespace of someone else, as `ip netns add` makes it. */
static void make_foreign(struct machine_spec *spec)
{
	struct err err = {};
	char name[64];

	snprintf(name, sizeof(name), "foreign-%s", spec->id);
	fixture_ok(netns_create(name, &err), &err);
	assert_true(asprintf(&spec->netns, NETNS_DIR "/%s", name) > 0);
}

static void remove_foreign(struct machine_spec *spec)
{
	assert_int_equal(netns_remove(strrchr(spec->netns, '/') + 1, NULL), 0);
	fixture_destroy(spec);
}

/* A link with a default route of its own, as a runtime may have put it there. */
static void add_uplink(int inside, const char *name)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};
	_cleanup_(netlink_closep) struct netlink *there = NULL;
	struct veth_spec veth = {.name = name,
		.peer_name = "peer0",
		.mac = mac,
		.peer_mac = peer_mac,
		.mtu_bytes = 1500,
		.peer_netns_fd = inside};
	struct route_spec route = {.to = {.addr = {.family = AF_INET}}};
	struct link_change up = {.name = name, .is_up = true};
	struct addr own;
	struct link_info link;
	struct err err = {};

	fixture_ok(netns_netlink(inside, &there, &err), &err);
	fixture_ok(link_add_veth(there, &veth, &err), &err);
	fixture_ok(link_find(there, name, &link, &err), &err);
	up.ifindex = route.ifindex = link.ifindex;
	fixture_ok(link_set(there, &up, &err), &err);
	assert_int_equal(addr_parse("192.0.2.2", &own), 0);
	assert_int_equal(addr_parse("192.0.2.1", &route.gateway), 0);
	fixture_ok(link_add_address(there, link.ifindex, &own, 24, &err), &err);
	fixture_ok(link_add_route(there, &route, &err), &err);
}

static void an_attached_namespace_keeps_what_was_there(void **state)
{
	struct machine_spec spec = fixture_spec(9, MACHINE_ATTACHED);
	_cleanup_(netlink_closep) struct netlink *there = NULL;
	struct machine_net net;
	struct link_info uplink, eth0;
	_close_ int inside = -1;
	struct err err = {};
	int ifindex;

	(void)state;
	make_foreign(&spec);
	inside = netns_open(spec.netns, &err);
	add_uplink(inside, "uplink");
	setup(&spec, &net);
	fixture_ok(machine_net_find(&spec, &net, &err), &err);
	fixture_ok(netns_netlink(inside, &there, &err), &err);
	fixture_ok(link_find(there, "uplink", &uplink, &err), &err);
	fixture_ok(link_default_route(there, &ifindex, &err), &err);
	assert_int_equal(ifindex, uplink.ifindex);
	fixture_ok(machine_net_teardown(&spec, &err), &err);
	assert_int_equal(access(spec.netns, F_OK), 0);
	assert_int_equal(link_find(there, "eth0", &eth0, &err), 1);
	fixture_ok(link_find(there, "uplink", &uplink, &err), &err);
	remove_foreign(&spec);
}

static void an_attached_namespace_answers_through_us_despite_its_own_default_route(void **state)
{
	struct machine_spec spec = fixture_spec(10, MACHINE_ATTACHED);
	_cleanup_(netlink_closep) struct netlink *here = NULL;
	struct addr far;
	struct sockaddr_in service = socket_address(&spec.service, 5000), from, client_at;
	_close_ int inside = -1, app = -1, client = -1;
	struct machine_net net;
	struct link_info lo;
	struct err err = {};

	(void)state;
	make_foreign(&spec);
	inside = netns_open(spec.netns, &err);
	add_uplink(inside, "uplink");
	setup(&spec, &net);
	/* A client whose address is no neighbour's: only a default route leads there. */
	fixture_ok(netlink_open(&here, &err), &err);
	fixture_ok(link_find(here, "lo", &lo, &err), &err);
	assert_int_equal(addr_parse("198.51.100.7", &far), 0);
	fixture_ok(
		link_set(here,
			&(struct link_change){.ifindex = lo.ifindex, .name = "lo", .is_up = true},
			&err),
		&err);
	fixture_ok(link_add_address(here, lo.ifindex, &far, 32, &err), &err);
	client_at = socket_address(&far, 40001);
	client = bound_socket(&client_at);
	app = netns_call(inside, bound_socket, &service);
	send_datagram(client, "hello", &service);
	expect_datagram(app, "hello", &from);
	send_datagram(app, "back", &from);
	expect_datagram(client, "back", &from);
	remove_foreign(&spec);
}

static void an_attached_namespace_with_an_eth0_of_its_own_is_refused(void **state)
{
	struct machine_spec spec = fixture_spec(11, MACHINE_ATTACHED);
	_close_ int inside = -1;
	struct machine_net net;
	struct err err = {};

	(void)state;
	make_foreign(&spec);
	inside = netns_open(spec.netns, &err);
	add_uplink(inside, "eth0");
	assert_int_equal(machine_net_setup(&spec, &net, &err), -EEXIST);
	assert_non_null(strstr(err.text, "already has an interface eth0"));
	assert_int_equal(machine_net_find(&spec, &net, &err), 1);
	remove_foreign(&spec);
}

static void what_is_no_namespace_cannot_be_attached(void **state)
{
	static const struct {
		const char *path, *words;
		int code;
	} cases[] = {
		{"/run/netns/wherry-nobody", "does not exist", -ENOENT},
		{"/etc/passwd", "not a network namespace", -EINVAL},
		{"/proc/self/ns/uts", "not a network namespace", -EINVAL},
		{"/proc/self/ns/net", "wherryd itself runs in", -EINVAL},
		{"/", "not a network namespace", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct machine_spec spec = fixture_spec(12, MACHINE_ATTACHED);
		struct machine_net net;
		struct err err = {};

		spec.netns = strdup(cases[i].path);
		assert_int_equal(machine_net_setup(&spec, &net, &err), cases[i].code);
		if (!strstr(err.text, cases[i].words))
			fail_msg("%s: %s", cases[i].path, err.text);
		assert_int_equal(machine_net_find(&spec, &net, &err), 1);
		machine_spec_clear(&spec);
	}
}

static int read_settings(void *arg)
{
	char **out = arg;
	int r = file_read("/proc/sys/net/ipv4/ping_group_range", 64, &out[0], NULL, NULL);

	return r ? r
		 : file_read("/proc/sys/net/ipv4/ip_unprivileged_port_start", 64, &out[1], NULL,
			   NULL);
}

static void any_user_may_ping_and_bind_low_ports_in_namespaces_of_ours_only(void **state)
{
	struct machine_spec specs[] = {
		fixture_spec(13, MACHINE_ROOTFS), fixture_spec(14, MACHINE_ATTACHED)};
	static const char *const ports[] = {"0\n", "1024\n"};

	(void)state;
	make_foreign(&specs[1]);
	for (int i = 0; i < 2; i++) {
		char *texts[2] = {};
		struct machine_net net;
		_close_ int inside = -1;

		setup(&specs[i], &net);
		inside = i ? netns_open(specs[i].netns, NULL) : open_inside(&specs[i]);
		assert_int_equal(netns_call(inside, read_settings, texts), 0);
		assert_string_equal(texts[1], ports[i]);
		assert_int_equal(strcmp(texts[0], "0\t2147483647\n") == 0, i == 0);
		free(texts[0]);
		free(texts[1]);
	}
	fixture_destroy(&specs[0]);
	remove_foreign(&specs[1]);
}

static void *setup_and_find(void *arg)
{
	struct machine_spec *spec = arg;
	struct machine_net net, found;
	struct err err = {};
	int r = machine_net_setup(spec, &net, &err);

	if (r == 0)
		r = machine_net_find(spec, &found, &err);
	if (r)
		fprintf(stderr, "%s: %d %s\n", spec->id, r, err.text);
	return r || found.ifindex != net.ifindex ? spec : NULL;
}

static void twenty_networks_are_made_at_once(void **state)
{
	struct machine_spec specs[20];
	pthread_t threads[20];
	void *failed;

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		specs[i] = fixture_spec(100 + i, MACHINE_ROOTFS);
		assert_int_equal(pthread_create(&threads[i], NULL, setup_and_find, &specs[i]), 0);
	}
	for (int i = 0; i < 20; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	for (int i = 0; i < 20; i++)
		fixture_destroy(&specs[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_datagram_to_the_service_address_arrives_and_is_answered),
		cmocka_unit_test(the_primary_address_is_the_default_source),
		cmocka_unit_test(eth0_has_the_addresses_mac_and_mtu_of_the_spec),
		cmocka_unit_test(the_private_v6_address_is_usable_at_once),
		cmocka_unit_test(the_callers_namespace_stays_and_a_second_setup_changes_nothing),
		cmocka_unit_test(a_half_made_network_is_completed),
		cmocka_unit_test(a_namespace_that_vanished_is_not_whole_and_is_made_anew),
		cmocka_unit_test(teardown_leaves_nothing_and_may_be_repeated),
		cmocka_unit_test(an_attached_namespace_keeps_what_was_there),
		cmocka_unit_test(
			an_attached_namespace_answers_through_us_despite_its_own_default_route),
		cmocka_unit_test(an_attached_namespace_with_an_eth0_of_its_own_is_refused),
		cmocka_unit_test(what_is_no_namespace_cannot_be_attached),
		cmocka_unit_test(any_user_may_ping_and_bind_low_ports_in_namespaces_of_ours_only),
		cmocka_unit_test(twenty_networks_are_made_at_once),
	};

	fixture_begin("net");
	return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
