/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mesh tests share: network namespaces without names, joined by a bridge in the test's
 * own, and a /run/wireguard of its own. All of it ends with the test, except a wireguard-go, which
 * mesh_fixture_end() ends. Include after cmocka.h.
 */
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/netns.h"
#include "base/run.h"
#include "mesh/mesh_impl.h"

static char mesh_fixture_dir[64];

static inline void mesh_fixture_skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	exit(77);
}

static inline void mesh_fixture_begin(const char *name)
{
	if (geteuid() != 0)
		mesh_fixture_skip("needs root");
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		mesh_fixture_skip("cannot make namespaces");
	mkdir("/run/wireguard", 0755);
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("wireguard", "/run/wireguard", "tmpfs", 0, NULL) < 0)
		mesh_fixture_skip("cannot mount");
	if (system("ip link set lo up && ip link add br0 type bridge && ip link set br0 up") != 0)
		mesh_fixture_skip("cannot make a bridge");
	snprintf(mesh_fixture_dir, sizeof(mesh_fixture_dir), "/tmp/wherry-%s-XXXXXX", name);
	if (!mkdtemp(mesh_fixture_dir))
		mesh_fixture_skip("cannot make a directory in /tmp");
}

/* A test that fails leaves its wireguard-go: this one knows them by their sockets. */
static inline int mesh_fixture_end(int failed)
{
	_closedir_ DIR *dir = opendir("/run/wireguard");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		entry->d_name[strcspn(entry->d_name, ".")] = '\0';
		if (entry->d_name[0])
			wireguard_go_stop(entry->d_name, NULL);
	}
	file_remove_all(mesh_fixture_dir, NULL);
	return failed;
}

static inline void check(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

static inline struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static inline struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

/* Host number N is 10.77.0.N and fd77::N on the bridge, 10.64.0.N and fd64::N on the mesh. */
struct node {
	int number;
	int netns;
	char device[16], key_path[128], public_key[MESH_KEY_LEN];
	struct prefix slice;
	struct mesh_options options;
	struct mesh *mesh;
};

static inline int open_new_netns(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static inline int run_text(void *arg)
{
	int status = system(arg);

	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Runs a command of the shell in the node. Returns its exit status. */
static inline int node_try(const struct node *node, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline int node_try(const struct node *node, const char *format, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return netns_call(node->netns, run_text, command);
}

#define node_sh(...) assert_int_equal(node_try(__VA_ARGS__), 0)

struct reading {
	const char *command;
	char *text;
	size_t size;
};

static inline int read_output(void *arg)
{
	struct reading *reading = arg;
	FILE *pipe = popen(reading->command, "r");
	size_t len = pipe ? fread(reading->text, 1, reading->size - 1, pipe) : 0;

	reading->text[len] = '\0';
	return pipe ? pclose(pipe) : -1;
}

/* What a command prints in the node; valid until the next call. */
static inline char *node_output(const struct node *node, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline char *node_output(const struct node *node, const char *format, ...)
{
	static char text[65536];
	char command[1024];
	struct reading reading = {command, text, sizeof(text)};
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	netns_call(node->netns, read_output, &reading);
	return text;
}

static inline void node_new(struct node *node, int number)
{
	char text[64], command[256];
	static unsigned int serial;
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	*node = (struct node){.number = number, .netns = netns_call(own, open_new_netns, NULL)};
	close(own);
	assert_true(node->netns >= 0);
	snprintf(node->device, sizeof(node->device), "wtm%u-%u", (unsigned int)getpid() % 100000u,
		++serial % 1000u);
	snprintf(node->key_path, sizeof(node->key_path), "%s/key%d", mesh_fixture_dir, number);
	snprintf(command, sizeof(command),
		"ip link del p%d 2>/dev/null; ip link add p%d type veth peer name eth0 netns "
		"/proc/%d/fd/%d && "
		"ip link set p%d master br0 up",
		number, number, getpid(), node->netns, number);
	assert_int_equal(system(command), 0);
	node_sh(node,
		"ip link set lo up && ip addr add 10.77.0.%d/24 dev eth0 && "
		"ip addr add fd77::%d/64 dev eth0 nodad && ip link set eth0 up",
		number, number);
	snprintf(text, sizeof(text), "172.%d.0.0/16", 16 + number);
	node->slice = prefix_of(text);
	node->options = (struct mesh_options){
		.underlay = MESH_WIREGUARD,
		.device = node->device,
		.port = MESH_PORT,
		.underlay_device = "eth0",
		.key_path = node->key_path,
		.slices = &node->slice,
		.slice_count = 1,
	};
	snprintf(text, sizeof(text), "10.64.0.%d", number);
	node->options.addr_v4 = addr_of(text);
	snprintf(text, sizeof(text), "fd64::%d", number);
	node->options.addr_v6 = addr_of(text);
}

struct node_call {
	struct node *node;
	const struct mesh_peer *peers;
	size_t count;
	struct err err;
};

static inline int call_open(void *arg)
{
	struct node_call *call = arg;
	struct node *node = call->node;
	int r = mesh_open(&node->mesh, &node->options, &call->err);

	if (r == 0 && node->options.underlay == MESH_WIREGUARD)
		r = mesh_public_key(node->key_path, node->public_key, &call->err);
	return r;
}

static inline int call_set(void *arg)
{
	struct node_call *call = arg;

	return mesh_set_peers(call->node->mesh, call->peers, call->count, &call->err);
}

static inline int call_repair(void *arg)
{
	struct node_call *call = arg;

	return mesh_repair(call->node->mesh, &call->err);
}

static inline int call_remove(void *arg)
{
	struct node_call *call = arg;

	return mesh_remove(call->node->device, &call->err);
}

static inline void node_open(struct node *node)
{
	struct node_call call = {.node = node};

	check(netns_call(node->netns, call_open, &call), &call.err);
}

static inline int node_repair(struct node *node)
{
	struct node_call call = {.node = node};
	int r = netns_call(node->netns, call_repair, &call);

	check(r, &call.err);
	return r;
}

/* The peer that @of is to others. */
static inline struct mesh_peer peer_of(const struct node *of)
{
	struct mesh_peer peer = {
		.endpoint_port = of->options.port,
		.addr_v4 = of->options.addr_v4,
		.addr_v6 = of->options.addr_v6,
		.prefixes = &of->slice,
		.prefix_count = 1,
	};
	char text[64];

	snprintf(text, sizeof(text), "10.77.0.%d", of->number);
	peer.endpoint_addr = addr_of(text);
	memcpy(peer.public_key, of->public_key, MESH_KEY_LEN);
	return peer;
}

static inline void node_set_peers(struct node *node, const struct mesh_peer *peers, size_t count)
{
	struct node_call call = {.node = node, .peers = peers, .count = count};

	check(netns_call(node->netns, call_set, &call), &call.err);
}

static inline void node_know(struct node *node, const struct node *other)
{
	struct mesh_peer peer = peer_of(other);

	node_set_peers(node, &peer, 1);
}

static inline void node_free(struct node *node)
{
	struct node_call call = {.node = node};
	char command[64];

	mesh_close(node->mesh);
	check(netns_call(node->netns, call_remove, &call), &call.err);
	snprintf(command, sizeof(command), "ip link del p%d", node->number);
	assert_int_equal(system(command), 0);
	close(node->netns);
}
