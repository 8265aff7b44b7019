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
	PROGRAM_MESH,	    /* for a WireGuard device */
	PROGRAM_MESH_PLAIN, /* for a device with Ethernet headers: wherry_edge goes on to it */
	PROGRAM_RESIZED,
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
	MAP_FLOWS,
	MAP_ENDPOINTS,
	MAP_HOSTS,
	MAP_APP_HOSTS,
	MAP_MESH,
	MAP_STALE,
	MAP_NEXT,
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

/* What is in a table, so that it need not be read for that. Sorted indexes. */
struct table_use {
	bool is_known;
	uint16_t *machines, *formers;
	size_t machine_count, former_count;
};

/* A table that is not in the map of tables yet. */
struct new_table {
	uint32_t table;
	uint32_t id_before;		/* of the map that it takes the place of; 0: none */
	struct wherry_slot slot_before; /* of its group, when it had no table */
	int fd;
};

#define NEW_TABLES_MAX 256

/* How many machines of an app another host has. */
struct app_host {
	struct wherry_app_host_key key;
	uint32_t count;
};

struct fabric {
	char *bpf_dir;
	int programs[PROGRAM_COUNT];
	int maps[MAP_COUNT];
	unsigned int cpu_count;

	struct wherry_machine *machines; /* WHERRY_MAX_MACHINES, a copy of the map */
	uint8_t *is_confirmed;	    /* WHERRY_MAX_MACHINES: this process has written all of it */
	uint16_t *first_of_id;	    /* WHERRY_MAX_MACHINES: by the id's hash; a list's first */
	uint16_t *next_of_id;	    /* WHERRY_MAX_MACHINES: by index; the next of the list */
	uint32_t free_from;	    /* no index below is free */
	struct app_host *app_hosts; /* a hash table of a power of two places */
	size_t app_host_count, app_host_room;

	struct wherry_mesh mesh;   /* a copy of the map */
	bool is_edge;		   /* clients come in by an interface of this host */
	unsigned int edge_ifindex; /* by this one */

	struct service_entry *services; /* sorted by key bytes */
	size_t service_count;
	struct address_entry *addresses; /* sorted by address bytes */
	size_t address_count;
	struct group_state *groups;
	size_t group_count, group_room;
	uint32_t *table_ids; /* WHERRY_MAX_TABLES, a copy of the map; not 0: there is a table */
	struct table_use *table_uses; /* WHERRY_MAX_TABLES */
	struct new_table new_tables[NEW_TABLES_MAX];
	size_t new_table_count; /* 0 but within fabric_apply() */
};

/* Index of the machine @id, or 0. */
uint16_t machine_index(const struct fabric *fabric, const char *id);

bool machine_is_known(const struct fabric *fabric, uint16_t index);

/* Reads the machines' map into the shadow. */
int machines_load(struct fabric *fabric, struct err *err);
void machines_unload(struct fabric *fabric);

/* Reads the mesh's map into the shadow. */
int mesh_load(struct fabric *fabric, struct err *err);

/* Tells the programs that clients come in by this host, or that the mesh is another. */
int mesh_write(struct fabric *fabric, struct err *err);

/* One more or one less machine of @app on the host @host. */
int app_host_add(struct fabric *fabric, uint64_t app, __be32 host);
void app_host_drop(struct fabric *fabric, uint64_t app, __be32 host);

/* Makes the map what the machines say. */
int app_hosts_load(struct fabric *fabric, struct err *err);

/* Of an app's name: never 0. The same on every host. */
uint64_t app_hash(const char *name);

/*
 * Reads a whole hash map, many entries a call where the kernel has that. Calls @fn with each.
 * Stops at what @fn returns if that is not 0.
 */
typedef int map_entry_fn(void *arg, const void *key, const void *value);
int map_each(int fd, size_t key_size, size_t value_size, map_entry_fn *fn, void *arg);

/* Reads services, addresses and what tables there are into the shadows. */
int services_load(struct fabric *fabric, struct err *err);

/* The entry of exactly this block, or NULL. */
const struct service_entry *services_find(
	const struct fabric *fabric, const struct wherry_service_key *key);

/* Takes @index out of every slot and table, as former owner and, with @is_all, as owner. */
int services_forget_machine(struct fabric *fabric, uint16_t index, bool is_all, struct err *err);

/* Attaches or replaces the program on the ingress of @ifindex, pinned as @name. */
int attach_ingress(struct fabric *fabric, enum fabric_program program, unsigned int ifindex,
	const char *name, struct err *err);
void detach_ingress(struct fabric *fabric, unsigned int ifindex, const char *name);

/* Detaches everything that is pinned below @bpf_dir, and clsact filters in this namespace. */
void attach_remove_all(const char *bpf_dir);
