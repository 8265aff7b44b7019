/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the fabric share: the descriptors of programs and maps, and the shadows of
 * what wherryd wrote into maps, so that only differences are written again.
 */
#pragma once

#include "fabric/fabric.h"

enum fabric_program {
	PROGRAM_EDGE,
	PROGRAM_WORKER,
	PROGRAM_ACCEPT,
	PROGRAM_COUNT,
};

enum fabric_map {
	MAP_SERVICES,
	MAP_ADDRESSES,
	MAP_TABLES,
	MAP_TABLE_IDS,
	MAP_MACHINES,
	MAP_INTERFACES,
	MAP_POOLS,
	MAP_VERDICTS,
	MAP_TRAFFIC,
	MAP_COUNT,
};

struct service_entry {
	struct wherry_service_key key;
	struct wherry_service value;
};

struct address_entry {
	__be32 addr;
	struct wherry_address value;
};

/* How a group is represented in the maps, by the group's name. */
struct group_state {
	char *name;
	uint32_t table; /* 0: the slot below stands for the whole group */
	struct wherry_slot slot;
	uint16_t *machines; /* sorted indexes, what the table was made of; NULL: not known */
	size_t machine_count;
	bool is_wanted; /* scratch of fabric_apply() */
};

struct fabric {
	char *bpf_dir;
	int programs[PROGRAM_COUNT];
	int maps[MAP_COUNT];
	unsigned int cpu_count;

	struct wherry_machine *machines; /* WHERRY_MAX_MACHINES, a copy of the map */

	struct service_entry *services; /* sorted by key bytes */
	size_t service_count;
	struct address_entry *addresses; /* sorted by address bytes */
	size_t address_count;
	struct group_state *groups;
	size_t group_count, group_room;
	uint32_t *table_ids; /* WHERRY_MAX_TABLES, a copy of the map; not 0: there is a table */
};

/* Index of the machine @id, or 0. */
uint16_t machine_index(const struct fabric *fabric, const char *id);

/* Reads the machines' map into the shadow. */
int machines_load(struct fabric *fabric, struct err *err);

/* Reads services, addresses and what tables there are into the shadows. */
int services_load(struct fabric *fabric, struct err *err);

/* Takes @index out of every slot and table, as owner and as former owner. */
int services_forget_machine(struct fabric *fabric, uint16_t index, struct err *err);

/* Attaches or replaces the program on the ingress of @ifindex, pinned as @name. */
int attach_ingress(struct fabric *fabric, enum fabric_program program, unsigned int ifindex,
	const char *name, struct err *err);
void detach_ingress(struct fabric *fabric, unsigned int ifindex, const char *name);

/* Detaches everything that is pinned below @bpf_dir, and clsact filters in this namespace. */
void attach_remove_all(const char *bpf_dir);
