/* SPDX-License-Identifier: Apache-2.0 */
/* Prefixes that must not overlap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/prefix_set.h"

static struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

static unsigned int owner_of(const struct prefix_set *set, const char *text)
{
	const struct prefix prefix = prefix_of(text);
	const struct prefix_claim *claim = prefix_set_find(set, &prefix);

	return claim ? claim->owner : 0;
}

static void what_overlaps_is_found_from_both_sides_and_nothing_else(void **state)
{
	static const char *const held[] = {
		"172.16.16.0/20", "172.16.0.0/20", "10.64.0.1", "fdaa:0:1::/48", "172.16.48.0/20"};
	_cleanup_(prefix_set_clear) struct prefix_set set = {};

	(void)state;
	assert_int_equal(owner_of(&set, "0.0.0.0/0"), 0);
	for (unsigned int i = 0; i < ARRAY_LEN(held); i++) {
		const struct prefix prefix = prefix_of(held[i]);

		assert_int_equal(owner_of(&set, held[i]), 0);
		assert_int_equal(prefix_set_add(&set, &prefix, i + 1), 0);
		assert_int_equal(owner_of(&set, held[i]), i + 1);
	}
	assert_int_equal(owner_of(&set, "172.16.16.0/21"), 1); /* inside, at its beginning */
	assert_int_equal(owner_of(&set, "172.16.31.248/29"), 1);
	assert_int_equal(owner_of(&set, "172.16.31.255"), 1);
	assert_int_equal(owner_of(&set, "172.16.0.0/16"), 2); /* around, from its beginning */
	assert_int_equal(owner_of(&set, "172.16.32.0/19"), 5);
	assert_int_equal(owner_of(&set, "10.0.0.0/8"), 3);
	assert_int_not_equal(owner_of(&set, "0.0.0.0/0"), 0);
	assert_int_equal(owner_of(&set, "::/0"), 4);
	assert_int_equal(owner_of(&set, "172.16.32.0/20"), 0); /* between two */
	assert_int_equal(owner_of(&set, "172.16.64.0/20"), 0);
	assert_int_equal(owner_of(&set, "10.64.0.0"), 0);
	assert_int_equal(owner_of(&set, "10.64.0.2"), 0);
	assert_int_equal(owner_of(&set, "fdaa:0:2::/48"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_overlaps_is_found_from_both_sides_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
