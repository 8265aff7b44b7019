/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine pool of the fleet in slices: each host has some, out of which its machines get their
 * networks, so that a packet's address says which host its machine is on. That no two hosts take
 * the same one is the catalog's to see to: a slice is a key that is made only once.
 */
#include "control/control_impl.h"

#include "base/log.h"

#include <errno.h>

#define SLICE_BITS     20 /* 4,096 addresses, 511 machines */
#define MACHINE_BITS   29
#define SLICES_IN_POOL 8 /* at least 2^8 of them, where the pool is small */

static unsigned int slice_bits(const struct prefix *pool)
{
	unsigned int bits = pool->len_bits + SLICES_IN_POOL;

	if (bits < SLICE_BITS)
		bits = SLICE_BITS;
	return bits > MACHINE_BITS ? MACHINE_BITS : bits;
}

static bool overlaps_any(const struct control *control, const struct prefix *slice)
{
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host_record *record = control->hosts[i]->record;

		for (size_t s = 0; record && s < record->slice_count; s++)
			if (prefix_contains(&record->slices[s], &slice->addr) ||
				prefix_contains(slice, &record->slices[s].addr))
				return true;
	}
	return false;
}

static int add_slice(struct host_record *record, const struct prefix *slice)
{
	struct prefix *slices =
		realloc(record->slices, (record->slice_count + 1) * sizeof(*slices));

	if (!slices)
		return -ENOMEM;
	record->slices = slices;
	slices[record->slice_count++] = *slice;
	return 0;
}

static int find_slice(const struct control *control, const struct prefix *pool, struct prefix *out)
{
	const unsigned int bits = slice_bits(pool);
	const uint64_t count = 1ULL << (bits - pool->len_bits);

	for (uint64_t i = 0; i < count; i++) {
		struct prefix slice = {
			.addr = addr_add(&pool->addr, i << (32 - bits)),
			.len_bits = (uint8_t)bits,
		};

		/* The key says it also when its host's record cannot be read. */
		if (!overlaps_any(control, &slice) && !catalog_has_slice(control, &slice)) {
			*out = slice;
			return 0;
		}
	}
	return -ENOSPC;
}

static int no_slice(const struct control *control, struct err *err)
{
	char text[PREFIX_TEXT_LEN];

	return err_set(err, -ENOSPC,
		"every part of the machine pool %s belongs to a host; remove hosts that are gone "
		"(wherry hosts remove), or enlarge machine_pool on all hosts",
		prefix_format(&control->config.machine_pool, text));
}

int slices_add(const struct control *control, struct host_record *record, struct err *err)
{
	struct prefix slice;

	if (find_slice(control, &control->config.machine_pool, &slice) < 0)
		return no_slice(control, err);
	return add_slice(record, &slice) < 0
		       ? err_errno(err, -ENOMEM, "cannot take a slice of the machine pool")
		       : 0;
}

int host_take_slice(struct control *control, struct host *host, struct err *err)
{
	struct change change = {};
	int r = slices_add(control, host->record, err);

	if (r < 0)
		return r;
	change_put_host(&change, host->record);
	r = change_commit(control, &change, err);
	if (r < 0)
		host->record->slice_count--;
	else
		fleet_update(control);
	return r;
}

int slices_adopt(struct control *control, struct host_record *record)
{
	const unsigned int bits = slice_bits(&control->config.machine_pool);
	char text[PREFIX_TEXT_LEN];

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *machine = control->machines[i];
		struct prefix slice = {
			.addr = machine->record->network.addr,
			.len_bits = (uint8_t)bits,
		};
		bool is_covered = false;

		if (machine->record->host != record->id ||
			machine->record->network.addr.family != AF_INET)
			continue;
		for (size_t s = 0; s < record->slice_count && !is_covered; s++)
			is_covered = prefix_contains(&record->slices[s], &slice.addr);
		for (unsigned int bit = bits; bit < 32; bit++)
			slice.addr.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
		if (is_covered)
			continue;
		if (!host_may_have_slice(control, record->id, &slice))
			log_error("machine-astray", "machine=%s network=%s reason=\"%s\"",
				machine->record->id, prefix_format(&machine->record->network, text),
				"its network is another host's, or not of the machine pool");
		else if (add_slice(record, &slice) < 0)
			return -ENOMEM;
	}
	return 0;
}
