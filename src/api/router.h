/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request line to a route. The target of a request (RFC 9112, 3.2.1) is taken apart before
 * it is decoded, so that an encoded slash is part of a segment and does not split it.
 */
#pragma once

#include <stddef.h>

struct api_route;
struct buf;
struct err;

#define TARGET_MAX_SEGMENTS 12
#define TARGET_MAX_QUERY    16
#define TARGET_MAX_PARAMS   4

struct target_pair {
	const char *name;
	const char *value;
};

struct target {
	char *text; /* owns what the pointers below point into */
	char *path; /* decoded as a whole, for messages */
	const char *segments[TARGET_MAX_SEGMENTS];
	size_t segment_count;
	struct target_pair query[TARGET_MAX_QUERY];
	size_t query_count;
	struct target_pair params[TARGET_MAX_PARAMS]; /* set by router_find(); names are borrowed */
	size_t param_count;
};

/*
 * Takes apart "/v1/apps/web?lines=3". -EINVAL: not a path, a bad or NUL escape, not UTF-8, too many
 * parts. @out may be cleared also after a failure.
 */
int target_parse(const char *text, struct target *out, struct err *err);
void target_clear(struct target *target);

/*
 * Finds the route and sets the target's parameters. NULL with @allow empty: no such path; NULL with
 * @allow "GET, POST": the path has these methods.
 */
const struct api_route *router_find(const struct api_route *routes, const char *method,
	struct target *target, struct buf *allow);
