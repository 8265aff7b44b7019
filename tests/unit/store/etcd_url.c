/* SPDX-License-Identifier: Apache-2.0 */
/* Which URLs name an etcd, and what is said of those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/etcd_url.h"
#include "store/store.h"

static void good_urls_are_taken_apart(void **state)
{
	static const struct {
		const char *url, *prefix, *names;
	} cases[] = {
		{"etcd://10.0.0.1:2379", "wherry/", "10.0.0.1:2379"},
		{"etcd://10.0.0.1:2379/", "wherry/", "10.0.0.1:2379"},
		{"etcd://10.0.0.1:2379/fleet/a/", "fleet/a/", "10.0.0.1:2379"},
		{"etcds://a.example:2379,b_c:1,[fd00::1]:65535/x", "x/",
			"a.example:2379, b_c:1, [fd00::1]:65535"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct etcd_url url;
		struct err err = {};

		if (etcd_url_parse(cases[i].url, &url, &err) < 0)
			fail_msg("%s", err.text);
		assert_string_equal(url.prefix, cases[i].prefix);
		assert_string_equal(url.names, cases[i].names);
		assert_int_equal(url.is_tls, cases[i].url[4] == 's');
		assert_int_equal(store_check_etcd_url(cases[i].url, NULL), 0);
	}
}

static void bad_urls_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *url, *says;
	} cases[] = {
		{"", "begin with"},
		{"http://10.0.0.1:2379", "begin with"},
		{"etcd://", "empty"},
		{"etcd:///x", "empty"},
		{"etcd://a:1,,b:2", "empty"},
		{"etcd://a:1,", "empty"},
		{"etcd://a", "no port"},
		{"etcd://:2379", "no host"},
		{"etcd://a:", "1..65535"},
		{"etcd://a:0", "1..65535"},
		{"etcd://a:65536", "1..65535"},
		{"etcd://a:1234567", "1..65535"},
		{"etcd://a:2379x", "1..65535"},
		{"etcd://a:23 79", "1..65535"},
		{"etcd://fd00::1:2379", "an"},
		{"etcd://[fd00::1]", "no port"},
		{"etcd://[fd00::1:2379", "IPv6"},
		{"etcd://root:pw@a:2379", "user"},
		{"etcd://a?x:2379", "name or an address"},
		{"etcd://a b:2379", "name or an address"},
		{"etcd://a:1/p?x=1", "letters"},
		{"etcd://a:1/p%2f", "letters"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct etcd_url url;
		struct err err = {};

		assert_int_equal(etcd_url_parse(cases[i].url, &url, &err), -EINVAL);
		if (!strstr(err.text, cases[i].says))
			fail_msg("no \"%s\" in: %s", cases[i].says, err.text);
	}
}

static void what_is_too_long_is_refused(void **state)
{
	char url[4096] = "etcd://";
	struct err err = {};

	(void)state;
	memset(url + 7, 'a', 400);
	strcpy(url + 407, ":1");
	assert_int_equal(store_check_etcd_url(url, &err), -EINVAL);
	strcpy(url, "etcd://a:1/");
	memset(url + 11, 'p', 129);
	assert_int_equal(store_check_etcd_url(url, &err), -EINVAL);
	strcpy(url, "etcd://a:1");
	for (int i = 1; i < 17; i++)
		strcat(url, ",a:1");
	assert_int_equal(store_check_etcd_url(url, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_urls_are_taken_apart),
		cmocka_unit_test(bad_urls_are_refused_with_the_reason),
		cmocka_unit_test(what_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
