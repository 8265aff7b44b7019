/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests to etcd's JSON gateway. Pure: they make text of what is asked. Each key is put
 * below the prefix here, and nowhere else.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct buf;

/*
 * A page of the keys that start with @key, from @from on (an etcd key; NULL: the first), @limit of
 * them, as of @revision (0: now).
 */
void etcd_body_range(struct buf *out, const char *prefix, const char *key, const char *from,
	size_t from_len, size_t limit, int64_t revision);

/* One key; "" asks for none and is answered with the revision. */
void etcd_body_get(struct buf *out, const char *prefix, const char *key);

/*
 * etcd refuses a transaction that touches a key twice, be it by a range that it deletes, so the
 * operations are merged: the last one on a key is what is asked for, and a deleted prefix becomes
 * the gaps between the keys that are put below it. @lease: what is put goes with it; 0: none.
 */
void etcd_body_txn(struct buf *out, const char *prefix, const struct store_compare *compares,
	size_t compare_count, const struct store_op *ops, size_t op_count, int64_t lease);

void etcd_body_grant(struct buf *out, unsigned int ttl_s);
void etcd_body_keepalive(struct buf *out, int64_t lease);

/* All below the prefix, from @revision on. */
void etcd_body_watch(struct buf *out, const char *prefix, int64_t revision);
