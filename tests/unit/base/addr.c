/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/addr.h"

static void a_prefix_with_host_bits_is_refused(void **state)
{
	struct prefix prefix;

	(void)state;
	assert_int_equal(prefix_parse("203.0.113.5/24", &prefix), -EINVAL);
	assert_int_equal(prefix_parse("203.0.113.0/33", &prefix), -EINVAL);
	assert_int_equal(prefix_parse("203.0.113.0/", &prefix), -EINVAL);
	assert_int_equal(prefix_parse("203.0.113.0/ 8", &prefix), -EINVAL);
	assert_int_equal(prefix_parse("", &prefix), -EINVAL);
}

static void a_bare_address_is_a_host_prefix(void **state)
{
	struct prefix prefix;
	char text[PREFIX_TEXT_LEN];

	(void)state;
	assert_int_equal(prefix_parse("2001:db8::1", &prefix), 0);
	assert_string_equal(prefix_format(&prefix, text), "2001:db8::1/128");
}

static void a_prefix_contains_its_own_addresses_only(void **state)
{
	struct prefix prefix;
	struct addr in, out, other_family;

	(void)state;
	assert_int_equal(prefix_parse("172.16.0.0/12", &prefix), 0);
	assert_int_equal(addr_parse("172.31.255.255", &in), 0);
	assert_int_equal(addr_parse("172.32.0.0", &out), 0);
	assert_int_equal(addr_parse("::", &other_family), 0);
	assert_true(prefix_contains(&prefix, &in));
	assert_false(prefix_contains(&prefix, &out));
	assert_false(prefix_contains(&prefix, &other_family));
}

static void adding_carries_over_byte_borders(void **state)
{
	struct addr addr, sum;
	char text[ADDR_TEXT_LEN];

	(void)state;
	assert_int_equal(addr_parse("172.16.255.254", &addr), 0);
	sum = addr_add(&addr, 3);
	assert_string_equal(addr_format(&sum, text), "172.17.0.1");
	assert_int_equal(addr_parse("2001:db8::ffff:ffff", &addr), 0);
	sum = addr_add(&addr, 1);
	assert_string_equal(addr_format(&sum, text), "2001:db8::1:0:0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prefix_with_host_bits_is_refused),
		cmocka_unit_test(a_bare_address_is_a_host_prefix),
		cmocka_unit_test(a_prefix_contains_its_own_addresses_only),
		cmocka_unit_test(adding_carries_over_byte_borders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
