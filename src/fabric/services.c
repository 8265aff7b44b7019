/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services and public addresses in the maps. The wanted entries are worked out whole, compared
 * with the shadow, and the differences written: first what readers need to find the new services
 * (tables, block sizes), then the services, then what nobody needs any more is taken away.
 */
#include "fabric/tables.h"

#include "base/err.h"
#include "fabric/ports.h"

#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

/* In the order of their bytes. */
static int compare_services(const void *a, const void *b)
{
	uint64_t left, right;

	memcpy(&left, a, sizeof(left));
	memcpy(&right, b, sizeof(right));
	left = be64toh(left);
	right = be64toh(right);
	return left < right ? -1 : left > right;
}
_Static_assert(sizeof(struct wherry_service_key) == sizeof(uint64_t), "compared as one word");

static int compare_addresses(const void *a, const void *b)
{
	uint32_t left, right;

	memcpy(&left, a, sizeof(left));
	memcpy(&right, b, sizeof(right));
	left = ntohl(left);
	right = ntohl(right);
	return left < right ? -1 : left > right;
}

/* Room for one more: arrays double at powers of two. Never leaves NULL, which qsort() refuses. */
static int make_room(void **array, size_t count, size_t size)
{
	void *larger;

	if (count & (count - 1))
		return 0;
	larger = realloc(*array, (count ? count * 2 : 1) * size);
	if (!larger)
		return -ENOMEM;
	*array = larger;
	return 0;
}

static int load_service(void *arg, const void *key, const void *value)
{
	struct fabric *fabric = arg;
	struct service_entry *entry;
	int r = make_room(
		(void **)&fabric->services, fabric->service_count, sizeof(*fabric->services));

	if (r < 0)
		return r;
	entry = &fabric->services[fabric->service_count++];
	memcpy(&entry->key, key, sizeof(entry->key));
	memcpy(&entry->value, value, sizeof(entry->value));
	entry->value.flags &= ~(uint32_t)WHERRY_SERVICE_HAS_OUTFLOWS;
	return 0;
}

static int load_services(struct fabric *fabric)
{
	int r = make_room((void **)&fabric->services, 0, sizeof(*fabric->services));

	if (r == 0)
		r = map_each(fabric->maps[MAP_SERVICES], sizeof(struct wherry_service_key),
			sizeof(struct wherry_service), load_service, fabric);
	if (r < 0)
		return r;
	qsort(fabric->services, fabric->service_count, sizeof(*fabric->services), compare_services);
	return 0;
}

static int load_address(void *arg, const void *key, const void *value)
{
	struct fabric *fabric = arg;
	struct address_entry *entry;
	int r = make_room(
		(void **)&fabric->addresses, fabric->address_count, sizeof(*fabric->addresses));

	if (r < 0)
		return r;
	entry = &fabric->addresses[fabric->address_count++];
	memcpy(&entry->addr, key, sizeof(entry->addr));
	memcpy(&entry->value, value, sizeof(entry->value));
	entry->value.udp_port_bits &= ~WHERRY_ADDRESS_HAS_OUTFLOWS;
	return 0;
}

static int load_addresses(struct fabric *fabric)
{
	int r = make_room((void **)&fabric->addresses, 0, sizeof(*fabric->addresses));

	if (r == 0)
		r = map_each(fabric->maps[MAP_ADDRESSES], sizeof(__be32),
			sizeof(struct wherry_address), load_address, fabric);
	if (r < 0)
		return r;
	qsort(fabric->addresses, fabric->address_count, sizeof(*fabric->addresses),
		compare_addresses);
	return 0;
}

int services_load(struct fabric *fabric, struct err *err)
{
	int r = load_services(fabric);

	if (r == 0)
		r = load_addresses(fabric);
	if (r < 0)
		return err_errno(err, r, "cannot read the maps of services");
	return tables_load(fabric, err);
}

const struct service_entry *services_find(
	const struct fabric *fabric, const struct wherry_service_key *key)
{
	return bsearch(key, fabric->services, fabric->service_count, sizeof(*fabric->services),
		compare_services);
}

static struct wherry_service_key service_key(
	const struct fabric_service *service, struct port_block block)
{
	struct wherry_service_key key = {
		.addr = addr_v4_be(&service->addr),
		.port = htons(block.port),
		.protocol = (uint8_t)service->protocol,
		.port_bits = block.bits,
	};

	return key;
}

/*
 * The state of a group that this process has not seen: as its services in the maps have it, unless
 * their table is another group's, from which the service comes.
 */
static struct group_state *adopt_group(
	struct fabric *fabric, const char *name, const struct fabric_service *service)
{
	struct port_block blocks[PORTS_MAX_BLOCKS];

	if (service && ports_split(service->range.first, service->range.last, blocks) > 0) {
		struct wherry_service_key key = service_key(service, blocks[0]);
		const struct service_entry *known = services_find(fabric, &key);

		if (known && !(known->value.table && tables_is_owned(fabric, known->value.table)))
			return tables_add_group(
				fabric, name, known->value.table, known->value.slot);
	}
	return tables_add_group(fabric, name, 0, (struct wherry_slot){});
}

/* The state of each group, by its place among the fabric's, and a service to know it by. */
struct group_use {
	size_t state;
	const struct fabric_service *service;
};

static int choose_tables(struct fabric *fabric, const struct fabric_group *groups,
	struct group_use *uses, size_t group_count, struct err *err)
{
	const size_t known_count = fabric->group_count;

	tables_sort_groups(fabric);
	for (size_t i = 0; i < known_count; i++)
		fabric->groups[i].is_wanted = false;
	for (size_t i = 0; i < group_count; i++) {
		struct group_state *state = tables_find_group(fabric, known_count, groups[i].name);
		int r;

		if (!state)
			state = adopt_group(fabric, groups[i].name, uses[i].service);
		if (!state)
			return err_errno(err, -ENOMEM, "cannot update the groups");
		uses[i].state = (size_t)(state - fabric->groups);
		state->is_wanted = true;
		r = tables_update_group(fabric, state, &groups[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What was chosen is put into the maps in any case: the states say that it is there. */
static int update_groups(struct fabric *fabric, const struct fabric_group *groups,
	struct group_use *uses, size_t group_count, struct err *err)
{
	const int r = choose_tables(fabric, groups, uses, group_count, err);
	const int flushed = tables_flush(fabric, r < 0 ? NULL : err);

	return r < 0 ? r : flushed;
}

static struct address_entry *find_address(
	struct address_entry *addresses, size_t count, __be32 addr)
{
	return bsearch(&addr, addresses, count, sizeof(*addresses), compare_addresses);
}

/* What the maps should hold, sorted. */
struct wanted {
	struct service_entry *services;
	size_t service_count;
	struct address_entry *addresses;
	size_t address_count;
};

static void wanted_clear(struct wanted *wanted)
{
	free(wanted->services);
	free(wanted->addresses);
}

static void add_blocks(const struct group_state *state, struct wanted *wanted,
	const struct fabric_service *service)
{
	struct address_entry *address =
		find_address(wanted->addresses, wanted->address_count, addr_v4_be(&service->addr));
	struct port_block blocks[PORTS_MAX_BLOCKS];
	size_t count = ports_split(service->range.first, service->range.last, blocks);

	for (size_t i = 0; i < count; i++) {
		wanted->services[wanted->service_count++] = (struct service_entry){
			.key = service_key(service, blocks[i]),
			.value = {.slot = state->slot,
				.table = state->table,
				.flags = service->is_by_client ? WHERRY_SERVICE_BY_CLIENT : 0},
		};
		if (address && service->protocol == PROTOCOL_UDP)
			address->value.udp_port_bits |= 1U << blocks[i].bits;
		else if (address)
			address->value.tcp_port_bits |= 1U << blocks[i].bits;
	}
}

static void build_addresses(
	struct wanted *wanted, const struct fabric_address *addrs, size_t addr_count)
{
	struct address_entry *entries = wanted->addresses, *last = NULL;

	for (size_t i = 0; i < addr_count; i++) {
		entries[i].addr = addr_v4_be(&addrs[i].addr);
		entries[i].value.app = addrs[i].app ? app_hash(addrs[i].app) : 0;
	}
	qsort(entries, addr_count, sizeof(*entries), compare_addresses);
	/* An address that apps share may be given by each of them; it is nobody's then. */
	for (size_t i = 0; i < addr_count; i++) {
		if (last && entries[i].addr == last->addr) {
			if (entries[i].value.app != last->value.app)
				last->value.app = 0;
			continue;
		}
		last = &entries[wanted->address_count++];
		*last = entries[i];
	}
}

static int build_wanted(struct fabric *fabric, struct wanted *wanted, const struct group_use *uses,
	const struct fabric_service *services, size_t service_count,
	const struct fabric_address *addrs, size_t addr_count)
{
	struct port_block blocks[PORTS_MAX_BLOCKS];
	size_t blocks_total = 0;

	for (size_t i = 0; i < service_count; i++)
		blocks_total +=
			ports_split(services[i].range.first, services[i].range.last, blocks);
	wanted->services = calloc(blocks_total + 1, sizeof(*wanted->services));
	wanted->addresses = calloc(addr_count + 1, sizeof(*wanted->addresses));
	if (!wanted->services || !wanted->addresses)
		return -ENOMEM;
	build_addresses(wanted, addrs, addr_count);
	for (size_t i = 0; i < service_count; i++)
		add_blocks(&fabric->groups[uses[services[i].group].state], wanted, &services[i]);
	qsort(wanted->services, wanted->service_count, sizeof(*wanted->services), compare_services);
	return 0;
}

/*
 * Walks over the shadow along with the wanted entries, both sorted: the known entry with @key, or
 * NULL. @place goes on from call to call.
 */
static const struct service_entry *next_service(
	const struct fabric *fabric, size_t *place, const struct wherry_service_key *key)
{
	int order = 1;

	while (*place < fabric->service_count &&
		(order = compare_services(&fabric->services[*place].key, key)) < 0)
		(*place)++;
	return *place < fabric->service_count && order == 0 ? &fabric->services[*place] : NULL;
}

static const struct address_entry *next_address(
	const struct fabric *fabric, size_t *place, __be32 addr)
{
	int order = 1;

	while (*place < fabric->address_count &&
		(order = compare_addresses(&fabric->addresses[*place].addr, &addr)) < 0)
		(*place)++;
	return *place < fabric->address_count && order == 0 ? &fabric->addresses[*place] : NULL;
}

/* The programs' own flag stays. One that they set in this very moment they set again. */
static int put_address(
	struct fabric *fabric, __be32 addr, const struct wherry_address *wanted, bool is_known)
{
	struct wherry_address value = *wanted, there = {};

	if (is_known && bpf_map_lookup_elem(fabric->maps[MAP_ADDRESSES], &addr, &there) == 0)
		value.udp_port_bits |= there.udp_port_bits & WHERRY_ADDRESS_HAS_OUTFLOWS;
	return bpf_map_update_elem(fabric->maps[MAP_ADDRESSES], &addr, &value, BPF_ANY) < 0 ? -errno
											    : 0;
}

/*
 * Block sizes only ever grow here and shrink when @is_final, after the services went: a reader that
 * finds a service must have been able to look for it.
 */
static int put_addresses(
	struct fabric *fabric, const struct wanted *wanted, bool is_final, struct err *err)
{
	size_t place = 0;
	int r;

	for (size_t i = 0; i < wanted->address_count; i++) {
		const struct address_entry *entry = &wanted->addresses[i];
		const struct address_entry *known = next_address(fabric, &place, entry->addr);
		struct wherry_address value = entry->value;

		if (known && !is_final) {
			value.udp_port_bits |= known->value.udp_port_bits;
			value.tcp_port_bits |= known->value.tcp_port_bits;
		}
		if (known && memcmp(&known->value, &value, sizeof(value)) == 0)
			continue;
		r = put_address(fabric, entry->addr, &value, known);
		if (r == -E2BIG)
			return err_set(err, -ENOSPC,
				"the data plane holds its %d public addresses already; release "
				"one first",
				WHERRY_MAX_ADDRESSES);
		if (r < 0)
			return err_errno(err, r, "cannot write a public address");
	}
	return 0;
}

/* Likewise. */
static int put_service(struct fabric *fabric, const struct wherry_service_key *key,
	const struct wherry_service *wanted, bool is_known)
{
	struct wherry_service value = *wanted, there = {};

	if (is_known && bpf_map_lookup_elem(fabric->maps[MAP_SERVICES], key, &there) == 0)
		value.flags |= there.flags & WHERRY_SERVICE_HAS_OUTFLOWS;
	return bpf_map_update_elem(fabric->maps[MAP_SERVICES], key, &value, BPF_ANY) < 0 ? -errno
											 : 0;
}

static int put_services(struct fabric *fabric, const struct wanted *wanted, struct err *err)
{
	size_t place = 0;
	int r;

	for (size_t i = 0; i < wanted->service_count; i++) {
		const struct service_entry *entry = &wanted->services[i];
		const struct service_entry *known = next_service(fabric, &place, &entry->key);

		if (known && memcmp(&known->value, &entry->value, sizeof(known->value)) == 0)
			continue;
		r = put_service(fabric, &entry->key, &entry->value, known);
		if (r == -E2BIG)
			return err_set(err, -ENOSPC,
				"the data plane holds its %d port blocks already; release a "
				"service first",
				WHERRY_MAX_SERVICES);
		if (r < 0)
			return err_errno(err, r, "cannot write a service");
	}
	return 0;
}

static void take_away(struct fabric *fabric, const struct wanted *wanted)
{
	const struct fabric now = {
		.services = wanted->services,
		.service_count = wanted->service_count,
		.addresses = wanted->addresses,
		.address_count = wanted->address_count,
	};
	size_t place = 0;

	for (size_t i = 0; i < fabric->service_count; i++)
		if (!next_service(&now, &place, &fabric->services[i].key))
			bpf_map_delete_elem(fabric->maps[MAP_SERVICES], &fabric->services[i].key);
	place = 0;
	for (size_t i = 0; i < fabric->address_count; i++)
		if (!next_address(&now, &place, fabric->addresses[i].addr))
			bpf_map_delete_elem(
				fabric->maps[MAP_ADDRESSES], &fabric->addresses[i].addr);
}

/* After a failure the maps hold some of both: what is there is read again. */
static int reload_shadow(struct fabric *fabric)
{
	free(fabric->services);
	free(fabric->addresses);
	fabric->services = NULL;
	fabric->addresses = NULL;
	fabric->service_count = fabric->address_count = 0;
	return services_load(fabric, NULL);
}

int fabric_apply(struct fabric *fabric, const struct fabric_group *groups, size_t group_count,
	const struct fabric_service *services, size_t service_count,
	const struct fabric_address *addrs, size_t addr_count, struct err *err)
{
	_cleanup_(wanted_clear) struct wanted wanted = {};
	_free_ struct group_use *uses = calloc(group_count + 1, sizeof(*uses));
	int r;

	if (!uses)
		return err_errno(err, -ENOMEM, "cannot update the services");
	for (size_t i = service_count; i > 0; i--)
		uses[services[i - 1].group].service = &services[i - 1];
	r = update_groups(fabric, groups, uses, group_count, err);
	if (r < 0)
		return r;
	r = build_wanted(fabric, &wanted, uses, services, service_count, addrs, addr_count);
	if (r < 0)
		return err_errno(err, r, "cannot update the services");
	r = put_addresses(fabric, &wanted, false, err);
	if (r == 0)
		r = put_services(fabric, &wanted, err);
	if (r < 0) {
		reload_shadow(fabric);
		return r;
	}
	take_away(fabric, &wanted);
	r = put_addresses(fabric, &wanted, true, err);
	if (r < 0) {
		reload_shadow(fabric);
		return r;
	}
	tables_drop_unwanted(fabric);
	free(fabric->services);
	free(fabric->addresses);
	fabric->services = take_ptr(wanted.services);
	fabric->service_count = wanted.service_count;
	fabric->addresses = take_ptr(wanted.addresses);
	fabric->address_count = wanted.address_count;
	return 0;
}

int services_forget_machine(struct fabric *fabric, uint16_t index, bool is_all, struct err *err)
{
	int r = tables_forget_machine(fabric, index, is_all, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < fabric->service_count; i++) {
		struct service_entry *entry = &fabric->services[i];
		struct wherry_service value = entry->value;

		value.slot = tables_without(value.slot, index, is_all);
		if (memcmp(&value.slot, &entry->value.slot, sizeof(value.slot)) == 0)
			continue;
		r = put_service(fabric, &entry->key, &value, true);
		if (r < 0)
			return err_errno(err, r, "cannot take a machine out of a service");
		entry->value = value;
	}
	return 0;
}
