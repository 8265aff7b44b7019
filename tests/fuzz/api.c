/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request targets and routes with bytes of any kind (libFuzzer, AFL++):
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc tests/fuzz/api.c src/api/router.c
 * \ src/base/err.c src/base/buf.c -ljansson Whatever is decoded must be text that an answer can
 * quote.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/router.h"
#include "api/server.h"
#include "base/buf.h"
#include "base/err.h"

static const struct api_route routes[] = {
	{"GET", "/v1/apps/:app", NULL},
	{"GET", "/v1/apps/:app/ips/:address", NULL},
	{"DELETE", "/v1/machines/:id", NULL},
	{},
};

static void check_text(const char *text)
{
	json_t *string = json_string(text);

	if (!string)
		abort();
	json_decref(string);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = strndup((const char *)data, len);
	struct target target;
	struct buf allow = {};
	struct err err = {};

	if (target_parse(text, &target, &err) < 0) {
		check_text(err.text);
	} else {
		const struct api_route *route = router_find(routes, "GET", &target, &allow);

		if (route && (allow.len || !target.param_count))
			abort();
		check_text(target.path);
		for (size_t i = 0; i < target.segment_count; i++)
			check_text(target.segments[i]);
		for (size_t i = 0; i < target.query_count; i++)
			check_text(target.query[i].value);
	}
	target_clear(&target);
	buf_clear(&allow);
	free(text);
	return 0;
}
