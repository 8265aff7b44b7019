/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "machine/hosts.h"
#include "machine/machine.h"

static struct machine_spec make_spec(const char *private_v6)
{
	struct machine_spec spec = {.id = "3d8d9e30a12345"};

	assert_int_equal(addr_parse("172.16.0.10", &spec.primary), 0);
	assert_int_equal(addr_parse("172.16.0.11", &spec.service), 0);
	if (private_v6)
		assert_int_equal(addr_parse(private_v6, &spec.private_v6), 0);
	return spec;
}

static void fly_global_services_is_one_ipv4_address(void **state)
{
	struct machine_spec spec = make_spec("fdaa:0:1::2");
	_free_ char *text = hosts_text(&spec);
	const char *found = strstr(text, "fly-global-services");

	(void)state;
	assert_non_null(found);
	assert_int_equal(strncmp(found - 12, "172.16.0.11\t", 12), 0);
	assert_null(strstr(found + 1, "fly-global-services"));
}

static void each_entry_follows_a_comment_and_has_one_name(void **state)
{
	struct machine_spec spec = make_spec("fdaa:0:1::2");
	_free_ char *text = hosts_text(&spec);

	(void)state;
	assert_non_null(strstr(text, "(6PN)\nfdaa:0:1::2\tfly-local-6pn\n#"));
	assert_non_null(strstr(text, "address\n172.16.0.10\t3d8d9e30a12345\n#"));
	assert_int_equal(strncmp(text, "127.0.0.1\tlocalhost\n::1\tlocalhost", 33), 0);
}

static void a_machine_without_6pn_has_no_name_for_it(void **state)
{
	struct machine_spec spec = make_spec(NULL);
	_free_ char *text = hosts_text(&spec);

	(void)state;
	assert_null(strstr(text, "fly-local-6pn"));
}

static void resolv_conf_has_nameservers_only(void **state)
{
	struct machine_spec spec = make_spec(NULL);
	_free_ char *text = NULL;

	(void)state;
	assert_int_equal(addr_parse("192.0.2.53", &spec.nameservers[0]), 0);
	assert_int_equal(addr_parse("2001:db8::53", &spec.nameservers[1]), 0);
	spec.nameserver_count = 2;
	text = hosts_resolv_text(&spec);
	assert_string_equal(text, "nameserver 192.0.2.53\nnameserver 2001:db8::53\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fly_global_services_is_one_ipv4_address),
		cmocka_unit_test(each_entry_follows_a_comment_and_has_one_name),
		cmocka_unit_test(a_machine_without_6pn_has_no_name_for_it),
		cmocka_unit_test(resolv_conf_has_nameservers_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
