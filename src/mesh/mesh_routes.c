/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes to what the other hosts hold, and those that keep packets for this host's own slices
 * from going out again: what is of no machine is unreachable. Ours are known by their protocol
 * number. Those that are as wanted are not written again, and one that cannot be made does not keep
 * the others from being made.
 *
 * With underlay plain a prefix goes by way of the host's own address, which must be on the same
 * link: a router in between would have to know the machine pool. IPv6 prefixes go by way of its
 * IPv6 address; without one they are left out.
 */
#include "mesh/mesh_impl.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/ip_query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROUTE_PROTO "188"

_Static_assert(MESH_ROUTE_PROTO == 188, "ROUTE_PROTO is the same number as text");

struct route {
	struct prefix to;
	struct addr via; /* family 0: on the link */
	bool is_unreachable;
	bool is_there; /* as wanted */
	bool is_other; /* a route of ours to the same prefix, but not like this */
};

struct routes {
	const char *device;
	struct route *items; /* sorted by prefix */
	size_t count;
	struct buf deletes;
};

static void routes_clear(struct routes *routes)
{
	free(routes->items);
	buf_clear(&routes->deletes);
}

static int compare(const void *a, const void *b)
{
	const struct route *one = a, *other = b;
	int r = addr_compare(&one->to.addr, &other->to.addr);

	return r ? r : (int)one->to.len_bits - (int)other->to.len_bits;
}

static void want(
	struct routes *routes, const struct prefix *to, const struct addr *via, bool is_unreachable)
{
	if (!to->addr.family || (to->addr.family == AF_INET6 && !mesh_has_ipv6()))
		return;
	routes->items[routes->count++] =
		(struct route){.to = *to, .via = *via, .is_unreachable = is_unreachable};
}

/* Family 0 with WireGuard: it knows the way by the prefix itself. */
static struct addr gateway_of(const struct mesh *mesh, const struct mesh_peer *peer, uint8_t family)
{
	if (mesh->options.underlay == MESH_WIREGUARD)
		return (struct addr){};
	if (peer->endpoint_addr.family == family)
		return peer->endpoint_addr;
	return family == AF_INET ? peer->addr_v4 : peer->addr_v6;
}

static void want_peer(struct routes *routes, const struct mesh *mesh, const struct mesh_peer *peer)
{
	const struct addr direct = {};

	if (mesh->options.underlay == MESH_WIREGUARD) {
		want(routes, &(struct prefix){peer->addr_v4, 32}, &direct, false);
		want(routes, &(struct prefix){peer->addr_v6, 128}, &direct, false);
	}
	for (size_t i = 0; i < peer->prefix_count; i++) {
		const struct prefix *to = &peer->prefixes[i];
		struct addr via = gateway_of(mesh, peer, to->addr.family);

		if (mesh->options.underlay == MESH_WIREGUARD || via.family)
			want(routes, to, &via, false);
	}
}

/* Of two routes to the same prefix the first stays: a slice of our own, else the first host's. */
static void drop_duplicates(struct routes *routes)
{
	size_t kept = 0;

	for (size_t i = 0; i < routes->count; i++)
		if (kept == 0 || compare(&routes->items[kept - 1], &routes->items[i]) != 0)
			routes->items[kept++] = routes->items[i];
	routes->count = kept;
}

/* qsort(3) of glibc merges and is stable as long as there is memory; nothing breaks if not. */
static int plan(struct routes *routes, const struct mesh *mesh, struct err *err)
{
	const struct mesh_options *options = &mesh->options;
	const struct addr nowhere = {};
	size_t total = options->slice_count;

	for (size_t i = 0; i < mesh->peer_count; i++)
		total += 2 + mesh->peers[i].prefix_count;
	routes->items = calloc(total + 1, sizeof(*routes->items));
	if (!routes->items)
		return err_errno(err, -ENOMEM, "cannot plan the routes of the mesh");
	for (size_t i = 0; i < options->slice_count; i++)
		want(routes, &options->slices[i], &nowhere, true);
	for (size_t i = 0; i < mesh->peer_count; i++)
		if (!mesh->is_left_out[i])
			want_peer(routes, mesh, &mesh->peers[i]);
	qsort(routes->items, routes->count, sizeof(*routes->items), compare);
	drop_duplicates(routes);
	return 0;
}

/* Returns false for what cannot be one of ours, whatever its protocol says. */
static bool read_route(const json_t *object, struct route *out)
{
	const char *to = ip_text(object, "dst");

	*out = (struct route){};
	if (prefix_parse(to, &out->to) < 0)
		return false;
	if (addr_parse(ip_text(object, "gateway"), &out->via) < 0)
		out->via = (struct addr){};
	out->is_unreachable = strcmp(ip_text(object, "type"), "unreachable") == 0;
	return true;
}

static void sort_out(struct routes *routes, const json_t *object)
{
	struct route shown, *wanted;
	char text[PREFIX_TEXT_LEN];

	if (!read_route(object, &shown))
		return;
	wanted = routes->count
			 ? bsearch(&shown, routes->items, routes->count, sizeof(shown), compare)
			 : NULL;
	if (!wanted) {
		buf_addf(&routes->deletes, "route del %s%s proto " ROUTE_PROTO "\n",
			shown.is_unreachable ? "unreachable " : "", prefix_format(&shown.to, text));
		return;
	}
	wanted->is_there =
		wanted->is_unreachable == shown.is_unreachable &&
		addr_equal(&wanted->via, &shown.via) &&
		(wanted->is_unreachable || strcmp(ip_text(object, "dev"), routes->device) == 0);
	wanted->is_other = !wanted->is_there;
}

static int compare_to_shown(struct routes *routes, int family, struct err *err)
{
	const char *const args[] = {family == AF_INET ? "-4" : "-6", "route", "show", "table",
		"main", "proto", ROUTE_PROTO, NULL};
	_cleanup_(json_decrefp) json_t *answer = NULL;
	int r;

	if (family == AF_INET6 && !mesh_has_ipv6())
		return 0;
	r = ip_query(args, &answer, err);
	for (size_t i = 0; r == 0 && i < json_array_size(answer); i++)
		sort_out(routes, json_array_get(answer, i));
	return r;
}

/* "add" where none of ours is: a route that someone else made to the same prefix is not taken. */
static void add_writes(const struct routes *routes, struct buf *batch)
{
	char prefix[PREFIX_TEXT_LEN], via[ADDR_TEXT_LEN];

	for (size_t i = 0; i < routes->count; i++) {
		const struct route *route = &routes->items[i];

		if (route->is_there)
			continue;
		prefix_format(&route->to, prefix);
		buf_addf(batch, "route %s ", route->is_other ? "replace" : "add");
		if (route->is_unreachable)
			buf_addf(batch, "unreachable %s", prefix);
		else if (route->via.family)
			buf_addf(batch, "%s via %s dev %s", prefix, addr_format(&route->via, via),
				routes->device);
		else
			buf_addf(batch, "%s dev %s", prefix, routes->device);
		buf_adds(batch, " proto " ROUTE_PROTO "\n");
	}
}

static int reconcile(struct routes *routes, struct err *err)
{
	_cleanup_(buf_clear) struct buf batch = {};
	int r = compare_to_shown(routes, AF_INET, err);

	if (r == 0)
		r = compare_to_shown(routes, AF_INET6, err);
	if (r < 0)
		return r;
	add_writes(routes, &batch);
	if (routes->deletes.len)
		buf_adds(&batch, routes->deletes.data);
	return batch.len ? ip_batch_all(batch.data, err) : 0;
}

int mesh_routes_set(const struct mesh *mesh, struct err *err)
{
	_cleanup_(routes_clear) struct routes routes = {.device = mesh->device.name};
	int r = plan(&routes, mesh, err);

	if (r == 0)
		r = reconcile(&routes, err);
	return r < 0 ? err_wrap(err, r, "cannot set the routes of the mesh") : 0;
}

int mesh_routes_remove(struct err *err)
{
	_cleanup_(routes_clear) struct routes none = {.device = ""};
	int r = reconcile(&none, err);

	return r < 0 ? err_wrap(err, r, "cannot remove the routes of the mesh") : 0;
}
