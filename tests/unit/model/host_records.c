/* SPDX-License-Identifier: Apache-2.0 */
/* What the catalog says of hosts and machines: there and back, and whatever else may stand there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/records.h"

#define HOST                                                                                       \
	"{\"id\": 7, \"name\": \"worker-1\", \"region\": \"a\","                                   \
	" \"identity\": \"00112233445566778899aabbccddeeff\","                                     \
	" \"public_key\": \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\","                       \
	" \"endpoint\": \"192.0.2.1\", \"endpoint_port\": 51820, \"mesh_v4\": \"10.64.0.7\","      \
	" \"mesh_v6\": \"fdaa:0:7::1\", \"edge\": true, \"worker\": true, \"draining\": true,"     \
	" \"slices\": [\"172.16.0.0/20\", \"172.16.16.0/20\"], \"pools\": [\"203.0.113.0/24\"],"   \
	" \"joined_at\": \"2025-01-02T03:04:05Z\"}"

#define MACHINE                                                                                    \
	"{\"id\": \"0123456789abcd\", \"name\": \"app-01\", \"app\": \"web\", \"group\": \"app\"," \
	" \"kind\": \"image\", \"wish\": \"started\", \"managed\": true, \"held\": true,"          \
	" \"release\": 3, \"command\": [\"/bin/app\", \"-v\"], \"env\": {\"A\": \"1\"},"           \
	" \"network\": \"172.16.0.8/29\", \"private_v6\": \"fdaa::2\", \"kill_signal\": 2,"        \
	" \"kill_timeout_s\": 5, \"created_at\": \"2025-01-02T03:04:05Z\","                        \
	" \"updated_at\": \"2025-01-02T03:04:05Z\", \"image\": \"web:1\", \"host\": 7,"            \
	" \"start_count\": 4, \"held_by\": 2, \"await_ports\": [5000]}"

#define ALIVE                                                                                      \
	"{\"identity\": \"00112233445566778899aabbccddeeff\", \"endpoint\": \"192.0.2.1:51820\","  \
	" \"version\": \"1\", \"started_at\": \"2025-01-02T03:04:05Z\"}"

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(json);
	return json;
}

static void a_host_comes_back_as_it_was_written(void **state)
{
	json_t *json = parse(HOST), *again;
	struct host_record *record = NULL;
	struct err err = {};

	(void)state;
	assert_int_equal(host_record_from_json(json, &record, &err), 0);
	assert_int_equal(record->id, 7);
	assert_string_equal(record->name, "worker-1");
	assert_int_equal(record->slice_count, 2);
	assert_int_equal(record->pool_count, 1);
	assert_true(record->is_edge && record->is_worker && record->is_draining);
	again = host_record_to_json(record);
	assert_true(json_equal(json, again));
	json_decref(again);
	json_decref(json);
	host_record_free(record);
}

static void a_machine_comes_back_as_it_was_written(void **state)
{
	json_t *json = parse(MACHINE), *again;
	struct machine_record *record = NULL;
	struct err err = {};

	(void)state;
	assert_int_equal(machine_record_from_json(json, &record, &err), 0);
	assert_int_equal(record->host, 7);
	assert_int_equal(record->held_by, 2);
	assert_int_equal(record->start_count, 4);
	again = machine_record_to_json(record);
	assert_true(json_equal(json, again));
	json_decref(again);
	json_decref(json);
	machine_record_free(record);
}

static void a_sign_of_life_comes_back_as_it_was_written(void **state)
{
	json_t *json = parse(ALIVE), *again;
	struct host_alive alive = {};
	struct err err = {};

	(void)state;
	assert_int_equal(host_alive_from_json(json, &alive, &err), 0);
	again = host_alive_to_json(&alive);
	assert_true(json_equal(json, again));
	json_decref(again);
	json_decref(json);
	host_alive_clear(&alive);
}

/* Fields that a newer version may add are no reason not to read what is known. */
static void unknown_fields_are_passed_over(void **state)
{
	json_t *json = parse(HOST);
	struct host_record *record = NULL;
	struct err err = {};

	(void)state;
	json_object_set_new(json, "schema", json_integer(9));
	assert_int_equal(host_record_from_json(json, &record, &err), 0);
	host_record_free(record);
	json_decref(json);
}

struct row {
	const char *key, *value; /* NULL: taken away */
};

static void a_host_with_a_wrong_field_is_refused(void **state)
{
	static const struct row rows[] = {
		{"id", NULL},
		{"id", "0"},
		{"id", "-1"},
		{"id", "65001"},
		{"id", "\"7\""},
		{"id", "9223372036854775807"},
		{"name", NULL},
		{"name", "7"},
		{"name", "\"\""},
		{"region", NULL},
		{"region", "[]"},
		{"identity", NULL},
		{"identity", "\"\""},
		{"identity", "\"00112233445566778899aabbccddeeff00\""},
		{"public_key", NULL},
		{"public_key", "\"short\""},
		{"endpoint", "\"host.example\""},
		{"endpoint_port", "65536"},
		{"endpoint_port", "-1"},
		{"mesh_v4", "\"10.64.0.256\""},
		{"mesh_v4", "\"fdaa::1\""},
		{"mesh_v6", "\"::g\""},
		{"mesh_v6", "\"10.64.0.7\""},
		{"slices", "[\"172.16.0.0\", 7]"},
		{"slices", "[\"172.16.0.0/33\"]"},
		{"slices", "[\"fdaa::/64\"]"},
		{"slices", "[null]"},
		{"pools", "[\"banana\"]"},
		{"pools", "[[]]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *json = parse(HOST);
		struct host_record *record = NULL;
		struct err err = {};

		json_object_del(json, rows[i].key);
		if (rows[i].value)
			json_object_set_new(json, rows[i].key, parse(rows[i].value));
		if (host_record_from_json(json, &record, &err) != -EBADMSG || record ||
			!err.text[0])
			fail_msg("%s: %s is taken", rows[i].key,
				rows[i].value ? rows[i].value : "none");
		json_decref(json);
	}
}

static void a_machine_with_a_wrong_field_is_refused(void **state)
{
	static const struct row rows[] = {
		{"id", NULL},
		{"id", "\"0123\""},
		{"id", "\"../../../../..\""},
		{"id", "7"},
		{"name", NULL},
		{"app", NULL},
		{"app", "{}"},
		{"app", "\"../web\""},
		{"app", "\"\""},
		{"group", NULL},
		{"kind", "\"vm\""},
		{"kind", NULL},
		{"wish", "\"dancing\""},
		{"wish", NULL},
		{"network", NULL},
		{"network", "\"172.16.0.8\""},
		{"network", "\"172.16.0.8/20\""},
		{"network", "\"fdaa::/29\""},
		{"private_v6", "\"10.0.0.1\""},
		{"command", "[7]"},
		{"image", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *json = parse(MACHINE);
		struct machine_record *record = NULL;
		struct err err = {};

		json_object_del(json, rows[i].key);
		if (rows[i].value)
			json_object_set_new(json, rows[i].key, parse(rows[i].value));
		if (machine_record_from_json(json, &record, &err) != -EBADMSG || record ||
			!err.text[0])
			fail_msg("%s: %s is taken", rows[i].key,
				rows[i].value ? rows[i].value : "none");
		json_decref(json);
	}
}

static void nothing_that_is_no_object_is_a_record(void **state)
{
	static const char *const values[] = {"null", "7", "\"text\"", "[]", "{}", "true", "[{}]"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		json_t *json = parse(values[i]);
		struct err err = {};
		struct app_record *app;
		struct ip_record *ip;
		struct release_record *release;
		struct machine_record *machine;
		struct host_record *host;
		struct host_alive alive;
		struct fleet_record fleet;

		assert_int_equal(app_record_from_json(json, &app, &err), -EBADMSG);
		assert_int_equal(ip_record_from_json(json, &ip, &err), -EBADMSG);
		assert_int_equal(release_record_from_json(json, &release, &err), -EBADMSG);
		assert_int_equal(machine_record_from_json(json, &machine, &err), -EBADMSG);
		assert_int_equal(host_record_from_json(json, &host, &err), -EBADMSG);
		assert_int_equal(host_alive_from_json(json, &alive, &err), -EBADMSG);
		assert_int_equal(fleet_record_from_json(json, &fleet, &err), -EBADMSG);
		json_decref(json);
	}
}

static void a_fleet_has_two_ipv4_pools(void **state)
{
	static const char *const values[] = {
		"{\"machine_pool\": \"172.16.0.0/12\"}",
		"{\"machine_pool\": \"172.16.0.0/12\", \"mesh_pool\": 7}",
		"{\"machine_pool\": \"172.16.0.0/12\", \"mesh_pool\": \"10.64.0.0/33\"}",
		"{\"machine_pool\": \"fdaa::/16\", \"mesh_pool\": \"10.64.0.0/16\"}",
		"{\"machine_pool\": \"172.16.0.0/12\", \"mesh_pool\": \"fdaa::/16\"}",
	};
	struct fleet_record fleet = {};
	struct err err = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		json_t *json = parse(values[i]);

		if (fleet_record_from_json(json, &fleet, &err) != -EBADMSG)
			fail_msg("%s is taken", values[i]);
		json_decref(json);
	}
}

/* Odd values of what is only for people do not keep a machine's state from being read. */
static void a_state_is_read_whatever_is_in_it(void **state)
{
	json_t *json = parse("{\"state\": 7, \"events\": [null, 7, {\"type\": []}, {}],"
			     " \"failure\": {}, \"exit_code\": \"x\", \"checks\": 3,"
			     " \"restarts\": -1, \"unbound_port\": 99999999999}");
	struct machine_state_record record = {};
	json_t *again;
	struct err err = {};

	(void)state;
	assert_int_equal(machine_state_from_json(json, &record, &err), 0);
	assert_int_equal(record.event_count, 4);
	assert_false(record.has_exit_code);
	again = machine_state_to_json(&record);
	assert_non_null(again);
	json_decref(again);
	json_decref(json);
	machine_state_clear(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_comes_back_as_it_was_written),
		cmocka_unit_test(a_machine_comes_back_as_it_was_written),
		cmocka_unit_test(a_sign_of_life_comes_back_as_it_was_written),
		cmocka_unit_test(unknown_fields_are_passed_over),
		cmocka_unit_test(a_host_with_a_wrong_field_is_refused),
		cmocka_unit_test(a_machine_with_a_wrong_field_is_refused),
		cmocka_unit_test(nothing_that_is_no_object_is_a_record),
		cmocka_unit_test(a_fleet_has_two_ipv4_pools),
		cmocka_unit_test(a_state_is_read_whatever_is_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
