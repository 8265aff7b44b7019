/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts of the fleet, and how this one becomes one of them. A host is its identity, a random
 * number in its state directory; the catalog gives it an id, from which its mesh addresses follow,
 * and slices of the machine pool. Every claim is a key that can be made only once, so that two
 * hosts that join at the same moment never get the same.
 */
#include "control/control_impl.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define ALIVE_TTL_S   10
#define JOIN_TRIES    200 /* as many hosts may start at the same moment */
#define JOIN_PAUSE_MS 50

static size_t position(const struct control *control, unsigned int id)
{
	size_t at = 0;

	while (at < control->host_count && control->hosts[at]->id < id)
		at++;
	return at;
}

struct host *host_find(const struct control *control, unsigned int id)
{
	size_t at = position(control, id);

	return at < control->host_count && control->hosts[at]->id == id ? control->hosts[at] : NULL;
}

struct host *host_find_named(const struct control *control, const char *name)
{
	char *end;
	unsigned long id = strtoul(name, &end, 10);

	for (size_t i = 0; i < control->host_count; i++)
		if (control->hosts[i]->record && strcmp(control->hosts[i]->record->name, name) == 0)
			return control->hosts[i];
	return *name && !*end && id <= HOST_ID_MAX ? host_find(control, (unsigned int)id) : NULL;
}

struct host *host_add(struct control *control, unsigned int id)
{
	size_t at = position(control, id);
	struct host **hosts, *host = host_find(control, id);

	if (host || !id)
		return host;
	hosts = realloc(control->hosts, (control->host_count + 1) * sizeof(*hosts));
	if (hosts)
		control->hosts = hosts;
	host = hosts ? calloc(1, sizeof(*host)) : NULL;
	if (!host)
		return NULL;
	host->id = id;
	memmove(&hosts[at + 1], &hosts[at], (control->host_count - at) * sizeof(*hosts));
	hosts[at] = host;
	control->host_count++;
	return host;
}

void hosts_free(struct control *control)
{
	for (size_t i = 0; i < control->host_count; i++) {
		host_record_free(control->hosts[i]->record);
		host_alive_clear(&control->hosts[i]->alive);
		json_decref(control->hosts[i]->measured);
		free(control->hosts[i]);
	}
	free(control->hosts);
}

bool host_is_reachable(const struct control *control, unsigned int id)
{
	const struct host *host = host_find(control, id);

	return id == control->host_id ||
	       (host && host->record && host->probe.state != PROBE_UNREACHABLE);
}

bool host_is_alive(const struct control *control, const struct host *host)
{
	return host->id == control->host_id || host->alive.endpoint;
}

bool host_is_down(const struct control *control, const struct host *host)
{
	return !host_is_alive(control, host) &&
	       (!host->record || host->probe.state == PROBE_UNREACHABLE);
}

const char *host_name(const struct control *control, unsigned int id)
{
	const struct host *host = host_find(control, id);

	return host && host->record ? host->record->name : "unknown";
}

/* Identity */

int host_read_identity(struct control *control, struct err *err)
{
	char path[4096], *text _cleanup_(mem_freep) = NULL;
	uint8_t bytes[(HOST_IDENTITY_LEN - 1) / 2];
	int r;

	snprintf(path, sizeof(path), "%s/identity", control->state_dir);
	r = file_read(path, 256, &text, NULL, NULL);
	if (r == 0 && strcspn(text, "\n") == HOST_IDENTITY_LEN - 1 &&
		strspn(text, "0123456789abcdef") == HOST_IDENTITY_LEN - 1) {
		memcpy(control->identity, text, HOST_IDENTITY_LEN - 1);
		return 0;
	}
	if (r != -ENOENT)
		return err_set(err, -EINVAL,
			"%s is not the identity of a host; remove it when this host is to join "
			"anew",
			path);
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_set(err, -EIO, "cannot make an identity for this host");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(control->identity + 2 * i, 3, "%02x", bytes[i]);
	return file_replace(path, control->identity, strlen(control->identity), 0600, err);
}

/* The fleet's own settings: the first host decides, the others agree. */
static int join_fleet(struct control *control, struct err *err)
{
	const struct host_config *config = &control->config;
	char ours[PREFIX_TEXT_LEN], theirs[PREFIX_TEXT_LEN];
	const struct {
		const char *key;
		const struct prefix *ours, *theirs;
	} pools[] = {
		{"machine_pool", &config->machine_pool, &control->fleet.machine_pool},
		{"mesh_pool", &config->mesh_pool, &control->fleet.mesh_pool},
	};
	struct change change = {};

	if (!control->fleet.machine_pool.len_bits || !control->is_fleet) {
		const struct fleet_record fleet = {
			.machine_pool = config->machine_pool,
			.mesh_pool = config->mesh_pool,
		};

		if (memcmp(&fleet, &control->fleet, sizeof(fleet)) == 0)
			return 0;
		control->fleet = fleet;
		change_put_fleet(&change, &fleet);
		return change_commit(control, &change, err);
	}
	for (size_t i = 0; i < ARRAY_LEN(pools); i++) {
		prefix_format(pools[i].ours, ours);
		prefix_format(pools[i].theirs, theirs);
		if (strcmp(ours, theirs) != 0)
			return err_set(err, -EINVAL,
				"%s is %s here and %s in the fleet; set %s = \"%s\" in %s",
				pools[i].key, ours, theirs, pools[i].key, theirs,
				control->config_path);
	}
	return 0;
}

/* Joining */

struct unread {
	const struct mirror *mirror;
	char key[STORE_KEY_MAX_BYTES];
};

static struct host *find_own(const struct control *control)
{
	for (size_t i = 0; i < control->host_count; i++)
		if (control->hosts[i]->record &&
			strcmp(control->hosts[i]->record->identity, control->identity) == 0)
			return control->hosts[i];
	return NULL;
}

static unsigned int free_id(const struct control *control)
{
	for (unsigned int id = 1; id <= HOST_ID_MAX; id++) {
		const struct host *host = host_find(control, id);

		if ((!host || (!host->record && !host->alive.endpoint)) &&
			!catalog_has_host(control, id))
			return id;
	}
	return 0;
}

static int find_endpoint(struct control *control, struct addr *out, struct err *err)
{
	const struct host_config *config = &control->config;
	struct host_public underlay = {};
	int r;

	if (config->endpoint.family) {
		*out = config->endpoint;
		return 0;
	}
	r = host_net_find_public(
		config->underlay_interface ? config->underlay_interface : config->public_interface,
		&underlay, err);
	if (r < 0)
		return r;
	if (underlay.addr_count)
		*out = underlay.addrs[0];
	else
		r = err_set(err, -EADDRNOTAVAIL,
			"%s has no address by which other hosts could reach this one; set endpoint "
			"in %s",
			underlay.name, control->config_path);
	if (r == 0 && config->is_plain && out->family != AF_INET)
		r = err_set(err, -EADDRNOTAVAIL,
			"%s has no IPv4 address, which underlay \"plain\" needs", underlay.name);
	host_public_clear(&underlay);
	return r;
}

static int set_text(char **field, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* What the host says of itself at each start. */
static int describe(struct control *control, struct host_record *record, struct err *err)
{
	const struct host_config *config = &control->config;
	char key_path[4096];
	int r = 0;

	if (set_text(&record->name, config->host_name) < 0 ||
		set_text(&record->region, config->region) < 0)
		return err_errno(err, -ENOMEM, "cannot join the fleet");
	strcpy(record->identity, control->identity);
	record->is_edge = config->is_edge;
	record->is_worker = config->is_worker;
	free(record->pools);
	record->pools = calloc(config->public_pool_count + 1, sizeof(*record->pools));
	if (!record->pools)
		return err_errno(err, -ENOMEM, "cannot join the fleet");
	record->pool_count = config->is_edge ? config->public_pool_count : 0;
	if (record->pool_count)
		memcpy(record->pools, config->public_pools,
			record->pool_count * sizeof(*record->pools));
	if (!control->is_fleet)
		return 0;
	r = find_endpoint(control, &record->endpoint, err);
	if (r < 0)
		return r;
	record->endpoint_port = config->is_plain ? 0 : config->mesh_port;
	record->mesh_v4 =
		config->is_plain ? record->endpoint : addr_add(&config->mesh_pool.addr, record->id);
	record->mesh_v6 = host_mesh_v6(record->id);
	if (!config->is_plain && !prefix_contains(&config->mesh_pool, &record->mesh_v4))
		return err_set(err, -ENOSPC,
			"the mesh pool has no address for host %u; enlarge mesh_pool", record->id);
	if (config->is_plain) {
		record->public_key[0] = '\0';
		return 0;
	}
	snprintf(key_path, sizeof(key_path), "%s/mesh.key", control->state_dir);
	return mesh_public_key(key_path, record->public_key, err);
}

/* Two hosts with one name, one endpoint or one mesh address would take each other's packets. */
static int check_clashes(
	const struct control *control, const struct host_record *record, struct err *err)
{
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < control->host_count; i++) {
		const struct host_record *other = control->hosts[i]->record;

		if (!other || other->id == record->id)
			continue;
		if (strcmp(other->name, record->name) == 0)
			return err_set(err, -EEXIST,
				"host %u of the fleet is called %s, too; set another host_name in "
				"%s, or remove the other one with wherry hosts remove %u",
				other->id, other->name, control->config_path, other->id);
		if (record->mesh_v4.family && addr_equal(&other->mesh_v4, &record->mesh_v4))
			return err_set(err, -EADDRINUSE,
				"host %s has the mesh address %s already; give this host another "
				"endpoint, or remove %s with wherry hosts remove",
				other->name, addr_format(&record->mesh_v4, text), other->name);
		if (record->endpoint.family && addr_equal(&other->endpoint, &record->endpoint) &&
			other->endpoint_port == record->endpoint_port)
			return err_set(err, -EADDRINUSE,
				"host %s is reached at %s as well; set endpoint in %s, or remove "
				"%s with wherry hosts remove",
				other->name, addr_format(&record->endpoint, text),
				control->config_path, other->name);
	}
	return 0;
}

static void format_endpoint(const struct host_record *record, char out[static 64])
{
	char text[ADDR_TEXT_LEN];

	snprintf(out, 64, "%s:%u", addr_format(&record->endpoint, text), record->endpoint_port);
}

/* A copy of this installation, disk and all, that lives elsewhere. */
static int check_twin(
	const struct control *control, const struct host_record *record, struct err *err)
{
	const struct host *host = host_find(control, record->id);
	char endpoint[64];

	format_endpoint(record, endpoint);
	if (!control->is_fleet || !host || !host->alive.endpoint ||
		strcmp(host->alive.endpoint, endpoint) == 0)
		return 0;
	return err_set(err, -EADDRINUSE,
		"host %u (%s) is alive at %s, and this one at %s has the same identity; if this is "
		"a copy of it, remove %s/identity and %s/mesh.key; if it moved, wait %d s",
		record->id, host->record ? host->record->name : record->name, host->alive.endpoint,
		endpoint, control->state_dir, control->state_dir, ALIVE_TTL_S);
}

static int make_alive(struct control *control, const struct host_record *record,
	struct host_alive *out, struct err *err)
{
	char endpoint[64];

	format_endpoint(record, endpoint);
	*out = (struct host_alive){
		.endpoint = strdup(endpoint),
		.version = strdup(WHERRY_VERSION),
	};
	strcpy(out->identity, control->identity);
	memcpy(out->started_at, control->started_at, sizeof(out->started_at));
	return out->endpoint && out->version ? 0 : err_errno(err, -ENOMEM, "cannot join the fleet");
}

static int keep_alive(struct control *control, const struct host *host, struct err *err)
{
	json_t *json = host_alive_to_json(&host->alive);
	char key[64], *value = json_dumps(json, JSON_COMPACT);
	int r;

	snprintf(key, sizeof(key), "host-alive/%05u", host->id);
	r = value ? store_keep_alive(control->store, key, value, ALIVE_TTL_S, err)
		  : err_errno(err, -ENOMEM, "cannot join the fleet");
	json_decref(json);
	free(value);
	return r;
}

/*
 * The sign of life is part of it: of two daemons with one identity the second finds it changed. So
 * does each of two hosts that take one name: all who join write one key.
 */
static int commit_place(struct control *control, const struct host_record *record,
	const struct host_alive *alive, bool is_changed, struct err *err)
{
	struct change change = {};

	if (is_changed)
		change_put_host(&change, record);
	change_put_alive(&change, record->id, alive);
	return change_commit(control, &change, err);
}

/* What this host's record is to be: as it is, and as it describes itself now. */
static int plan_record(struct control *control, const struct host *host, const json_t *before,
	struct host_record **out, struct err *err)
{
	_cleanup_(host_record_freep) struct host_record *record = NULL;
	int r = 0;

	if (before)
		r = host_record_from_json(before, &record, err);
	else
		record = calloc(1, sizeof(*record));
	if (!record)
		return r < 0 ? r : err_errno(err, -ENOMEM, "cannot join the fleet");
	if (!before) {
		record->id = host->id;
		clock_stamp(record->joined_at);
	}
	r = describe(control, record, err);
	/* First: a copy clashes with itself in every way. */
	if (r == 0)
		r = check_twin(control, record, err);
	if (r == 0)
		r = check_clashes(control, record, err);
	if (r == 0 && slices_adopt(control, record) < 0)
		r = err_errno(err, -ENOMEM, "cannot join the fleet");
	if (r == 0 && !record->slice_count)
		r = slices_add(control, record, err);
	if (r == 0)
		*out = take_ptr(record);
	return r;
}

/* @host is this host's entry, of an id that nobody has or that is ours. */
static int take_place(struct control *control, struct host *host, struct err *err)
{
	_cleanup_(host_record_freep) struct host_record *record = NULL;
	json_t *before = host->record ? host_record_to_json(host->record) : NULL, *after = NULL;
	struct host_alive alive = {};
	int r = plan_record(control, host, before, &record, err);

	if (r == 0)
		r = make_alive(control, record, &alive, err);
	if (r == 0) {
		after = host_record_to_json(record);
		r = commit_place(control, record, &alive, !json_equal(before, after), err);
	}
	json_decref(before);
	json_decref(after);
	if (r < 0) {
		host_alive_clear(&alive);
		return r;
	}
	host_record_free(host->record);
	host->record = take_ptr(record);
	host_alive_clear(&host->alive);
	host->alive = alive;
	control->host_id = host->id;
	return keep_alive(control, host, err);
}

/* Who cannot read which hosts there are may be one of them. */
static void note_unread(void *arg, const char *key, int64_t revision)
{
	struct unread *unread = arg;

	(void)revision;
	if (!unread->key[0] && !mirror_is_read(unread->mirror, key))
		snprintf(unread->key, sizeof(unread->key), "%s", key);
}

static int check_hosts_read(const struct control *control, struct err *err)
{
	struct unread unread = {.mirror = control->mirror};

	mirror_each(control->mirror, "hosts/", note_unread, &unread);
	if (!unread.key[0])
		return 0;
	return err_set(err, -EBADMSG,
		"the catalog holds \"%s\" in a form that this version cannot read, and it may be "
		"this host; start the version that wrote it, or repair it",
		unread.key);
}

static int try_to_join(struct control *control, struct err *err)
{
	struct host *host = find_own(control);
	int r = join_fleet(control, err);

	if (r == 0 && !host)
		r = check_hosts_read(control, err);
	if (r < 0)
		return r;
	if (!host)
		host = host_add(control, free_id(control));
	return host ? take_place(control, host, err)
		    : err_set(err, -ENOSPC, "the fleet has no id for another host");
}

/* Not all at the same moment again. */
static void pause_a_little(void)
{
	uint8_t random = 0;

	if (getrandom(&random, sizeof(random), 0) == sizeof(random))
		usleep(random % JOIN_PAUSE_MS * 1000u);
}

int host_join(struct control *control, struct err *err)
{
	/* Others may join at the same moment: who comes second reads again and takes the next. */
	int r = try_to_join(control, err);

	for (int i = 0; r == -EAGAIN && i < JOIN_TRIES; i++) {
		pause_a_little();
		r = catalog_reload(control, err);
		if (r == 0)
			r = try_to_join(control, err);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < control->machine_count; i++) {
		struct machine *machine = control->machines[i];

		machine->is_local = machine->record->host == control->host_id;
		if (!machine->is_local)
			machine_follow(machine);
	}
	log_info("joined", "host=%u name=%s region=%s", control->host_id,
		host_name(control, control->host_id), control->config.region);
	return 0;
}
