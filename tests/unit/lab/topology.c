/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes a lab has, and what ip(8) is told about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "lab/draw.h"
#include "lab/links.h"
#include "lab/topology.h"

static struct lab plan(unsigned int clients)
{
	const struct lab_args args = {.verb = LAB_UP, .name = "t", .clients = clients};
	struct lab lab;

	lab_plan(&args, &lab);
	return lab;
}

static void client_n_has_the_number_nine_plus_n_in_both_families(void **state)
{
	struct lab lab = plan(LAB_CLIENTS_MAX);
	const struct lab_node *first, *last;

	(void)state;
	first = lab_find(&lab, "client-1");
	last = lab_find(&lab, "client-200");
	assert_string_equal(first->addresses[0], "198.51.100.10");
	assert_string_equal(first->addresses[1], "2001:db8:100::10");
	assert_string_equal(last->addresses[0], "198.51.100.209");
	assert_string_equal(last->addresses[1], "2001:db8:100::209");
	assert_null(lab_find(&lab, "client-201"));
	lab_clear(&lab);
}

static void the_internet_is_made_first(void **state)
{
	struct lab lab = plan(2);

	(void)state;
	assert_int_equal(lab.node_count, 4);
	assert_int_equal(lab.nodes[0].kind, LAB_INTERNET);
	assert_int_equal(lab_find(&lab, "host-1")->roles, LAB_EDGE | LAB_WORKER);
	lab_clear(&lab);
}

static void a_node_is_linked_by_its_name_and_sees_eth0(void **state)
{
	struct lab lab = plan(1);
	struct buf script = {};

	(void)state;
	links_node_script(lab_find(&lab, "client-1"), "/proc/7/fd/3", &script);
	assert_string_equal(script.data,
		"link set lo up\n"
		"link add eth0 mtu 1500 type veth peer name client-1 mtu 1500 netns /proc/7/fd/3\n"
		"addr add 198.51.100.10/24 dev eth0\n"
		"addr add 2001:db8:100::10/64 dev eth0 nodad\n"
		"link set eth0 up\n"
		"route add default via 198.51.100.1\n"
		"route add default via 2001:db8:100::1\n");
	buf_clear(&script);
	lab_clear(&lab);
}

static void the_pools_are_routed_to_the_edge(void **state)
{
	struct lab lab = plan(1);
	struct buf script = {};

	(void)state;
	links_join_script(&lab, &script);
	assert_string_equal(script.data, "link set host-1 master hosts up\n"
					 "link set client-1 master clients up\n"
					 "route add 203.0.113.0/24 via 192.0.2.11\n"
					 "route add 2001:db8:ff::/64 via 2001:db8:200::11\n");
	buf_clear(&script);
	lab_clear(&lab);
}

static void the_drawing_fits_80_columns(void **state)
{
	struct lab lab = plan(LAB_CLIENTS_MAX);
	struct buf text = {};
	size_t column = 0;

	(void)state;
	draw_lab(&lab, NULL, &text);
	assert_non_null(strstr(text.data, "client-200"));
	for (const char *c = text.data; *c; c++) {
		column = *c == '\n' ? 0 : column + 1;
		assert_true(column <= 80);
	}
	buf_clear(&text);
	lab_clear(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(client_n_has_the_number_nine_plus_n_in_both_families),
		cmocka_unit_test(the_internet_is_made_first),
		cmocka_unit_test(a_node_is_linked_by_its_name_and_sees_eth0),
		cmocka_unit_test(the_pools_are_routed_to_the_edge),
		cmocka_unit_test(the_drawing_fits_80_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
