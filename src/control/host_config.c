/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherryd.toml. Values are read by the same readers as fly.toml's, so that both files take the same
 * forms and word their problems alike. A problem never stops the reading: the config is thrown away
 * at the end when there was an error.
 */
#include "control/host_config.h"

#include "base/err.h"
#include "base/file.h"
#include "model/config_memory.h"
#include "model/config_reader.h"
#include "model/diagnostics.h"
#include "store/store.h"
#include "wherry/abi.h"

#include <errno.h>
#include <jansson.h>
#include <net/if.h>
#include <string.h>

#define RESOLV_CONF	   "/etc/resolv.conf"
#define RESOLV_CONF_UPLINK "/run/systemd/resolve/resolv.conf"

#define REGION_MAX_LEN 63
#define MIN_FLOWS      1024
#define MAX_FLOWS      (16 * 1024 * 1024)

/* Half of what the data plane holds: the host's own addresses inside the pools need entries too. */
#define MAX_PUBLIC_POOLS (WHERRY_MAX_POOLS / 2)

/* Shorter ones are a slip of the pen, and the whole network would be local to this host. */
#define MIN_V4_POOL_BITS    8
#define MIN_V6_POOL_BITS    16
#define MACHINE_BITS	    29
#define MIN_POOL_BITS(addr) ((addr)->family == AF_INET ? MIN_V4_POOL_BITS : MIN_V6_POOL_BITS)

static const char *const known_keys[] = {"region", "roles", "public_pools", "machine_pool",
	"public_interface", "nameservers", "max_flows", "log_level", "host_name", "store",
	"etcd_ca", "etcd_cert", "etcd_key", "underlay", "underlay_interface", "endpoint",
	"mesh_port", "mesh_pool", "flow_idle"};

static const char *const role_names[] = {"edge", "worker"};

static const char *const log_level_names[] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_ERROR] = "error",
};

struct reader {
	const struct toml_node *root;
	struct host_config *config;
	struct diagnostics *diags;
};

/* What no host can be reached at, or not by its address alone. */
static const char *const special_networks[][2] = {
	{"0.0.0.0/8", "\"this network\""},
	{"127.0.0.0/8", "loopback"},
	{"169.254.0.0/16", "link-local"},
	{"224.0.0.0/4", "multicast"},
	{"240.0.0.0/4", "reserved"},
	{"::/128", "no address"},
	{"::1/128", "loopback"},
	{"::ffff:0:0/96", "IPv4"},
	{"fe80::/10", "link-local"},
	{"ff00::/8", "multicast"},
	{"fdaa::/16", "the private network of apps (6PN)"},
};

static bool overlap(const struct prefix *a, const struct prefix *b)
{
	return prefix_contains(a, &b->addr) || prefix_contains(b, &a->addr);
}

/* Returns the kind of special network that @prefix touches, or NULL. */
static const char *special_kind(const struct prefix *prefix)
{
	for (size_t i = 0; i < ARRAY_LEN(special_networks); i++) {
		struct prefix special;

		if (prefix_parse(special_networks[i][0], &special) == 0 &&
			overlap(&special, prefix))
			return special_networks[i][1];
	}
	return NULL;
}

/* Clears the bits behind the "/", so that the report can name the prefix that was meant. */
static bool parse_masked(const char *text, struct prefix *out)
{
	char copy[PREFIX_TEXT_LEN], *slash;
	struct addr addr;

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (!slash)
		return false;
	*slash = '\0';
	if (addr_parse(copy, &addr) < 0)
		return false;
	/* The length is checked by parsing it with an address that has no host bits. */
	snprintf(copy, sizeof(copy), "%s%s",
		addr.family == AF_INET ? "0.0.0.0" : "::", strchr(text, '/'));
	if (prefix_parse(copy, out) < 0)
		return false;
	out->addr = addr;
	for (unsigned int bit = out->len_bits; bit < (addr.family == AF_INET ? 32U : 128U); bit++)
		out->addr.bytes[bit / 8] &= (uint8_t) ~(0x80U >> (bit % 8));
	return true;
}

static bool read_prefix(struct reader *reader, const struct toml_node *node, struct prefix *out)
{
	const char *text = expect_string(reader->diags, node);
	char meant_text[PREFIX_TEXT_LEN];
	struct prefix meant;

	if (!text)
		return false;
	if (prefix_parse(text, out) == 0)
		return true;
	if (parse_masked(text, &meant))
		report_value(reader->diags, SEVERITY_ERROR, node,
			"there are bits behind the prefix; write \"%s\"",
			prefix_format(&meant, meant_text));
	else
		report_value(reader->diags, SEVERITY_ERROR, node,
			"it must be an address or a prefix, such as \"203.0.113.0/24\"");
	return false;
}

static bool is_region(const char *text)
{
	size_t len = strlen(text);

	return len <= REGION_MAX_LEN &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && text[0] != '-' &&
	       text[len - 1] != '-';
}

static void read_region(struct reader *reader)
{
	if (read_string(reader->diags, reader->root, "region", &reader->config->region) &&
		!is_region(reader->config->region))
		report_value(reader->diags, SEVERITY_ERROR, toml_get(reader->root, "region"),
			"a region is lower-case letters, digits and inner dashes, at most %d",
			REGION_MAX_LEN);
}

/* The array under @key, or NULL; a value of another type is reported. */
static const struct toml_node *read_array(
	struct reader *reader, const char *key, const char *example)
{
	const struct toml_node *node = toml_get(reader->root, key);

	if (node && node->type != TOML_ARRAY) {
		report_value(reader->diags, SEVERITY_ERROR, node,
			"it must be an array of strings, such as %s", example);
		return NULL;
	}
	return node;
}

static void read_roles(struct reader *reader)
{
	const struct toml_node *node = read_array(reader, "roles", "[\"edge\", \"worker\"]");
	bool *const flags[] = {&reader->config->is_edge, &reader->config->is_worker};

	if (!node)
		return;
	if (node->child_count == 0)
		report_value(reader->diags, SEVERITY_ERROR, node,
			"a host is an \"edge\", a \"worker\" or both; without the key it is both");
	*flags[0] = *flags[1] = false;
	for (size_t i = 0; i < node->child_count; i++) {
		const char *text = expect_string(reader->diags, &node->children[i]);
		size_t role = 0;

		while (text && role < ARRAY_LEN(flags) && strcmp(text, role_names[role]) != 0)
			role++;
		if (text && role < ARRAY_LEN(flags))
			*flags[role] = true;
		else if (text)
			report_value(reader->diags, SEVERITY_ERROR, &node->children[i],
				"a role is \"edge\" or \"worker\"");
	}
}

static void add_public_pool(
	struct reader *reader, const struct toml_node *node, const struct prefix *pool)
{
	struct host_config *config = reader->config;
	char text[PREFIX_TEXT_LEN];
	const char *special = special_kind(pool);

	if (pool->len_bits < MIN_POOL_BITS(&pool->addr)) {
		report_value(reader->diags, SEVERITY_ERROR, node, "a public pool is at most a /%d",
			MIN_POOL_BITS(&pool->addr));
		return;
	}
	if (special) {
		report_value(reader->diags, SEVERITY_ERROR, node,
			"clients cannot reach addresses in it: they are %s", special);
		return;
	}
	for (size_t i = 0; i < config->public_pool_count; i++) {
		if (!overlap(&config->public_pools[i], pool))
			continue;
		report_value(reader->diags, SEVERITY_ERROR, node,
			"it overlaps \"%s\"; name each address once",
			prefix_format(&config->public_pools[i], text));
		return;
	}
	*array_add(config->public_pools, config->public_pool_count) = *pool;
}

static void read_public_pools(struct reader *reader)
{
	const struct toml_node *node = read_array(reader, "public_pools", "[\"203.0.113.0/24\"]");
	struct prefix pool;

	if (!node)
		return;
	if (node->child_count > MAX_PUBLIC_POOLS) {
		report_error(reader->diags, node, "has %zu pools; at most %d are allowed",
			node->child_count, MAX_PUBLIC_POOLS);
		return;
	}
	for (size_t i = 0; i < node->child_count; i++)
		if (read_prefix(reader, &node->children[i], &pool))
			add_public_pool(reader, &node->children[i], &pool);
}

static void read_machine_pool(struct reader *reader)
{
	const struct toml_node *node = toml_get(reader->root, "machine_pool");
	struct host_config *config = reader->config;
	char text[PREFIX_TEXT_LEN];
	struct prefix pool;

	if (node && !read_prefix(reader, node, &pool))
		return;
	if (node && (pool.addr.family != AF_INET || pool.len_bits > MACHINE_BITS ||
			    pool.len_bits < MIN_V4_POOL_BITS || special_kind(&pool))) {
		report_value(reader->diags, SEVERITY_ERROR, node,
			"it must be an IPv4 prefix from /%d to /%d that nothing else uses, such as "
			"\"172.16.0.0/12\"; each machine takes a /%d of it",
			MIN_V4_POOL_BITS, MACHINE_BITS, MACHINE_BITS);
		return;
	}
	if (node)
		config->machine_pool = pool;
	for (size_t i = 0; i < config->public_pool_count; i++) {
		if (!overlap(&config->public_pools[i], &config->machine_pool))
			continue;
		report_error(reader->diags, node ? node : toml_get(reader->root, "public_pools"),
			"overlaps the %s pool; public_pools and machine_pool (\"%s\") have no "
			"address in common",
			node ? "public" : "machine", prefix_format(&config->machine_pool, text));
		return;
	}
}

static void read_public_interface(struct reader *reader)
{
	char **name = &reader->config->public_interface;

	if (!read_string(reader->diags, reader->root, "public_interface", name))
		return;
	if (strlen(*name) >= IFNAMSIZ || strpbrk(*name, "/ :\t\n"))
		report_value(reader->diags, SEVERITY_ERROR,
			toml_get(reader->root, "public_interface"),
			"an interface has a name of at most %d letters, as \"ip link\" shows it",
			IFNAMSIZ - 1);
}

/* What a machine reaches over IPv4 by the host's NAT. */
bool host_config_is_resolver(const struct addr *addr)
{
	struct prefix prefix = {.addr = *addr, .len_bits = 32};

	return addr->family == AF_INET && !special_kind(&prefix);
}

static void read_nameservers(struct reader *reader)
{
	const struct toml_node *node = read_array(reader, "nameservers", "[\"9.9.9.9\"]");
	struct host_config *config = reader->config;

	if (!node)
		return;
	config->nameserver_count = 0;
	if (node->child_count > HOST_CONFIG_MAX_NAMESERVERS)
		report_error(reader->diags, node, "has %zu addresses; at most %d are allowed",
			node->child_count, HOST_CONFIG_MAX_NAMESERVERS);
	for (size_t i = 0; i < node->child_count; i++) {
		const char *text = expect_string(reader->diags, &node->children[i]);
		struct addr addr;

		if (text && (addr_parse(text, &addr) < 0 || !host_config_is_resolver(&addr)))
			report_value(reader->diags, SEVERITY_ERROR, &node->children[i],
				"it must be an IPv4 address that machines can reach, so none of "
				"the host's loopback");
		else if (text && config->nameserver_count < HOST_CONFIG_MAX_NAMESERVERS)
			config->nameservers[config->nameserver_count++] = addr;
	}
}

static void read_max_flows(struct reader *reader)
{
	unsigned int count;

	if (!read_count(reader->diags, reader->root, "max_flows", &count))
		return;
	reader->config->max_flows = count;
	if (count < MIN_FLOWS || count > MAX_FLOWS)
		report_value(reader->diags, SEVERITY_ERROR, toml_get(reader->root, "max_flows"),
			"it must be from %d to %d", MIN_FLOWS, MAX_FLOWS);
}

#define HOST_NAME_MAX_LEN 63
#define MIN_MESH_BITS	  12
#define MAX_MESH_BITS	  28
#define FLOW_IDLE_S	  600

static void read_host_name(struct reader *reader)
{
	char **name = &reader->config->host_name;

	if (read_string(reader->diags, reader->root, "host_name", name) &&
		(!**name || strlen(*name) > HOST_NAME_MAX_LEN ||
			strspn(*name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-._") != strlen(*name)))
		report_value(reader->diags, SEVERITY_ERROR, toml_get(reader->root, "host_name"),
			"a host's name is letters, digits, dots, dashes and underscores, at most "
			"%d",
			HOST_NAME_MAX_LEN);
}

static void read_store(struct reader *reader)
{
	struct host_config *config = reader->config;
	struct err err;

	if (read_string(reader->diags, reader->root, "store", &config->store) &&
		strcmp(config->store, "sqlite") != 0 &&
		store_check_etcd_url(config->store, &err) < 0)
		report_value(reader->diags, SEVERITY_ERROR, toml_get(reader->root, "store"),
			"it must be \"sqlite\" or an etcd such as \"etcd://10.0.0.5:2379\": %s",
			err.text);
	read_string(reader->diags, reader->root, "etcd_ca", &config->etcd_ca);
	read_string(reader->diags, reader->root, "etcd_cert", &config->etcd_cert);
	read_string(reader->diags, reader->root, "etcd_key", &config->etcd_key);
	if (!config->etcd_cert != !config->etcd_key)
		report_error(reader->diags,
			toml_get(reader->root, config->etcd_cert ? "etcd_cert" : "etcd_key"),
			"etcd_cert and etcd_key go together");
}

static void read_underlay(struct reader *reader)
{
	struct host_config *config = reader->config;
	_free_ char *underlay = NULL, *endpoint = NULL;

	if (read_string(reader->diags, reader->root, "underlay", &underlay)) {
		config->is_plain = strcmp(underlay, "plain") == 0;
		if (!config->is_plain && strcmp(underlay, "wireguard") != 0)
			report_value(reader->diags, SEVERITY_ERROR,
				toml_get(reader->root, "underlay"),
				"allowed are \"wireguard\" and, on a trusted network, \"plain\"");
	}
	read_string(reader->diags, reader->root, "underlay_interface", &config->underlay_interface);
	if (read_string(reader->diags, reader->root, "endpoint", &endpoint) &&
		(addr_parse(endpoint, &config->endpoint) < 0 ||
			(config->is_plain && config->endpoint.family != AF_INET)))
		report_value(reader->diags, SEVERITY_ERROR, toml_get(reader->root, "endpoint"),
			"it must be the address by which other hosts reach this one%s",
			config->is_plain ? ", IPv4 with underlay \"plain\"" : "");
}

static void read_mesh(struct reader *reader)
{
	const struct toml_node *node = toml_get(reader->root, "mesh_pool");
	struct host_config *config = reader->config;
	struct prefix pool;
	int64_t idle_ms;

	read_port(reader->diags, reader->root, "mesh_port", &config->mesh_port);
	if (read_duration_ms(reader->diags, reader->root, "flow_idle", BARE_SECONDS, &idle_ms))
		config->flow_idle_s = (unsigned int)((idle_ms + 999) / 1000);
	if (!node || !read_prefix(reader, node, &pool))
		return;
	if (pool.addr.family != AF_INET || pool.len_bits < MIN_MESH_BITS ||
		pool.len_bits > MAX_MESH_BITS || special_kind(&pool) ||
		overlap(&pool, &config->machine_pool))
		report_value(reader->diags, SEVERITY_ERROR, node,
			"it must be an IPv4 prefix from /%d to /%d outside the machine pool that "
			"nothing else uses, such as \"10.64.0.0/16\"; each host takes an address",
			MIN_MESH_BITS, MAX_MESH_BITS);
	else
		config->mesh_pool = pool;
}

static void read_log_level(struct reader *reader)
{
	_cleanup_(buf_clear) struct buf choices = {};
	_free_ char *name = NULL;

	if (!read_string(reader->diags, reader->root, "log_level", &name))
		return;
	for (size_t i = 0; i < ARRAY_LEN(log_level_names); i++) {
		if (strcmp(name, log_level_names[i]) == 0) {
			reader->config->log_level = (enum log_level)i;
			return;
		}
	}
	add_choices(&choices, log_level_names, ARRAY_LEN(log_level_names));
	report_value(reader->diags, SEVERITY_ERROR, toml_get(reader->root, "log_level"),
		"allowed are %s", choices.data);
}

static struct host_config defaults(void)
{
	struct host_config config = {
		.region = text_copy("local"),
		.is_edge = true,
		.is_worker = true,
		.max_flows = WHERRY_MAX_FLOWS,
		.log_level = LOG_LEVEL_INFO,
	};

	char name[HOST_NAME_MAX_LEN + 1] = "";

	gethostname(name, sizeof(name) - 1);
	config.host_name = text_copy(*name ? name : "host");
	config.store = text_copy("sqlite");
	config.mesh_port = 51820;
	config.flow_idle_s = FLOW_IDLE_S;
	prefix_parse("10.64.0.0/16", &config.mesh_pool);
	prefix_parse("172.16.0.0/12", &config.machine_pool);
	config.nameserver_count =
		host_config_find_nameservers(RESOLV_CONF, RESOLV_CONF_UPLINK, config.nameservers);
	return config;
}

static void read_all(
	struct host_config *config, const char *text, size_t len, struct diagnostics *diags)
{
	struct toml_node *root _cleanup_(toml_freep) = NULL;
	_cleanup_(buf_clear) struct buf message = {};
	struct toml_error error;
	struct reader reader;

	if (toml_parse(text, len, &root, &error) < 0) {
		buf_addf(&message, "this is not valid TOML: %s", error.message);
		diagnostics_add(diags, SEVERITY_ERROR, error.line, error.column, message.data);
		return;
	}
	reader = (struct reader){.root = root, .config = config, .diags = diags};
	warn_unknown_keys(diags, root, known_keys, ARRAY_LEN(known_keys));
	read_region(&reader);
	read_roles(&reader);
	read_public_pools(&reader);
	read_machine_pool(&reader);
	read_public_interface(&reader);
	read_nameservers(&reader);
	read_max_flows(&reader);
	read_log_level(&reader);
	read_host_name(&reader);
	read_store(&reader);
	read_underlay(&reader);
	read_mesh(&reader);
}

int host_config_parse(struct host_config *out, const char *text, size_t len, const char *file_name,
	struct diagnostics *diags)
{
	_cleanup_(host_config_clear) struct host_config config = defaults();

	diags->file_name = text_copy(file_name);
	read_all(&config, text, len, diags);
	diagnostics_finish(diags);
	if (diagnostics_count(diags, SEVERITY_ERROR))
		return -EINVAL;
	*out = config;
	config = (struct host_config){};
	return 0;
}

int host_config_load(struct host_config *out, const char *path, struct diagnostics *diags)
{
	_free_ char *text = NULL;
	struct err err = {};
	size_t len = 0;
	int r = file_read(path, CONFIG_MAX_BYTES, &text, &len, &err);

	if (r < 0 && r != -ENOENT) {
		diags->file_name = text_copy(path);
		diagnostics_add(diags, SEVERITY_ERROR, 0, 0, err.text);
		return -EINVAL;
	}
	return host_config_parse(out, text ? text : "", len, path, diags);
}

void host_config_clear(struct host_config *config)
{
	free(config->region);
	free(config->public_pools);
	free(config->public_interface);
	free(config->host_name);
	free(config->store);
	free(config->etcd_ca);
	free(config->etcd_cert);
	free(config->etcd_key);
	free(config->underlay_interface);
	*config = (struct host_config){};
}

json_t *host_config_to_json(const struct host_config *config)
{
	json_t *roles = json_array(), *pools = json_array(), *nameservers = json_array(), *json;
	char text[PREFIX_TEXT_LEN];

	if (config->is_edge)
		json_array_append_new(roles, json_string("edge"));
	if (config->is_worker)
		json_array_append_new(roles, json_string("worker"));
	for (size_t i = 0; i < config->public_pool_count; i++)
		json_array_append_new(
			pools, json_string(prefix_format(&config->public_pools[i], text)));
	for (size_t i = 0; i < config->nameserver_count; i++)
		json_array_append_new(
			nameservers, json_string(addr_format(&config->nameservers[i], text)));
	json = json_pack("{s:s, s:o, s:o, s:s, s:s?, s:o, s:I, s:s}", "region", config->region,
		"roles", roles, "public_pools", pools, "machine_pool",
		prefix_format(&config->machine_pool, text), "public_interface",
		config->public_interface, "nameservers", nameservers, "max_flows",
		(json_int_t)config->max_flows, "log_level", log_level_names[config->log_level]);
	json_object_set_new(json, "host_name", json_string(config->host_name));
	json_object_set_new(json, "store", json_string(config->store));
	json_object_set_new(
		json, "underlay", json_string(config->is_plain ? "plain" : "wireguard"));
	json_object_set_new(
		json, "mesh_pool", json_string(prefix_format(&config->mesh_pool, text)));
	json_object_set_new(json, "mesh_port", json_integer(config->mesh_port));
	json_object_set_new(json, "flow_idle", json_integer(config->flow_idle_s));
	return json;
}
