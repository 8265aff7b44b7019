/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hosts have machines of which app: those may pass on packets for the app's machines. The
 * map follows from the machines; the counts here say when an entry comes and goes.
 */
#include "fabric/fabric_impl.h"

#include "base/err.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

/* FNV-1a; names of apps are the operator's own, nobody gains by two that collide. */
uint64_t app_hash(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3;
	return hash ? hash : 1;
}

static size_t place_of(const struct fabric *fabric, const struct wherry_app_host_key *key)
{
	uint64_t hash = (key->app ^ (uint64_t)key->host << 17) * 0x9e3779b97f4a7c15;
	size_t place = hash >> 32 & (fabric->app_host_room - 1);

	while (fabric->app_hosts[place].key.app &&
		memcmp(&fabric->app_hosts[place].key, key, sizeof(*key)) != 0)
		place = (place + 1) & (fabric->app_host_room - 1);
	return place;
}

/* A table that is never more than half full. Places are not given back: a pair may come again. */
static int make_room(struct fabric *fabric)
{
	struct app_host *before = fabric->app_hosts, *after;
	const size_t room = fabric->app_host_room;

	if (fabric->app_host_count * 2 < room)
		return 0;
	after = calloc(room ? room * 2 : 64, sizeof(*after));
	if (!after)
		return -ENOMEM;
	fabric->app_hosts = after;
	fabric->app_host_room = room ? room * 2 : 64;
	for (size_t i = 0; i < room; i++)
		if (before[i].key.app)
			after[place_of(fabric, &before[i].key)] = before[i];
	free(before);
	return 0;
}

static struct app_host *find(struct fabric *fabric, const struct wherry_app_host_key *key)
{
	struct app_host *entry;
	int r = make_room(fabric);

	if (r < 0)
		return NULL;
	entry = &fabric->app_hosts[place_of(fabric, key)];
	if (!entry->key.app) {
		entry->key = *key;
		fabric->app_host_count++;
	}
	return entry;
}

int app_host_add(struct fabric *fabric, uint64_t app, __be32 host)
{
	const struct wherry_app_host_key key = {.app = app, .host = host};
	struct app_host *entry = find(fabric, &key);
	const uint32_t one = 1;

	if (!entry)
		return -ENOMEM;
	if (entry->count == 0 &&
		bpf_map_update_elem(fabric->maps[MAP_APP_HOSTS], &key, &one, BPF_ANY) < 0)
		return -errno;
	entry->count++;
	return 0;
}

void app_host_drop(struct fabric *fabric, uint64_t app, __be32 host)
{
	const struct wherry_app_host_key key = {.app = app, .host = host};
	struct app_host *entry = find(fabric, &key);

	if (!entry || entry->count == 0 || --entry->count > 0)
		return;
	bpf_map_delete_elem(fabric->maps[MAP_APP_HOSTS], &key);
}

static int drop_unwanted(void *arg, const void *key, const void *value)
{
	struct fabric *fabric = arg;
	const struct app_host *entry = find(fabric, key);

	(void)value;
	if (entry && entry->count == 0)
		bpf_map_delete_elem(fabric->maps[MAP_APP_HOSTS], key);
	return 0;
}

int app_hosts_load(struct fabric *fabric, struct err *err)
{
	int r = 0;

	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES && r == 0; i++)
		if (fabric->machines[i].host)
			r = app_host_add(fabric, fabric->machines[i].app, fabric->machines[i].host);
	if (r == 0)
		r = map_each(fabric->maps[MAP_APP_HOSTS], sizeof(struct wherry_app_host_key),
			sizeof(uint32_t), drop_unwanted, fabric);
	return r < 0 ? err_errno(err, r, "cannot write which hosts have which apps") : 0;
}
