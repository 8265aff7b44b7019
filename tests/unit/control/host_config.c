/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "control/host_config.h"

struct parsed {
	struct host_config config;
	struct diagnostics diags;
	int result;
	char *text; /* of the diagnostics */
};

static void parsed_clear(struct parsed *parsed)
{
	host_config_clear(&parsed->config);
	diagnostics_clear(&parsed->diags);
	free(parsed->text);
}

static struct parsed parse(const char *text)
{
	struct parsed parsed = {};

	parsed.result = host_config_parse(
		&parsed.config, text, strlen(text), "wherryd.toml", &parsed.diags);
	parsed.text = diagnostics_format(&parsed.diags);
	return parsed;
}

#define PARSE(name, text) struct parsed name _cleanup_(parsed_clear) = parse(text)

static void assert_prefix(const struct prefix *prefix, const char *text)
{
	char shown[PREFIX_TEXT_LEN];

	assert_string_equal(prefix_format(prefix, shown), text);
}

/* @text has one problem, an error at @place ("1:10") that says @words. */
static void refuses(const char *text, const char *place, const char *words)
{
	PARSE(parsed, text);
	char start[64];

	snprintf(start, sizeof(start), "wherryd.toml:%s: error: ", place);
	assert_int_equal(parsed.result, -EINVAL);
	if (parsed.diags.count != 1 || strncmp(parsed.text, start, strlen(start)) != 0 ||
		!strstr(parsed.text, words))
		fail_msg("expected %s...%s, got:\n%s", start, words, parsed.text);
	assert_null(parsed.config.region);
}

static void an_empty_file_is_all_defaults(void **state)
{
	PARSE(parsed, "");

	(void)state;
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.diags.count, 0);
	assert_string_equal(parsed.config.region, "local");
	assert_true(parsed.config.is_edge);
	assert_true(parsed.config.is_worker);
	assert_int_equal(parsed.config.public_pool_count, 0);
	assert_prefix(&parsed.config.machine_pool, "172.16.0.0/12");
	assert_null(parsed.config.public_interface);
	assert_int_equal(parsed.config.max_flows, 262144);
	assert_int_equal(parsed.config.log_level, LOG_LEVEL_INFO);
}

static void every_key_is_taken(void **state)
{
	char addr[ADDR_TEXT_LEN];
	PARSE(parsed,
		"region = \"ams-1\"\nroles = [\"worker\"]\n"
		"public_pools = [\"203.0.113.0/24\", \"198.51.100.7\", \"2001:db8:ff::/64\"]\n"
		"machine_pool = \"10.64.0.0/16\"\npublic_interface = \"ens3\"\n"
		"nameservers = [\"9.9.9.9\", \"1.1.1.1\"]\nmax_flows = 1024\n"
		"log_level = \"debug\"\n");

	(void)state;
	assert_string_equal(parsed.text, "");
	assert_int_equal(parsed.result, 0);
	assert_string_equal(parsed.config.region, "ams-1");
	assert_false(parsed.config.is_edge);
	assert_true(parsed.config.is_worker);
	assert_int_equal(parsed.config.public_pool_count, 3);
	assert_prefix(&parsed.config.public_pools[0], "203.0.113.0/24");
	assert_prefix(&parsed.config.public_pools[1], "198.51.100.7/32");
	assert_prefix(&parsed.config.public_pools[2], "2001:db8:ff::/64");
	assert_prefix(&parsed.config.machine_pool, "10.64.0.0/16");
	assert_string_equal(parsed.config.public_interface, "ens3");
	assert_int_equal(parsed.config.nameserver_count, 2);
	assert_string_equal(addr_format(&parsed.config.nameservers[1], addr), "1.1.1.1");
	assert_int_equal(parsed.config.max_flows, 1024);
	assert_int_equal(parsed.config.log_level, LOG_LEVEL_DEBUG);
}

static void an_unknown_key_is_warned_about_and_the_near_one_named(void **state)
{
	PARSE(parsed, "regoin = \"ams\"\n");

	(void)state;
	assert_int_equal(parsed.result, 0);
	assert_string_equal(parsed.text, "wherryd.toml:1:1: warning: regoin is not known and is "
					 "ignored; did you mean \"region\"?\n");
}

static void all_problems_are_told_in_one_run_in_file_order(void **state)
{
	PARSE(parsed, "log_level = \"loud\"\nmax_flows = 1\nmachine_pool = \"10.0.0.0/30\"\n"
		      "region = \"AMS\"\n");
	const char *at;

	(void)state;
	assert_int_equal(parsed.result, -EINVAL);
	assert_int_equal(diagnostics_count(&parsed.diags, SEVERITY_ERROR), 4);
	at = strstr(parsed.text, "wherryd.toml:1:13: error: log_level is \"loud\"");
	assert_non_null(at);
	at = strstr(at, "wherryd.toml:2:13: error: max_flows is 1");
	assert_non_null(at);
	at = strstr(at, "wherryd.toml:3:16: error: machine_pool is \"10.0.0.0/30\"");
	assert_non_null(at);
	assert_non_null(strstr(at, "wherryd.toml:4:10: error: region is \"AMS\""));
}

static void text_that_is_no_toml_is_told_with_its_place(void **state)
{
	(void)state;
	refuses("region = \"ams\"\nroles = [\"edge\"", "2:16", "not valid TOML");
}

static void host_bits_are_refused_with_the_prefix_that_was_meant(void **state)
{
	(void)state;
	refuses("public_pools = [\"203.0.113.5/24\"]", "1:17", "write \"203.0.113.0/24\"");
	refuses("machine_pool = \"172.16.0.1/12\"", "1:16", "write \"172.16.0.0/12\"");
	refuses("public_pools = [\"2001:db8::1/32\"]", "1:17", "write \"2001:db8::/32\"");
}

static void what_is_no_prefix_is_refused(void **state)
{
	(void)state;
	refuses("public_pools = [\"203.0.113.0/33\"]", "1:17", "an address or a prefix");
	refuses("public_pools = [\"\"]", "1:17", "an address or a prefix");
	refuses("public_pools = [\"203.0.113.5/\"]", "1:17", "an address or a prefix");
	refuses("public_pools = [7]", "1:17", "a string in quotes");
	refuses("public_pools = \"203.0.113.0/24\"", "1:16", "an array of strings");
}

static void pools_that_no_client_reaches_are_refused(void **state)
{
	(void)state;
	refuses("public_pools = [\"0.0.0.0/0\"]", "1:17", "at most a /8");
	refuses("public_pools = [\"127.0.0.1\"]", "1:17", "loopback");
	refuses("public_pools = [\"224.0.0.0/24\"]", "1:17", "multicast");
	refuses("public_pools = [\"fe80::/64\"]", "1:17", "link-local");
	refuses("public_pools = [\"fdaa::/48\"]", "1:17", "6PN");
}

static void pools_that_overlap_are_refused(void **state)
{
	(void)state;
	refuses("public_pools = [\"203.0.113.0/24\", \"203.0.113.7\"]", "1:35",
		"overlaps \"203.0.113.0/24\"");
	refuses("public_pools = [\"10.0.0.0/24\"]\nmachine_pool = \"10.0.0.0/8\"", "2:16",
		"no address in common");
	refuses("public_pools = [\"172.20.0.0/24\"]", "1:16", "no address in common");
}

static void a_machine_pool_is_ipv4_with_room_for_a_machine(void **state)
{
	PARSE(smallest, "machine_pool = \"10.0.0.0/29\"");

	(void)state;
	assert_int_equal(smallest.result, 0);
	refuses("machine_pool = \"10.0.0.0/30\"", "1:16", "/29");
	refuses("machine_pool = \"fd00::/64\"", "1:16", "IPv4");
}

static void roles_are_edge_and_worker_and_at_least_one(void **state)
{
	(void)state;
	refuses("roles = []", "1:9", "\"edge\", a \"worker\" or both");
	refuses("roles = [\"egde\"]", "1:10", "\"edge\" or \"worker\"");
}

static void a_region_is_lower_case(void **state)
{
	(void)state;
	refuses("region = \"-ams\"", "1:10", "lower-case");
	refuses("region = \"am s\"", "1:10", "lower-case");
}

static void an_interface_name_that_no_interface_can_have_is_refused(void **state)
{
	(void)state;
	refuses("public_interface = \"averyverylongname\"", "1:20", "at most 15");
	refuses("public_interface = \"../all\"", "1:20", "as \"ip link\" shows it");
}

static void nameservers_must_be_within_reach_of_machines(void **state)
{
	(void)state;
	refuses("nameservers = [\"127.0.0.53\"]", "1:16", "machines can reach");
	refuses("nameservers = [\"2001:db8::53\"]", "1:16", "IPv4");
	refuses("nameservers = [\"1.1.1.1\", \"1.1.1.2\", \"1.1.1.3\", \"1.1.1.4\"]", "1:15",
		"at most 3");
}

static void max_flows_has_bounds(void **state)
{
	PARSE(largest, "max_flows = 16777216");

	(void)state;
	assert_int_equal(largest.result, 0);
	refuses("max_flows = 16777217", "1:13", "from 1024 to 16777216");
	refuses("max_flows = 1023", "1:13", "from 1024 to 16777216");
	refuses("max_flows = -1", "1:13", "whole number");
	refuses("max_flows = \"many\"", "1:13", "whole number");
}

static const char *write_file(const char *name, const char *text)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "/tmp/wherry-host-config-%d-%s", getpid(), name);
	assert_int_equal(file_replace(path, text, strlen(text), 0600, NULL), 0);
	return path;
}

static void an_absent_file_is_all_defaults(void **state)
{
	struct parsed parsed _cleanup_(parsed_clear) = {};

	(void)state;
	assert_int_equal(
		host_config_load(&parsed.config, "/nonexistent/wherryd.toml", &parsed.diags), 0);
	assert_int_equal(parsed.diags.count, 0);
	assert_string_equal(parsed.config.region, "local");
}

static void a_file_is_read_and_named_in_its_problems(void **state)
{
	struct parsed parsed _cleanup_(parsed_clear) = {};
	const char *path = write_file("bad", "max_flows = 0\n");

	(void)state;
	assert_int_equal(host_config_load(&parsed.config, path, &parsed.diags), -EINVAL);
	parsed.text = diagnostics_format(&parsed.diags);
	assert_int_equal(strncmp(parsed.text, path, strlen(path)), 0);
	assert_non_null(strstr(parsed.text, ":1:13: error: "));
	unlink(path);
}

static void a_file_that_cannot_be_read_is_an_error_and_no_default(void **state)
{
	struct parsed parsed _cleanup_(parsed_clear) = {};

	(void)state;
	assert_int_equal(host_config_load(&parsed.config, "/proc/self", &parsed.diags), -EINVAL);
	assert_int_equal(parsed.diags.count, 1);
	assert_non_null(strstr(parsed.diags.items[0].message, "/proc/self"));
}

static size_t nameservers_of(
	const char *resolv, const char *uplink, char text[static ADDR_TEXT_LEN])
{
	const char *resolv_path = write_file("resolv", resolv);
	const char *uplink_path = write_file("uplink", uplink);
	struct addr found[HOST_CONFIG_MAX_NAMESERVERS];
	size_t count = host_config_find_nameservers(resolv_path, uplink_path, found);

	unlink(resolv_path);
	unlink(uplink_path);
	text[0] = '\0';
	if (count)
		addr_format(&found[0], text);
	return count;
}

static void the_host_s_resolvers_are_the_machines(void **state)
{
	char first[ADDR_TEXT_LEN];

	(void)state;
	assert_int_equal(nameservers_of("# nameserver 8.8.8.8\nsearch example.org\n"
					"nameserver\t192.0.2.53 # ours\nnameserver fe80::1%eth0\n"
					"nameserver 192.0.2.54\noptions edns0",
				 "nameserver 203.0.113.53\n", first),
		2);
	assert_string_equal(first, "192.0.2.53");
}

static void resolvers_on_the_host_s_loopback_give_way_to_the_uplink_s(void **state)
{
	char first[ADDR_TEXT_LEN];

	(void)state;
	assert_int_equal(
		nameservers_of("nameserver 127.0.0.53\n", "nameserver 203.0.113.53\n", first), 1);
	assert_string_equal(first, "203.0.113.53");
	assert_int_equal(nameservers_of("nameserver 127.0.0.53\n", "", first), 0);
}

static void four_resolvers_are_three(void **state)
{
	char first[ADDR_TEXT_LEN];

	(void)state;
	assert_int_equal(nameservers_of("nameserver 192.0.2.1\nnameserver 192.0.2.2\n"
					"nameserver 192.0.2.3\nnameserver 192.0.2.4\n",
				 "", first),
		3);
}

static void a_fleet_s_keys_are_checked(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"host_name = \"a b\"", "a host's name is letters"},
		{"store = \"mysql://x\"", "it must be \"sqlite\" or an etcd"},
		{"store = \"etcd://\"", "it must be \"sqlite\" or an etcd"},
		{"etcd_cert = \"/x\"", "go together"},
		{"underlay = \"vxlan\"", "allowed are \"wireguard\""},
		{"endpoint = \"example.com\"", "the address by which other hosts"},
		{"underlay = \"plain\"\nendpoint = \"2001:db8::1\"", "IPv4 with underlay"},
		{"mesh_port = 0", "1 to 65535"},
		{"mesh_pool = \"10.64.0.0/30\"", "from /12 to /28"},
		{"mesh_pool = \"172.16.0.0/16\"", "outside the machine pool"},
		{"flow_idle = \"soon\"", "flow_idle"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		PARSE(parsed, cases[i].text);

		if (!parsed.diags.count || !strstr(parsed.diags.items[0].message, cases[i].message))
			fail_msg("%s: %s", cases[i].text,
				parsed.diags.count ? parsed.diags.items[0].message : "nothing");
	}
}

static void json_shows_effective_values_under_the_keys_of_the_file(void **state)
{
	PARSE(parsed, "public_pools = [\"203.0.113.0/24\"]\nnameservers = [\"9.9.9.9\"]\n"
		      "host_name = \"edge-1\"");
	json_t *json = host_config_to_json(&parsed.config);
	char *text = json_dumps(json, JSON_COMPACT);

	(void)state;
	assert_string_equal(text,
		"{\"region\":\"local\",\"roles\":[\"edge\",\"worker\"],"
		"\"public_pools\":[\"203.0.113.0/24\"],\"machine_pool\":\"172.16.0.0/12\","
		"\"public_interface\":null,\"nameservers\":[\"9.9.9.9\"],\"max_flows\":262144,"
		"\"log_level\":\"info\",\"host_name\":\"edge-1\",\"store\":\"sqlite\","
		"\"underlay\":\"wireguard\",\"mesh_pool\":\"10.64.0.0/16\",\"mesh_port\":51820,"
		"\"flow_idle\":600}");
	free(text);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_is_all_defaults),
		cmocka_unit_test(every_key_is_taken),
		cmocka_unit_test(an_unknown_key_is_warned_about_and_the_near_one_named),
		cmocka_unit_test(all_problems_are_told_in_one_run_in_file_order),
		cmocka_unit_test(text_that_is_no_toml_is_told_with_its_place),
		cmocka_unit_test(host_bits_are_refused_with_the_prefix_that_was_meant),
		cmocka_unit_test(what_is_no_prefix_is_refused),
		cmocka_unit_test(pools_that_no_client_reaches_are_refused),
		cmocka_unit_test(pools_that_overlap_are_refused),
		cmocka_unit_test(a_machine_pool_is_ipv4_with_room_for_a_machine),
		cmocka_unit_test(roles_are_edge_and_worker_and_at_least_one),
		cmocka_unit_test(a_region_is_lower_case),
		cmocka_unit_test(an_interface_name_that_no_interface_can_have_is_refused),
		cmocka_unit_test(nameservers_must_be_within_reach_of_machines),
		cmocka_unit_test(max_flows_has_bounds),
		cmocka_unit_test(an_absent_file_is_all_defaults),
		cmocka_unit_test(a_file_is_read_and_named_in_its_problems),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error_and_no_default),
		cmocka_unit_test(the_host_s_resolvers_are_the_machines),
		cmocka_unit_test(resolvers_on_the_host_s_loopback_give_way_to_the_uplink_s),
		cmocka_unit_test(four_resolvers_are_three),
		cmocka_unit_test(a_fleet_s_keys_are_checked),
		cmocka_unit_test(json_shows_effective_values_under_the_keys_of_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
