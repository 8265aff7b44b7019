/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backend groups in the maps: one slot for a group of one machine, a Maglev table for more. A
 * change keeps, for every entry that gets another machine, the machine before as the former one.
 */
#pragma once

#include "fabric/fabric_impl.h"

/* Finds out which tables are in the maps. */
int tables_load(struct fabric *fabric, struct err *err);

/* True when a known group has @table. */
bool tables_is_owned(const struct fabric *fabric, uint32_t table);

void tables_sort_groups(struct fabric *fabric);

/* The group's state by name among the first @sorted_count, or NULL. */
struct group_state *tables_find_group(struct fabric *fabric, size_t sorted_count, const char *name);

/*
 * Appends a state for @name as it is in the maps: @table and @slot are what a service of the group
 * has there now, 0 and {} for a new group. NULL: out of memory.
 */
struct group_state *tables_add_group(
	struct fabric *fabric, const char *name, uint32_t table, struct wherry_slot slot);

/*
 * Brings the group to @group's machines. Table and slot of the state are what its services must
 * have; the table, when there is one, is in the maps after tables_flush().
 */
int tables_update_group(struct fabric *fabric, struct group_state *state,
	const struct fabric_group *group, struct err *err);

/* Puts new tables into the maps. On failure groups are as they were, and are looked at again. */
int tables_flush(struct fabric *fabric, struct err *err);

/* Takes a machine out of all groups' slots and tables: as former owner and, with @is_all, as owner.
 */
int tables_forget_machine(struct fabric *fabric, uint16_t index, bool is_all, struct err *err);

/* Drops the states that are not is_wanted, and their tables; no service may use them any more. */
void tables_drop_unwanted(struct fabric *fabric);

/* The slot without @index in it: as former owner and, with @is_all, as owner. */
struct wherry_slot tables_without(struct wherry_slot slot, uint16_t index, bool is_all);

/* Reads the table's slots, WHERRY_MAGLEV_SLOTS. */
int tables_read(const struct fabric *fabric, uint32_t table, struct wherry_slot *slots);

/* What is in the table, read when it is not known yet. NULL: it cannot be read. */
const struct table_use *tables_use(struct fabric *fabric, uint32_t table);

/* True when @index is in the sorted @list. */
bool tables_has(const uint16_t *list, size_t count, uint16_t index);

void tables_unload(struct fabric *fabric);
