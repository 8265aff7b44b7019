/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes a lab has, and what ip(8) is told about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "lab/draw.h"
#include "lab/links.h"
#include "lab/topology.h"

static struct lab plan(unsigned int clients)
{
	const struct lab_args args = {.verb = LAB_UP, .name = "t", .clients = clients, .hosts = 1};
	struct lab lab;

	lab_plan(&args, &lab);
	return lab;
}

static struct lab plan_fleet(unsigned int edges, unsigned int workers, unsigned int clients)
{
	const struct lab_args args = {.verb = LAB_UP,
		.name = "t",
		.clients = clients,
		.edges = edges,
		.workers = workers,
		.regions = "north,south",
		.store = LAB_ETCD,
		.underlay = LAB_WIREGUARD};
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

static void a_host_that_is_both_starts_no_etcd(void **state)
{
	struct lab lab = plan(1);

	(void)state;
	assert_null(lab_find(&lab, "store"));
	assert_false(lab_is_fleet(&lab));
	assert_false(lab_has_routes(&lab));
	assert_string_equal(lab_find(&lab, "host-1")->region, "local");
	assert_string_equal(lab_find(&lab, "client-1")->edge, "host-1");
	lab_clear(&lab);
}

static void hosts_of_a_fleet_have_addresses_by_their_role(void **state)
{
	struct lab lab = plan_fleet(LAB_EDGES_MAX, LAB_WORKERS_MAX, 1);

	(void)state;
	assert_string_equal(lab_find(&lab, "store")->addresses[0], "192.0.2.5");
	assert_string_equal(lab_find(&lab, "edge-1")->addresses[0], "192.0.2.11");
	assert_string_equal(lab_find(&lab, "edge-40")->addresses[0], "192.0.2.50");
	assert_string_equal(lab_find(&lab, "worker-1")->addresses[0], "192.0.2.51");
	assert_string_equal(lab_find(&lab, "worker-1")->addresses[1], "2001:db8:200::51");
	assert_string_equal(lab_find(&lab, "worker-200")->addresses[0], "192.0.2.250");
	assert_int_equal(lab_find(&lab, "edge-1")->roles, LAB_EDGE);
	assert_int_equal(lab_find(&lab, "worker-1")->roles, LAB_WORKER);
	assert_null(lab_find(&lab, "host-1"));
	lab_clear(&lab);
}

static void etcd_has_its_node_before_the_hosts_that_need_it(void **state)
{
	struct lab lab = plan_fleet(1, 1, 1);

	(void)state;
	assert_true(lab_find(&lab, "store") < lab_find(&lab, "edge-1"));
	assert_int_equal(lab_find(&lab, "store")->roles, 0);
	lab_clear(&lab);
}

static void regions_and_nearest_edges_come_by_turns(void **state)
{
	struct lab lab = plan_fleet(2, 3, 5);

	(void)state;
	assert_string_equal(lab_find(&lab, "edge-1")->region, "north");
	assert_string_equal(lab_find(&lab, "edge-2")->region, "south");
	assert_string_equal(lab_find(&lab, "worker-2")->region, "south");
	assert_string_equal(lab_find(&lab, "worker-3")->region, "north");
	assert_string_equal(lab_find(&lab, "client-1")->edge, "edge-1");
	assert_string_equal(lab_find(&lab, "client-4")->edge, "edge-2");
	assert_string_equal(lab_find(&lab, "client-5")->edge, "edge-1");
	lab_clear(&lab);
}

static void each_client_has_a_route_to_its_own_edge(void **state)
{
	struct lab lab = plan_fleet(2, 1, 2);
	struct buf script = {};

	(void)state;
	links_join_script(&lab, &script);
	assert_non_null(strstr(script.data,
		"route add 203.0.113.0/24 via 192.0.2.11\n"
		"route add 2001:db8:ff::/64 via 2001:db8:200::11\n"
		"route replace 203.0.113.0/24 via 192.0.2.11 table 1001\n"
		"route replace 2001:db8:ff::/64 via 2001:db8:200::11 table 1001\n"
		"route replace 203.0.113.0/24 via 192.0.2.12 table 1002\n"
		"route replace 2001:db8:ff::/64 via 2001:db8:200::12 table 1002\n"));
	buf_clear(&script);
	links_rules_script(&lab, false, &script);
	assert_string_equal(script.data, "rule add pref 1001 from 198.51.100.10 lookup 1001\n"
					 "rule add pref 1002 from 198.51.100.11 lookup 1002\n");
	buf_clear(&script);
	links_rules_script(&lab, true, &script);
	assert_string_equal(script.data, "rule add pref 1001 from 2001:db8:100::10 lookup 1001\n"
					 "rule add pref 1002 from 2001:db8:100::11 lookup 1002\n");
	buf_clear(&script);
	lab_clear(&lab);
}

static void with_one_edge_there_is_nothing_to_choose(void **state)
{
	struct lab lab = plan_fleet(1, 2, 2);
	struct buf script = {};

	(void)state;
	assert_true(lab_is_fleet(&lab));
	assert_false(lab_has_routes(&lab));
	links_join_script(&lab, &script);
	assert_null(strstr(script.data, "table"));
	buf_clear(&script);
	lab_clear(&lab);
}

static void check_width(const char *text)
{
	size_t column = 0;

	for (const char *c = text; *c; c++) {
		column = *c == '\n' ? 0 : column + 1;
		assert_true(column <= 80);
	}
}

static void the_drawing_fits_80_columns(void **state)
{
	struct lab lab = plan(LAB_CLIENTS_MAX);
	struct buf text = {};

	(void)state;
	draw_lab(&lab, NULL, &text);
	assert_non_null(strstr(text.data, "client-200"));
	check_width(text.data);
	buf_clear(&text);
	lab_clear(&lab);
}

static void the_drawing_of_a_fleet_fits_80_columns(void **state)
{
	const struct lab_args args = {.name = "t",
		.clients = LAB_CLIENTS_MAX,
		.edges = LAB_EDGES_MAX,
		.workers = LAB_WORKERS_MAX,
		.regions = "eleven-char",
		.store = LAB_ETCD,
		.underlay = LAB_WIREGUARD};
	static char note[] = "wherryd running";
	char *notes[LAB_CLIENTS_MAX + LAB_EDGES_MAX + LAB_WORKERS_MAX + 2];
	struct buf text = {};
	struct lab lab;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(notes); i++)
		notes[i] = note;
	lab_plan(&args, &lab);
	assert_int_equal(lab.node_count, ARRAY_LEN(notes));
	lab_find(&lab, "worker-200")->state = LAB_NODE_PAUSED;
	draw_lab(&lab, notes, &text);
	assert_non_null(strstr(text.data, "paused eleven-char wherryd running\n"));
	assert_non_null(strstr(text.data, "to edge-40\n"));
	check_width(text.data);
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
		cmocka_unit_test(a_host_that_is_both_starts_no_etcd),
		cmocka_unit_test(hosts_of_a_fleet_have_addresses_by_their_role),
		cmocka_unit_test(etcd_has_its_node_before_the_hosts_that_need_it),
		cmocka_unit_test(regions_and_nearest_edges_come_by_turns),
		cmocka_unit_test(each_client_has_a_route_to_its_own_edge),
		cmocka_unit_test(with_one_edge_there_is_nothing_to_choose),
		cmocka_unit_test(the_drawing_fits_80_columns),
		cmocka_unit_test(the_drawing_of_a_fleet_fits_80_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
