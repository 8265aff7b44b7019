/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public pools in the data plane: which of their addresses the host's own sockets may answer on.
 */
#include "fabric/fabric_impl.h"

#include "base/err.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static struct wherry_pool_key pool_key(const struct prefix *prefix)
{
	struct wherry_pool_key key = {.prefix_bits = prefix->len_bits};

	if (prefix->addr.family == AF_INET) {
		key.prefix_bits += 96;
		key.addr[2] = htonl(0xffff);
		memcpy(&key.addr[3], prefix->addr.bytes, 4);
	} else {
		memcpy(key.addr, prefix->addr.bytes, 16);
	}
	return key;
}

static bool pool_is_wanted(
	const struct wherry_pool_key *key, const struct fabric_pool *pools, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct wherry_pool_key wanted = pool_key(&pools[i].prefix);

		if (memcmp(&wanted, key, sizeof(wanted)) == 0)
			return true;
	}
	return false;
}

int fabric_set_pools(
	struct fabric *fabric, const struct fabric_pool *pools, size_t count, struct err *err)
{
	struct wherry_pool_key key, *after = NULL, last;
	int fd = fabric->maps[MAP_POOLS];

	for (size_t i = 0; i < count; i++) {
		uint32_t kind = pools[i].kind;

		key = pool_key(&pools[i].prefix);
		if (bpf_map_update_elem(fd, &key, &kind, BPF_ANY) < 0)
			return err_errno(err, -errno, "cannot write the public pools");
	}
	while (bpf_map_get_next_key(fd, after, &key) == 0) {
		if (pool_is_wanted(&key, pools, count)) {
			last = key;
			after = &last;
		} else {
			/* The walk starts again: the key to go on from is gone. */
			bpf_map_delete_elem(fd, &key);
			after = NULL;
		}
	}
	return 0;
}
