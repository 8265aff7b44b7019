/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fly.toml may look like and what it then means. Forms that mean the same are compared by
 * their effective config.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "../../json_to_toml.h"
#include "model/config.h"

static struct app_config *parse(const char *text)
{
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};
	struct app_config *config = NULL;

	if (config_parse(text, strlen(text), "fly.toml", &config, &diags) < 0) {
		char *report _free_ = diagnostics_format(&diags);

		print_error("%s\n%s\n", text, report);
		fail();
	}
	return config;
}

static char *effective(const char *text)
{
	struct app_config *config _cleanup_(config_freep) = parse(text);
	json_t *json = config_to_json(config);
	char *dump = json_dumps(json, JSON_SORT_KEYS | JSON_INDENT(1));

	json_decref(json);
	return dump;
}

/* A TCP service on port 80, to which a line is added. */
#define SERVICE "[[services]]\nprotocol = \"tcp\"\nports = [{port = 80}]\n"
#define UDP	"[[services]]\nprotocol = \"udp\"\n"
#define UDP53	UDP "ports = [{port = 53}]\n"
#define HTTP	"[http_service]\n"
#define CHECK	"[checks.a]\ntype = \"tcp\"\nport = 80\n"

static const struct {
	const char *form, *same_as;
} same[] = {
	/* services, ports, checks: a table or an array of tables */
	{"[services]\nprotocol = \"tcp\"\n[services.ports]\nport = 80\n",
		"[[services]]\nprotocol = \"tcp\"\n[[services.ports]]\nport = 80\n"},
	{SERVICE "[services.tcp_checks]\ninterval = \"9s\"\n",
		SERVICE "[[services.tcp_checks]]\ninterval = \"9s\"\n"},
	{SERVICE "[services.http_checks]\npath = \"/a\"\n",
		SERVICE "[[services.http_checks]]\npath = \"/a\"\n"},
	{HTTP "[http_service.checks]\npath = \"/a\"\n",
		HTTP "[[http_service.checks]]\npath = \"/a\"\n"},
	{"services = []\n", ""},
	/* ports as integer, float, string */
	{SERVICE "internal_port = \"5000\"\n", SERVICE "internal_port = 5000\n"},
	{SERVICE "internal_port = 5000.0\n", SERVICE "internal_port = 5000\n"},
	{SERVICE "internal_port = 5000.9\n", SERVICE "internal_port = 5000\n"},
	{HTTP "internal_port = \"5000\"\n", HTTP "internal_port = 5000\n"},
	{HTTP "internal_port = 5000.0\n", HTTP "internal_port = 5000\n"},
	{UDP "ports = [{port = \"53\"}]\n", UDP "ports = [{port = 53}]\n"},
	{UDP "ports = [{port = 53.0}]\n", UDP "ports = [{port = 53}]\n"},
	{UDP "ports = [{start_port = \"5\", end_port = \"9\"}]\n",
		UDP "ports = [{start_port = 5, end_port = 9.0}]\n"},
	{"[checks.a]\ntype = \"tcp\"\nport = \"80\"\n", CHECK},
	/* durations */
	{SERVICE "tcp_checks = [{interval = 10000}]\n",
		SERVICE "tcp_checks = [{interval = \"10s\"}]\n"},
	{SERVICE "tcp_checks = [{grace_period = 5000.0}]\n",
		SERVICE "tcp_checks = [{grace_period = \"5s\"}]\n"},
	{HTTP "checks = [{interval = 10000}]\n", HTTP "checks = [{interval = \"10s\"}]\n"},
	{SERVICE "tcp_checks = [{interval = \"\", timeout = \"\"}]\n",
		SERVICE "tcp_checks = [{}]\n"},
	{SERVICE "tcp_checks = [{interval = \"0h0m21s\"}]\n",
		SERVICE "tcp_checks = [{interval = \"21000ms\"}]\n"},
	{"kill_timeout = 81\n", "kill_timeout = \"1m21s\"\n"},
	{"kill_timeout = \"1500ms\"\n", "kill_timeout = 2\n"},
	{"kill_timeout = \"\"\n", "kill_timeout = 5\n"},
	{"kill_timeout = 300\n", "kill_timeout = \"5m\"\n"},
	/* bounds of a service's checks */
	{SERVICE "tcp_checks = [{interval = 10, timeout = \"2m\", grace_period = \"1ms\"}]\n",
		SERVICE
		"tcp_checks = [{interval = \"1s\", timeout = \"60s\", grace_period = \"1s\"}]\n"},
	{SERVICE "tcp_checks = [{}]\n", SERVICE
		"tcp_checks = [{interval = \"15s\", timeout = \"2s\", grace_period = \"1s\"}]\n"},
	/* udp_checks and affinity */
	{UDP53 "[services.udp_checks]\npayload = \"ping\"\n",
		UDP53 "[[services.udp_checks]]\npayload = \"ping\"\nport = 53\n"},
	{UDP53 "udp_checks = [{payload = \"ping\", expect = \"\", port = \"53\"}]\n",
		UDP53 "udp_checks = [{payload = \"hex:70696e67\"}]\n"},
	{UDP53 "udp_checks = [{payload = \"a\", expect = \"hex:706F6e67\"}]\n",
		UDP53 "udp_checks = [{payload = \"a\", expect = \"pong\"}]\n"},
	{UDP53 "udp_checks = [{payload = \"hex: ff 00 0a \"}]\n",
		UDP53 "udp_checks = [{payload = \"hex:FF000A\"}]\n"},
	{UDP53 "udp_checks = [{payload = \"a\\n\u00e9\"}]\n",
		UDP53 "udp_checks = [{payload = \"hex:610ac3a9\"}]\n"},
	{UDP53 "udp_checks = [{payload = \"hex:6865783a\"}]\n",
		UDP53 "udp_checks = [{payload = \"hex:68 65 78 3a\", interval = 15000}]\n"},
	{UDP "ports = [{start_port = 5, end_port = 9}]\nudp_checks = {payload = \"a\", port = 7}\n",
		UDP "ports = [{start_port = 5, end_port = 9}]\n"
		    "udp_checks = [{payload = \"a\", port = 7, timeout = \"2s\"}]\n"},
	{UDP53, UDP53 "affinity = \"flow\"\n"},
	{UDP53 "affinity = \"Client\"\n", UDP53 "affinity = \"client\"\n"},
	{UDP53 "affinity = \"\"\n", UDP53},
	/* concurrency */
	{SERVICE "concurrency = \"20,25\"\n",
		SERVICE "concurrency = {type = \"requests\", soft_limit = 20, hard_limit = 25}\n"},
	{SERVICE "concurrency = \" 20 , 25 \"\n", SERVICE "concurrency = \"20,25\"\n"},
	{SERVICE "concurrency = {}\n",
		SERVICE "concurrency = {type = \"connections\", soft_limit = 20}\n"},
	{SERVICE "concurrency = {hard_limit = 0}\n", SERVICE},
	{SERVICE "concurrency = {hard_limit = 5}\n",
		SERVICE "concurrency = {hard_limit = 5, soft_limit = 5}\n"},
	{HTTP "concurrency = \"1,2\"\n",
		HTTP "concurrency = {type = \"requests\", soft_limit = 1, hard_limit = 2}\n"},
	/* headers */
	{SERVICE "http_checks = [{headers = {A = 1, B = true}}]\n",
		SERVICE "http_checks = [{headers = [{name = \"A\", value = \"1\"}, {name = \"B\", "
			"value = true}]}]\n"},
	{SERVICE "http_checks = [{headers = []}]\n", SERVICE "http_checks = [{}]\n"},
	{SERVICE "http_checks = [{}]\n",
		SERVICE "http_checks = [{method = \"get\", path = \"/\", protocol = \"HTTP\"}]\n"},
	{SERVICE "http_checks = [{path = \"up\"}]\n", SERVICE "http_checks = [{path = \"/up\"}]\n"},
	/* [checks] */
	{"[[checks]]\nname = \"a\"\ntype = \"tcp\"\nport = 80\n", CHECK},
	{HTTP "internal_port = 9\n[checks.a]\ntype = \"tcp\"\n",
		HTTP "internal_port = 9\n[checks.a]\ntype = \"tcp\"\nport = 9\n"},
	{CHECK "interval = 2000\n", CHECK "interval = \"2s\"\n"},
	/* processes */
	{"[[processes]]\nname = \"web\"\ncommand = \"run\"\n", "[processes]\nweb = \"run\"\n"},
	{"processes = []\n", ""},
	{"[processes]\n", ""},
	{"", "[processes]\napp = \"\"\n"},
	{SERVICE, SERVICE "processes = [\"app\"]\n"},
	/* autostop */
	{SERVICE "auto_stop_machines = true\n", SERVICE "auto_stop_machines = \"stop\"\n"},
	{SERVICE "auto_stop_machines = false\n", SERVICE "auto_stop_machines = \"off\"\n"},
	{SERVICE, SERVICE "auto_stop_machines = \"off\"\nauto_start_machines = true\n"},
	/* env */
	{"[env]\nA = 1\nB = 1.5\nC = true\nD = 1e6\nE = 2020-01-02\n",
		"[env]\nA = \"1\"\nB = \"1.5\"\nC = \"true\"\nD = \"1000000\"\nE = "
		"\"2020-01-02\"\n"},
	{"[[env]]\nA = \"1\"\nB = \"2\"\n[[env]]\nA = \"3\"\n[[env]]\nC = 4\n",
		"[env]\nB = \"2\"\nA = \"3\"\nC = \"4\"\n"},
	/* protocol */
	{"[[services]]\nprotocol = \"TCP\"\nports = [{port = 80}]\n", SERVICE},
	{"[[services]]\nports = [{port = 80}]\n", SERVICE},
	{"[[services]]\nprotocol = \"Udp\"\n", UDP},
	/* old and foreign keys */
	{"[experimental]\nallowed_public_ports = []\nprivate_network = true\n", ""},
	{SERVICE "script_checks = []\ntcp_checks = [{restart_limit = 3}]\n",
		SERVICE "tcp_checks = [{}]\n"},
	{"mounts = [1]\n[[vm]]\nsize = \"x\"\n[deploy]\nstrategy = 1\n[[files]]\n[metrics]\nport = "
	 "1\n",
		""},
	{"servces = 1\n[what.ever]\nx = [[[]]]\n", ""},
	/* signals */
	{"kill_signal = \"sigterm\"\n", "kill_signal = \"TERM\"\n"},
	{"kill_signal = \"\"\n", "kill_signal = \"SIGINT\"\n"},
	/* internal ports */
	{SERVICE, SERVICE "internal_port = 8080\n"},
	{HTTP, HTTP "internal_port = 8080\n"},
	{UDP "ports = [{port = 53}]\n", UDP "internal_port = 53\nports = [{port = 53}]\n"},
	{UDP "ports = [{start_port = 5, end_port = 9}]\n",
		UDP "internal_port = 5\nports = [{start_port = 5, end_port = 9}]\n"},
	/* handlers */
	{"[[services]]\nprotocol = \"tcp\"\nports = [{port = 80, handlers = [\"edge_http\", "
	 "\"tcp\"]}]\n",
		"[[services]]\nprotocol = \"tcp\"\nports = [{port = 80, handlers = [\"http\"]}]\n"},
	{"[[services]]\nprotocol = \"tcp\"\nports = [{port = 443, handlers = [\"tls\", "
	 "\"http\"]}]\n",
		"[[services]]\nprotocol = \"tcp\"\n"
		"ports = [{port = 443, handlers = [\"http\", \"tls\"], tls_options = {versions = "
		"[\"TLSv1.2\", \"TLSv1.3\"], default_self_signed = false}}]\n"},
	{"[[services]]\nprotocol = \"tcp\"\nports = [{port = 1, handlers = [\"proxy_proto\"]}]\n",
		"[[services]]\nprotocol = \"tcp\"\nports = [{port = 1, handlers = "
		"[\"proxy_proto\"], "
		"proxy_proto_options = {version = \"v1\"}}]\n"},
	{HTTP "force_https = true\n[http_service.http_options]\nidle_timeout = 600\n"
	      "[http_service.tls_options]\nalpn = [\"h2\"]\n",
		"[[services]]\nprotocol = \"tcp\"\ninternal_port = 8080\n"
		"[[services.ports]]\nport = 80\nhandlers = [\"http\"]\nforce_https = true\n"
		"http_options = {idle_timeout = 600}\n"
		"[[services.ports]]\nport = 443\nhandlers = [\"http\", \"tls\"]\n"
		"http_options = {idle_timeout = 600}\ntls_options = {alpn = [\"h2\"]}\n"},
};

static void each_form_means_the_same_as_its_other_form(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		char *form _free_ = effective(same[i].form);
		char *other _free_ = effective(same[i].same_as);

		if (strcmp(form, other) != 0)
			print_error("%s\nis not\n%s\n", same[i].form, same[i].same_as);
		assert_string_equal(form, other);
	}
}

/* Without this, the test above could pass on a parser that reads nothing. */
static void different_values_give_different_configs(void **state)
{
	static const char *const texts[] = {"", "app = \"a\"\n", "kill_signal = \"TERM\"\n",
		"kill_timeout = 6\n", "[env]\nA = 1\n", "[processes]\na = \"x\"\n", SERVICE,
		SERVICE "internal_port = 1\n", SERVICE "concurrency = \"1,2\"\n",
		SERVICE "concurrency = \"1,3\"\n", SERVICE "auto_stop_machines = true\n",
		SERVICE "auto_stop_machines = \"suspend\"\n",
		SERVICE "auto_start_machines = false\n", SERVICE "min_machines_running = 1\n",
		SERVICE "tcp_checks = {}\n", SERVICE "http_checks = {}\n",
		SERVICE "tcp_checks = {timeout = \"3s\"}\n",
		SERVICE "http_checks = {path = \"/a\"}\n",
		SERVICE "http_checks = {method = \"post\"}\n",
		SERVICE "http_checks = {protocol = \"https\"}\n",
		SERVICE "http_checks = {tls_skip_verify = true}\n",
		SERVICE "http_checks = {tls_server_name = \"a\"}\n",
		SERVICE "http_checks = {headers = {A = 1}}\n", UDP "ports = [{port = 80}]\n",
		UDP "ports = [{port = 80}, {port = 81}]\n",
		UDP "ports = [{port = 80}]\naffinity = \"client\"\n",
		UDP53 "udp_checks = {payload = \"a\"}\n", UDP53 "udp_checks = {payload = \"b\"}\n",
		UDP53 "udp_checks = {payload = \"hex:6100\"}\n",
		UDP53 "udp_checks = {payload = \"a\", expect = \"a\"}\n",
		UDP53 "udp_checks = {payload = \"a\", port = 54}\n",
		UDP53 "udp_checks = {payload = \"a\", interval = \"3s\"}\n", HTTP,
		HTTP "force_https = true\n", HTTP "tls_options = {versions = [\"TLSv1.3\"]}\n",
		HTTP "tls_options = {default_self_signed = true}\n",
		HTTP "http_options = {compress = true}\n",
		HTTP "http_options = {h2_backend = true}\n",
		HTTP "http_options = {headers_read_timeout = 3}\n", CHECK,
		CHECK "grace_period = \"3s\"\n", "[build]\nimage = \"a\"\n",
		"[build]\ndockerfile = \"a\"\n", "[build]\nbuild-target = \"a\"\n",
		"[build]\nargs = {A = 1}\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		char *one _free_ = effective(texts[i]);

		for (size_t k = 0; k < i; k++) {
			char *other _free_ = effective(texts[k]);

			assert_string_not_equal(one, other);
		}
	}
}

static void the_effective_config_parses_to_itself(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		struct app_config *config _cleanup_(config_freep) = parse(same[i].form);
		json_t *json = config_to_json(config);
		char *toml _free_ = json_to_toml(json);
		char *one _free_ = effective(same[i].form);
		char *again _free_ = effective(toml);

		json_decref(json);
		assert_string_equal(one, again);
	}
}

static void the_documented_udp_app_has_two_services_on_one_port(void **state)
{
	struct app_config *config _cleanup_(config_freep) = NULL;
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};
	const char *text = "app = \"udp-echo\"\n"
			   "[[services]]\n  protocol = \"udp\"\n  internal_port = 5000\n"
			   "  [[services.ports]]\n    port = \"5000\"\n"
			   "[[services]]\n  protocol = \"tcp\"\n  internal_port = 5000\n"
			   "  [[services.ports]]\n    port = \"5000\"\n";

	(void)state;
	assert_int_equal(config_parse(text, strlen(text), "fly.toml", &config, &diags), 0);
	assert_int_equal(diags.count, 0);
	assert_string_equal(config->app, "udp-echo");
	assert_null(config->primary_region);
	assert_int_equal(config->kill_signal, SIGINT);
	assert_int_equal(config->kill_timeout_s, 5);
	assert_int_equal(config->group_count, 1);
	assert_string_equal(config->groups[0].name, "app");
	assert_string_equal(config->groups[0].command, "");
	assert_int_equal(config->service_count, 2);
	assert_int_equal(config->services[0].protocol, PROTOCOL_UDP);
	assert_int_equal(config->services[1].protocol, PROTOCOL_TCP);
	for (size_t i = 0; i < 2; i++) {
		const struct service *service = &config->services[i];

		assert_int_equal(service->internal_port, 5000);
		assert_int_equal(service->port_count, 1);
		assert_int_equal(service->ports[0].range.first, 5000);
		assert_int_equal(service->ports[0].range.last, 5000);
		assert_int_equal(service->ports[0].handlers, 0);
		assert_int_equal(service->line, i ? 7 : 2);
		assert_true(service->autostart);
		assert_int_equal(service->autostop, AUTOSTOP_OFF);
		assert_false(service->from_http_service);
		assert_true(service_in_group(service, "app"));
		assert_false(service_in_group(service, "web"));
	}
	assert_true(config_has_udp(config));
}

static void http_service_is_one_service_on_80_and_443(void **state)
{
	struct app_config *config _cleanup_(config_freep) = parse(HTTP "force_https = true\n");
	const struct service *service = &config->services[0];

	(void)state;
	assert_int_equal(config->service_count, 1);
	assert_true(service->from_http_service);
	assert_int_equal(service->internal_port, 8080);
	assert_int_equal(service->port_count, 2);
	assert_int_equal(service->ports[0].range.first, 80);
	assert_int_equal(service->ports[0].handlers, HANDLER_HTTP);
	assert_true(service->ports[0].force_https);
	assert_int_equal(service->ports[1].range.first, 443);
	assert_int_equal(service->ports[1].handlers, HANDLER_HTTP | HANDLER_TLS);
	assert_false(service->ports[1].force_https);
	assert_true(service->ports[1].tls_1_2 && service->ports[1].tls_1_3);
	assert_false(config_has_udp(config));
}

static void the_default_group_is_app_or_the_first_by_name(void **state)
{
	struct app_config *with_app _cleanup_(config_freep) =
		parse("[processes]\naaa = \"\"\napp = \"\"\n");
	struct app_config *without _cleanup_(config_freep) =
		parse("[processes]\nweb = \"\"\nbot = \"\"\n");

	(void)state;
	assert_string_equal(config_default_group(with_app), "app");
	assert_string_equal(config_default_group(without), "bot");
	assert_string_equal(without->groups[0].name, "web");
	assert_true(config_has_group(without, "bot"));
	assert_false(config_has_group(without, "app"));
}

static void checks_without_values_have_the_documented_defaults(void **state)
{
	struct app_config *config _cleanup_(config_freep) =
		parse(SERVICE "tcp_checks = {}\nhttp_checks = {}\n" CHECK);

	(void)state;
	assert_int_equal(config->services[0].check_count, 2);
	for (size_t i = 0; i < 3; i++) {
		const struct check *check =
			i < 2 ? &config->services[0].checks[i] : &config->checks[0];

		assert_int_equal(check->interval_ms, 15000);
		assert_int_equal(check->timeout_ms, 2000);
		assert_int_equal(check->grace_period_ms, 1000);
		assert_int_equal(check->port, i < 2 ? 0 : 80);
	}
	assert_string_equal(config->services[0].checks[1].method, "GET");
	assert_string_equal(config->services[0].checks[1].path, "/");
	assert_string_equal(config->checks[0].name, "a");
	assert_true(config->checks[0].processes.count == 1);
}

static void a_udp_check_has_the_bytes_that_were_written(void **state)
{
	struct app_config *config _cleanup_(config_freep) =
		parse(UDP53 "[[services.udp_checks]]\npayload = \"hex:00ff 41\"\n"
			    "expect = \"pong\"\nport = 5300\ngrace_period = \"9s\"\n"
			    "[[services.udp_checks]]\npayload = \"ping\"\n");
	const struct check *check = config->services[0].checks;

	(void)state;
	assert_int_equal(config->services[0].check_count, 2);
	assert_int_equal(check[0].type, CHECK_UDP);
	assert_int_equal(check[0].payload_len_bytes, 3);
	assert_memory_equal(check[0].payload, "\x00\xff\x41", 3);
	assert_int_equal(check[0].expect_len_bytes, 4);
	assert_memory_equal(check[0].expect, "pong", 4);
	assert_int_equal(check[0].port, 5300);
	assert_int_equal(check[0].grace_period_ms, 9000);
	assert_int_equal(check[1].port, 53);
	assert_int_equal(check[1].interval_ms, 15000);
	assert_int_equal(check[1].timeout_ms, 2000);
	assert_int_equal(check[1].grace_period_ms, 1000);
	assert_null(check[1].expect);
	assert_int_equal(config->services[0].affinity, AFFINITY_FLOW);
}

static void udp_ports_of_one_service_each_keep_their_own(void **state)
{
	struct app_config *config _cleanup_(config_freep) =
		parse(UDP "ports = [{port = 53}, {start_port = 2000, end_port = 2010}]\n"
			  "concurrency = {soft_limit = 5}\n");

	(void)state;
	assert_int_equal(config->services[0].internal_port, 53);
	assert_int_equal(config->services[0].ports[1].range.first, 2000);
	assert_int_equal(config->services[0].ports[1].range.last, 2010);
	assert_int_equal(config->services[0].concurrency.soft_limit, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_form_means_the_same_as_its_other_form),
		cmocka_unit_test(different_values_give_different_configs),
		cmocka_unit_test(the_effective_config_parses_to_itself),
		cmocka_unit_test(the_documented_udp_app_has_two_services_on_one_port),
		cmocka_unit_test(http_service_is_one_service_on_80_and_443),
		cmocka_unit_test(the_default_group_is_app_or_the_first_by_name),
		cmocka_unit_test(checks_without_values_have_the_documented_defaults),
		cmocka_unit_test(a_udp_check_has_the_bytes_that_were_written),
		cmocka_unit_test(udp_ports_of_one_service_each_keep_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
