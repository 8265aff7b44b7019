/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/times.h"

#define NOON 1795262400 /* 2026-11-21T12:00:00Z */

static void a_fraction_and_an_offset_are_understood(void **state)
{
	char text[TIMES_TEXT_LEN];

	(void)state;
	assert_int_equal(times_parse("2026-11-21T12:00:00Z"), NOON);
	assert_int_equal(times_parse("2026-11-21T12:00:00.123456789Z"), NOON);
	assert_int_equal(times_parse("2026-11-21T14:00:00.5+02:00"), NOON);
	assert_int_equal(times_parse("2026-11-21T11:30:00-00:30"), NOON);
	assert_string_equal(
		times_whole("2026-11-21T14:00:00.5+02:00", text), "2026-11-21T12:00:00Z");
}

static void what_is_no_time_stays_as_it_is(void **state)
{
	char text[TIMES_TEXT_LEN];

	(void)state;
	assert_int_equal(times_parse("yesterday"), -1);
	assert_int_equal(times_parse("2026-11-21T12:00:00"), -1);
	assert_string_equal(times_whole("", text), "");
	assert_string_equal(times_ago("yesterday", NOON, text), "yesterday");
}

static void ago_is_in_the_largest_unit(void **state)
{
	char text[TIMES_TEXT_LEN];

	(void)state;
	assert_string_equal(times_ago("2026-11-21T12:00:00Z", NOON, text), "just now");
	assert_string_equal(times_ago("2026-11-21T12:00:05Z", NOON, text), "just now");
	assert_string_equal(times_ago("2026-11-21T12:00:00Z", NOON + 59, text), "59s ago");
	assert_string_equal(times_ago("2026-11-21T12:00:00Z", NOON + 60, text), "1m ago");
	assert_string_equal(times_ago("2026-11-21T12:00:00Z", NOON + 7199, text), "1h ago");
	assert_string_equal(times_ago("2026-11-21T12:00:00Z", NOON + 3 * 86400, text), "3d ago");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fraction_and_an_offset_are_understood),
		cmocka_unit_test(what_is_no_time_stays_as_it_is),
		cmocka_unit_test(ago_is_in_the_largest_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
