/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prefixes of which no two overlap, each somebody's: who comes first keeps what it has. Routes,
 * AllowedIPs and maps take the longest prefix or the last one written; what they are given goes
 * through such a set, so that nobody takes a part of what is another's.
 */
#pragma once

#include <stddef.h>

#include "base/addr.h"

struct prefix_claim {
	struct prefix prefix;
	unsigned int owner;
};

struct prefix_set {
	struct prefix_claim *items; /* sorted */
	size_t count, size;
};

void prefix_set_clear(struct prefix_set *set);

/* A claim that overlaps @prefix, of whichever owner, or NULL. Valid until the set is changed. */
const struct prefix_claim *prefix_set_find(
	const struct prefix_set *set, const struct prefix *prefix);

/* The caller has seen that nothing overlaps it. -ENOMEM, or 0. */
int prefix_set_add(struct prefix_set *set, const struct prefix *prefix, unsigned int owner);
