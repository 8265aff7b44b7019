/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds which addresses of the mesh. WireGuard gives a prefix to the peer it was written for
 * last, and both it and the routes prefer the longer one: a host that claims a part of another's
 * would get its packets. So this host keeps what it has, of the others the first in the catalog's
 * order does, and one that claims any of that is left out as a whole, in words.
 */
#include "mesh/mesh_impl.h"

#include "base/err.h"
#include "base/prefix_set.h"

#include <errno.h>
#include <limits.h>

#define SELF_PREFIXES	2 /* the peer's own addresses, before its prefixes */
#define MAX_HOST_BITS_4 32
#define MAX_HOST_BITS_6 128
#define THIS_HOST	UINT_MAX

size_t mesh_allowed_count(const struct mesh_peer *peer)
{
	return SELF_PREFIXES + peer->prefix_count;
}

bool mesh_allowed_get(const struct mesh_peer *peer, size_t i, struct prefix *out)
{
	if (i >= SELF_PREFIXES) {
		*out = peer->prefixes[i - SELF_PREFIXES];
		return true;
	}
	out->addr = i == 0 ? peer->addr_v4 : peer->addr_v6;
	out->len_bits = i == 0 ? MAX_HOST_BITS_4 : MAX_HOST_BITS_6;
	return out->addr.family != 0;
}

/* What the same one holds already, or a part of it, is not added again. */
static int add(struct prefix_set *held, const struct mesh_peer *peer, unsigned int owner)
{
	struct prefix prefix;
	int r = 0;

	for (size_t i = 0; i < mesh_allowed_count(peer) && r == 0; i++)
		if (mesh_allowed_get(peer, i, &prefix) && !prefix_set_find(held, &prefix))
			r = prefix_set_add(held, &prefix, owner);
	return r;
}

static int complain(const struct mesh *mesh, const struct prefix_claim *first,
	const struct prefix *prefix, const struct mesh_peer *peer, struct err *err)
{
	char held[PREFIX_TEXT_LEN], claimed[PREFIX_TEXT_LEN];
	char one[ADDR_TEXT_LEN], other[ADDR_TEXT_LEN];

	prefix_format(&first->prefix, held);
	prefix_format(prefix, claimed);
	addr_format(&peer->addr_v4, other);
	if (first->owner == THIS_HOST)
		return err_set(err, -EINVAL,
			"the host %s holds %s, and this host holds %s; the mesh leaves %s out "
			"until it gives that up",
			other, claimed, held, other);
	return err_set(err, -EINVAL,
		"the hosts %s and %s both hold %s; the mesh leaves %s out until one gives it up",
		addr_format(&mesh->peers[first->owner].addr_v4, one), other, claimed, other);
}

static int check(const struct mesh *mesh, const struct prefix_set *held,
	const struct mesh_peer *peer, struct err *err)
{
	const struct prefix_claim *first;
	struct prefix prefix;

	for (size_t i = 0; i < mesh_allowed_count(peer); i++) {
		if (!mesh_allowed_get(peer, i, &prefix))
			continue;
		first = prefix_set_find(held, &prefix);
		if (first)
			return complain(mesh, first, &prefix, peer, err);
	}
	return 0;
}

int mesh_claims_check(struct mesh *mesh, struct err *err)
{
	const struct mesh_peer self = {
		.addr_v4 = mesh->options.addr_v4,
		.addr_v6 = mesh->options.addr_v6,
		.prefixes = mesh->options.slices,
		.prefix_count = mesh->options.slice_count,
	};
	_cleanup_(prefix_set_clear) struct prefix_set held = {};
	int first = 0, r = add(&held, &self, THIS_HOST);

	for (size_t i = 0; i < mesh->peer_count && r == 0; i++) {
		if (mesh->is_left_out[i])
			continue;
		r = check(mesh, &held, &mesh->peers[i], first ? NULL : err);
		mesh->is_left_out[i] = r < 0;
		if (r < 0)
			first = r;
		r = r < 0 ? 0 : add(&held, &mesh->peers[i], (unsigned int)i);
	}
	return r < 0 ? err_errno(err, r, "cannot compare the hosts of the mesh") : first;
}
