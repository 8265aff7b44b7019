/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which address is whose. Dedicated addresses come from the lower end of the public pools, the
 * one shared IPv4 is the last usable address of the first IPv4 pool. A pool of a single address
 * has none to share: it is kept for whoever asks for a dedicated one.
 */
#include "control/control_impl.h"

#include <errno.h>
#include <string.h>

/* Addresses looked at in one allocation; an IPv6 pool is larger than anyone can use. */
#define SCAN_MAX (1u << 20)

static uint64_t prefix_size(const struct prefix *prefix)
{
	unsigned int host_bits = (prefix->addr.family == AF_INET ? 32u : 128u) - prefix->len_bits;

	return host_bits >= 32 ? UINT32_MAX : 1ULL << host_bits;
}

/* A subnet's own address and its broadcast address are no host's (RFC 1122, 3.2.1.3). */
static bool has_reserved_ends(const struct prefix *pool)
{
	return pool->addr.family == AF_INET ? pool->len_bits <= 30 : pool->len_bits <= 126;
}

static const struct prefix *shared_pool(const struct control *control)
{
	for (size_t i = 0; i < control->known_pool_count; i++)
		if (control->known_pools[i].addr.family == AF_INET &&
			prefix_size(&control->known_pools[i]) > 1)
			return &control->known_pools[i];
	return NULL;
}

static struct addr shared_address(const struct prefix *pool)
{
	return addr_add(&pool->addr, prefix_size(pool) - (has_reserved_ends(pool) ? 2 : 1));
}

static bool is_taken(const struct control *control, const struct addr *addr)
{
	for (size_t i = 0; i < control->ip_count; i++)
		if (addr_equal(&control->ips[i]->addr, addr))
			return true;
	return false;
}

static bool find_free(const struct control *control, const struct prefix *pool, struct addr *out)
{
	const struct prefix *shared = shared_pool(control);
	uint64_t size = prefix_size(pool), first = has_reserved_ends(pool) ? 1 : 0;
	uint64_t last = size - 1 - first;

	for (uint64_t i = first; i <= last && i < SCAN_MAX; i++) {
		struct addr addr = addr_add(&pool->addr, i), shared_addr;

		if (shared == pool) {
			shared_addr = shared_address(pool);
			if (addr_equal(&addr, &shared_addr))
				continue;
		}
		if (!is_taken(control, &addr)) {
			*out = addr;
			return true;
		}
	}
	return false;
}

static int choose_address(
	const struct control *control, enum ip_type type, struct addr *out, struct err *err)
{
	const uint8_t family = type == IP_V6 ? AF_INET6 : AF_INET;
	bool has_pool = false;

	if (type == IP_SHARED_V4) {
		const struct prefix *pool = shared_pool(control);

		if (!pool)
			return err_set(err, -ENOSPC,
				"there is no IPv4 pool of two or more "
				"addresses to share one of; add one to public_pools in %s",
				control->config_path);
		*out = shared_address(pool);
		return 0;
	}
	for (size_t i = 0; i < control->known_pool_count; i++) {
		if (control->known_pools[i].addr.family != family)
			continue;
		has_pool = true;
		if (find_free(control, &control->known_pools[i], out))
			return 0;
	}
	if (!has_pool)
		return err_set(err, -ENOSPC,
			"this host has no public %s pool; add one to "
			"public_pools in %s",
			type == IP_V6 ? "IPv6" : "IPv4", control->config_path);
	return err_set(err, -ENOSPC,
		"every address of the public %s pools is taken; release one "
		"with wherry ips release, or add a prefix to public_pools in %s",
		type == IP_V6 ? "IPv6" : "IPv4", control->config_path);
}

int addresses_allocate(const struct control *control, const char *app, enum ip_type type,
	struct ip_record **out, struct err *err)
{
	_cleanup_(ip_record_freep) struct ip_record *record = calloc(1, sizeof(*record));
	int r;

	if (!record)
		return err_errno(err, -ENOMEM, "cannot allocate an address");
	r = choose_address(control, type, &record->addr, err);
	if (r < 0)
		return r;
	record->type = type;
	record->app = strdup(app);
	clock_stamp(record->created_at);
	if (!record->app)
		return err_errno(err, -ENOMEM, "cannot allocate an address");
	*out = take_ptr(record);
	return 0;
}

const struct ip_record *addresses_find(
	const struct control *control, const char *app, enum ip_type type)
{
	for (size_t i = 0; i < control->ip_count; i++)
		if (control->ips[i]->type == type && strcmp(control->ips[i]->app, app) == 0)
			return control->ips[i];
	return NULL;
}

struct addr network_gateway(const struct prefix *network)
{
	return addr_add(&network->addr, 1);
}

struct addr network_primary(const struct prefix *network)
{
	return addr_add(&network->addr, 2);
}

struct addr network_service(const struct prefix *network)
{
	return addr_add(&network->addr, 3);
}

static bool is_network_taken(const struct control *control, const struct addr *network)
{
	char key[ADDR_TEXT_LEN + 16], text[ADDR_TEXT_LEN];

	snprintf(key, sizeof(key), "networks/%s", addr_format(network, text));
	if (mirror_get(control->mirror, key))
		return true;
	/* Catalogs from before there were such keys. */
	for (size_t i = 0; i < control->machine_count; i++)
		if (addr_equal(&control->machines[i]->record->network.addr, network))
			return true;
	return false;
}

static bool find_network(
	const struct control *control, const struct prefix *slice, struct prefix *out)
{
	const uint64_t networks = prefix_size(slice) / 8;
	const bool is_first =
		addr_equal(&slice->addr, &control->config.machine_pool.addr) && networks > 1;

	/* The pool's first one is left out: its first addresses look like the pool's own. */
	for (uint64_t i = is_first ? 1 : 0; i < networks; i++) {
		struct addr addr = addr_add(&slice->addr, i * 8);

		if (is_network_taken(control, &addr))
			continue;
		*out = (struct prefix){.addr = addr, .len_bits = 29};
		return true;
	}
	return false;
}

int addresses_take_network(
	struct control *control, struct host *host, struct prefix *out, struct err *err)
{
	const struct host_record *record = host->record;
	int r;

	for (size_t i = 0; i < record->slice_count; i++)
		if (find_network(control, &record->slices[i], out))
			return 0;
	r = host_take_slice(control, host, err);
	if (r < 0)
		return r;
	return find_network(control, &record->slices[record->slice_count - 1], out)
		       ? 0
		       : err_set(err, -ENOSPC, "host %s has no network for another machine",
				 record->name);
}
