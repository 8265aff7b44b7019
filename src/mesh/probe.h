/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trips to the other hosts over the mesh: ICMP echo requests to their mesh addresses, which
 * their kernels answer, so that a host whose daemon is dead is not taken for dead. Runs in a thread
 * of its own: whatever the daemon waits for, no probe is late.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/mem.h"

struct err;
struct probes;

#define PROBE_INTERVAL_MS 200
#define PROBE_LOST_MS	  1000 /* silent for this long: unreachable */
#define PROBE_BACK_COUNT  3    /* answers in a row before a host that was lost is reachable again */
#define PROBE_WINDOW	  150  /* requests that loss is counted over: 30 s */

enum probe_state {
	PROBE_UNKNOWN, /* never answered, and asked for less than PROBE_LOST_MS */
	PROBE_REACHABLE,
	PROBE_UNREACHABLE,
};

struct probe {
	struct addr addr; /* IPv4 */
	enum probe_state state;
	uint32_t rtt_us;		 /* smoothed as TCP does (RFC 6298, 2); 0: none yet */
	uint32_t rtt_min_us, rtt_max_us; /* of the window */
	uint32_t loss_permille;		 /* of the window, the last PROBE_LOST_MS left out */
	uint64_t changed_ms;		 /* clock_now_ms() of the last change of state */
};

/*
 * Starts the thread, in the caller's network namespace. @fn is called in it when some state
 * changes: it should only wake the owner (uv_async_send(3)).
 */
int probes_start(struct probes **out, void (*fn)(void *arg), void *arg, struct err *err);
void probes_stop(struct probes *probes);
DEFINE_CLEANUP(struct probes *, probes_stop)

/* Probes these addresses and no others; known ones keep what was measured. */
int probes_set(struct probes *probes, const struct addr *addrs, size_t count);

/* Copies what is known of @addr. Returns false when it is not probed. */
bool probes_get(struct probes *probes, const struct addr *addr, struct probe *out);
