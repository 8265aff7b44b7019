/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WireGuard device of this host: the kernel's, or a persistent tun with wireguard-go on it. It
 * outlives the daemon, so each start finds one as it is and sets only what is not as wanted. Which
 * kind it is stays as it was made: a kernel that learns WireGuard later changes nothing until the
 * device is removed.
 */
#include "mesh/mesh_impl.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ip_query.h"
#include "base/netlink.h"
#include "base/run.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS  10000
#define CARRIER_MS  3000
#define TUN_PATH    "/dev/net/tun"
#define MAX_V4_BITS 32
#define MAX_V6_BITS 128

/* By netlink and not by ip(8), for the errno: -EOPNOTSUPP, this kernel has no WireGuard. */
static int add_kernel_device(const char *name, struct err *err)
{
	_cleanup_(netlink_closep) struct netlink *nl = NULL;
	struct nlmsghdr *request;
	struct nlattr *info;
	void *header;
	int r = netlink_open(&nl, err);

	if (r < 0)
		return r;
	request = netlink_begin(
		nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(request, IFLA_LINKINFO);
	mnl_attr_put_strz(request, IFLA_INFO_KIND, "wireguard");
	mnl_attr_nest_end(request, info);
	return netlink_ack(nl, err, "cannot make the WireGuard device %s", name);
}

/* "pi": the packet information that wireguard-go reads and writes before each packet. */
static int add_tun(const char *name, struct err *err)
{
	const char *const argv[] = {"ip", "tuntap", "add", "dev", name, "mode", "tun", "pi", NULL};
	int r;

	if (access(TUN_PATH, F_OK) < 0)
		return err_set(err, -ENOTSUP,
			"this kernel has no WireGuard (modprobe wireguard), and " TUN_PATH
			", by which wireguard-go would do without, is missing (modprobe tun)");
	r = run_checked(argv, NULL, TIMEOUT_MS, NULL, err);
	return r < 0 ? err_wrap(err, r, "cannot make the tun device %s", name) : 0;
}

static int add_device(const char *name, struct err *err)
{
	int r = add_kernel_device(name, err);

	return r == -EOPNOTSUPP ? add_tun(name, err) : r;
}

static int set_up(const char *name, struct err *err)
{
	_cleanup_(buf_clear) struct buf batch = {};

	/* A link-local address would be another source of packets, and is of no use here. */
	if (mesh_has_ipv6())
		buf_addf(&batch, "link set dev %s addrgenmode none\n", name);
	buf_addf(&batch, "link set dev %s up\n", name);
	return ip_batch(batch.data, err);
}

static int start_go(const char *name, struct err *err)
{
	int r = wireguard_go_start(name, err);

	if (r == -ENOENT)
		return err_set(err, -ENOTSUP,
			"this kernel has no WireGuard, and wireguard-go is not installed; apt-get "
			"install wireguard-go, or run a kernel with WireGuard");
	return r;
}

/*
 * A tun has a carrier while a program has it open: that, and not the socket, says that a
 * wireguard-go runs on this very device. The socket's directory may be one of several network
 * namespaces.
 */
static int setup_go(const char *name, struct mesh_link *link, struct err *err)
{
	uint64_t deadline_ms = clock_now_ms() + CARRIER_MS;
	bool is_started = false;
	int r = 0;

	if (!link->is_up)
		r = set_up(name, err);
	while (r == 0) {
		bool answers = wireguard_go_answers(name);

		r = mesh_link_find(name, link, err);
		if (r != 0 || (link->has_carrier && answers))
			break;
		if (!link->has_carrier && !answers && !is_started) {
			r = start_go(name, err);
			is_started = true;
		} else if (clock_now_ms() > deadline_ms) {
			return link->has_carrier
				       ? err_set(err, -EIO,
						 "a program has the device %s open, and its socket "
						 "/var/run/wireguard/%s.sock is gone; end that "
						 "program, and wireguard-go is started again",
						 name, name)
				       : err_set(err, -EBUSY,
						 "a wireguard-go for another device called %s has "
						 "the socket /var/run/wireguard/%s.sock; give this "
						 "host's device another name",
						 name, name);
		} else {
			usleep(20000);
		}
	}
	return r > 0 ? err_set(err, -ENODEV, "the device %s went away", name) : r;
}

int mesh_device_setup(struct mesh *mesh, struct err *err)
{
	const char *name = mesh->options.device;
	struct mesh_link link = {};
	int r = mesh_link_find(name, &link, err);

	if (r == 1) {
		r = add_device(name, err);
		if (r == 0)
			r = mesh_link_find(name, &link, err);
		if (r > 0)
			return err_set(err, -ENODEV, "the device %s went away", name);
	}
	if (r < 0)
		return r;
	mesh->device.is_kernel = strcmp(link.kind, "wireguard") == 0;
	if (!mesh->device.is_kernel && strcmp(link.kind, "tun") != 0)
		return err_set(err, -EEXIST,
			"%s is a device of another kind (%s); name another one for the mesh", name,
			link.kind[0] ? link.kind : "a network card");
	if (!mesh->device.is_kernel)
		r = setup_go(name, &link, err);
	if (r < 0)
		return r;
	mesh->device.ifindex = link.ifindex;
	return 0;
}

int mesh_device_set_key(const struct mesh *mesh, struct err *err)
{
	const struct mesh_options *options = &mesh->options;
	_cleanup_(wg_device_clear) struct wg_device shown = {};
	const char *argv[8] = {"wg", "set", options->device};
	char public_key[MESH_KEY_LEN], port[8];
	size_t used = 3;
	int r = mesh_public_key(options->key_path, public_key, err);

	if (r == 0)
		r = wg_dump_read(options->device, &shown, err);
	if (r < 0)
		return r;
	snprintf(port, sizeof(port), "%u", options->port);
	if (shown.port != options->port) {
		argv[used++] = "listen-port";
		argv[used++] = port;
	}
	if (strcmp(shown.public_key, public_key) != 0) {
		argv[used++] = "private-key";
		argv[used++] = options->key_path;
	}
	if (used == 3)
		return 0;
	r = run_checked(argv, NULL, TIMEOUT_MS, NULL, err);
	return r < 0 ? err_wrap(err, r, "cannot make %s listen at UDP port %u with the key %s",
			       options->device, options->port, options->key_path)
		     : 0;
}

struct addresses {
	const struct mesh_options *options;
	bool has_v4, has_v6;
	struct buf batch;
};

static void addresses_clear(struct addresses *addresses)
{
	buf_clear(&addresses->batch);
}

static void sort_out_address(struct addresses *addresses, const json_t *shown)
{
	const struct mesh_options *options = addresses->options;
	json_int_t len_bits = json_integer_value(json_object_get(shown, "prefixlen"));
	struct addr addr;

	if (addr_parse(ip_text(shown, "local"), &addr) < 0)
		return;
	if (addr_equal(&addr, &options->addr_v4) && len_bits == MAX_V4_BITS)
		addresses->has_v4 = true;
	else if (addr_equal(&addr, &options->addr_v6) && len_bits == MAX_V6_BITS)
		addresses->has_v6 = true;
	else if (strcmp(ip_text(shown, "scope"), "link") != 0)
		buf_addf(&addresses->batch, "addr del %s/%d dev %s\n", ip_text(shown, "local"),
			(int)len_bits, options->device);
}

/* The wanted ones are added before others go. */
static int set_addresses(const struct mesh_options *options, struct err *err)
{
	const char *const args[] = {"addr", "show", "dev", options->device, NULL};
	_cleanup_(addresses_clear) struct addresses addresses = {.options = options};
	_cleanup_(json_decrefp) json_t *answer = NULL;
	_cleanup_(buf_clear) struct buf batch = {};
	char text[ADDR_TEXT_LEN];
	const json_t *shown;
	int r = ip_query(args, &answer, err);

	if (r < 0)
		return r;
	shown = json_object_get(json_array_get(answer, 0), "addr_info");
	for (size_t i = 0; i < json_array_size(shown); i++)
		sort_out_address(&addresses, json_array_get(shown, i));
	if (!addresses.has_v4)
		buf_addf(&batch, "addr add %s/32 dev %s\n", addr_format(&options->addr_v4, text),
			options->device);
	/* Nobody else can have it, and detecting that would keep it unusable for a second. */
	if (!addresses.has_v6 && options->addr_v6.family && mesh_has_ipv6())
		buf_addf(&batch, "addr add %s/128 dev %s nodad\n",
			addr_format(&options->addr_v6, text), options->device);
	if (addresses.batch.len)
		buf_adds(&batch, addresses.batch.data);
	return batch.len ? ip_batch(batch.data, err) : 0;
}

/* wireguard-go sets 1420 when it starts. */
int mesh_device_set_mtu(struct mesh *mesh, struct err *err)
{
	const struct mesh_options *options = &mesh->options;
	_cleanup_(buf_clear) struct buf batch = {};
	struct mesh_link underlay = {}, link = {};
	int family = AF_INET, r;

	r = mesh_link_find(options->underlay_device, &underlay, err);
	if (r == 1)
		return err_set(err, -ENODEV,
			"there is no interface %s, by which the other hosts are to be reached",
			options->underlay_device);
	if (r == 0)
		r = mesh_peers_family(mesh, &family, err);
	if (r == 0)
		r = mesh_link_find(options->device, &link, err);
	if (r != 0)
		return r > 0 ? err_set(err, -ENODEV, "the device %s went away", options->device)
			     : r;
	mesh->device.mtu_bytes = mesh_mtu(MESH_WIREGUARD, underlay.mtu_bytes, family);
	if (link.mtu_bytes == mesh->device.mtu_bytes)
		return 0;
	buf_addf(&batch, "link set dev %s mtu %u\n", options->device, mesh->device.mtu_bytes);
	return ip_batch(batch.data, err);
}

int mesh_device_configure(struct mesh *mesh, struct err *err)
{
	const char *name = mesh->options.device;
	struct mesh_link link = {};
	int r = mesh_link_find(name, &link, err);

	if (r == 1)
		return err_set(err, -ENODEV, "the device %s went away", name);
	if (r == 0)
		r = mesh_device_set_mtu(mesh, err);
	if (r == 0)
		r = set_addresses(&mesh->options, err);
	if (r == 0)
		r = mesh_sysctls_set(name, err);
	if (r == 0 && !link.is_up)
		r = set_up(name, err);
	return r < 0 ? err_wrap(err, r, "cannot set up the mesh's device %s", name) : 0;
}

int mesh_device_remove(const char *name, struct err *err)
{
	const char *const argv[] = {"ip", "link", "del", "dev", name, NULL};
	struct mesh_link link = {};
	bool is_tun;
	int r = mesh_link_find(name, &link, err);

	if (r != 0)
		return r > 0 ? 0 : r;
	is_tun = strcmp(link.kind, "tun") == 0;
	/* With underlay plain the mesh's device is a network card, and not ours to remove. */
	if (!is_tun && strcmp(link.kind, "wireguard") != 0)
		return 0;
	if (is_tun && link.has_carrier)
		r = wireguard_go_stop(name, err);
	if (r == 0)
		r = run_checked(argv, NULL, TIMEOUT_MS, NULL, err);
	return r < 0 ? err_wrap(err, r, "cannot remove the device %s", name) : 0;
}
