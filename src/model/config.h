/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An app's fly.toml as plain data: what the networking of an app is made of, with defaults filled
 * in. Everything is owned by struct app_config and freed with it. Parsing reports every problem of
 * the file, not the first only; a config with at least one error is never returned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct err;
struct json_t;

enum protocol {
	PROTOCOL_TCP = 6, /* the values are those of the IP protocol field */
	PROTOCOL_UDP = 17,
};

enum handler {
	HANDLER_TLS = 1 << 0,
	HANDLER_HTTP = 1 << 1,
	HANDLER_PG_TLS = 1 << 2,
	HANDLER_PROXY_PROTO = 1 << 3,
};

enum autostop {
	AUTOSTOP_OFF,
	AUTOSTOP_STOP,
	AUTOSTOP_SUSPEND,
};

enum check_type {
	CHECK_TCP,
	CHECK_HTTP,
	CHECK_UDP, /* of UDP services only */
};

/* What makes datagrams of a UDP service go to one machine. */
enum affinity {
	AFFINITY_FLOW,	 /* the address and port of the client */
	AFFINITY_CLIENT, /* the address alone */
};

/* A list of strings; items[count] is not a terminator. */
struct strings {
	char **items;
	size_t count;
};

struct env_var {
	char *name, *value;
};

/* One external port or an inclusive range: first == last for a single one. */
struct port_range {
	uint16_t first, last;
};

struct service_port {
	struct port_range range;
	unsigned int handlers; /* enum handler, or-ed */
	bool force_https;
	bool proxy_proto_v2;
	bool default_self_signed;
	struct strings alpn;
	bool tls_1_2, tls_1_3; /* both true by default */
	bool compress, h2_backend;
	unsigned int idle_timeout_s, headers_read_timeout_s; /* 0: none given */
};

struct check {
	enum check_type type;
	char *name; /* [checks.NAME]; NULL for the checks of a service */
	unsigned int interval_ms, timeout_ms, grace_period_ms;
	uint16_t port;	     /* 0: the service's internal port; never 0 for UDP */
	char *method, *path; /* http */
	bool https, tls_skip_verify;
	char *tls_server_name;
	struct env_var *headers;
	size_t header_count;
	struct strings processes;
	uint8_t *payload, *expect; /* udp; an answer contains what is expected, NULL: any does */
	size_t payload_len_bytes, expect_len_bytes;
};

struct concurrency {
	bool by_requests;
	unsigned int soft_limit; /* 20 by default */
	unsigned int hard_limit; /* 0: none */
};

struct service {
	enum protocol protocol;
	uint16_t internal_port;	  /* for UDP: the first external port */
	struct strings processes; /* never empty: the default group was filled in */
	struct service_port *ports;
	size_t port_count;
	struct concurrency concurrency;
	struct check *checks;
	size_t check_count;
	enum autostop autostop;
	bool autostart;
	unsigned int min_machines_running;
	enum affinity affinity; /* UDP */
	bool from_http_service;
	unsigned int line; /* where the service stands in the file, for messages */
};

struct process_group {
	char *name, *command; /* command "": what the image says */
};

struct app_config {
	char *app;		     /* NULL when the file names none */
	char *primary_region;	     /* NULL when the file names none */
	int kill_signal;	     /* a signal number; SIGINT by default */
	unsigned int kill_timeout_s; /* 5 by default, at most 300 */
	struct env_var *env;
	size_t env_count;
	struct process_group *groups; /* never empty: {"app", ""} was filled in */
	size_t group_count;
	struct service *services; /* [http_service] expanded among them */
	size_t service_count;
	struct check *checks; /* [checks] */
	size_t check_count;
	char *build_image;	    /* [build] image, or NULL */
	char *build_dockerfile;	    /* [build] dockerfile, or NULL */
	char *build_target;	    /* [build] build-target, or NULL */
	struct env_var *build_args; /* [build.args] */
	size_t build_arg_count;
	bool restarts_elsewhere; /* [deploy] restart_elsewhere: when their host is down for good */
};

enum severity {
	SEVERITY_WARNING,
	SEVERITY_ERROR,
};

struct diagnostic {
	enum severity severity;
	unsigned int line, column; /* from 1; 0: the file as a whole */
	char *message;		   /* "services[0].ports[0].port is 70000; a port is 1 to 65535" */
};

struct diagnostics {
	char *file_name;	  /* as the person wrote it */
	struct diagnostic *items; /* in file order */
	size_t count;
};

/* A larger file is refused before it is parsed. */
#define CONFIG_MAX_BYTES (1024 * 1024)

/*
 * Parses and validates @text (any bytes). @file_name is used in messages only. Fills @diags, which
 * the caller clears in any case. Returns 0 with a config when there was no error (warnings may be
 * there), -EINVAL when there was at least one.
 *
 * Validation covers all that `deploy` would refuse by the file alone: see fly.toml(5).
 */
int config_parse(const char *text, size_t len, const char *file_name, struct app_config **out,
	struct diagnostics *diags);

void config_free(struct app_config *config);
DEFINE_CLEANUP(struct app_config *, config_free)

/* Returns the group services and machines belong to when none is named: "app" or the first. */
const char *config_default_group(const struct app_config *config);

bool config_has_group(const struct app_config *config, const char *group);

/* Whether @service names @group in its processes. */
bool service_in_group(const struct service *service, const char *group);

bool config_has_udp(const struct app_config *config);

/* The effective config with defaults filled in, in fly.toml's key names; the caller owns it. */
struct json_t *config_to_json(const struct app_config *config);

void diagnostics_clear(struct diagnostics *diags);

unsigned int diagnostics_count(const struct diagnostics *diags, enum severity severity);

/* "fly.toml:12:8: error: ..." lines, one a diagnostic; the caller frees. */
char *diagnostics_format(const struct diagnostics *diags);
