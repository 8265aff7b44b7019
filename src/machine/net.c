/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's network: its namespace and the veth between that and ours. The host's end is named
 * after the machine, the other is eth0. MAC addresses follow from the IPv4 addresses and both sides
 * know each other's, so no ARP is ever needed: a packet to a machine that just started is not lost
 * to resolution, and what an app answers to ARP does not matter.
 *
 * The host end's alias ("machine ID") is written last: a pair with it is whole, one without it was
 * cut short and is completed. The namespaces and links belong to the kernel, not to this process.
 */
#include "machine/machine.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/netlink.h"
#include "base/netns.h"
#include "machine/link.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SUBNET_BITS	29
#define PRIVATE_V6_BITS 112

/* Routes of an attached namespace that has a default route of its own; any free number. */
#define ATTACHED_TABLE 22359

struct room {
	const struct machine_spec *spec;
	int fd;			      /* the machine's namespace */
	struct netlink *here, *there; /* in our namespace; in the machine's */
	char path[PATH_MAX];
	char ifname[IFNAMSIZ];
	char alias[32];
	uint8_t mac[6], gateway_mac[6];
	int32_t netns_id;
	struct link_info host, eth0; /* ifindex 0: not there */
};

char *machine_netns_name(const char *id, char name[static MACHINE_NETNS_LEN])
{
	snprintf(name, MACHINE_NETNS_LEN, "wherry-%s", id);
	return name;
}

static void mac_from_v4(const struct addr *addr, uint8_t mac[6])
{
	mac[0] = 0x02; /* locally administered */
	mac[1] = 0x57;
	memcpy(mac + 2, addr->bytes, 4);
}

static void room_close(struct room *room)
{
	netlink_close(room->here);
	netlink_close(room->there);
	if (room->fd >= 0)
		close(room->fd);
}

static void room_init(struct room *room, const struct machine_spec *spec)
{
	char name[MACHINE_NETNS_LEN];

	*room = (struct room){.spec = spec, .fd = -1, .netns_id = -1};
	if (spec->kind == MACHINE_ATTACHED)
		snprintf(room->path, sizeof(room->path), "%s", spec->netns);
	else
		snprintf(room->path, sizeof(room->path), NETNS_DIR "/%s",
			machine_netns_name(spec->id, name));
	/* Ten digits of fourteen: IFNAMSIZ allows no more. */
	snprintf(room->ifname, sizeof(room->ifname), "wm-%.10s", spec->id);
	snprintf(room->alias, sizeof(room->alias), "machine %s", spec->id);
	mac_from_v4(&spec->primary, room->mac);
	mac_from_v4(&spec->gateway, room->gateway_mac);
}

/* Fills room->host and room->eth0 with what is there. */
static int find_links(struct room *room, struct err *err)
{
	int r;

	room->host = room->eth0 = (struct link_info){};
	r = link_find(room->here, room->ifname, &room->host, err);
	if (r < 0)
		return r;
	r = link_find(room->there, "eth0", &room->eth0, err);
	return r < 0 ? r : 0;
}

static int room_open(struct room *room, bool assign_id, struct err *err)
{
	int r;

	room->fd = netns_open(room->path, err);
	if (room->fd < 0)
		return room->fd;
	if (netns_is_current(room->fd))
		return err_set(err, -EINVAL,
			"%s is the network namespace that wherryd itself runs in; a machine needs "
			"one of its own",
			room->path);
	r = netlink_open(&room->here, err);
	if (r == 0)
		r = netns_netlink(room->fd, &room->there, err);
	if (r == 0)
		r = link_netns_id(room->here, room->fd, assign_id, &room->netns_id, err);
	return r < 0 ? r : find_links(room, err);
}

static bool is_pair(const struct room *room)
{
	return room->host.ifindex && room->eth0.ifindex &&
	       room->host.peer_ifindex == room->eth0.ifindex &&
	       room->host.peer_netns_id == room->netns_id &&
	       room->eth0.peer_ifindex == room->host.ifindex;
}

static int make_pair(struct room *room, struct err *err)
{
	struct veth_spec veth = {
		.name = room->ifname,
		.peer_name = "eth0",
		.mac = room->gateway_mac,
		.peer_mac = room->mac,
		.mtu_bytes = room->spec->mtu_bytes,
		.peer_netns_fd = room->fd,
	};
	int r;

	if (is_pair(room))
		return 0;
	if (room->host.ifindex) {
		/* Its other end is elsewhere: left from a namespace that was replaced. */
		r = link_delete(room->here, room->ifname, err);
		if (r == 0)
			r = find_links(room, err);
		if (r < 0)
			return r;
	}
	if (room->eth0.ifindex)
		return err_set(err, -EEXIST,
			"the namespace %s already has an interface eth0; rename it (ip link set "
			"eth0 name ...) or attach another namespace",
			room->path);
	r = link_add_veth(room->here, &veth, err);
	return r < 0 ? r : find_links(room, err);
}

/* A sysctl below /proc/sys/net; the calling thread's namespace decides whose. */
static int set_sysctl(const char *value, struct err *err, const char *format, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), format, name);
	return file_set(path, value, err);
}

struct inside {
	const struct room *room;
	struct err *err;
};

/* Runs in the machine's namespace. */
static int set_inside(void *arg)
{
	struct inside *inside = arg;
	struct err *err = inside->err;
	int r;

	/* Without IPv6 in the kernel there is nothing to set. */
	if (access("/proc/sys/net/ipv6/conf/eth0", F_OK) == 0) {
		r = set_sysctl("0", err, "/proc/sys/net/ipv6/conf/%s/accept_ra", "eth0");
		if (r < 0)
			return r;
	}
	if (inside->room->spec->kind == MACHINE_ATTACHED)
		return 0;
	if (access("/proc/sys/net/ipv6/conf/eth0", F_OK) == 0) {
		r = set_sysctl("0", err, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", "all");
		if (r < 0)
			return r;
	}
	/* Any user may ping and bind low ports: the namespace is the app's alone. */
	r = set_sysctl("0 2147483647", err, "/proc/sys/net/ipv4/%s", "ping_group_range");
	if (r == 0)
		r = set_sysctl("0", err, "/proc/sys/net/ipv4/%s", "ip_unprivileged_port_start");
	return r;
}

/* The kernel's default source address is the first of the subnet, so the order is part of it. */
static int order_of_addresses(const struct room *room, struct err *err)
{
	struct addr have[16];
	int count = link_addresses(
		room->there, room->eth0.ifindex, AF_INET, have, ARRAY_LEN(have), err);
	int primary = -1, service = -1;

	if (count < 0)
		return count;
	for (int i = 0; i < count && i < (int)ARRAY_LEN(have); i++) {
		if (addr_equal(&have[i], &room->spec->primary))
			primary = i;
		if (addr_equal(&have[i], &room->spec->service))
			service = i;
	}
	return primary >= 0 && service > primary ? 0 : 1;
}

static int add_addresses(const struct room *room, struct err *err)
{
	const struct machine_spec *spec = room->spec;
	int ifindex = room->eth0.ifindex, r = order_of_addresses(room, err);

	if (r < 0)
		return r;
	if (r > 0) {
		r = link_delete_address(room->there, ifindex, &spec->service, SUBNET_BITS, err);
		if (r == 0)
			r = link_add_address(
				room->there, ifindex, &spec->primary, SUBNET_BITS, err);
		if (r == 0)
			r = link_add_address(
				room->there, ifindex, &spec->service, SUBNET_BITS, err);
		if (r < 0)
			return r;
	}
	if (!spec->private_v6.family)
		return 0;
	return link_add_address(room->there, ifindex, &spec->private_v6, PRIVATE_V6_BITS, err);
}

/*
 * A namespace of someone else may have a default route already, which stays: what leaves with one
 * of our addresses is then routed by a table of its own.
 */
static int add_default_route(const struct room *room, struct err *err)
{
	const struct machine_spec *spec = room->spec;
	struct prefix subnet = {.addr = spec->network, .len_bits = SUBNET_BITS};
	struct route_spec route = {
		.to = {.addr = {.family = AF_INET}},
		.gateway = spec->gateway,
		.ifindex = room->eth0.ifindex,
	};
	int ifindex, r = link_default_route(room->there, &ifindex, err);

	if (r < 0)
		return r;
	if (ifindex == room->eth0.ifindex)
		return 0;
	if (ifindex) {
		route.table = ATTACHED_TABLE;
		r = link_add_source_rule(room->there, &subnet, ATTACHED_TABLE, err);
		if (r < 0)
			return r;
	}
	return link_add_route(room->there, &route, err);
}

static int setup_machine_side(const struct room *room, struct err *err)
{
	struct link_change lo = {.name = "lo", .is_up = true};
	struct link_change eth0 = {
		.ifindex = room->eth0.ifindex,
		.name = "eth0",
		.is_up = true,
		.mtu_bytes = room->spec->mtu_bytes,
	};
	struct inside inside = {room, err};
	struct link_info loopback = {};
	int r = netns_call(room->fd, set_inside, &inside);

	if (r == 0)
		r = link_find(room->there, "lo", &loopback, err);
	lo.ifindex = loopback.ifindex;
	if (r == 0)
		r = link_set(room->there, &lo, err);
	if (r == 0)
		r = add_addresses(room, err);
	if (r == 0)
		r = link_set(room->there, &eth0, err);
	if (r == 0)
		r = add_default_route(room, err);
	if (r == 0)
		r = link_add_neighbour(
			room->there, eth0.ifindex, &room->spec->gateway, room->gateway_mac, err);
	return r;
}

static int set_host_sysctls(const char *ifname, struct err *err)
{
	static const struct {
		const char *format, *value;
	} settings[] = {
		/* The source is a public address of the app after the rewrite: no route says so. */
		{"/proc/sys/net/ipv4/conf/%s/rp_filter", "0"},
		/* ... and it may be one of the host's own addresses. */
		{"/proc/sys/net/ipv4/conf/%s/accept_local", "1"},
		{"/proc/sys/net/ipv4/conf/%s/forwarding", "1"},
		{"/proc/sys/net/ipv4/conf/%s/proxy_arp", "0"},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(settings) && r == 0; i++)
		r = set_sysctl(settings[i].value, err, settings[i].format, ifname);
	return r;
}

static int add_host_routes(const struct room *room, struct err *err)
{
	const struct machine_spec *spec = room->spec;
	struct route_spec route = {
		.to = {.addr = spec->network, .len_bits = SUBNET_BITS},
		.source = spec->gateway,
		.ifindex = room->host.ifindex,
	};
	int r = link_add_route(room->here, &route, err);

	if (r == 0)
		r = link_add_neighbour(
			room->here, room->host.ifindex, &spec->primary, room->mac, err);
	if (r == 0)
		r = link_add_neighbour(
			room->here, room->host.ifindex, &spec->service, room->mac, err);
	return r;
}

static int setup_host_side(const struct room *room, struct err *err)
{
	struct link_change change = {
		.ifindex = room->host.ifindex,
		.name = room->ifname,
		.mtu_bytes = room->spec->mtu_bytes,
		.is_without_v6_address = access("/proc/sys/net/ipv6", F_OK) == 0,
	};
	struct link_change done = {
		.ifindex = room->host.ifindex, .name = room->ifname, .alias = room->alias};
	int r = link_set(room->here, &change, err);

	if (r == 0)
		r = set_host_sysctls(room->ifname, err);
	change.is_up = true;
	if (r == 0)
		r = link_set(room->here, &change, err);
	if (r == 0)
		r = link_add_address(room->here, room->host.ifindex, &room->spec->gateway, 32, err);
	if (r == 0)
		r = add_host_routes(room, err);
	return r < 0 ? r : link_set(room->here, &done, err);
}

static void report(const struct room *room, struct machine_net *out)
{
	out->ifindex = room->host.ifindex;
	memcpy(out->ifname, room->ifname, sizeof(out->ifname));
	memcpy(out->mac, room->mac, sizeof(out->mac));
	memcpy(out->gateway_mac, room->gateway_mac, sizeof(out->gateway_mac));
	out->netns_id = room->netns_id;
	out->netns_inode = netns_inode(room->fd);
}

int machine_net_setup(const struct machine_spec *spec, struct machine_net *out, struct err *err)
{
	_cleanup_(room_close) struct room room;
	char name[MACHINE_NETNS_LEN];
	int r = 0;

	room_init(&room, spec);
	if (spec->kind != MACHINE_ATTACHED)
		r = netns_create(machine_netns_name(spec->id, name), err);
	if (r == 0)
		r = room_open(&room, true, err);
	if (r == 0)
		r = make_pair(&room, err);
	if (r == 0)
		r = setup_machine_side(&room, err);
	if (r == 0)
		r = setup_host_side(&room, err);
	if (r < 0)
		return r;
	report(&room, out);
	return 0;
}

/* The host joined a mesh, or left one: running machines go on. */
static int change_mtu(struct room *room, struct err *err)
{
	struct link_change change = {
		.ifindex = room->eth0.ifindex,
		.name = "eth0",
		.is_up = true,
		.mtu_bytes = room->spec->mtu_bytes,
	};
	int r = link_set(room->there, &change, err);

	if (r < 0)
		return r;
	change.ifindex = room->host.ifindex;
	change.name = room->ifname;
	return link_set(room->here, &change, err);
}

int machine_net_find(const struct machine_spec *spec, struct machine_net *out, struct err *err)
{
	_cleanup_(room_close) struct room room;
	int r;

	room_init(&room, spec);
	r = room_open(&room, false, err);
	if (r == -ENOENT || r == -EINVAL)
		return 1;
	if (r < 0)
		return r;
	if (!is_pair(&room) || strcmp(room.host.alias, room.alias) != 0 ||
		!(room.host.flags & room.eth0.flags & IFF_UP))
		return 1;
	r = order_of_addresses(&room, err);
	if (r == 0 && room.eth0.mtu_bytes != spec->mtu_bytes)
		r = change_mtu(&room, err);
	if (r != 0)
		return r;
	report(&room, out);
	return 0;
}

/* The one thing of ours in someone else's namespace that does not go with the veth. */
static void remove_rule(const struct machine_spec *spec, const char *path)
{
	struct prefix subnet = {.addr = spec->network, .len_bits = SUBNET_BITS};
	_cleanup_(netlink_closep) struct netlink *there = NULL;
	_close_ int fd = netns_open(path, NULL);

	if (fd >= 0 && !netns_is_current(fd) && netns_netlink(fd, &there, NULL) == 0)
		link_delete_source_rule(there, &subnet, ATTACHED_TABLE, NULL);
}

int machine_net_teardown(const struct machine_spec *spec, struct err *err)
{
	_cleanup_(room_close) struct room room;
	char name[MACHINE_NETNS_LEN];
	int r;

	room_init(&room, spec);
	r = netlink_open(&room.here, err);
	if (r == 0)
		r = link_delete(room.here, room.ifname, err);
	if (r < 0)
		return r;
	if (spec->kind == MACHINE_ATTACHED) {
		remove_rule(spec, room.path);
		return 0;
	}
	return netns_remove(machine_netns_name(spec->id, name), err);
}
