/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets and routes; see router.h. Patterns are compared segment by segment in the table's order:
 * the API has some thirty routes, and a call costs far more than thirty comparisons.
 */
#include "api/router.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "api/server.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* jansson's strings are UTF-8, and whatever was asked for may come back in a JSON answer. */
static bool is_utf8(const char *text)
{
	json_t *string = json_string(text);

	json_decref(string);
	return string != NULL;
}

static int decode(char *text, bool plus_is_space, struct err *err)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		int high, low;

		if (*from != '%') {
			*to++ = plus_is_space && *from == '+' ? ' ' : *from;
			continue;
		}
		high = hex_value(from[1]);
		low = high < 0 ? -1 : hex_value(from[2]);
		if (low < 0 || (high == 0 && low == 0))
			return err_set(err, -EINVAL,
				"the request's path has a %% that is not followed by the two hex "
				"digits of a "
				"character; write %%25 for the character itself");
		*to++ = (char)(high << 4 | low);
		from += 2;
	}
	*to = '\0';
	if (!is_utf8(text))
		return err_set(err, -EINVAL, "the request's path is not UTF-8");
	return 0;
}

static int parse_segments(char *path, struct target *out, struct err *err)
{
	char *segment;
	int r;

	if (*path++ != '/')
		return err_set(err, -EINVAL, "the request's path does not start with /");
	while ((segment = strsep(&path, "/"))) {
		if (out->segment_count == TARGET_MAX_SEGMENTS)
			return err_set(err, -EINVAL, "the request's path has more than %d segments",
				TARGET_MAX_SEGMENTS);
		r = decode(segment, false, err);
		if (r < 0)
			return r;
		out->segments[out->segment_count++] = segment;
	}
	return 0;
}

static int parse_query(char *query, struct target *out, struct err *err)
{
	char *value;
	int r;

	while ((value = strsep(&query, "&"))) {
		char *name = strsep(&value, "=");

		if (!*name)
			continue;
		if (out->query_count == TARGET_MAX_QUERY)
			return err_set(err, -EINVAL,
				"the request's query has more than %d parameters",
				TARGET_MAX_QUERY);
		r = decode(name, true, err);
		if (r == 0 && value)
			r = decode(value, true, err);
		if (r < 0)
			return r;
		out->query[out->query_count++] =
			(struct target_pair){.name = name, .value = value ? value : ""};
	}
	return 0;
}

int target_parse(const char *text, struct target *out, struct err *err)
{
	char *query;
	int r;

	*out = (struct target){.text = strdup(text), .path = strdup(text)};
	if (!out->text || !out->path)
		return err_errno(err, -ENOMEM, "cannot read the request");
	*strchrnul(out->path, '?') = '\0';
	query = out->text;
	strsep(&query, "?");
	r = parse_segments(out->text, out, err);
	if (r == 0 && query)
		r = parse_query(query, out, err);
	if (r == 0)
		r = decode(out->path, false, err);
	return r;
}

void target_clear(struct target *target)
{
	free(target->text);
	free(target->path);
	*target = (struct target){};
}

static bool matches(const char *pattern, struct target *target)
{
	size_t i = 0;

	target->param_count = 0;
	while (*pattern == '/') {
		size_t len = strcspn(++pattern, "/");
		const char *segment;

		if (i == target->segment_count)
			return false;
		segment = target->segments[i++];
		if (*pattern == ':') {
			if (!*segment || target->param_count == TARGET_MAX_PARAMS)
				return false;
			target->params[target->param_count++] =
				(struct target_pair){.name = pattern + 1, .value = segment};
		} else if (strlen(segment) != len || memcmp(segment, pattern, len) != 0) {
			return false;
		}
		pattern += len;
	}
	return i == target->segment_count;
}

const struct api_route *router_find(const struct api_route *routes, const char *method,
	struct target *target, struct buf *allow)
{
	for (const struct api_route *route = routes; route->method; route++) {
		if (!matches(route->pattern, target))
			continue;
		if (strcmp(route->method, method) == 0) {
			buf_clear(allow);
			return route;
		}
		buf_addf(allow, "%s%s", allow->len ? ", " : "", route->method);
	}
	target->param_count = 0;
	return NULL;
}
