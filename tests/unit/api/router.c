/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "api/router.h"
#include "api/server.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

static void nothing(struct api_request *req, void *arg)
{
	(void)req, (void)arg;
}

static const struct api_route routes[] = {
	{"GET", "/v1/apps", nothing},
	{"POST", "/v1/apps", nothing},
	{"GET", "/v1/apps/:app", nothing},
	{"GET", "/v1/apps/:app/ips/:address", nothing},
	{"GET", "/v1/apps/:app/ips/all", nothing},
	{},
};

static void expect_refused(const char *text)
{
	struct target target;
	struct err err = {};

	assert_int_equal(target_parse(text, &target, &err), -EINVAL);
	assert_true(err.text[0]);
	target_clear(&target);
}

static void a_target_is_split_before_it_is_decoded(void **state)
{
	struct target target;

	(void)state;
	assert_int_equal(
		target_parse("/v1/a%2fb//c%3F?x=1%262&y+z=a+b%2B&&q&=n", &target, NULL), 0);
	assert_int_equal(target.segment_count, 4);
	assert_string_equal(target.segments[1], "a/b");
	assert_string_equal(target.segments[2], "");
	assert_string_equal(target.segments[3], "c?");
	assert_int_equal(target.query_count, 3);
	assert_string_equal(target.query[0].value, "1&2");
	assert_string_equal(target.query[1].name, "y z");
	assert_string_equal(target.query[1].value, "a b+");
	assert_string_equal(target.query[2].name, "q");
	assert_string_equal(target.query[2].value, "");
	assert_string_equal(target.path, "/v1/a/b//c?");
	target_clear(&target);
}

static void what_cannot_be_decoded_is_refused(void **state)
{
	static const char *const texts[] = {"", "v1", "*", "http://wherry/v1", "/%", "/%1", "/%g0",
		"/%0g", "/%00", "/\xff", "/%c0%80", "/?a=%", "/?%00=1", "?",
		"/1/2/3/4/5/6/7/8/9/a/b/c/d"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		expect_refused(texts[i]);
}

static void too_many_query_parameters_are_refused(void **state)
{
	char text[256] = "/?";

	(void)state;
	for (int i = 0; i <= TARGET_MAX_QUERY; i++)
		strcat(text, "a=1&");
	expect_refused(text);
}

static const struct api_route *find(
	const char *method, const char *text, struct target *target, struct buf *allow)
{
	assert_int_equal(target_parse(text, target, NULL), 0);
	return router_find(routes, method, target, allow);
}

static void the_first_route_that_fits_is_taken(void **state)
{
	struct target target;
	struct buf allow = {};

	(void)state;
	assert_ptr_equal(find("GET", "/v1/apps/web/ips/all", &target, &allow), &routes[3]);
	assert_int_equal(target.param_count, 2);
	assert_string_equal(target.params[0].value, "web");
	assert_string_equal(target.params[1].value, "all");
	assert_int_equal(allow.len, 0);
	target_clear(&target);
	assert_ptr_equal(find("POST", "/v1/apps", &target, &allow), &routes[1]);
	assert_int_equal(target.param_count, 0);
	target_clear(&target);
	buf_clear(&allow);
}

static void methods_are_listed_only_for_a_path_that_exists(void **state)
{
	struct target target;
	struct buf allow = {};

	(void)state;
	assert_null(find("PUT", "/v1/apps", &target, &allow));
	assert_string_equal(allow.data, "GET, POST");
	buf_clear(&allow);
	target_clear(&target);
	assert_null(find("GET", "/v1/apps/", &target, &allow));
	assert_int_equal(allow.len, 0);
	target_clear(&target);
	assert_null(find("GET", "/v1/app", &target, &allow));
	assert_int_equal(allow.len, 0);
	target_clear(&target);
	assert_null(find("get", "/v1/apps/web", &target, &allow));
	assert_string_equal(allow.data, "GET");
	buf_clear(&allow);
	target_clear(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_target_is_split_before_it_is_decoded),
		cmocka_unit_test(what_cannot_be_decoded_is_refused),
		cmocka_unit_test(too_many_query_parameters_are_refused),
		cmocka_unit_test(the_first_route_that_fits_is_taken),
		cmocka_unit_test(methods_are_listed_only_for_a_path_that_exists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
