/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the config parser share. Each part reads its sections of the file into the
 * config and reports as it goes; a part never stops at a problem, the config is thrown away at the
 * end when there was an error. Order matters: the groups are read before what names them.
 */
#pragma once

#include "model/config_reader.h"

/* An external port or range that a service takes, to be compared with all others. */
struct claim {
	enum protocol protocol;
	struct port_range range;
	const struct toml_node *node;
};

struct parser {
	const struct toml_node *root;
	struct app_config *config;
	struct diagnostics *diags;
	bool has_processes; /* [processes] names at least one group */
	struct claim *claims;
	size_t claim_count;
	size_t service_check_count; /* of all services */
};

/* Checks and names that are compared with each other are bounded: 256 are beyond any use. */
#define CONFIG_MAX_NAMED 256

/* app, region, signal, environment, [processes], [build]: all but the networking. */
void config_read_app(struct parser *parser);

/* [http_service] and [[services]]. */
void config_read_services(struct parser *parser);

/* The [[services.ports]] of @service. */
void config_read_ports(
	struct parser *parser, const struct toml_node *table, struct service *service);

void config_read_tls_options(
	struct diagnostics *diags, const struct toml_node *table, struct service_port *port);
void config_read_http_options(
	struct diagnostics *diags, const struct toml_node *table, struct service_port *port);

/* The checks of a service, as an array of tables under @key. */
void config_read_service_checks(struct parser *parser, const struct toml_node *table,
	const char *key, enum check_type type, struct service *service);

/*
 * The udp_checks of @service, once its ports are read; and what is particular to one of them.
 * A TCP service with udp_checks or affinity is refused.
 */
void config_read_udp_checks(
	struct parser *parser, const struct toml_node *table, struct service *service);
void config_read_udp_check(struct diagnostics *diags, const struct toml_node *table,
	const struct service *service, struct check *check);
void config_read_affinity(
	struct parser *parser, const struct toml_node *table, struct service *service);

/* [checks]. */
void config_read_checks(struct parser *parser);

/* The groups that @table names under "processes"; the default group when there are none. */
void config_read_groups(struct parser *parser, const struct toml_node *table, struct strings *out);

void config_add_claim(struct parser *parser, enum protocol protocol, struct port_range range,
	const struct toml_node *node);

/* Reports ports that are taken twice. */
void config_check_claims(struct parser *parser);

/* Reports what is wrong with a UDP service, @table, as a whole. */
void config_check_udp(
	struct parser *parser, const struct toml_node *table, const struct service *service);
