/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public interface and the pools. Which interface is public is the operator's word or follows
 * from the default route; which addresses are the host's own is asked of the kernel each time, as
 * they come and go without us.
 */
#include "control/host_net.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/ip_query.h"
#include "base/mem.h"
#include "model/config_memory.h"

#include <errno.h>
#include <ifaddrs.h>
#include <string.h>

#define MAX_LISTED_LINKS 12

/* The machines' veths, of which there may be thousands, are nobody's public interface. */
static bool is_candidate(const char *name)
{
	return strcmp(name, "lo") != 0 && strncmp(name, "wm-", 3) != 0;
}

static void add_link_names(struct buf *out)
{
	struct if_nameindex *links = if_nameindex();
	int listed = 0;

	for (struct if_nameindex *link = links; link && link->if_index; link++) {
		if (!is_candidate(link->if_name))
			continue;
		if (++listed <= MAX_LISTED_LINKS)
			buf_addf(out, "%s%s", listed == 1 ? "there are: " : ", ", link->if_name);
	}
	if (listed == 0)
		buf_adds(out, "there is none but lo");
	else if (listed > MAX_LISTED_LINKS)
		buf_addf(out, " and %d more", listed - MAX_LISTED_LINKS);
	if (links)
		if_freenameindex(links);
}

static bool is_usable_route(const json_t *route)
{
	const json_t *flags = json_object_get(route, "flags");
	const char *dev = ip_text(route, "dev");

	for (size_t i = 0; i < json_array_size(flags); i++) {
		const char *flag = json_string_value(json_array_get(flags, i));

		if (flag && strcmp(flag, "dead") == 0)
			return false;
	}
	return *dev && is_candidate(dev);
}

/* A default route over several next hops has them in an array: the first will do. */
static const json_t *usable_hop(const json_t *route)
{
	const json_t *hops = json_object_get(route, "nexthops");

	if (is_usable_route(route))
		return route;
	for (size_t i = 0; i < json_array_size(hops); i++)
		if (is_usable_route(json_array_get(hops, i)))
			return json_array_get(hops, i);
	return NULL;
}

/* Finds the device of the default route of @family ("-4", "-6"). Returns 1 when there is none. */
static int find_default(const char *family, char name[static IFNAMSIZ], struct err *err)
{
	const char *const args[] = {family, "route", "show", "default", NULL};
	_cleanup_(json_decrefp) json_t *routes = NULL;
	json_int_t best = 0;
	bool is_found = false;
	int r = ip_query(args, &routes, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(routes); i++) {
		const json_t *route = json_array_get(routes, i), *hop = usable_hop(route);
		json_int_t metric = json_integer_value(json_object_get(route, "metric"));

		if (!hop || (is_found && metric >= best))
			continue;
		snprintf(name, IFNAMSIZ, "%s", ip_text(hop, "dev"));
		best = metric;
		is_found = true;
	}
	return is_found ? 0 : 1;
}

static int choose_name(const char *wanted, char name[static IFNAMSIZ], struct err *err)
{
	_cleanup_(buf_clear) struct buf links = {};
	int r;

	if (wanted && if_nametoindex(wanted)) {
		snprintf(name, IFNAMSIZ, "%s", wanted);
		return 0;
	}
	if (wanted) {
		add_link_names(&links);
		return err_set(err, -ENODEV, "the public interface %s does not exist; %s", wanted,
			links.data);
	}
	r = find_default("-4", name, err);
	/* A kernel without IPv6 refuses the question. */
	if (r == 1 && access("/proc/sys/net/ipv6", F_OK) == 0)
		r = find_default("-6", name, err);
	if (r == 1) {
		add_link_names(&links);
		return err_set(err, -ENODEV,
			"there is no default route to find the public interface by; set "
			"public_interface in /etc/wherry/wherryd.toml; %s",
			links.data);
	}
	return r;
}

static bool is_lasting(const json_t *info)
{
	return strcmp(ip_text(info, "scope"), "global") == 0 &&
	       !json_is_true(json_object_get(info, "temporary")) &&
	       !json_is_true(json_object_get(info, "deprecated"));
}

static void add_addresses(struct host_public *public, const json_t *infos, int family)
{
	for (size_t i = 0; i < json_array_size(infos); i++) {
		const json_t *info = json_array_get(infos, i);
		struct addr addr;

		if (is_lasting(info) && addr_parse(ip_text(info, "local"), &addr) == 0 &&
			addr.family == family)
			*array_add(public->addrs, public->addr_count) = addr;
	}
}

static bool has_flag(const json_t *link, const char *flag)
{
	const json_t *flags = json_object_get(link, "flags");

	for (size_t i = 0; i < json_array_size(flags); i++) {
		const char *text = json_string_value(json_array_get(flags, i));

		if (text && strcmp(text, flag) == 0)
			return true;
	}
	return false;
}

static const json_t *find_link(const json_t *links, const char *name)
{
	for (size_t i = 0; i < json_array_size(links); i++)
		if (strcmp(ip_text(json_array_get(links, i), "ifname"), name) == 0)
			return json_array_get(links, i);
	return NULL;
}

int host_net_find_public(const char *wanted, struct host_public *out, struct err *err)
{
	char name[IFNAMSIZ];
	const char *const args[] = {"addr", "show", "dev", name, NULL};
	_cleanup_(json_decrefp) json_t *links = NULL;
	const json_t *link, *infos;
	int r = choose_name(wanted, name, err);

	if (r < 0)
		return r;
	r = ip_query(args, &links, err);
	if (r < 0)
		return err_wrap(err, r, "cannot look at the public interface %s", name);
	link = find_link(links, name);
	if (!link)
		return err_set(err, -ENODEV, "the public interface %s went away", name);
	infos = json_object_get(link, "addr_info");
	*out = (struct host_public){
		.ifindex = (unsigned int)json_integer_value(json_object_get(link, "ifindex")),
		.mtu_bytes = (unsigned int)json_integer_value(json_object_get(link, "mtu")),
		.is_ethernet = strcmp(ip_text(link, "link_type"), "ether") == 0,
		.is_up = has_flag(link, "UP") && has_flag(link, "LOWER_UP"),
	};
	memcpy(out->name, name, sizeof(out->name));
	add_addresses(out, infos, AF_INET);
	add_addresses(out, infos, AF_INET6);
	return 0;
}

void host_public_clear(struct host_public *public)
{
	free(public->addrs);
	*public = (struct host_public){};
}

static struct prefix host_prefix(const struct addr *addr)
{
	return (struct prefix){.addr = *addr, .len_bits = addr->family == AF_INET ? 32 : 128};
}

void host_net_pools(const struct prefix *configured, size_t configured_count,
	const struct host_public *public, struct prefix **out, size_t *count)
{
	struct prefix *pools = NULL;
	size_t n = 0;

	for (size_t i = 0; i < configured_count; i++)
		*array_add(pools, n) = configured[i];
	for (size_t i = 0; configured_count == 0 && i < public->addr_count; i++)
		*array_add(pools, n) = host_prefix(&public->addrs[i]);
	*out = pools;
	*count = n;
}

static bool addr_of_interface(const struct ifaddrs *entry, struct addr *out)
{
	*out = (struct addr){};
	if (!entry->ifa_addr || strncmp(entry->ifa_name, "wm-", 3) == 0)
		return false;
	if (entry->ifa_addr->sa_family == AF_INET) {
		*out = addr_from_v4(((struct sockaddr_in *)entry->ifa_addr)->sin_addr.s_addr);
	} else if (entry->ifa_addr->sa_family == AF_INET6) {
		out->family = AF_INET6;
		memcpy(out->bytes, &((struct sockaddr_in6 *)entry->ifa_addr)->sin6_addr, 16);
	}
	return out->family != 0;
}

static bool contains(const struct addr *addrs, size_t count, const struct addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (addr_equal(&addrs[i], addr))
			return true;
	return false;
}

int host_net_own_addrs(struct addr **out, size_t *count, struct err *err)
{
	struct ifaddrs *entries;
	struct addr *addrs = NULL, addr;
	size_t n = 0;

	if (getifaddrs(&entries) < 0)
		return err_errno(err, -errno, "cannot list the addresses of this host");
	for (struct ifaddrs *entry = entries; entry; entry = entry->ifa_next)
		if (addr_of_interface(entry, &addr) && !contains(addrs, n, &addr))
			*array_add(addrs, n) = addr;
	freeifaddrs(entries);
	*out = addrs;
	*count = n;
	return 0;
}

bool host_net_is_own(const struct prefix *prefix, const struct addr *own, size_t own_count)
{
	return prefix->len_bits == (prefix->addr.family == AF_INET ? 32 : 128) &&
	       contains(own, own_count, &prefix->addr);
}

static bool in_pools(const struct host_net_options *options, const struct addr *addr)
{
	for (size_t i = 0; i < options->pool_count; i++)
		if (prefix_contains(&options->pools[i], addr))
			return true;
	return false;
}

/* The exceptions stand first: who writes in this order never closes an address of the host. */
int host_net_fabric_pools(const struct host_net_options *options, struct fabric_pool **out,
	size_t *count, struct err *err)
{
	_free_ struct addr *own = NULL;
	struct fabric_pool *pools = NULL;
	size_t own_count, n = 0;
	int r = host_net_own_addrs(&own, &own_count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < own_count; i++)
		if (in_pools(options, &own[i]))
			*array_add(pools, n) =
				(struct fabric_pool){host_prefix(&own[i]), WHERRY_POOL_HOST};
	for (size_t i = 0; i < options->pool_count; i++)
		if (!host_net_is_own(&options->pools[i], own, own_count))
			*array_add(pools, n) =
				(struct fabric_pool){options->pools[i], WHERRY_POOL_CLOSED};
	*out = pools;
	*count = n;
	return 0;
}
