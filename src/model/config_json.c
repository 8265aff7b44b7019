/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The effective config as JSON. Keys and values are those of fly.toml, so what is printed can be
 * written into one and means the same: tests and the fuzzer hold it to that.
 */
#include <jansson.h>

#include "model/check_bytes.h"
#include "model/config.h"
#include "model/duration.h"
#include "model/signal_name.h"

static void set_string(json_t *object, const char *key, const char *value)
{
	if (value)
		json_object_set_new(object, key, json_string(value));
}

static void set_count(json_t *object, const char *key, unsigned int value)
{
	json_object_set_new(object, key, json_integer(value));
}

static void set_bool(json_t *object, const char *key, bool value)
{
	json_object_set_new(object, key, json_boolean(value));
}

static void set_duration(json_t *object, const char *key, unsigned int ms)
{
	char text[DURATION_TEXT_LEN];

	set_string(object, key, duration_format_ms(ms, text));
}

static void set_bytes(json_t *object, const char *key, const uint8_t *data, size_t len)
{
	char *text _free_ = data ? check_bytes_format(data, len) : NULL;

	set_string(object, key, text);
}

static json_t *strings_to_json(const struct strings *strings)
{
	json_t *array = json_array();

	for (size_t i = 0; i < strings->count; i++)
		json_array_append_new(array, json_string(strings->items[i]));
	return array;
}

static json_t *pairs_to_json(const struct env_var *pairs, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		set_string(object, pairs[i].name, pairs[i].value);
	return object;
}

/* An array, as a request may carry one header several times. */
static json_t *headers_to_json(const struct check *check)
{
	json_t *array = json_array();

	for (size_t i = 0; i < check->header_count; i++)
		json_array_append_new(array, json_pack("{s:s, s:s}", "name", check->headers[i].name,
						     "value", check->headers[i].value));
	return array;
}

static json_t *check_to_json(const struct check *check)
{
	json_t *object = json_object();

	set_duration(object, "interval", check->interval_ms);
	set_duration(object, "timeout", check->timeout_ms);
	set_duration(object, "grace_period", check->grace_period_ms);
	if (check->type == CHECK_UDP) {
		set_count(object, "port", check->port);
		set_bytes(object, "payload", check->payload, check->payload_len_bytes);
		set_bytes(object, "expect", check->expect, check->expect_len_bytes);
	}
	if (check->type != CHECK_HTTP)
		return object;
	set_string(object, "method", check->method);
	set_string(object, "path", check->path);
	set_string(object, "protocol", check->https ? "https" : "http");
	set_bool(object, "tls_skip_verify", check->tls_skip_verify);
	set_string(object, "tls_server_name", check->tls_server_name);
	if (check->header_count > 0)
		json_object_set_new(object, "headers", headers_to_json(check));
	return object;
}

static json_t *checks_to_json(const struct check *checks, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++) {
		json_t *check = check_to_json(&checks[i]);

		set_string(check, "type", checks[i].type == CHECK_HTTP ? "http" : "tcp");
		set_count(check, "port", checks[i].port);
		json_object_set_new(check, "processes", strings_to_json(&checks[i].processes));
		json_object_set_new(object, checks[i].name, check);
	}
	return object;
}

static json_t *handlers_to_json(unsigned int handlers)
{
	static const struct {
		enum handler bit;
		const char *name;
	} names[] = {
		{HANDLER_TLS, "tls"},
		{HANDLER_HTTP, "http"},
		{HANDLER_PG_TLS, "pg_tls"},
		{HANDLER_PROXY_PROTO, "proxy_proto"},
	};
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (handlers & names[i].bit)
			json_array_append_new(array, json_string(names[i].name));
	}
	return array;
}

static json_t *tls_options_to_json(const struct service_port *port)
{
	json_t *object = json_object(), *versions = json_array();

	if (port->tls_1_2)
		json_array_append_new(versions, json_string("TLSv1.2"));
	if (port->tls_1_3)
		json_array_append_new(versions, json_string("TLSv1.3"));
	json_object_set_new(object, "versions", versions);
	if (port->alpn.count > 0)
		json_object_set_new(object, "alpn", strings_to_json(&port->alpn));
	set_bool(object, "default_self_signed", port->default_self_signed);
	return object;
}

static json_t *http_options_to_json(const struct service_port *port)
{
	json_t *object = json_object();

	set_bool(object, "compress", port->compress);
	set_bool(object, "h2_backend", port->h2_backend);
	if (port->idle_timeout_s)
		set_count(object, "idle_timeout", port->idle_timeout_s);
	if (port->headers_read_timeout_s)
		set_count(object, "headers_read_timeout", port->headers_read_timeout_s);
	return object;
}

static json_t *port_to_json(const struct service_port *port)
{
	json_t *object = json_object();

	if (port->range.first == port->range.last) {
		set_count(object, "port", port->range.first);
	} else {
		set_count(object, "start_port", port->range.first);
		set_count(object, "end_port", port->range.last);
	}
	if (port->handlers)
		json_object_set_new(object, "handlers", handlers_to_json(port->handlers));
	if (port->handlers & HANDLER_HTTP) {
		set_bool(object, "force_https", port->force_https);
		json_object_set_new(object, "http_options", http_options_to_json(port));
	}
	if (port->handlers & HANDLER_TLS)
		json_object_set_new(object, "tls_options", tls_options_to_json(port));
	if (port->handlers & HANDLER_PROXY_PROTO)
		json_object_set_new(object, "proxy_proto_options",
			json_pack("{s:s}", "version", port->proxy_proto_v2 ? "v2" : "v1"));
	return object;
}

static json_t *concurrency_to_json(const struct concurrency *concurrency)
{
	json_t *object = json_object();

	set_string(object, "type", concurrency->by_requests ? "requests" : "connections");
	set_count(object, "soft_limit", concurrency->soft_limit);
	if (concurrency->hard_limit)
		set_count(object, "hard_limit", concurrency->hard_limit);
	return object;
}

static void set_service_checks(
	json_t *object, const char *key, const struct service *service, enum check_type type)
{
	json_t *array = json_array();

	for (size_t i = 0; i < service->check_count; i++) {
		if (service->checks[i].type == type)
			json_array_append_new(array, check_to_json(&service->checks[i]));
	}
	if (json_array_size(array) > 0)
		json_object_set(object, key, array);
	json_decref(array);
}

static json_t *service_to_json(const struct service *service)
{
	static const char *const autostop[] = {"off", "stop", "suspend"};
	static const char *const affinity[] = {"flow", "client"};
	json_t *object = json_object(), *ports = json_array();
	bool is_udp = service->protocol == PROTOCOL_UDP;

	for (size_t i = 0; i < service->port_count; i++)
		json_array_append_new(ports, port_to_json(&service->ports[i]));
	set_string(object, "protocol", is_udp ? "udp" : "tcp");
	/* With several UDP ports each is its own internal port. */
	if (service->internal_port && !(is_udp && service->port_count > 1))
		set_count(object, "internal_port", service->internal_port);
	json_object_set_new(object, "processes", strings_to_json(&service->processes));
	set_string(object, "auto_stop_machines", autostop[service->autostop]);
	set_bool(object, "auto_start_machines", service->autostart);
	set_count(object, "min_machines_running", service->min_machines_running);
	if (is_udp)
		set_string(object, "affinity", affinity[service->affinity]);
	json_object_set_new(object, "ports", ports);
	json_object_set_new(object, "concurrency", concurrency_to_json(&service->concurrency));
	set_service_checks(object, "tcp_checks", service, CHECK_TCP);
	set_service_checks(object, "http_checks", service, CHECK_HTTP);
	set_service_checks(object, "udp_checks", service, CHECK_UDP);
	return object;
}

static json_t *build_to_json(const struct app_config *config)
{
	json_t *object = json_object();

	set_string(object, "image", config->build_image);
	set_string(object, "dockerfile", config->build_dockerfile);
	set_string(object, "build-target", config->build_target);
	if (config->build_arg_count > 0)
		json_object_set_new(
			object, "args", pairs_to_json(config->build_args, config->build_arg_count));
	return object;
}

static json_t *groups_to_json(const struct app_config *config)
{
	json_t *object = json_object();

	for (size_t i = 0; i < config->group_count; i++)
		set_string(object, config->groups[i].name, config->groups[i].command);
	return object;
}

struct json_t *config_to_json(const struct app_config *config)
{
	json_t *object = json_object(), *services = json_array();

	for (size_t i = 0; i < config->service_count; i++)
		json_array_append_new(services, service_to_json(&config->services[i]));
	set_string(object, "app", config->app);
	set_string(object, "primary_region", config->primary_region);
	set_string(object, "kill_signal", signal_name(config->kill_signal));
	set_count(object, "kill_timeout", config->kill_timeout_s);
	json_object_set_new(object, "build", build_to_json(config));
	json_object_set_new(object, "deploy",
		json_pack("{s:b}", "restart_elsewhere", config->restarts_elsewhere));
	json_object_set_new(object, "env", pairs_to_json(config->env, config->env_count));
	json_object_set_new(object, "processes", groups_to_json(config));
	json_object_set_new(object, "services", services);
	json_object_set_new(object, "checks", checks_to_json(config->checks, config->check_count));
	return object;
}
