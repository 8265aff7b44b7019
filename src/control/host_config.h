/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/wherry/wherryd.toml as plain data: what the operator says about this host. Every key is
 * optional, and so is the file; what was not said has its default filled in. All strings are owned
 * by struct host_config.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/log.h"
#include "model/config.h"

struct json_t;

#define HOST_CONFIG_PATH	    "/etc/wherry/wherryd.toml"
#define HOST_CONFIG_MAX_NAMESERVERS 3 /* resolv.conf(5) takes no more */

struct host_config {
	char *region; /* "local" by default */
	bool is_edge, is_worker;
	struct prefix *public_pools; /* without overlaps */
	size_t public_pool_count;   /* 0: host_net_pools() takes the public interface's addresses */
	struct prefix machine_pool; /* IPv4, /29 or larger */
	char *public_interface;	    /* NULL: that of the default route */
	struct addr nameservers[HOST_CONFIG_MAX_NAMESERVERS]; /* for machines */
	size_t nameserver_count; /* 0: none given and the host has none that machines can reach */
	uint32_t max_flows;
	/* The fleet: */
	char *host_name;		      /* gethostname(2) by default */
	char *store;			      /* "sqlite" by default, or the URL of an etcd */
	char *etcd_ca, *etcd_cert, *etcd_key; /* files, or NULL */
	bool is_plain;		  /* underlay = "plain": a trusted network instead of WireGuard */
	char *underlay_interface; /* NULL: the public one */
	struct addr endpoint;	  /* where others reach this host; family 0: the underlay's */
	uint16_t mesh_port;	  /* of WireGuard */
	struct prefix mesh_pool;  /* IPv4; each host has one address of it */
	unsigned int flow_idle_s; /* silent for so long: a flow does not keep its former machine */
	enum log_level log_level;
};

/*
 * Reads @path, reporting every problem of the file. Fills @diags, which the caller clears in any
 * case. Returns 0 with the effective config (warnings may be there); an absent file is all
 * defaults. -EINVAL when there was at least one error, an unreadable file included; @out is then
 * untouched.
 */
int host_config_load(struct host_config *out, const char *path, struct diagnostics *diags);

/* Like host_config_load(), of @text (any bytes). @file_name is used in messages only. */
int host_config_parse(struct host_config *out, const char *text, size_t len, const char *file_name,
	struct diagnostics *diags);

void host_config_clear(struct host_config *config);

/* The effective values under the keys of the file; the caller owns it. */
struct json_t *host_config_to_json(const struct host_config *config);

/* Whether machines can reach a resolver at @addr: IPv4, and none of the host's loopback. */
bool host_config_is_resolver(const struct addr *addr);

/*
 * The IPv4 resolvers of @resolv_conf that a machine can reach, which leaves out the host's
 * loopback; those of @uplink_conf when @resolv_conf has none. Returns how many; absent files have
 * none.
 */
size_t host_config_find_nameservers(const char *resolv_conf, const char *uplink_conf,
	struct addr out[static HOST_CONFIG_MAX_NAMESERVERS]);
