/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This host among the others: the mesh's device and peers, the programs on it, who is reachable and
 * how far away. Packets need none of this to go on; it follows the catalog and the probes.
 */
#include "control/control_impl.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

#define TICK_MS	   1000
#define REPAIR_MS  20000 /* a regular look at the device: a wireguard-go may have died */
#define PUBLISH_MS 10000 /* what was measured goes to the catalog this often */

static const struct host_record *own_record(const struct control *control)
{
	return host_find(control, control->host_id)->record;
}

static uint32_t rtt_of(const struct host *host)
{
	if (host->probe.state == PROBE_UNREACHABLE || !host->steady_rtt_us)
		return UINT32_MAX;
	return host->steady_rtt_us;
}

/* Noise must not move clients between two regions that are about as far. */
static bool follow_rtt(struct host *host)
{
	const uint32_t now = host->probe.rtt_us, before = host->steady_rtt_us;

	if (!now || (before && now > before / 2 && now < before + before / 2))
		return false;
	host->steady_rtt_us = now;
	return true;
}

uint32_t fleet_region_rtt_us(const struct control *control, const char *region)
{
	uint32_t best = UINT32_MAX;

	if (strcmp(region, control->config.region) == 0)
		return 0;
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host *host = control->hosts[i];

		if (host->record && strcmp(host->record->region, region) == 0 &&
			rtt_of(host) < best)
			best = rtt_of(host);
	}
	return best;
}

unsigned int fleet_machine_mtu(const struct control *control)
{
	if (control->mesh)
		return control->mesh_device.mtu_bytes - WHERRY_MINIMAL_BYTES;
	return control->public.mtu_bytes ? control->public.mtu_bytes : 1500;
}

/* For answers whose edge is not known, and what machines send first. */
static const struct host *nearest_edge(const struct control *control)
{
	const struct host *best = NULL;

	if (control->config.is_edge)
		return NULL;
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host *host = control->hosts[i];

		if (!host->record || !host->record->is_edge || host->id == control->host_id)
			continue;
		if (!best ||
			(host->probe.state != PROBE_UNREACHABLE && rtt_of(host) < rtt_of(best)))
			best = host;
	}
	return best;
}

static bool has_pool(const struct control *control, const struct prefix *pool)
{
	for (size_t i = 0; i < control->known_pool_count; i++)
		if (prefix_contains(&control->known_pools[i], &pool->addr) ||
			prefix_contains(pool, &control->known_pools[i].addr))
			return true;
	return false;
}

static void add_pools(struct control *control, const struct prefix *pools, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct prefix *bigger;

		if (has_pool(control, &pools[i]))
			continue;
		bigger = realloc(
			control->known_pools, (control->known_pool_count + 1) * sizeof(*bigger));
		if (!bigger)
			return;
		control->known_pools = bigger;
		bigger[control->known_pool_count++] = pools[i];
	}
}

/* Hosts by id: every host finds them in the same order, but for a fleet of one. */
void fleet_collect_pools(struct control *control)
{
	control->known_pool_count = 0;
	for (size_t i = 0; control->is_fleet && i < control->host_count; i++) {
		const struct host_record *record = control->hosts[i]->record;

		if (record && record->is_edge)
			add_pools(control, record->pools, record->pool_count);
	}
	add_pools(control, control->pools, control->pool_count);
	/* A worker that was told of them need not have heard of an edge. */
	add_pools(control, control->config.public_pools, control->config.public_pool_count);
}

/* The mesh */

static int set_peers(struct control *control, struct err *err)
{
	_free_ struct mesh_peer *peers = calloc(control->host_count + 1, sizeof(*peers));
	const struct host_record *own = own_record(control);
	size_t count = 0;

	if (!peers)
		return err_errno(err, -ENOMEM, "cannot set the peers of the mesh");
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host_record *record = control->hosts[i]->record;
		struct mesh_peer *peer = &peers[count];

		if (!record || record->id == control->host_id || !record->mesh_v4.family)
			continue;
		*peer = (struct mesh_peer){
			.endpoint_addr = record->endpoint,
			.endpoint_port = record->endpoint_port,
			.addr_v4 = record->mesh_v4,
			.addr_v6 = record->mesh_v6,
			.prefixes = record->slices,
			.prefix_count = record->slice_count,
		};
		strcpy(peer->public_key, record->public_key);
		count++;
	}
	if (mesh_set_slices(control->mesh, own->slices, own->slice_count) < 0)
		return err_errno(err, -ENOMEM, "cannot set the peers of the mesh");
	return mesh_set_peers(control->mesh, peers, count, err);
}

static int set_hosts(struct control *control, struct err *err)
{
	_free_ struct fabric_host *hosts = calloc(control->host_count + 1, sizeof(*hosts));
	size_t count = 0;

	if (!hosts)
		return err_errno(err, -ENOMEM, "cannot set the hosts of the data plane");
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host_record *record = control->hosts[i]->record;

		if (record && record->id != control->host_id && record->mesh_v4.family)
			hosts[count++] = (struct fabric_host){
				.mesh_addr = record->mesh_v4,
				.is_edge = record->is_edge,
				.is_worker = record->is_worker,
				.is_near = strcmp(record->region, control->config.region) == 0,
			};
	}
	return fabric_set_hosts(control->fabric, hosts, count, err);
}

/* The fleet's own networks: whoever sends from outside by an address of them forges it. */
static int collect_ours(
	const struct control *control, struct prefix **out, size_t *count, struct err *err)
{
	struct prefix *ours = calloc(control->known_pool_count + 1, sizeof(*ours));

	if (!ours)
		return err_errno(err, -ENOMEM, "cannot set the mesh");
	for (size_t i = 0; i < control->known_pool_count; i++)
		ours[i] = control->known_pools[i];
	ours[control->known_pool_count] = control->config.machine_pool;
	*count = control->known_pool_count + 1;
	*out = ours;
	return 0;
}

static int set_mesh(struct control *control, struct err *err)
{
	const struct host *edge = nearest_edge(control);
	_free_ struct addr *own = NULL;
	_free_ struct prefix *ours = NULL;
	struct fabric_mesh mesh = {
		.ifindex = control->mesh_device.ifindex,
		.is_ethernet = control->mesh_device.is_ethernet,
		.addr = own_record(control)->mesh_v4,
		.mtu_bytes = control->mesh_device.mtu_bytes,
		.whole_ifindex = control->resizer.whole_ifindex,
		.pieces_ifindex = control->resizer.pieces_ifindex,
		.resizer_addr = control->resizer.addr,
	};
	int r;

	if (edge)
		mesh.nearest_edge = edge->record->mesh_v4;
	r = host_net_own_addrs(&own, &mesh.own_count, err);
	if (r == 0)
		r = collect_ours(control, &ours, &mesh.ours_count, err);
	mesh.own = own;
	mesh.ours = ours;
	return r < 0 ? r : fabric_set_mesh(control->fabric, &mesh, err);
}

static int set_probes(struct control *control)
{
	_free_ struct addr *addrs = calloc(control->host_count + 1, sizeof(*addrs));
	size_t count = 0;

	if (!addrs)
		return -ENOMEM;
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host *host = control->hosts[i];

		if (host->record && host->id != control->host_id && host->record->mesh_v4.family)
			addrs[count++] = host->record->mesh_v4;
	}
	return probes_set(control->probes, addrs, count);
}

/* One host that is wrong keeps no other from being known: the first failure is told. */
static int update(struct control *control, struct err *err)
{
	struct err later, *told = err;
	int first = set_peers(control, told), r;

	told = first ? &later : err;
	r = set_hosts(control, told);
	first = first ? first : r;
	told = first ? &later : err;
	r = set_mesh(control, told);
	first = first ? first : r;
	if (set_probes(control) < 0 && !first)
		first = err_errno(err, -ENOMEM, "cannot probe the other hosts");
	return first;
}

/* Machines elsewhere are known by their host's mesh address, which may be there only now. */
static void serve_elsewhere(struct control *control)
{
	struct err err;

	for (size_t i = 0; i < control->machine_count; i++) {
		struct machine *machine = control->machines[i];

		if (!machine->is_local && serve_machine(machine, &err) < 0)
			log_error("data-plane-not-updated", "machine=%s reason=\"%s\"",
				machine->record->id, err.text);
	}
}

void fleet_update(struct control *control)
{
	struct err err;

	control->hosts_changed = false;
	fleet_collect_pools(control);
	if (!control->mesh)
		return;
	if (update(control, &err) < 0)
		log_error("mesh-not-updated", "reason=\"%s\"", err.text);
	serve_elsewhere(control);
}

/* The probes */

static void forget_formers_of(struct control *control, const struct host *host)
{
	struct err err;

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *machine = control->machines[i];

		if (machine->record->host == host->id &&
			fabric_machine_forget_former(control->fabric, machine->record->id, &err) <
				0)
			log_error("data-plane-not-updated", "machine=%s reason=\"%s\"",
				machine->record->id, err.text);
	}
}

static void read_probes(struct control *control)
{
	bool is_changed = false, has_lost = false;

	for (size_t i = 0; i < control->host_count; i++) {
		struct host *host = control->hosts[i];
		const enum probe_state before = host->probe.state;

		if (!host->record || host->id == control->host_id ||
			!probes_get(control->probes, &host->record->mesh_v4, &host->probe))
			continue;
		is_changed |= follow_rtt(host);
		if (host->probe.state == before)
			continue;
		is_changed = true;
		log_info("host", "name=%s state=%s", host->record->name,
			host->probe.state == PROBE_UNREACHABLE ? "unreachable" : "reachable");
		has_lost |= host->probe.state == PROBE_UNREACHABLE;
	}
	if (is_changed && control->is_ready) {
		struct err err;

		serve(control);
		/* Last: taking machines out of service makes them former ones. */
		for (size_t i = 0; has_lost && i < control->host_count; i++)
			if (control->hosts[i]->record &&
				control->hosts[i]->probe.state == PROBE_UNREACHABLE)
				forget_formers_of(control, control->hosts[i]);
		if (set_mesh(control, &err) < 0)
			log_error("mesh-not-updated", "reason=\"%s\"", err.text);
	}
}

static void probes_changed(uv_async_t *async)
{
	read_probes(async->data);
}

/* A store that is slow to answer must not keep a host that died in the tables. */
static void store_waits(void *arg)
{
	read_probes(arg);
}

static void wake(void *arg)
{
	uv_async_send(arg);
}

static json_t *measured(const struct control *control)
{
	json_t *all = json_object();
	char id[16];

	for (size_t i = 0; i < control->host_count; i++) {
		const struct host *host = control->hosts[i];

		if (!host->record || host->id == control->host_id)
			continue;
		snprintf(id, sizeof(id), "%u", host->id);
		json_object_set_new(all, id,
			json_pack("{s:s, s:i, s:i}", "state",
				host->probe.state == PROBE_REACHABLE	 ? "reachable"
				: host->probe.state == PROBE_UNREACHABLE ? "unreachable"
									 : "unknown",
				"rtt_us", (int)host->probe.rtt_us, "loss_permille",
				(int)host->probe.loss_permille));
	}
	return all;
}

/* For `hosts status`: both directions of every pair. Lost when the host is. */
static void publish(struct control *control)
{
	json_t *json = measured(control);
	char key[64], *value = json_dumps(json, JSON_COMPACT);
	struct host *self = host_find(control, control->host_id);

	snprintf(key, sizeof(key), "host-probes/%05u", control->host_id);
	if (value && store_is_away(control->store, NULL) == 0)
		store_keep_alive(control->store, key, value, 30, NULL);
	free(value);
	json_decref(self->measured);
	self->measured = json;
}

/* Machines that run already need no image: no reason not to start. */
static void serve_images(struct control *control)
{
	struct err err;

	image_server_close(control);
	if (image_server_open(control, &err) < 0)
		log_error("images-not-served", "reason=\"%s\"", err.text);
}

static void tick(uv_timer_t *timer)
{
	struct control *control = timer->data;
	const uint64_t now_ms = clock_now_ms();
	const unsigned int before = control->mesh_device.ifindex;
	struct err err = {};

	read_probes(control);
	formers_tick(control);
	serve_forget_late(control);
	drains_tick(control);
	if (control->is_ready && !control->is_store_away)
		held_let_go(control);
	behind_tick(control);
	if (now_ms - control->published_ms >= PUBLISH_MS) {
		control->published_ms = now_ms;
		publish(control);
	}
	if (now_ms - control->repaired_ms < REPAIR_MS)
		return;
	control->repaired_ms = now_ms;
	if (mesh_repair(control->mesh, &err) < 0)
		log_error("mesh-not-repaired", "reason=\"%s\"", err.text);
	mesh_device(control->mesh, &control->mesh_device);
	if (control->mesh_device.ifindex != before) {
		fleet_update(control);
		serve_images(control);
	} else if (set_mesh(control, &err) < 0) {
		/* Addresses of the host come and go. */
		log_error("mesh-not-updated", "reason=\"%s\"", err.text);
	}
}

/* The catalog comes first: an interface with a key that the peers do not know is deaf. */
static int publish_key(struct control *control, const char *key_path, struct err *err)
{
	struct host_record *record = host_find(control, control->host_id)->record;
	char before[HOST_KEY_LEN];
	struct change change = {};
	int r;

	memcpy(before, record->public_key, sizeof(before));
	r = mesh_public_key(key_path, record->public_key, err);
	if (r == 0) {
		change_put_host(&change, record);
		r = change_commit(control, &change, err);
	}
	if (r < 0)
		memcpy(record->public_key, before, sizeof(before));
	return r;
}

int fleet_rotate_key(struct control *control, struct err *err)
{
	_free_ char *before = NULL;
	char key_path[4096];
	size_t len;
	int r;

	if (!control->mesh || control->config.is_plain)
		return err_set(err, -ENOTSUP, "this host has no WireGuard, and so no key");
	snprintf(key_path, sizeof(key_path), "%s/mesh.key", control->state_dir);
	r = file_read(key_path, 256, &before, &len, err);
	if (r == 0)
		r = mesh_new_key(key_path, err);
	if (r < 0)
		return r;
	r = publish_key(control, key_path, err);
	if (r < 0) {
		struct err ignored;

		if (file_replace(key_path, before, len, 0600, &ignored) < 0)
			log_error("key-not-restored", "reason=\"%s\"", ignored.text);
		return r;
	}
	log_info("key-rotated", "public_key=%s",
		host_find(control, control->host_id)->record->public_key);
	r = mesh_repair(control->mesh, err);
	return r < 0 ? r : 0;
}

static int open_mesh(struct control *control, struct err *err)
{
	const struct host_config *config = &control->config;
	const struct host_record *own = own_record(control);
	char key_path[4096];
	struct mesh_options options = {
		.underlay = config->is_plain ? MESH_PLAIN : MESH_WIREGUARD,
		.device = MESH_DEVICE,
		.port = config->mesh_port,
		.underlay_device = config->underlay_interface ? config->underlay_interface
							      : control->public.name,
		.key_path = key_path,
		.addr_v4 = own->mesh_v4,
		.addr_v6 = own->mesh_v6,
		.slices = own->slices,
		.slice_count = own->slice_count,
	};
	int r;

	snprintf(key_path, sizeof(key_path), "%s/mesh.key", control->state_dir);
	r = mesh_open(&control->mesh, &options, err);
	if (r < 0)
		return r;
	mesh_device(control->mesh, &control->mesh_device);
	return resizer_setup(control->mesh_device.mtu_bytes - WHERRY_MINIMAL_BYTES,
		control->mesh_device.mtu_bytes - WHERRY_IPIP_BYTES, &control->resizer, err);
}

int fleet_open(struct control *control, struct err *err)
{
	int r;

	if (!control->is_fleet)
		return 0;
	r = open_mesh(control, err);
	if (r < 0)
		return r;
	r = image_queue_open(control, err);
	if (r < 0)
		return r;
	serve_images(control);
	uv_async_init(control->loop, &control->probes_async, probes_changed);
	control->probes_async.data = control;
	uv_timer_init(control->loop, &control->fleet_timer);
	control->fleet_timer.data = control;
	r = probes_start(&control->probes, wake, &control->probes_async, err);
	if (r < 0)
		return r;
	store_on_wait(control->store, store_waits, control);
	/* A record of another host that is wrong must not keep this one from starting. */
	if (update(control, err) < 0)
		log_error("mesh-not-updated", "reason=\"%s\"", err->text);
	r = behind_open(control, &own_record(control)->mesh_v4, err);
	if (r == 0)
		uv_timer_start(&control->fleet_timer, tick, TICK_MS, TICK_MS);
	return r;
}

void fleet_close(struct control *control)
{
	image_server_close(control);
	if (!control->probes_async.data)
		return;
	store_on_wait(control->store, NULL, NULL);
	behind_close(control);
	probes_stop(take_ptr(control->probes));
	uv_close((uv_handle_t *)&control->probes_async, NULL);
	uv_close((uv_handle_t *)&control->fleet_timer, NULL);
	control->probes_async.data = NULL;
}
