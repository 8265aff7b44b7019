/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "model/duration.h"
#include "model/signal_name.h"

static void go_durations_are_understood(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{"1m21s", 81000},
		{"15s", 15000},
		{"500ms", 500},
		{"1.5s", 1500},
		{".5s", 500},
		{"1.s", 1000},
		{"0", 0},
		{"-1.5h", -5400000},
		{"+3s", 3000},
		{"1h2m3s4ms", 3723004},
		{"1ns", 1},
		{"1us", 1},
		{"1000001us", 1001},
		{"2\u00b5s", 1},
		{"2562047h", INT64_C(9223369200000)},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ms = -1;

		assert_true(duration_parse_ms(rows[i].text, &ms));
		assert_int_equal(ms, rows[i].ms);
	}
}

static void what_go_refuses_is_refused(void **state)
{
	static const char *const texts[] = {"", "5", "s", ".s", "-", "+", "1 s", " 1s", "1s ", "1d",
		"1.5", "3000000h", "99999999999999999999s", "1s-1s", "1..5s", "1S", "--1s"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		int64_t ms;

		assert_false(duration_parse_ms(texts[i], &ms));
	}
}

static void a_printed_duration_is_read_back(void **state)
{
	static const uint64_t values[] = {0, 1, 999, 1000, 1500, 81000, 86400000};
	char text[DURATION_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		int64_t ms;

		assert_true(duration_parse_ms(duration_format_ms(values[i], text), &ms));
		assert_int_equal(ms, values[i]);
	}
}

static void signals_have_their_names_with_and_without_sig(void **state)
{
	(void)state;
	assert_string_equal(signal_name(signal_from_name("SIGTERM")), "SIGTERM");
	assert_string_equal(signal_name(signal_from_name("term")), "SIGTERM");
	assert_int_equal(signal_from_name("SIG"), -1);
	assert_int_equal(signal_from_name("SIGSEGV"), -1);
	assert_int_equal(signal_from_name("9"), -1);
	assert_string_equal(signal_name(0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(go_durations_are_understood),
		cmocka_unit_test(what_go_refuses_is_refused),
		cmocka_unit_test(a_printed_duration_is_read_back),
		cmocka_unit_test(signals_have_their_names_with_and_without_sig),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
