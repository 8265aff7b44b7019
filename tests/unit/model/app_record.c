/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "model/records.h"

static struct app_record *record_of(const char *counts)
{
	char text[512];
	struct app_record *record = NULL;
	json_t *json;

	snprintf(text, sizeof(text), "{\"name\": \"web\", \"release\": 3, \"counts\": %s}", counts);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_int_equal(app_record_from_json(json, &record, NULL), 0);
	json_decref(json);
	return record;
}

static void a_group_that_was_never_counted_has_one_machine(void **state)
{
	_cleanup_(app_record_freep) struct app_record *record = record_of("{\"worker\": 4}");

	(void)state;
	assert_int_equal(app_record_count(record, "app", NULL), 1);
	assert_int_equal(app_record_count(record, "app", "fra"), 0);
	assert_int_equal(app_record_count(record, "worker", NULL), 4);
}

static void a_group_with_counts_of_regions_alone_has_none_elsewhere(void **state)
{
	_cleanup_(app_record_freep) struct app_record *record = record_of("{\"app@fra\": 2}");

	(void)state;
	assert_int_equal(app_record_count(record, "app", "fra"), 2);
	assert_int_equal(app_record_count(record, "app", NULL), 0);
	assert_true(app_record_has_region(record, "app", "fra"));
	assert_false(app_record_has_region(record, "app", "sin"));
	assert_false(app_record_has_region(record, "app", NULL));
	assert_false(app_record_has_region(record, "worker", "fra"));
}

static void counts_survive_the_catalog(void **state)
{
	_cleanup_(app_record_freep) struct app_record *record =
		record_of("{\"app\": 1, \"app@fra\": 2, \"worker@sin\": 0}");
	_cleanup_(app_record_freep) struct app_record *again = NULL;
	json_t *json = app_record_to_json(record);

	(void)state;
	assert_int_equal(app_record_from_json(json, &again, NULL), 0);
	json_decref(json);
	assert_int_equal(again->count_count, 3);
	assert_int_equal(again->release, 3);
	assert_int_equal(app_record_count(again, "app", NULL), 1);
	assert_int_equal(app_record_count(again, "app", "fra"), 2);
	assert_true(app_record_has_region(again, "worker", "sin"));
}

static void regions_are_dropped_of_one_group_only(void **state)
{
	_cleanup_(app_record_freep) struct app_record *record =
		record_of("{\"app@sin\": 1, \"app\": 5, \"worker@sin\": 3, \"app@fra\": 2}");

	(void)state;
	app_record_drop_regions(record, "app");
	assert_int_equal(record->count_count, 2);
	assert_int_equal(app_record_count(record, "app", NULL), 5);
	assert_int_equal(app_record_count(record, "worker", "sin"), 3);
	assert_int_equal(app_record_set_count(record, "app", NULL, 6), 0);
	assert_int_equal(record->count_count, 2);
	assert_int_equal(app_record_count(record, "app", NULL), 6);
}

static void what_is_no_count_is_left_out(void **state)
{
	_cleanup_(app_record_freep) struct app_record *record =
		record_of("{\"app@\": 1, \"@fra\": 1, \"a@b@c\": 1, \"\": 1, \"app\": -1}");

	(void)state;
	assert_int_equal(record->count_count, 0);
}

static void a_key_is_split_at_its_region(void **state)
{
	_free_ char *group = NULL, *region = NULL, *alone = NULL, *none = NULL;

	(void)state;
	assert_int_equal(group_count_parse("web@fra", &group, &region), 0);
	assert_string_equal(group, "web");
	assert_string_equal(region, "fra");
	assert_int_equal(group_count_parse("web", &alone, &none), 0);
	assert_string_equal(alone, "web");
	assert_null(none);
	assert_int_equal(group_count_parse("web@", &group, &region), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_that_was_never_counted_has_one_machine),
		cmocka_unit_test(a_group_with_counts_of_regions_alone_has_none_elsewhere),
		cmocka_unit_test(counts_survive_the_catalog),
		cmocka_unit_test(regions_are_dropped_of_one_group_only),
		cmocka_unit_test(what_is_no_count_is_left_out),
		cmocka_unit_test(a_key_is_split_at_its_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
