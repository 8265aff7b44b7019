/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/launch_file.h"
#include "model/config.h"

static void a_name_is_made_of_any_text(void **state)
{
	char name[64];

	(void)state;
	launch_app_name("My App_2 (new)", name);
	assert_string_equal(name, "my-app-2-new");
	launch_app_name("...", name);
	assert_string_equal(name, "app");
	launch_app_name(
		"a-very-long-name-of-a-directory-that-goes-on-and-on-until-it-is-no-name-any-more",
		name);
	assert_int_equal(strlen(name), 63);
}

static void udp_and_tcp_of_a_dockerfile_become_services(void **state)
{
	struct launch_plan plan = {.app = "echo"};

	(void)state;
	launch_read_exposed(
		"FROM scratch\nexpose 5000/udp 5000/tcp\nEXPOSE 5000/udp $PORT 70000 2-3\n"
		"# EXPOSE 9\nEXPOSED 8\n",
		&plan);
	assert_int_equal(plan.port_count, 2);
	assert_int_equal(plan.ports[0].port, 5000);
	assert_int_equal(plan.ports[0].protocol, LAUNCH_UDP);
	assert_int_equal(plan.ports[1].protocol, LAUNCH_TCP);
}

static void tcp_alone_is_taken_for_http(void **state)
{
	struct launch_plan plan = {.app = "web"}, none = {.app = "web"};

	(void)state;
	launch_read_exposed("EXPOSE 3000\nEXPOSE 9090", &plan);
	assert_int_equal(plan.port_count, 1);
	assert_int_equal(plan.ports[0].port, 3000);
	assert_int_equal(plan.ports[0].protocol, LAUNCH_HTTP);
	launch_read_exposed("FROM scratch", &none);
	assert_int_equal(none.ports[0].port, 8080);
	assert_int_equal(none.ports[0].protocol, LAUNCH_HTTP);
}

static struct app_config *parse_plan(const struct launch_plan *plan)
{
	_cleanup_(diagnostics_clear) struct diagnostics diags = {};
	_cleanup_(buf_clear) struct buf text = {};
	struct app_config *config = NULL;

	launch_format(plan, &text);
	assert_int_equal(config_parse(text.data, text.len, "fly.toml", &config, &diags), 0);
	assert_int_equal(diags.count, 0);
	return config;
}

static void what_is_written_is_valid_without_a_warning(void **state)
{
	struct launch_plan udp = {
		.app = "echo", .ports = {{5000, LAUNCH_UDP}, {5000, LAUNCH_TCP}}, .port_count = 2};
	struct launch_plan http = {.app = "web",
		.image = "localhost/web:1",
		.ports = {{8080, LAUNCH_HTTP}},
		.port_count = 1};
	_cleanup_(config_freep) struct app_config *a = parse_plan(&udp), *b = parse_plan(&http);

	(void)state;
	assert_string_equal(a->app, "echo");
	assert_int_equal(a->service_count, 2);
	assert_int_equal(a->services[0].protocol, PROTOCOL_UDP);
	assert_int_equal(a->services[0].ports[0].range.first, 5000);
	assert_string_equal(b->build_image, "localhost/web:1");
	assert_true(b->services[0].from_http_service);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_made_of_any_text),
		cmocka_unit_test(udp_and_tcp_of_a_dockerfile_become_services),
		cmocka_unit_test(tcp_alone_is_taken_for_http),
		cmocka_unit_test(what_is_written_is_valid_without_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
