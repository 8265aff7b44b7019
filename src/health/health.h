/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health checks of machines on this host: UDP (send a payload, expect an answer), TCP (connect) and
 * HTTP, run in the daemon's loop with sockets that are made in the machine's network namespace, so
 * that the program sees a client beside it and nothing of the fabric is needed. The source of what
 * they send is therefore an address of the machine itself, and what they find says how the program
 * is, not how the way to it is.
 *
 * A check is HEALTH_WARNING until its first success or the first failure past its grace period,
 * which begins with health_start(). After that one failure makes it critical and one success
 * passing. What this host cannot do (no descriptors, no memory) is no failure of the machine: the
 * status stays, the output says it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/addr.h"
#include "base/clock.h"
#include "model/config.h"

struct err;
struct health;

enum health_status {
	HEALTH_PASSING,
	HEALTH_WARNING, /* in its grace period, or not looked at yet: counts as healthy */
	HEALTH_CRITICAL,
};

/* One check of one machine, as `wherry checks list` shows it. */
struct health_result {
	const char *name; /* "udp-5000", "http-8080-/up", of [checks]: unique in the machine */
	const char *type; /* "udp", "tcp", "http" */
	enum health_status status;
	const char *output; /* one sentence in ASCII: what was answered, or why it failed */
	char updated_at[CLOCK_STAMP_LEN]; /* when the status last changed, as clock_stamp() */
};

/*
 * Called in the loop whenever the status or the output of some check changed; never by
 * health_start(). It may call health_stop().
 */
typedef void health_fn(void *arg);

struct health_target {
	const char *netns_path;
	struct addr primary, service; /* UDP goes to where a socket is bound, as clients' does */
};

/*
 * Starts the checks that @config has for services of @group, and its top-level checks. Returns 0
 * with *@out NULL when there are none. @config must live as long as the health. -ENOENT: no such
 * namespace.
 */
int health_start(struct health **out, uv_loop_t *loop, const struct app_config *config,
	const char *group, const struct health_target *target, health_fn *fn, void *arg,
	struct err *err);

/* Ends the checks; the memory goes when the loop has closed the handles. */
void health_stop(struct health *health);

/* "passing", "warning", "critical". */
const char *health_status_name(enum health_status status);

/* False when some check of a service is critical: [checks] inform, traffic ignores them. */
bool health_is_healthy(const struct health *health);

/* The results, in the order of the config; valid until the next turn of the loop. */
const struct health_result *health_results(const struct health *health, size_t *count);
