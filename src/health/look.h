/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One check of one machine, and the look it is taking: between two looks a struct look waits, with
 * nothing open. A look begins, watches one socket (or has libcurl watch it), and ends exactly once:
 * by what it saw, by its deadline, or by health_stop(). Whoever ends it touches nothing afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "health/health.h"
#include "model/config.h"

#define LOOK_OUTPUT_LEN 160

struct http;
struct look;

/* A check's type. Each function may end the look, and then returns at once. */
struct look_kind {
	const char *type;
	void (*begin)(struct look *look);
	void (*late)(struct look *look);  /* the timeout has passed: ends the look */
	void (*close)(struct look *look); /* frees what is not in struct look; or NULL */
};

extern const struct look_kind look_udp, look_tcp, look_http;

enum look_outcome {
	LOOK_FAILED,
	LOOK_PASSED,
	LOOK_IMPOSSIBLE, /* for a reason of this host's own: says nothing about the machine */
};

struct look {
	struct health *health;
	const struct look_kind *kind;
	const struct check *check;
	const struct health_target *target;
	uint16_t port;
	bool is_informational; /* of [checks]: traffic does not depend on it */
	struct health_result *result;
	char output[LOOK_OUTPUT_LEN];

	bool is_under_way, was_spread;
	uint64_t began_ms, grace_end_ms; /* of the loop's clock; 0: the grace is over */
	uv_timer_t timer;		 /* to the next look, or to the end of this one */

	int fd; /* -1: none */
	uv_poll_t watch;
	int events; /* that are watched for */
	void (*ready)(struct look *look);
	const struct addr *to;	     /* udp: where the datagram went */
	unsigned int datagram_count; /* udp: that came back */
	bool was_answered;	     /* udp: one of them from where it was to come from */
	struct http *http;
};

/*
 * Makes look->fd, a non-blocking socket in the machine's namespace. False when it could not be
 * made: the look has ended.
 */
bool look_socket(struct look *look, int family, int type);

/* Calls @ready in the loop when the socket has @events (UV_READABLE, ...). False: has ended. */
bool look_watch(struct look *look, int events, void (*ready)(struct look *look));

void look_end(struct look *look, enum look_outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Ends the look "WHAT within 2s" and, after a failed system call, "WHAT: TEXT OF ERRNO". */
void look_end_late(struct look *look, const char *what);
void look_end_errno(struct look *look, const char *what, int error);

/* Starts and closes the timer, and with it the life of the look. */
void look_start(struct look *look, uv_loop_t *loop, uint64_t delay_ms);
void look_stop(struct look *look);

/* health.c: what a look found; returns in how many milliseconds the next one begins. */
uint64_t health_judge(struct look *look, enum look_outcome outcome, const char *output);

/* health.c: tells the owner of what health_judge() found to have changed. */
void health_tell(struct health *health);

/* health.c: each handle that libuv has not closed holds the health. */
void health_hold(struct health *health);
void health_release(struct health *health);
