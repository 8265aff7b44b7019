/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The namespace that resizes; see resizer.h. Each setup writes the same state again, by commands
 * that replace: a packet sees the old route or the new one. It belongs to the host and outlives us.
 *
 * What makes the kernel forward any IPv4 packet back to where it came from, whatever addresses it
 * has: forwarding on; no source filter, local sources accepted; no redirects; no ARP, so that every
 * next hop resolves to the link's own MAC; that MAC on all four ends, so that no packet is another
 * host's. The links carry any packet: sizes are the routes' alone, locked, so that no ICMP message
 * that passes by changes them.
 *
 * ICMP errors come from the namespace's own address, by "whole" in any case. "Fragmentation needed"
 * is under no rate limit of the kernel's (path MTU discovery is exempt): one small packet for one
 * large one, as of any router. Other errors (TTL exceeded) are limited to one a second and client.
 *
 * The namespace's name has the inode number of the host's own namespace in it: hosts that share
 * NETNS_DIR, as the nodes of a lab do, have one each. Those of hosts that are gone have lost their
 * links, and the next setup removes them; a lock on the namespace keeps one from being taken for
 * such while it is made.
 */
#include "mesh/resizer.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/ip_query.h"
#include "base/mem.h"
#include "base/netns.h"
#include "wherry/abi.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define LINK_MTU_BYTES 65535 /* no packet is larger */
#define ADDR_TEXT      "169.254.119.114"
#define PIECES_TABLE   "100"
#define MIN_MTU_BYTES  68 /* RFC 791 */
#define CREATE_TRIES   5

/* On the host, and inside. */
static const struct {
	const char *outer, *inner;
} links[] = {
	{RESIZER_WHOLE, "whole"},
	{RESIZER_PIECES, "pieces"},
};

struct setup {
	char name[64]; /* of the namespace */
	unsigned int whole_mtu_bytes, pieces_mtu_bytes;
	struct err *err;
	bool is_there[ARRAY_LEN(links)]; /* the ends inside */
};

static int find_name(char name[static 64], struct err *err)
{
	struct stat st;

	if (stat("/proc/thread-self/ns/net", &st) < 0)
		return err_errno(err, -errno, "cannot look at the host's network namespace");
	snprintf(name, 64, RESIZER_NETNS "-%llx", (unsigned long long)st.st_ino);
	return 0;
}

static char *format_mac(char text[static 18])
{
	static const unsigned char mac[6] = RESIZER_MAC;

	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
	return text;
}

static int open_netns(const struct setup *setup, struct err *err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), NETNS_DIR "/%s", setup->name);
	return netns_open(path, err);
}

static int find_inner(void *arg)
{
	struct setup *setup = arg;

	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		setup->is_there[i] = if_nametoindex(links[i].inner) != 0;
	return 0;
}

/* The other end may go by itself at any moment, when its namespace was removed. */
static int delete_link(const char *name, struct err *err)
{
	_cleanup_(buf_clear) struct buf batch = {};
	int r;

	if (!if_nametoindex(name))
		return 0;
	buf_addf(&batch, "link del %s\n", name);
	r = ip_batch(batch.data, err);
	return r < 0 && if_nametoindex(name) ? r : 0;
}

static int remove_stale_inner(void *arg)
{
	struct setup *setup = arg;
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(links) && r == 0; i++)
		if (setup->is_there[i])
			r = delete_link(links[i].inner, setup->err);
	return r;
}

/*
 * A link that has one end only here, or only inside, is left of a namespace that is gone or of
 * another host that had the same inode number: it is made anew.
 */
static int remove_stale(struct setup *setup, int netns, struct err *err)
{
	struct setup stale = *setup;
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(links) && r == 0; i++) {
		bool is_outer_there = if_nametoindex(links[i].outer) != 0;

		stale.is_there[i] = setup->is_there[i] && !is_outer_there;
		if (is_outer_there && !setup->is_there[i])
			r = delete_link(links[i].outer, err);
	}
	return r < 0 ? r : netns_call(netns, remove_stale_inner, &stale);
}

static int make_links(const struct setup *setup, struct err *err)
{
	_cleanup_(buf_clear) struct buf batch = {};
	char mac[18];

	format_mac(mac);
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		if (!if_nametoindex(links[i].outer))
			buf_addf(&batch,
				"link add %s address %s mtu %d type veth peer name %s address %s "
				"mtu %d netns %s\n",
				links[i].outer, mac, LINK_MTU_BYTES, links[i].inner, mac,
				LINK_MTU_BYTES, setup->name);
		buf_addf(&batch, "link set dev %s address %s mtu %d up\n", links[i].outer, mac,
			LINK_MTU_BYTES);
	}
	return ip_batch(batch.data, err);
}

/* The host's ends are for BPF programs alone: the stack is not to hear or say anything there. */
static int silence_outer(struct err *err)
{
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(links) && r == 0; i++) {
		snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6",
			links[i].outer);
		if (access(path, F_OK) == 0)
			r = file_set(path, "1", err);
	}
	return r;
}

/*
 * With checksums off, segmentation on transmission is off, too: whatever comes in, what leaves has
 * its size and its checksum in it.
 */
static int set_offloads(struct err *err)
{
	static const unsigned int commands[] = {ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO};
	_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		for (size_t j = 0; j < ARRAY_LEN(commands); j++) {
			struct ethtool_value off = {.cmd = commands[j]};
			struct ifreq request = {.ifr_data = (void *)&off};

			strcpy(request.ifr_name, links[i].inner);
			if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request) < 0)
				return err_errno(err, -errno,
					"cannot switch off the offloads of %s", links[i].inner);
		}
	return 0;
}

static int set_sysctls(struct err *err)
{
	static const struct {
		const char *name, *value;
	} settings[] = {
		{"conf/%s/rp_filter", "0"}, {"conf/%s/accept_local", "1"},
		{"conf/%s/send_redirects", "0"}, {"conf/%s/accept_redirects", "0"},
		{"conf/%s/accept_source_route", "1"}, /* passed on as they came */
	};
	static const char *const confs[] = {"all", "default", "whole", "pieces"};
	char path[PATH_MAX], setting[64];
	/* First: it sets others back. */
	int r = file_set("/proc/sys/net/ipv4/ip_forward", "1", err);

	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		for (size_t j = 0; j < ARRAY_LEN(confs) && r == 0; j++) {
			snprintf(setting, sizeof(setting), settings[i].name, confs[j]);
			snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", setting);
			r = file_set(path, settings[i].value, err);
		}
	for (size_t j = 0; j < ARRAY_LEN(confs) && r == 0; j++) {
		snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", confs[j]);
		if (access(path, F_OK) == 0)
			r = file_set(path, "1", err);
	}
	return r;
}

static bool has_rule(struct err *err)
{
	const char *const args[] = {"-4", "rule", "show", "iif", "pieces", NULL};
	_cleanup_(json_decrefp) json_t *answer = NULL;

	return ip_query(args, &answer, err) == 0 && json_array_size(answer) > 0;
}

static int set_routes(const struct setup *setup)
{
	_cleanup_(buf_clear) struct buf batch = {};
	char mac[18];

	format_mac(mac);
	buf_adds(&batch, "link set dev lo up\n");
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		buf_addf(&batch, "link set dev %s address %s mtu %d arp off up\n", links[i].inner,
			mac, LINK_MTU_BYTES);
	buf_adds(&batch, "addr replace " ADDR_TEXT "/32 dev whole\n");
	buf_addf(&batch, "route replace default dev whole src " ADDR_TEXT " mtu lock %u\n",
		setup->whole_mtu_bytes);
	buf_addf(&batch, "route replace default dev pieces table " PIECES_TABLE " mtu lock %u\n",
		setup->pieces_mtu_bytes);
	if (!has_rule(NULL))
		buf_adds(&batch, "rule add iif pieces lookup " PIECES_TABLE "\n");
	return ip_batch(batch.data, setup->err);
}

static int setup_inside(void *arg)
{
	struct setup *setup = arg;
	int r = set_sysctls(setup->err);

	if (r == 0)
		r = set_offloads(setup->err);
	return r < 0 ? r : set_routes(setup);
}

static void remove_if_dead(const char *name)
{
	struct setup other = {};
	_close_ int netns = -1;

	snprintf(other.name, sizeof(other.name), "%.63s", name);
	netns = open_netns(&other, NULL);
	if (netns < 0 || flock(netns, LOCK_EX | LOCK_NB) < 0 ||
		netns_call(netns, find_inner, &other) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (other.is_there[i])
			return;
	netns_remove(name, NULL);
}

/* Whatever is not removed now is by the next one. */
static void remove_dead(const char *own_name)
{
	_closedir_ DIR *dir = opendir(NETNS_DIR);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, RESIZER_NETNS "-", strlen(RESIZER_NETNS "-")) == 0 &&
			strcmp(entry->d_name, own_name) != 0)
			remove_if_dead(entry->d_name);
}

/* Returns a descriptor of the namespace, which has the lock. */
static int create_netns(const struct setup *setup, struct err *err)
{
	for (int i = 0; i < CREATE_TRIES; i++) {
		_close_ int locked = -1, bound = -1;
		int r = netns_create(setup->name, err);

		if (r < 0)
			return r;
		locked = open_netns(setup, err);
		if (locked >= 0 && flock(locked, LOCK_SH) < 0)
			return err_errno(err, -errno, "cannot lock " NETNS_DIR "/%s", setup->name);
		bound = open_netns(setup, err);
		/* It may have been removed before we had the lock. */
		if (locked >= 0 && bound >= 0 && netns_inode(locked) == netns_inode(bound))
			return take_fd(locked);
	}
	return err_set(err, -EAGAIN, NETNS_DIR "/%s is removed again and again", setup->name);
}

static int setup_all(struct setup *setup, struct err *err)
{
	_close_ int netns = create_netns(setup, err);
	int r;

	if (netns < 0)
		return netns;
	remove_dead(setup->name);
	r = netns_call(netns, find_inner, setup);
	if (r == 0)
		r = remove_stale(setup, netns, err);
	if (r == 0)
		r = make_links(setup, err);
	if (r == 0)
		r = silence_outer(err);
	return r < 0 ? r : netns_call(netns, setup_inside, setup);
}

int resizer_setup(unsigned int whole_mtu_bytes, unsigned int pieces_mtu_bytes, struct resizer *out,
	struct err *err)
{
	struct setup setup = {
		.whole_mtu_bytes = whole_mtu_bytes,
		.pieces_mtu_bytes = pieces_mtu_bytes,
		.err = err,
	};
	int r;

	if (whole_mtu_bytes < MIN_MTU_BYTES || pieces_mtu_bytes < MIN_MTU_BYTES ||
		whole_mtu_bytes > LINK_MTU_BYTES || pieces_mtu_bytes > LINK_MTU_BYTES)
		return err_set(err, -EINVAL, "cannot resize packets to %u and %u bytes",
			whole_mtu_bytes, pieces_mtu_bytes);
	r = find_name(setup.name, err);
	if (r == 0)
		r = setup_all(&setup, err);
	if (r < 0)
		return err_wrap(err, r, "cannot make the namespace that resizes packets");
	*out = (struct resizer){
		.whole_ifindex = if_nametoindex(RESIZER_WHOLE),
		.pieces_ifindex = if_nametoindex(RESIZER_PIECES),
	};
	return addr_parse(ADDR_TEXT, &out->addr);
}

int resizer_remove(struct err *err)
{
	char name[64];
	int r = find_name(name, err);

	for (size_t i = 0; i < ARRAY_LEN(links) && r == 0; i++)
		r = delete_link(links[i].outer, err);
	return r < 0 ? r : netns_remove(name, err);
}
