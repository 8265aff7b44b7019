/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hosts in namespaces, with the mesh by either underlay: what live.c sends its packets over.
 *
 *	client c0 --- up0 [ edge ] u0 --- u0 [ worker ] m1 --- eth0 [ machine ]
 *	                     we ~~~~~~~~~~~~~~~ ww  WireGuard, over u0
 *
 * Both hosts have a resizer namespace. Everything is in namespaces of the test's own.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "fabric/fabric_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PUBLIC	    "203.0.113.5"
#define CLIENT	    "198.51.100.10"
#define PRIMARY	    "172.16.0.2"
#define SERVICE	    "172.16.0.3"
#define EDGE_MESH   "10.64.0.1"
#define WORKER_MESH "10.64.0.2"
#define RESIZER	    "169.254.119.114"
#define PORT	    5000

enum { CLIENT_NS, EDGE_NS, WORKER_NS, MACHINE_NS, NAMESPACES };
static const char *const names[NAMESPACES] = {"c", "e", "w", "m"};

static struct {
	int own, netns[NAMESPACES];
	struct fabric *edge, *worker;
	pid_t wireguard[2];
	bool has_wireguard, is_wireguard; /* there is one; the test wants it */
	unsigned int mtu_bytes;		  /* of the mesh */
	int client, app;		  /* sockets */
	struct sockaddr_in server;
} live;

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int shell(const char *format, ...)
{
	char command[1024];
	va_list ap;
	int r;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	r = system(command);
	if (r != 0)
		fprintf(stderr, "failed: %s\n", command);
	return r;
}

static void skip_all(const char *reason)
{
	printf("SKIP: %s\n", reason);
	exit(77);
}

static void enter(int netns)
{
	if (setns(netns, CLONE_NEWNET) < 0)
		abort();
}

static struct addr address(const char *text)
{
	struct addr addr = {};

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static void make_namespaces(void)
{
	char path[64];

	if (geteuid() != 0)
		skip_all("not root");
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		skip_all("may not make namespaces");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 || mkdir("/run/netns", 0700) < 0 ||
		mkdir("/run/wireguard", 0700) < 0 || mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 ||
		mkdir("/mnt/bpf", 0700) < 0 || mount("bpf", "/mnt/bpf", "bpf", 0, NULL) < 0)
		skip_all("may not mount a bpffs");
	live.own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < NAMESPACES; i++) {
		if (shell("ip netns add %s && ip -n %s link set lo up", names[i], names[i]) != 0)
			exit(1);
		snprintf(path, sizeof(path), "/run/netns/%s", names[i]);
		live.netns[i] = open(path, O_RDONLY | O_CLOEXEC);
	}
}

static int make_links(void)
{
	return shell("ip -n w netns set m 1 && "
		     "ip -n c link add c0 type veth peer name up0 netns e && "
		     "ip -n e link add u0 type veth peer name u0 netns w && "
		     "ip -n w link add m1 type veth peer name eth0 netns m") ||
	       shell("for l in 'c c0' 'e up0' 'e u0' 'w u0' 'w m1' 'm eth0'; do "
		     "set -- $l; ip -n $1 link set $2 up || exit 1; done") ||
	       shell("ip -n c addr add " CLIENT "/24 dev c0 && "
		     "ip -n e addr add 198.51.100.2/24 dev up0 && "
		     "ip -n e addr add 192.0.2.1/24 dev u0 && "
		     "ip -n w addr add 192.0.2.2/24 dev u0 && "
		     "ip -n w addr add 172.16.0.1/29 dev m1 && "
		     "ip -n m addr add " PRIMARY "/29 dev eth0 && "
		     "ip -n m addr add " SERVICE "/29 dev eth0") ||
	       shell("ip -n c route add default via 198.51.100.2 && "
		     "ip -n m route add default via 172.16.0.1 && "
		     "ip -n e addr add " EDGE_MESH "/32 dev lo && "
		     "ip -n w addr add " WORKER_MESH "/32 dev lo && "
		     "ip -n e route add local 203.0.113.0/24 dev lo") ||
	       shell("for n in e w; do ip netns exec $n sysctl -qw net.ipv4.ip_forward=1 "
		     "|| exit 1; done");
}

/* As src/mesh/resizer.c makes it. */
static int make_resizer(const char *host, unsigned int mtu_bytes)
{
	return shell("ip netns add r%s && ip -n r%s link set lo up && for l in whole pieces; do "
		     "ip -n %s link add wr-$l address 02:77:72:00:00:01 mtu 65535 type veth peer "
		     "name $l address 02:77:72:00:00:01 mtu 65535 netns r%s && "
		     "ip -n %s link set wr-$l up && ip -n r%s link set $l arp off up || exit 1; "
		     "done",
		       host, host, host, host, host, host) ||
	       shell("for l in whole pieces; do ip netns exec r%s ethtool -K $l tx off tso off gso "
		     "off >/dev/null || exit 1; done; ip netns exec r%s sysctl -qw "
		     "net.ipv4.ip_forward=1 net.ipv4.conf.all.accept_local=1 "
		     "net.ipv4.conf.whole.accept_local=1 net.ipv4.conf.pieces.accept_local=1",
		       host, host) ||
	       shell("ip -n r%s addr replace " RESIZER "/32 dev whole && ip -n r%s route replace "
		     "default dev whole src " RESIZER " mtu lock %u && ip -n r%s route replace "
		     "default dev pieces table 100 mtu lock %u && "
		     "ip -n r%s rule add iif pieces lookup 100",
		       host, host, mtu_bytes - 12, host, mtu_bytes - 20, host);
}

static void remove_resizer(const char *host)
{
	shell("ip -n %s link del wr-whole; ip -n %s link del wr-pieces; ip netns del r%s", host,
		host, host);
}

static pid_t start_wireguard(const char *netns, const char *device)
{
	pid_t pid = fork();
	char path[64];

	if (pid != 0)
		return pid;
	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	enter(open(path, O_RDONLY));
	if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
		_exit(1);
	execlp("wireguard-go", "wireguard-go", "-f", device, NULL);
	_exit(127);
}

/* False: there is none here. */
static bool make_wireguard(void)
{
	if (system("command -v wireguard-go >/dev/null && command -v wg >/dev/null") != 0 ||
		shell("mkdir -p /dev/net && cd /run && umask 077 && for n in e w; do "
		      "wg genkey >$n.key && wg pubkey <$n.key >$n.pub; done") != 0)
		return false;
	live.wireguard[0] = start_wireguard("e", "we");
	live.wireguard[1] = start_wireguard("w", "ww");
	for (int i = 0; i < 50 && access("/run/wireguard/ww.sock", F_OK) < 0; i++)
		usleep(100000);
	usleep(200000);
	return shell("cd /run && ip netns exec e wg set we private-key e.key listen-port 5180 peer "
		     "$(cat w.pub) endpoint 192.0.2.2:5180 allowed-ips "
		     "172.16.0.0/29," WORKER_MESH "/32 && "
		     "ip netns exec w wg set ww private-key w.key listen-port 5180 peer "
		     "$(cat e.pub) endpoint 192.0.2.1:5180 allowed-ips " EDGE_MESH "/32") == 0 &&
	       shell("ip -n e link set we mtu 1440 up && ip -n w link set ww mtu 1440 up") == 0;
}

static unsigned int interface(int netns, const char *name)
{
	unsigned int ifindex;

	enter(live.netns[netns]);
	ifindex = if_nametoindex(name);
	assert_int_not_equal(ifindex, 0);
	return ifindex;
}

static void set_mesh(struct fabric *fabric, int netns, const char *addr, const char *edge,
	const char *other, bool is_wireguard)
{
	const struct fabric_mesh mesh = {
		.ifindex = interface(netns, !is_wireguard      ? "u0"
					    : netns == EDGE_NS ? "we"
							       : "ww"),
		.is_ethernet = !is_wireguard,
		.addr = address(addr),
		.nearest_edge = edge ? address(edge) : (struct addr){},
		.mtu_bytes = live.mtu_bytes,
		.whole_ifindex = interface(netns, "wr-whole"),
		.pieces_ifindex = interface(netns, "wr-pieces"),
		.resizer_addr = address(RESIZER),
	};
	const struct fabric_host host = {
		.mesh_addr = address(other),
		.is_edge = netns == WORKER_NS,
		.is_worker = netns == EDGE_NS,
	};
	struct err err = {};

	if (fabric_set_mesh(fabric, &mesh, &err) < 0 ||
		fabric_set_hosts(fabric, &host, 1, &err) < 0)
		fail_msg("%s", err.text);
}

static void set_services(struct fabric *fabric, bool is_here)
{
	struct fabric_machine machine = {
		.id = "machine",
		.app = "app",
		.primary = address(PRIMARY),
		.service = address(SERVICE),
		.public_addr = address(PUBLIC),
	};
	const struct fabric_group group = {"app/web", (const char *const[]){"machine"}, 1};
	const struct fabric_service service = {
		address(PUBLIC), PROTOCOL_UDP, {PORT, PORT + 100}, 0, false};
	const struct fabric_address addr = {address(PUBLIC), "app"};
	struct err err = {};

	if (is_here) {
		machine.ifindex = interface(WORKER_NS, "m1");
		machine.netns_id = 1;
	} else {
		machine.host = address(WORKER_MESH);
	}
	if (fabric_machine_set(fabric, &machine, NULL, &err) < 0 ||
		fabric_apply(fabric, &group, 1, &service, 1, &addr, 1, &err) < 0)
		fail_msg("%s", err.text);
}

static void set_timeouts(void)
{
	const struct timeval timeout = {.tv_sec = 2};

	setsockopt(live.app, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(live.client, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

static int make_sockets(void)
{
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(PORT)};

	enter(live.netns[MACHINE_NS]);
	live.app = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, SERVICE, &local.sin_addr);
	if (bind(live.app, (struct sockaddr *)&local, sizeof(local)) < 0)
		return -1;
	enter(live.netns[CLIENT_NS]);
	live.client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	live.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(PORT)};
	inet_pton(AF_INET, PUBLIC, &live.server.sin_addr);
	set_timeouts();
	return connect(live.client, (struct sockaddr *)&live.server, sizeof(live.server));
}

static int up(void **state)
{
	const struct fabric_options edge = {.bpf_dir = "/mnt/bpf/edge", .max_flows = 1024};
	const struct fabric_options worker = {.bpf_dir = "/mnt/bpf/worker", .max_flows = 1024};
	struct err err = {};

	(void)state;
	make_namespaces();
	if (make_links() != 0)
		return -1;
	live.has_wireguard = make_wireguard();
	enter(live.netns[EDGE_NS]);
	if (fabric_open(&live.edge, &edge, &err) < 0 ||
		fabric_attach_edge(live.edge, interface(EDGE_NS, "up0"), &err) < 0 ||
		fabric_attach_edge(live.edge, 1, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	enter(live.netns[WORKER_NS]);
	if (fabric_open(&live.worker, &worker, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	return 0;
}

static int down(void **state)
{
	(void)state;
	fabric_close(live.edge);
	fabric_close(live.worker);
	for (int i = 0; i < 2; i++)
		if (live.wireguard[i] > 0)
			kill(live.wireguard[i], SIGTERM);
	return 0;
}

static int start(bool is_wireguard)
{
	live.is_wireguard = is_wireguard;
	if (is_wireguard && !live.has_wireguard)
		return 0;
	live.mtu_bytes = is_wireguard ? 1440 : 1500;
	enter(live.own);
	if (make_resizer("e", live.mtu_bytes) || make_resizer("w", live.mtu_bytes) ||
		shell("ip -n m link set eth0 mtu %u && ip -n c route flush cache && "
		      "ip -n m route flush cache",
			live.mtu_bytes - 20) ||
		shell(is_wireguard ? "ip -n e route replace 172.16.0.0/29 dev we && "
				     "ip -n e route replace " WORKER_MESH " dev we && "
				     "ip -n w route replace " EDGE_MESH " dev ww"
				   : "ip -n e route replace 172.16.0.0/29 via 192.0.2.2 && "
				     "ip -n e route replace " WORKER_MESH " via 192.0.2.2 && "
				     "ip -n w route replace " EDGE_MESH " via 192.0.2.1"))
		return -1;
	set_mesh(live.edge, EDGE_NS, EDGE_MESH, NULL, WORKER_MESH, is_wireguard);
	set_services(live.edge, false);
	enter(live.netns[WORKER_NS]);
	set_mesh(live.worker, WORKER_NS, WORKER_MESH, EDGE_MESH, EDGE_MESH, is_wireguard);
	set_services(live.worker, true);
	return make_sockets();
}

static int by_plain(void **state)
{
	(void)state;
	return start(false);
}

static int by_wireguard(void **state)
{
	(void)state;
	return start(true);
}

static int stop(void **state)
{
	(void)state;
	if (live.is_wireguard && !live.has_wireguard)
		return 0;
	close(live.client);
	close(live.app);
	enter(live.netns[EDGE_NS]);
	fabric_set_mesh(live.edge, NULL, NULL);
	enter(live.netns[WORKER_NS]);
	fabric_set_mesh(live.worker, NULL, NULL);
	enter(live.own);
	remove_resizer("e");
	remove_resizer("w");
	return 0;
}
