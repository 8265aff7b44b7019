/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links and routes; see links.h and the drawing in topology.c. Each veth is made inside the node
 * with its other end straight in the internet, so that nothing ever appears on the host and two
 * labs cannot clash. Each namespace gets one list of commands, run by one ip(8).
 */
#include "lab/links.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/run.h"
#include "lab/node.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#define IP_LIMIT_MS 20000
#define MTU_BYTES   1500

/*
 * Sysctls of every node. Duplicate address detection would delay each address by a second. The
 * IPv4 ones start as the host has them, so what matters is set: no router unless it is made one.
 */
static const char *const common_sysctls[][2] = {
	{"net/ipv6/conf/all/disable_ipv6", "0"},
	{"net/ipv6/conf/default/disable_ipv6", "0"},
	{"net/ipv6/conf/all/accept_dad", "0"},
	{"net/ipv6/conf/default/accept_dad", "0"},
	{"net/ipv4/ip_forward", "0"},
};

static const char *const internet_sysctls[][2] = {
	{"net/ipv4/conf/all/rp_filter", "0"},
	{"net/ipv4/conf/default/rp_filter", "0"},
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv6/conf/all/forwarding", "1"},
};

static int set_sysctls(const char *const sysctls[][2], size_t count, struct err *err)
{
	char path[128];

	for (size_t i = 0; i < count; i++) {
		int r;

		snprintf(path, sizeof(path), "/proc/sys/%s", sysctls[i][0]);
		r = file_set(path, sysctls[i][1], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The line of @script that ip(8) complains about, "Command failed -:3". */
static void cite_failure(const char *script, char *errors, struct err *err)
{
	const char *failed = strstr(errors, "Command failed -:");
	unsigned long number = failed ? strtoul(strchr(failed, ':') + 1, NULL, 10) : 0;
	const char *line = script;

	while (number > 1 && (line = strchr(line, '\n'))) {
		line++;
		number--;
	}
	errors[strcspn(errors, "\n")] = '\0';
	if (failed && line)
		err_set(err, 0, "ip %.*s failed: %s", (int)strcspn(line, "\n"), line, errors);
	else
		err_set(err, 0, "ip failed: %s", errors);
}

/* ip(8) sees by the address which family a route is of, but not so with a rule. */
static int run_script(const char *script, const char *family, struct err *err)
{
	const char *const argv[] = {"ip", "-batch", "-", family, NULL};
	_cleanup_(run_result_clear) struct run_result result = {};
	int r = run_program(argv, script, IP_LIMIT_MS, &result, err);

	if (r == -ENOENT)
		return err_set(err, r, "ip is not installed; apt-get install iproute2");
	if (r < 0)
		return r;
	if (WIFEXITED(result.status) && WEXITSTATUS(result.status) == 0)
		return 0;
	cite_failure(script, result.errors, err);
	return -EIO;
}

/* Kinds of node that hang on a segment. */
static const enum lab_kind attached_kinds[] = {LAB_CLIENT, LAB_HOST};

void links_internet_script(struct buf *out)
{
	buf_adds(out, "link set lo up\n");
	for (size_t i = 0; i < ARRAY_LEN(attached_kinds); i++) {
		const struct lab_segment *segment = lab_segment(attached_kinds[i]);
		const char *bridge = segment->bridge;

		buf_addf(out, "link add %s mtu %d type bridge mcast_snooping 0\n", bridge,
			MTU_BYTES);
		buf_addf(out, "addr add %s/24 dev %s\n", segment->router_v4, bridge);
		buf_addf(out, "addr add %s/64 dev %s nodad\n", segment->router_v6, bridge);
		buf_addf(out, "link set %s up\n", bridge);
	}
}

void links_node_script(const struct lab_node *node, const char *internet_netns, struct buf *out)
{
	const struct lab_segment *segment = lab_segment(node->kind);

	buf_adds(out, "link set lo up\n");
	buf_addf(out, "link add eth0 mtu %d type veth peer name %s mtu %d netns %s\n", MTU_BYTES,
		node->name, MTU_BYTES, internet_netns);
	buf_addf(out, "addr add %s/24 dev eth0\n", node->addresses[0]);
	buf_addf(out, "addr add %s/64 dev eth0 nodad\n", node->addresses[1]);
	buf_adds(out, "link set eth0 up\n");
	buf_addf(out, "route add default via %s\n", segment->router_v4);
	buf_addf(out, "route add default via %s\n", segment->router_v6);
}

/* client-N has a table of its own, and a rule of the same preference that leads to it. */
static unsigned int client_table(const struct lab_node *client)
{
	return 1000 + (unsigned int)atoi(strrchr(client->name, '-') + 1);
}

/*
 * Replacing a route is one step for the kernel: at no time does a packet find none or the route to
 * another edge. What else the client sends finds nothing in its table and goes on to the main one.
 */
void links_route_script(const struct lab_node *client, const struct lab_node *edge, struct buf *out)
{
	static const char *const pools[] = {LAB_POOL_V4, LAB_POOL_V6};

	for (size_t i = 0; i < ARRAY_LEN(pools); i++)
		buf_addf(out, "route replace %s via %s table %u\n", pools[i], edge->addresses[i],
			client_table(client));
}

void links_join_script(const struct lab *lab, struct buf *out)
{
	const struct lab_node *first_edge = lab_edge(lab, 0);

	for (size_t i = 0; i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];

		if (node->kind != LAB_INTERNET)
			buf_addf(out, "link set %s master %s up\n", node->name,
				lab_segment(node->kind)->bridge);
	}
	/* One edge, one way to the pools; with more of them that is the way for all but clients. */
	buf_addf(out, "route add %s via %s\n", LAB_POOL_V4, first_edge->addresses[0]);
	buf_addf(out, "route add %s via %s\n", LAB_POOL_V6, first_edge->addresses[1]);
	for (size_t i = 0; lab_has_routes(lab) && i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];

		if (node->kind == LAB_CLIENT)
			links_route_script(node, lab_find(lab, node->edge), out);
	}
}

void links_rules_script(const struct lab *lab, bool is_v6, struct buf *out)
{
	for (size_t i = 0; lab_has_routes(lab) && i < lab->node_count; i++) {
		const struct lab_node *node = &lab->nodes[i];

		if (node->kind == LAB_CLIENT)
			buf_addf(out, "rule add pref %u from %s lookup %u\n", client_table(node),
				node->addresses[is_v6], client_table(node));
	}
}

struct work {
	const char *script;
	const char *family; /* NULL: the script has no rules */
	bool is_internet;
	bool is_new; /* sysctls are still to be set */
};

static int do_work(void *arg, struct err *err)
{
	const struct work *work = arg;
	int r = 0;

	if (work->is_new)
		r = set_sysctls(common_sysctls, ARRAY_LEN(common_sysctls), err);
	if (r == 0 && work->is_new && work->is_internet)
		r = set_sysctls(internet_sysctls, ARRAY_LEN(internet_sysctls), err);
	return r < 0 ? r : run_script(work->script, work->family, err);
}

static int work_in(
	const struct lab *lab, const struct lab_node *node, struct work work, struct err *err)
{
	int r;

	work.is_internet = node->kind == LAB_INTERNET;
	r = node_call(lab->name, node->name, do_work, &work, err);
	return r < 0 ? err_wrap(err, r, "node %s", node->name) : 0;
}

int links_make_internet(const struct lab *lab, const struct lab_node *internet, struct err *err)
{
	_cleanup_(buf_clear) struct buf script = {};

	links_internet_script(&script);
	return work_in(lab, internet, (struct work){.script = script.data, .is_new = true}, err);
}

int links_make_node(
	const struct lab *lab, const struct lab_node *node, int internet_fd, struct err *err)
{
	_cleanup_(buf_clear) struct buf script = {};
	char netns[64];

	/* By way of /proc: ip(8) takes a path, and the descriptor is this process's. */
	snprintf(netns, sizeof(netns), "/proc/%d/fd/%d", getpid(), internet_fd);
	links_node_script(node, netns, &script);
	return work_in(lab, node, (struct work){.script = script.data, .is_new = true}, err);
}

int links_join(const struct lab *lab, const struct lab_node *internet, struct err *err)
{
	static const char *const families[] = {"-4", "-6"};
	_cleanup_(buf_clear) struct buf script = {};
	int r;

	links_join_script(lab, &script);
	r = work_in(lab, internet, (struct work){.script = script.data}, err);
	for (size_t i = 0; r == 0 && lab_has_routes(lab) && i < ARRAY_LEN(families); i++) {
		buf_clear(&script);
		links_rules_script(lab, i == 1, &script);
		r = work_in(lab, internet,
			(struct work){.script = script.data, .family = families[i]}, err);
	}
	return r;
}

int links_set_carrier(const struct lab *lab, const struct lab_node *internet,
	const struct lab_node *node, bool up, struct err *err)
{
	char script[LAB_NAME_MAX + 32];

	snprintf(script, sizeof(script), "link set %s %s\n", node->name, up ? "up" : "down");
	return work_in(lab, internet, (struct work){.script = script}, err);
}

int links_route(const struct lab *lab, const struct lab_node *internet,
	const struct lab_node *client, const struct lab_node *edge, struct err *err)
{
	_cleanup_(buf_clear) struct buf script = {};

	links_route_script(client, edge, &script);
	return work_in(lab, internet, (struct work){.script = script.data}, err);
}
