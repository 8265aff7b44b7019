/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's network namespace, brought to what the config says. Every part first looks at what is
 * there and writes only what differs: a daemon that restarts changes nothing, and traffic that is
 * under way notices nothing.
 *
 * Routes are known for ours by their protocol number, so that those of a config before are found
 * and removed without any state of our own. The nft table is ours as a whole and is replaced in one
 * transaction; NAT that was set up for a flow lives in conntrack and survives that.
 */
#include "control/host_net.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/ip_query.h"
#include "base/mem.h"
#include "base/run.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#define IP_FORWARD  "/proc/sys/net/ipv4/ip_forward"
#define TIMEOUT_MS  10000
#define ROUTE_PROTO "187"

_Static_assert(HOST_NET_ROUTE_PROTO == 187, "ROUTE_PROTO is the same number as text");

/* Writing the value that is there already would reset the settings of every interface. */
static int enable_forwarding(struct err *err)
{
	_free_ char *value = NULL;
	int r = file_read(IP_FORWARD, 64, &value, NULL, err);

	if (r < 0)
		return r;
	if (strcmp(value, "1\n") == 0)
		return 0;
	return file_set(IP_FORWARD, "1", err);
}

static bool has_ipv6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

/* The address programs of the host have towards the pools; family 0: the kernel's choice. */
static struct addr source_of(const struct host_public *public)
{
	if (public->addr_count && public->addrs[0].family == AF_INET)
		return public->addrs[0];
	return (struct addr){};
}

/* A route of ours as ip(8) shows it. */
struct shown_route {
	struct prefix to;
	struct addr source;
	unsigned int mtu_bytes;
	bool is_on_lo;
};

/* False for what is no local route to a prefix; it is not ours whatever its protocol says. */
static bool read_route(const json_t *object, int family, struct shown_route *out)
{
	const json_t *metrics = json_array_get(json_object_get(object, "metrics"), 0);
	const char *to = ip_text(object, "dst");

	*out = (struct shown_route){};
	if (strcmp(to, "default") == 0)
		to = family == AF_INET ? "0.0.0.0/0" : "::/0";
	if (prefix_parse(to, &out->to) < 0)
		return false;
	if (addr_parse(ip_text(object, "prefsrc"), &out->source) < 0)
		out->source = (struct addr){};
	out->mtu_bytes = (unsigned int)json_integer_value(json_object_get(metrics, "mtu"));
	out->is_on_lo = strcmp(ip_text(object, "dev"), "lo") == 0;
	return true;
}

static bool same_prefix(const struct prefix *a, const struct prefix *b)
{
	return a->len_bits == b->len_bits && addr_equal(&a->addr, &b->addr);
}

struct routes {
	const struct host_net_options *options;
	struct addr source;
	struct addr *own;
	size_t own_count;
	bool *is_there; /* for each pool */
	struct buf batch;
	bool is_adding;
};

static void routes_clear(struct routes *routes)
{
	free(routes->own);
	free(routes->is_there);
	buf_clear(&routes->batch);
}

/* The kernel has a route of its own to an address of the host, which ours must not replace. */
static bool needs_route(const struct routes *routes, const struct prefix *pool)
{
	if (pool->addr.family == AF_INET6 && !has_ipv6())
		return false;
	return !host_net_is_own(pool, routes->own, routes->own_count);
}

static bool is_as_wanted(const struct routes *routes, const struct shown_route *shown)
{
	if (!shown->is_on_lo || shown->to.addr.family == AF_INET6)
		return shown->is_on_lo;
	return shown->mtu_bytes == routes->options->public->mtu_bytes &&
	       addr_equal(&shown->source, &routes->source);
}

static void add_delete(struct buf *batch, const struct prefix *to)
{
	char text[PREFIX_TEXT_LEN];

	buf_addf(batch, "route del local %s table local proto " ROUTE_PROTO "\n",
		prefix_format(to, text));
}

/* Marks the pool that @shown serves; plans its removal when there is none. */
static void sort_out(struct routes *routes, const struct shown_route *shown)
{
	const struct host_net_options *options = routes->options;

	for (size_t i = 0; i < options->pool_count; i++) {
		if (!same_prefix(&options->pools[i], &shown->to) ||
			!needs_route(routes, &options->pools[i]))
			continue;
		routes->is_there[i] = is_as_wanted(routes, shown);
		return;
	}
	add_delete(&routes->batch, &shown->to);
}

static int each_route(int family, void (*fn)(void *arg, const struct shown_route *shown), void *arg,
	struct err *err)
{
	const char *const args[] = {family == AF_INET ? "-4" : "-6", "route", "show", "table",
		"local", "proto", ROUTE_PROTO, NULL};
	_cleanup_(json_decrefp) json_t *answer = NULL;
	struct shown_route shown;
	int r;

	if (family == AF_INET6 && !has_ipv6())
		return 0;
	r = ip_query(args, &answer, err);
	if (r < 0)
		return err_wrap(err, r, "cannot list the routes of this host");
	for (size_t i = 0; i < json_array_size(answer); i++)
		if (read_route(json_array_get(answer, i), family, &shown))
			fn(arg, &shown);
	return 0;
}

static void sort_out_route(void *arg, const struct shown_route *shown)
{
	sort_out(arg, shown);
}

static void plan_missing(struct routes *routes)
{
	const struct host_net_options *options = routes->options;
	char prefix[PREFIX_TEXT_LEN], source[ADDR_TEXT_LEN];

	for (size_t i = 0; i < options->pool_count; i++) {
		const struct prefix *pool = &options->pools[i];

		if (routes->is_there[i] || !needs_route(routes, pool))
			continue;
		routes->is_adding = true;
		buf_addf(&routes->batch,
			"route replace local %s dev lo table local proto " ROUTE_PROTO,
			prefix_format(pool, prefix));
		/* A path MTU keeps programs of the host from sending 64 KiB packets by lo. */
		if (pool->addr.family == AF_INET)
			buf_addf(&routes->batch, " mtu %u", options->public->mtu_bytes);
		if (pool->addr.family == AF_INET && routes->source.family)
			buf_addf(&routes->batch, " src %s", addr_format(&routes->source, source));
		buf_adds(&routes->batch, "\n");
	}
}

/*
 * A pool that holds the router would make its address ours, and the host would never be heard of
 * again.
 */
static int check_gateways(
	const struct host_net_options *options, const char *family, struct err *err)
{
	const char *const args[] = {family, "route", "show", "default", NULL};
	_cleanup_(json_decrefp) json_t *answer = NULL;
	char text[PREFIX_TEXT_LEN];
	struct addr gateway;
	int r = ip_query(args, &answer, err);

	if (r < 0)
		return err_wrap(err, r, "cannot list the default routes");
	for (size_t i = 0; i < json_array_size(answer); i++) {
		const char *via = ip_text(json_array_get(answer, i), "gateway");

		if (addr_parse(via, &gateway) < 0)
			continue;
		for (size_t j = 0; j < options->pool_count; j++)
			if (prefix_contains(&options->pools[j], &gateway))
				return err_set(err, -EINVAL,
					"the public pool %s holds this host's gateway %s; name "
					"only "
					"the addresses that are yours in public_pools, such as "
					"single ones",
					prefix_format(&options->pools[j], text), via);
	}
	return 0;
}

static int set_routes(const struct host_net_options *options, struct err *err)
{
	_cleanup_(routes_clear) struct routes routes = {
		.options = options,
		.source = source_of(options->public),
		.is_there = calloc(options->pool_count + 1, sizeof(bool)),
	};
	int r;

	if (!routes.is_there)
		return err_errno(err, -ENOMEM, "cannot plan the routes of the public pools");
	r = host_net_own_addrs(&routes.own, &routes.own_count, err);
	if (r == 0)
		r = each_route(AF_INET, sort_out_route, &routes, err);
	if (r == 0)
		r = each_route(AF_INET6, sort_out_route, &routes, err);
	if (r < 0)
		return r;
	plan_missing(&routes);
	if (routes.is_adding)
		r = check_gateways(options, "-4", err);
	if (r == 0 && routes.is_adding && has_ipv6())
		r = check_gateways(options, "-6", err);
	if (r < 0 || routes.batch.len == 0)
		return r;
	r = ip_batch(routes.batch.data, err);
	return r < 0 ? err_wrap(err, r, "cannot make the public pools local to this host") : 0;
}

/*
 * NAT for what machines send of their own; and what may come to them: the kernel routes answers
 * into a machine, and what the machines of this host say to each other's primary addresses. All
 * else comes by the data plane, which does not meet these rules. Service addresses (the fourth of
 * each network) are the data plane's alone, for programs of the host, too. What the operator leads
 * to a machine by a rule of their own goes there. Refused, not dropped: who sends it is told.
 *
 * In the form in which nft 1.0 lists it. An nft that lists it in another form only costs a
 * transaction more at each call.
 */
static void add_table(struct buf *out, const struct prefix *machine_pool)
{
	char pool[PREFIX_TEXT_LEN];

	prefix_format(machine_pool, pool);
	buf_addf(out,
		"table ip " HOST_NET_NFT_TABLE " {\n"
		"\tchain postrouting {\n"
		"\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
		"\t\toifname != \"wm-*\" oifname != \"lo\" ip saddr %s masquerade\n"
		"\t}\n"
		"\n"
		"\tchain forward {\n"
		"\t\ttype filter hook forward priority filter; policy accept;\n"
		"\t\toifname \"wm-*\" ct status dnat accept\n"
		"\t\tiifname != \"wm-*\" oifname \"wm-*\" ip daddr %s ct state new reject with "
		"icmp "
		"admin-prohibited\n"
		"\t}\n"
		"\n"
		"\tchain output {\n"
		"\t\ttype filter hook output priority filter; policy accept;\n"
		"\t\toifname \"wm-*\" ip daddr %s ip daddr & 0.0.0.7 == 0.0.0.3 ct state new "
		"reject "
		"with icmp admin-prohibited\n"
		"\t}\n"
		"}\n",
		pool, pool, pool);
}

/* Returns 0 when the table is there just so, 1 when not. */
static int table_is(const char *wanted, struct err *err)
{
	const char *const argv[] = {"nft", "list", "table", "ip", HOST_NET_NFT_TABLE, NULL};
	_cleanup_(run_result_clear) struct run_result result = {};
	int r = run_program(argv, NULL, TIMEOUT_MS, &result, err);

	if (r < 0)
		return r;
	return WIFEXITED(result.status) && WEXITSTATUS(result.status) == 0 &&
			       strcmp(result.output, wanted) == 0
		       ? 0
		       : 1;
}

/* Adding before deleting makes the deletion succeed whether or not the table was there. */
static void add_removal(struct buf *out)
{
	buf_adds(out, "table ip " HOST_NET_NFT_TABLE "\ndelete table ip " HOST_NET_NFT_TABLE "\n");
}

static int run_nft(const char *script, struct err *err)
{
	const char *const argv[] = {"nft", "-f", "-", NULL};

	return run_checked(argv, script, TIMEOUT_MS, NULL, err);
}

static int set_nat(const struct prefix *machine_pool, struct err *err)
{
	_cleanup_(buf_clear) struct buf table = {}, script = {};
	int r;

	add_table(&table, machine_pool);
	r = table_is(table.data, err);
	if (r <= 0)
		return r;
	add_removal(&script);
	buf_adds(&script, table.data);
	r = run_nft(script.data, err);
	return r < 0 ? err_wrap(err, r,
			       "cannot make the nft table " HOST_NET_NFT_TABLE
			       ", by which machines reach the world")
		     : 0;
}

int host_net_setup(const struct host_net_options *options, struct err *err)
{
	int r = enable_forwarding(err);

	if (r == 0)
		r = set_routes(options, err);
	if (r == 0)
		r = set_nat(&options->machine_pool, err);
	return r;
}

static void delete_route(void *arg, const struct shown_route *shown)
{
	add_delete(arg, &shown->to);
}

int host_net_teardown(struct err *err)
{
	_cleanup_(buf_clear) struct buf batch = {}, script = {};
	int r = each_route(AF_INET, delete_route, &batch, err);

	if (r == 0)
		r = each_route(AF_INET6, delete_route, &batch, err);
	if (r == 0 && batch.len)
		r = ip_batch(batch.data, err);
	if (r < 0)
		return err_wrap(err, r, "cannot remove the routes of the public pools");
	add_removal(&script);
	r = run_nft(script.data, err);
	/* Without nft(8) there is no table of ours either. */
	return r == -ENOENT ? 0 : r;
}
