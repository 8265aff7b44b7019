/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "cli/suggest.h"

static const char *nearest(const char *typed)
{
	static const char *const words[] = {
		"status", "scale", "services", "logs", "launch", "apps"};
	struct suggestion best = suggestion_for(typed, strlen(typed));

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		suggestion_try(&best, words[i]);
	return best.text;
}

static void one_slip_is_understood(void **state)
{
	(void)state;
	assert_string_equal(nearest("sttaus"), "status");
	assert_string_equal(nearest("log"), "logs");
	assert_string_equal(nearest("lanch"), "launch");
	assert_string_equal(nearest("appss"), "apps");
}

static void a_beginning_is_understood(void **state)
{
	(void)state;
	assert_string_equal(nearest("serv"), "services");
}

static void something_else_is_not_understood(void **state)
{
	(void)state;
	assert_null(nearest(""));
	assert_null(nearest("x"));
	assert_null(nearest("volumes"));
	assert_null(nearest("statusstatusstatusstatusstatusstatusstatusstatus"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_slip_is_understood),
		cmocka_unit_test(a_beginning_is_understood),
		cmocka_unit_test(something_else_is_not_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
