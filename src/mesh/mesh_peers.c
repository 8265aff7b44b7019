/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peers of the WireGuard device, brought to what the catalog says by wg(8). A peer that is as
 * wanted is not written to. Nothing here ends a session but the removal of its peer.
 *
 * A peer's endpoint is where its last authentic packet came from, and may differ from the catalog's
 * (it roamed). The catalog's is written when it is news, and when the session is dead, for then
 * the other one led nowhere.
 */
#include "mesh/mesh_impl.h"

#include "base/err.h"
#include "base/run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS     10000
#define PEERS_A_RUN    64  /* of wg(8): the arguments of one stay far below ARG_MAX */
#define SESSION_DEAD_S 185 /* REJECT_AFTER_TIME of the WireGuard paper, 6.1, and a little */

/* Arguments of one wg(8), which owns the texts. */
struct args {
	char **items;
	size_t count, size;
	size_t peers;
};

static void args_clear(struct args *args)
{
	for (size_t i = 0; i < args->count; i++)
		free(args->items[i]);
	free(args->items);
	*args = (struct args){};
}

/* Keeps room for the NULL at the end. Running out of memory aborts, as in base/buf.h. */
static void args_add(struct args *args, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void args_add(struct args *args, const char *format, ...)
{
	va_list ap;

	if (args->count + 2 > args->size) {
		args->size = args->size ? args->size * 2 : 64;
		args->items = reallocarray(args->items, args->size, sizeof(*args->items));
		if (!args->items)
			abort();
	}
	va_start(ap, format);
	if (vasprintf(&args->items[args->count], format, ap) < 0)
		abort();
	va_end(ap);
	args->items[++args->count] = NULL;
}

static int args_run(struct args *args, struct err *err)
{
	int r = 0;

	if (args->peers)
		r = run_checked((const char *const *)args->items, NULL, TIMEOUT_MS, NULL, err);
	args_clear(args);
	return r;
}

/* One peer more; runs those before when they are many. */
static int args_begin_peer(
	struct args *args, const char *device, const char *public_key, struct err *err)
{
	int r = args->peers >= PEERS_A_RUN ? args_run(args, err) : 0;

	if (args->count == 0) {
		args_add(args, "wg");
		args_add(args, "set");
		args_add(args, "%s", device);
	}
	args_add(args, "peer");
	args_add(args, "%s", public_key);
	args->peers++;
	return r;
}

static bool same_prefix(const struct prefix *a, const struct prefix *b)
{
	return a->len_bits == b->len_bits && addr_equal(&a->addr, &b->addr);
}

static bool is_allowed_as_wanted(const struct mesh_peer *peer, const struct wg_peer *shown)
{
	struct prefix wanted;
	size_t count = 0;

	for (size_t i = 0; i < mesh_allowed_count(peer); i++) {
		bool is_there = false;

		if (!mesh_allowed_get(peer, i, &wanted))
			continue;
		count++;
		for (size_t j = 0; j < shown->allowed_count && !is_there; j++)
			is_there = same_prefix(&wanted, &shown->allowed[j]);
		if (!is_there)
			return false;
	}
	return count == shown->allowed_count;
}

static void add_allowed(struct args *args, const struct mesh_peer *peer)
{
	char text[PREFIX_TEXT_LEN], *list = NULL;
	struct prefix prefix;
	size_t len = 0;
	FILE *f = open_memstream(&list, &len);

	if (!f)
		abort();
	for (size_t i = 0, n = 0; i < mesh_allowed_count(peer); i++)
		if (mesh_allowed_get(peer, i, &prefix))
			fprintf(f, "%s%s", n++ ? "," : "", prefix_format(&prefix, text));
	if (fclose(f) != 0)
		abort();
	args_add(args, "allowed-ips");
	args_add(args, "%s", list);
	free(list);
}

static void add_endpoint(struct args *args, const struct mesh_peer *peer)
{
	char text[ADDR_TEXT_LEN];
	bool is_v6 = peer->endpoint_addr.family == AF_INET6;

	args_add(args, "endpoint");
	args_add(args, is_v6 ? "[%s]:%u" : "%s:%u", addr_format(&peer->endpoint_addr, text),
		peer->endpoint_port);
}

static const struct mesh_endpoint *known_endpoint(
	const struct mesh *mesh, const struct mesh_peer *peer)
{
	for (size_t i = 0; i < mesh->endpoint_count; i++)
		if (strcmp(mesh->endpoints[i].public_key, peer->public_key) == 0)
			return &mesh->endpoints[i];
	return NULL;
}

static int64_t handshake_age_s(const struct wg_peer *shown)
{
	int64_t age = (int64_t)time(NULL) - shown->handshake_s;

	if (shown->handshake_s == 0)
		return -1;
	return age < 0 ? 0 : age; /* the clock was set back */
}

static bool needs_endpoint(
	const struct mesh *mesh, const struct mesh_peer *peer, const struct wg_peer *shown)
{
	const struct mesh_endpoint *known = known_endpoint(mesh, peer);
	int64_t age_s;

	if (!peer->endpoint_addr.family)
		return false;
	if (!shown || !shown->endpoint_addr.family)
		return true;
	if (addr_equal(&shown->endpoint_addr, &peer->endpoint_addr) &&
		shown->endpoint_port == peer->endpoint_port)
		return false;
	if (known && (!addr_equal(&known->addr, &peer->endpoint_addr) ||
			     known->port != peer->endpoint_port))
		return true;
	age_s = handshake_age_s(shown);
	return age_s < 0 || age_s > SESSION_DEAD_S;
}

/* Writes what differs, which may be nothing. */
static int plan_peer(const struct mesh *mesh, const struct mesh_peer *peer,
	const struct wg_peer *shown, struct args *args, struct err *err)
{
	bool is_allowed = shown && is_allowed_as_wanted(peer, shown);
	bool is_endpoint = needs_endpoint(mesh, peer, shown);
	bool is_plain = !shown || (!shown->has_preshared_key && shown->keepalive_s == 0);
	int r;

	if (is_allowed && !is_endpoint && is_plain)
		return 0;
	r = args_begin_peer(args, mesh->options.device, peer->public_key, err);
	if (shown && shown->has_preshared_key) {
		args_add(args, "preshared-key");
		args_add(args, "/dev/null");
	}
	if (shown && shown->keepalive_s) {
		args_add(args, "persistent-keepalive");
		args_add(args, "off");
	}
	if (is_endpoint)
		add_endpoint(args, peer);
	if (!is_allowed)
		add_allowed(args, peer);
	return r;
}

static bool is_wanted(const struct mesh *mesh, const bool *is_left_out, const char *public_key)
{
	for (size_t i = 0; i < mesh->peer_count; i++)
		if (!is_left_out[i] && strcmp(mesh->peers[i].public_key, public_key) == 0)
			return true;
	return false;
}

/* Removals go first: what a peer that leaves was allowed may be another's now. */
static int remove_others(const struct mesh *mesh, const bool *is_left_out,
	const struct wg_device *shown, struct err *err)
{
	_cleanup_(args_clear) struct args args = {};
	int r = 0;

	for (size_t i = 0; i < shown->peer_count && r == 0; i++) {
		if (is_wanted(mesh, is_left_out, shown->peers[i].public_key))
			continue;
		r = args_begin_peer(&args, mesh->options.device, shown->peers[i].public_key, err);
		args_add(&args, "remove");
	}
	return r < 0 ? r : args_run(&args, err);
}

static int set_wanted(const struct mesh *mesh, const bool *is_left_out,
	const struct wg_device *shown, struct err *err)
{
	_cleanup_(args_clear) struct args args = {};
	int r = 0;

	for (size_t i = 0; i < mesh->peer_count && r == 0; i++)
		if (!is_left_out[i])
			r = plan_peer(mesh, &mesh->peers[i],
				wg_dump_find(shown, mesh->peers[i].public_key), &args, err);
	return r < 0 ? r : args_run(&args, err);
}

static int check_peer(const struct mesh *mesh, size_t i, const char *own_key, struct err *err)
{
	const struct mesh_peer *peer = &mesh->peers[i];
	char text[ADDR_TEXT_LEN];

	addr_format(&peer->addr_v4, text);
	if (peer->addr_v4.family != AF_INET)
		return err_set(err, -EINVAL, "a host of the mesh has no IPv4 mesh address");
	if (!wg_is_key(peer->public_key))
		return err_set(
			err, -EINVAL, "the public key of the host %s is no WireGuard key", text);
	if (peer->endpoint_addr.family && !peer->endpoint_port)
		return err_set(
			err, -EINVAL, "the host %s has no port at which it is reached", text);
	if (strcmp(peer->public_key, own_key) == 0)
		return err_set(err, -EINVAL,
			"the host %s has the WireGuard key of this host; was its disk copied? "
			"Give it another",
			text);
	for (size_t j = 0; j < i; j++)
		if (strcmp(mesh->peers[j].public_key, peer->public_key) == 0)
			return err_set(err, -EINVAL,
				"the host %s has the WireGuard key of another one; was its disk "
				"copied? Give it another",
				text);
	return 0;
}

static int remember_endpoints(struct mesh *mesh, struct err *err)
{
	struct mesh_endpoint *endpoints = calloc(mesh->peer_count + 1, sizeof(*endpoints));

	if (!endpoints)
		return err_errno(err, -ENOMEM, "cannot remember the endpoints of the mesh");
	for (size_t i = 0; i < mesh->peer_count; i++) {
		memcpy(endpoints[i].public_key, mesh->peers[i].public_key, MESH_KEY_LEN);
		endpoints[i].addr = mesh->peers[i].endpoint_addr;
		endpoints[i].port = mesh->peers[i].endpoint_port;
	}
	free(mesh->endpoints);
	mesh->endpoints = endpoints;
	mesh->endpoint_count = mesh->peer_count;
	return 0;
}

int mesh_peers_set(struct mesh *mesh, struct err *err)
{
	_cleanup_(wg_device_clear) struct wg_device shown = {};
	bool *is_left_out = mesh->is_left_out;
	struct err complaint = {}, *told = &complaint;
	int r, complained = 0;

	r = wg_dump_read(mesh->options.device, &shown, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < mesh->peer_count; i++) {
		r = check_peer(mesh, i, shown.public_key, told);
		is_left_out[i] = r < 0;
		if (r < 0 && complained == 0) {
			complained = r;
			told = NULL;
		}
	}
	r = mesh_claims_check(mesh, told);
	if (r < 0 && complained == 0)
		complained = r;
	r = remove_others(mesh, is_left_out, &shown, err);
	if (r == 0)
		r = set_wanted(mesh, is_left_out, &shown, err);
	if (r == 0)
		r = remember_endpoints(mesh, err);
	if (r < 0)
		return err_wrap(err, r, "cannot set the peers of %s", mesh->options.device);
	return complained ? err_set(err, complained, "%s", complaint.text) : 0;
}

int mesh_peers_family(const struct mesh *mesh, int *family, struct err *err)
{
	_cleanup_(wg_device_clear) struct wg_device shown = {};
	int r = wg_dump_read(mesh->options.device, &shown, err);

	*family = AF_INET;
	for (size_t i = 0; r == 0 && i < shown.peer_count; i++)
		if (shown.peers[i].endpoint_addr.family == AF_INET6)
			*family = AF_INET6;
	for (size_t i = 0; i < mesh->peer_count; i++)
		if (mesh->peers[i].endpoint_addr.family == AF_INET6)
			*family = AF_INET6;
	return r;
}

int64_t mesh_handshake_age_s(struct mesh *mesh, const char *public_key)
{
	_cleanup_(wg_device_clear) struct wg_device shown = {};
	const struct wg_peer *peer;

	if (mesh->options.underlay != MESH_WIREGUARD ||
		wg_dump_read(mesh->options.device, &shown, NULL) < 0)
		return -1;
	peer = wg_dump_find(&shown, public_key);
	return peer ? handshake_age_s(peer) : -1;
}
