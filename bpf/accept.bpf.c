// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * sk_lookup in the host's network namespace: which socket may answer on a public address. The
 * public pools are local to the host, so that the kernel answers for them; without this program a
 * server of the host that listens on every address (sshd, a resolver) would be open to the world
 * on every app's address. A lookup that is refused ends as a closed port does: port unreachable
 * for UDP, a reset for TCP.
 */
#include "maps.h"

#define AF_INET 2

SEC("sk_lookup")
int wherry_accept(struct bpf_sk_lookup *ctx)
{
	struct wherry_pool_key key = {.prefix_bits = 128};
	__u32 *pool;

	if (ctx->family == AF_INET) {
		key.addr[2] = bpf_htonl(0xffff);
		key.addr[3] = ctx->local_ip4;
		/* Keeps clang from merging this load with the other branch's: see reload(). */
		asm volatile("" ::: "memory");
	} else {
		key.addr[0] = ctx->local_ip6[0];
		key.addr[1] = ctx->local_ip6[1];
		key.addr[2] = ctx->local_ip6[2];
		key.addr[3] = ctx->local_ip6[3];
	}
	pool = bpf_map_lookup_elem(&wherry_pools, &key);
	return pool && *pool == WHERRY_POOL_CLOSED ? SK_DROP : SK_PASS;
}

const char LICENSE[] SEC("license") = "GPL";
