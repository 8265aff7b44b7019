/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backend groups in the maps; see tables.h. The kernel's copy of a table is the only one: it is
 * read back when the group changes, which is rare, instead of being held for every group.
 */
#include "fabric/tables.h"

#include "base/err.h"
#include "fabric/maglev.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE_BYTES (WHERRY_MAGLEV_SLOTS * sizeof(struct wherry_slot))

static int compare_groups(const void *a, const void *b)
{
	const struct group_state *left = a, *right = b;

	return strcmp(left->name, right->name);
}

void tables_sort_groups(struct fabric *fabric)
{
	if (fabric->group_count)
		qsort(fabric->groups, fabric->group_count, sizeof(*fabric->groups), compare_groups);
}

struct group_state *tables_find_group(struct fabric *fabric, size_t sorted_count, const char *name)
{
	const struct group_state wanted = {.name = (char *)(uintptr_t)name};

	if (!sorted_count)
		return NULL;
	return bsearch(
		&wanted, fabric->groups, sorted_count, sizeof(*fabric->groups), compare_groups);
}

struct group_state *tables_add_group(
	struct fabric *fabric, const char *name, uint32_t table, struct wherry_slot slot)
{
	struct group_state *state;
	size_t room = fabric->group_room * 2 + 16;

	if (fabric->group_count == fabric->group_room) {
		struct group_state *groups = realloc(fabric->groups, room * sizeof(*groups));

		if (!groups)
			return NULL;
		fabric->groups = groups;
		fabric->group_room = room;
	}
	state = &fabric->groups[fabric->group_count];
	*state = (struct group_state){.name = strdup(name), .table = table, .slot = slot};
	if (!state->name)
		return NULL;
	fabric->group_count++;
	return state;
}

bool tables_is_owned(const struct fabric *fabric, uint32_t table)
{
	for (size_t i = 0; i < fabric->group_count; i++)
		if (fabric->groups[i].table == table)
			return true;
	return false;
}

/*
 * Opens the inner map behind @table. The noted id is that of no map when a daemon died between
 * the note and the deed; ids do not come again.
 */
static int open_table(const struct fabric *fabric, uint32_t table)
{
	uint32_t id = fabric->table_ids[table];
	int fd = id ? bpf_map_get_fd_by_id(id) : -1;

	if (fd >= 0)
		return fd;
	if (bpf_map_lookup_elem(fabric->maps[MAP_TABLES], &table, &id) < 0)
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : fd;
}

static int note_table(struct fabric *fabric, uint32_t table, uint32_t id)
{
	if (bpf_map_update_elem(fabric->maps[MAP_TABLE_IDS], &table, &id, BPF_ANY) < 0)
		return -errno;
	fabric->table_ids[table] = id;
	return 0;
}

/* An entry of an array map takes a multiple of 8 bytes. */
struct cell {
	uint32_t slot;
	uint32_t unused;
};

#define CELLS_BYTES (WHERRY_MAGLEV_SLOTS * sizeof(struct cell))

static int map_cells(int fd, int protection, struct cell **out)
{
	void *cells = mmap(NULL, CELLS_BYTES, protection, MAP_SHARED, fd, 0);

	if (cells == MAP_FAILED)
		return -errno;
	*out = cells;
	return 0;
}

int tables_read(const struct fabric *fabric, uint32_t table, struct wherry_slot *slots)
{
	_close_ int fd = open_table(fabric, table);
	struct cell *cells = NULL;
	int r = fd < 0 ? fd : map_cells(fd, PROT_READ, &cells);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < WHERRY_MAGLEV_SLOTS; i++)
		memcpy(&slots[i], &cells[i].slot, sizeof(slots[i]));
	munmap(cells, CELLS_BYTES);
	return 0;
}

/* The bits that are set, as indexes. */
static int list_bits(const uint8_t *bits, uint16_t **out, size_t *count)
{
	uint16_t *list;
	size_t n = 0;

	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		n += bits[i];
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	n = 0;
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		if (bits[i])
			list[n++] = (uint16_t)i;
	*out = list;
	*count = n;
	return 0;
}

static void forget_use(struct table_use *use)
{
	free(use->machines);
	free(use->formers);
	*use = (struct table_use){};
}

static int note_use(struct table_use *use, const struct wherry_slot *slots)
{
	_free_ uint8_t *bits = calloc(2, WHERRY_MAX_MACHINES);
	int r;

	forget_use(use);
	if (!bits)
		return -ENOMEM;
	for (uint32_t i = 0; i < WHERRY_MAGLEV_SLOTS; i++) {
		bits[slots[i].machine] = 1;
		bits[WHERRY_MAX_MACHINES + slots[i].former] = 1;
	}
	r = list_bits(bits, &use->machines, &use->machine_count);
	if (r == 0)
		r = list_bits(bits + WHERRY_MAX_MACHINES, &use->formers, &use->former_count);
	use->is_known = r == 0;
	return r;
}

const struct table_use *tables_use(struct fabric *fabric, uint32_t table)
{
	struct table_use *use = &fabric->table_uses[table];
	_free_ struct wherry_slot *slots = NULL;

	if (use->is_known)
		return use;
	slots = malloc(TABLE_BYTES);
	if (!slots || tables_read(fabric, table, slots) < 0 || note_use(use, slots) < 0)
		return NULL;
	return use;
}

static int compare_indexes(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

bool tables_has(const uint16_t *list, size_t count, uint16_t index)
{
	return count && bsearch(&index, list, count, sizeof(*list), compare_indexes);
}

void tables_unload(struct fabric *fabric)
{
	for (uint32_t i = 0; fabric->table_uses && i < WHERRY_MAX_TABLES; i++)
		forget_use(&fabric->table_uses[i]);
	free(fabric->table_uses);
}

/* Word by word, as readers may be there. */
static int fill_table(int fd, const struct wherry_slot *slots)
{
	struct cell *cells = NULL;
	int r = map_cells(fd, PROT_READ | PROT_WRITE, &cells);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < WHERRY_MAGLEV_SLOTS; i++) {
		uint32_t slot;

		memcpy(&slot, &slots[i], sizeof(slot));
		__atomic_store_n(&cells[i].slot, slot, __ATOMIC_RELAXED);
	}
	munmap(cells, CELLS_BYTES);
	return 0;
}

/* What its table was made of is no longer what it is: the next fabric_apply() looks at it again. */
static void forget_machines(struct group_state *state)
{
	free(state->machines);
	state->machines = NULL;
	state->machine_count = 0;
}

/*
 * A new inner map for @table, to take the old one's place with tables_flush(). Many at once,
 * because the kernel waits a grace period, some 10 ms, for each call that writes into a map of
 * maps.
 */
static int replace_table(struct fabric *fabric, uint32_t table, const struct wherry_slot *slots,
	struct wherry_slot slot_before)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "wherry_maglev", sizeof(uint32_t),
		sizeof(struct wherry_slot), WHERRY_MAGLEV_SLOTS, &opts);
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	int r;

	if (fd < 0)
		return fd;
	forget_use(&fabric->table_uses[table]);
	r = fill_table(fd, slots);
	if (r < 0)
		return r;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	fabric->new_tables[fabric->new_table_count++] = (struct new_table){
		.table = table,
		.id_before = fabric->table_ids[table],
		.slot_before = slot_before,
		.fd = take_fd(fd),
	};
	fabric->table_ids[table] = info.id;
	return 0;
}

/* Kernels before 5.19 have no batches of such maps. Returns how many took their places. */
static uint32_t put_tables(struct fabric *fabric, int *r)
{
	uint32_t keys[NEW_TABLES_MAX], count = (uint32_t)fabric->new_table_count, done = 0;
	int fds[NEW_TABLES_MAX];

	for (uint32_t i = 0; i < count; i++) {
		keys[i] = fabric->new_tables[i].table;
		fds[i] = fabric->new_tables[i].fd;
	}
	if (count > 1) {
		done = count;
		if (bpf_map_update_batch(fabric->maps[MAP_TABLES], keys, fds, &done, NULL) == 0)
			return count;
		if (done >= count) /* not said */
			done = 0;
	}
	for (*r = 0; done < count; done++)
		if (bpf_map_update_elem(
			    fabric->maps[MAP_TABLES], &keys[done], &fds[done], BPF_ANY) < 0) {
			*r = -errno;
			break;
		}
	return done;
}

/* It did not take its place: the group is as it was, and is looked at again. */
static void take_back(struct fabric *fabric, const struct new_table *new_table)
{
	note_table(fabric, new_table->table, new_table->id_before);
	forget_use(&fabric->table_uses[new_table->table]);
	for (size_t i = 0; i < fabric->group_count; i++) {
		struct group_state *state = &fabric->groups[i];

		if (state->table != new_table->table)
			continue;
		forget_machines(state);
		if (!new_table->id_before) {
			state->table = 0;
			state->slot = new_table->slot_before;
		}
	}
}

int tables_flush(struct fabric *fabric, struct err *err)
{
	uint32_t done = 0;
	int r = 0;

	if (!fabric->new_table_count)
		return 0;
	/* Noted first: a table that nobody knows of would be nobody's to remove. */
	for (size_t i = 0; i < fabric->new_table_count && r == 0; i++) {
		const uint32_t table = fabric->new_tables[i].table;

		r = note_table(fabric, table, fabric->table_ids[table]);
	}
	if (r == 0)
		done = put_tables(fabric, &r);
	for (uint32_t i = 0; i < fabric->new_table_count; i++) {
		if (i >= done)
			take_back(fabric, &fabric->new_tables[i]);
		close(fabric->new_tables[i].fd);
	}
	fabric->new_table_count = 0;
	return r < 0 ? err_errno(err, r, "cannot replace the tables of groups") : 0;
}

static uint32_t free_table(const struct fabric *fabric)
{
	for (uint32_t i = 1; i < WHERRY_MAX_TABLES; i++)
		if (!fabric->table_ids[i])
			return i;
	return 0;
}

/* What becomes of an entry that @next owns from now on. */
static struct wherry_slot hand_on(
	const struct fabric *fabric, struct wherry_slot before, uint16_t next)
{
	struct wherry_slot after = {.machine = next};

	if (before.machine == next)
		after.former = before.former;
	else if (before.machine && machine_is_known(fabric, before.machine))
		after.former = before.machine;
	else if (before.former != next)
		after.former = before.former;
	return after;
}

static int find_machines(const struct fabric *fabric, const struct fabric_group *group,
	uint16_t **out, struct err *err)
{
	_free_ uint16_t *machines = calloc(group->machine_count + 1, sizeof(*machines));

	if (!machines)
		return err_errno(err, -ENOMEM, "cannot update the group %s", group->name);
	for (size_t i = 0; i < group->machine_count; i++) {
		machines[i] = machine_index(fabric, group->machine_ids[i]);
		if (!machines[i])
			return err_set(err, -EINVAL, "machine %s of the group %s is not known",
				group->machine_ids[i], group->name);
	}
	qsort(machines, group->machine_count, sizeof(*machines), compare_indexes);
	*out = take_ptr(machines);
	return 0;
}

static bool has_former(const struct wherry_slot *slots)
{
	for (uint32_t i = 0; i < WHERRY_MAGLEV_SLOTS; i++)
		if (slots[i].former)
			return true;
	return false;
}

static int choose_entries(const struct fabric *fabric, const uint16_t *machines, size_t count,
	const struct wherry_slot *before, struct wherry_slot *after)
{
	_free_ uint16_t *owners = calloc(WHERRY_MAGLEV_SLOTS, sizeof(*owners));
	_free_ struct maglev_backend *backends = calloc(count + 1, sizeof(*backends));
	int r;

	if (!owners || !backends)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		backends[i] = (struct maglev_backend){
			.name = fabric->machines[machines[i]].id,
			.value = machines[i],
		};
	r = maglev_fill(owners, WHERRY_MAGLEV_SLOTS, backends, count);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < WHERRY_MAGLEV_SLOTS; i++)
		after[i] = hand_on(fabric, before[i], owners[i]);
	return 0;
}

static int update_table(
	struct fabric *fabric, struct group_state *state, const uint16_t *machines, size_t count)
{
	_free_ struct wherry_slot *before = malloc(TABLE_BYTES), *after = malloc(TABLE_BYTES);
	uint32_t table = state->table;
	int r;

	if (!before || !after)
		return -ENOMEM;
	for (uint32_t i = 0; i < WHERRY_MAGLEV_SLOTS; i++)
		before[i] = state->slot;
	if (table && (r = tables_read(fabric, table, before)) < 0)
		return r;
	r = choose_entries(fabric, machines, count, before, after);
	if (r < 0)
		return r;
	if (count <= 1 && !has_former(after)) {
		/* One machine and no history: a slot says it all. The table goes later. */
		state->table = 0;
		state->slot = after[0];
		return 0;
	}
	if (!table)
		table = free_table(fabric);
	if (!table)
		return -ENOSPC;
	if (state->table != table || memcmp(before, after, TABLE_BYTES) != 0)
		r = replace_table(fabric, table, after, state->slot);
	if (r < 0)
		return r;
	state->table = table;
	state->slot = (struct wherry_slot){};
	return 0;
}

int tables_update_group(struct fabric *fabric, struct group_state *state,
	const struct fabric_group *group, struct err *err)
{
	_free_ uint16_t *machines = NULL;
	size_t count = group->machine_count;
	int r = find_machines(fabric, group, &machines, err);

	if (r < 0)
		return r;
	if (state->machines && state->machine_count == count &&
		memcmp(state->machines, machines, count * sizeof(*machines)) == 0)
		return 0;
	if (count <= 1 && !state->table)
		state->slot = hand_on(fabric, state->slot, count ? machines[0] : 0);
	else
		r = update_table(fabric, state, machines, count);
	if (r < 0)
		return err_errno(
			err, r, "cannot spread the group %s over its machines", group->name);
	free(state->machines);
	state->machines = take_ptr(machines);
	state->machine_count = count;
	return fabric->new_table_count < NEW_TABLES_MAX ? 0 : tables_flush(fabric, err);
}

struct wherry_slot tables_without(struct wherry_slot slot, uint16_t index, bool is_all)
{
	if (slot.former == index)
		slot.former = 0;
	if (is_all && slot.machine == index)
		slot.machine = 0;
	return slot;
}

int tables_load(struct fabric *fabric, struct err *err)
{
	for (uint32_t table = 1; table < WHERRY_MAX_TABLES; table++)
		if (bpf_map_lookup_elem(
			    fabric->maps[MAP_TABLE_IDS], &table, &fabric->table_ids[table]) < 0)
			return err_errno(err, -errno, "cannot read the map of tables");
	return 0;
}

/* Returns 1 when it was there. */
static int forget_in_table(struct fabric *fabric, uint32_t table, uint16_t index, bool is_all)
{
	_free_ struct wherry_slot *slots = NULL;
	const struct table_use *use = tables_use(fabric, table);
	_close_ int fd = -1;
	int r;

	if (use && !tables_has(use->formers, use->former_count, index) &&
		!(is_all && tables_has(use->machines, use->machine_count, index)))
		return 0;
	fd = open_table(fabric, table);
	if (fd < 0)
		return fd;
	slots = malloc(TABLE_BYTES);
	if (!slots)
		return -ENOMEM;
	r = tables_read(fabric, table, slots);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < WHERRY_MAGLEV_SLOTS; i++)
		slots[i] = tables_without(slots[i], index, is_all);
	forget_use(&fabric->table_uses[table]);
	/* Entry by entry in place: each is one word, and no reader has to wait. */
	r = fill_table(fd, slots);
	if (r == 0)
		r = note_use(&fabric->table_uses[table], slots);
	return r < 0 ? r : 1;
}

int tables_forget_machine(struct fabric *fabric, uint16_t index, bool is_all, struct err *err)
{
	/* All tables, not those of known groups only: after a start none is known yet. */
	for (uint32_t table = 1; table < WHERRY_MAX_TABLES; table++) {
		int r = fabric->table_ids[table] ? forget_in_table(fabric, table, index, is_all)
						 : 0;

		if (r < 0)
			return err_errno(err, r, "cannot take a machine out of table %u", table);
		for (size_t i = 0; r > 0 && i < fabric->group_count; i++)
			if (fabric->groups[i].table == table)
				forget_machines(&fabric->groups[i]);
	}
	for (size_t i = 0; i < fabric->group_count; i++) {
		struct group_state *state = &fabric->groups[i];

		state->slot = tables_without(state->slot, index, is_all);
		if (is_all && tables_has(state->machines, state->machine_count, index))
			forget_machines(state);
	}
	return 0;
}

void tables_drop_unwanted(struct fabric *fabric)
{
	uint8_t wanted[WHERRY_MAX_TABLES] = {};
	size_t kept = 0;

	for (size_t i = 0; i < fabric->group_count; i++) {
		struct group_state *state = &fabric->groups[i];

		if (!state->is_wanted) {
			free(state->name);
			free(state->machines);
			continue;
		}
		wanted[state->table] = 1;
		fabric->groups[kept++] = *state;
	}
	fabric->group_count = kept;
	for (uint32_t table = 1; table < WHERRY_MAX_TABLES; table++) {
		if (!fabric->table_ids[table] || wanted[table])
			continue;
		forget_use(&fabric->table_uses[table]);
		if (bpf_map_delete_elem(fabric->maps[MAP_TABLES], &table) == 0 || errno == ENOENT)
			note_table(fabric, table, 0);
	}
}
