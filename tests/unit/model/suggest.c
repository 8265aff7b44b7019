/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "model/suggest.h"

static const char *const known[] = {
	"internal_port", "protocol", "processes", "ports", "http", "tls", "pg_tls"};

static const char *near(const char *word)
{
	return suggest(word, known, ARRAY_LEN(known));
}

static void a_slip_of_the_hand_finds_its_word(void **state)
{
	(void)state;
	assert_string_equal(near("internal_prot"), "internal_port");
	assert_string_equal(near("internalport"), "internal_port");
	assert_string_equal(near("protcol"), "protocol");
	assert_string_equal(near("Ports"), "ports");
	assert_string_equal(near("port"), "ports");
	assert_string_equal(near("htpp"), "http");
	assert_string_equal(near("https"), "http");
	assert_string_equal(near("tsl"), "tls");
}

static void another_word_finds_nothing(void **state)
{
	(void)state;
	assert_null(near("zzz"));
	assert_null(near("x"));
	assert_null(near(""));
	assert_null(near("something_else"));
	assert_null(near("internal_port_internal_port_internal_port_internal_port"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_of_the_hand_finds_its_word),
		cmocka_unit_test(another_word_finds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
