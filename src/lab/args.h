/* SPDX-License-Identifier: Apache-2.0 */
/* The words after `wherry lab`, checked. Strings are borrowed from argv. */
#pragma once

#include <stdbool.h>

struct err;

enum lab_verb {
	LAB_HELP,
	LAB_UP,
	LAB_DOWN,
	LAB_EXEC,
	LAB_STATUS,
	LAB_KILL,
	LAB_PAUSE,
	LAB_RESUME,
	LAB_START,
	LAB_ROUTE,
};

#define LAB_DEFAULT_NAME "lab"
#define LAB_NAME_MAX	 32
#define LAB_CLIENTS_MAX	 200
#define LAB_EDGES_MAX	 40 /* and hosts that are both: .11 to .50 of the hosts' network */
#define LAB_WORKERS_MAX	 200
#define LAB_REGION_MAX	 11 /* wherryd takes more; the drawing of the lab has so much room */

/* Where the hosts keep what they share. */
enum lab_store {
	LAB_SQLITE, /* one host has it to itself */
	LAB_ETCD,   /* the node "store" */
};

/* How machines of one host reach those of another. */
enum lab_underlay {
	LAB_NO_UNDERLAY, /* one host has no other */
	LAB_WIREGUARD,
	LAB_PLAIN,
};

struct lab_args {
	enum lab_verb verb;
	const char *name; /* never NULL: LAB_DEFAULT_NAME unless --name says otherwise */
	bool has_name;
	bool is_json;
	unsigned int clients;
	/* Hosts of both roles, or edges and workers; the rest is zero. */
	unsigned int hosts, edges, workers;
	const char *regions; /* names with commas between; NULL: none were given */
	enum lab_store store;
	enum lab_underlay underlay;
	const char *node;    /* NULL when the verb takes none */
	const char *program; /* kill, pause, resume, start; NULL: the whole node */
	const char *edge;    /* route */
	char **command;	     /* exec: NULL-terminated, at least one word */
};

/*
 * Parses argv[1..] (argv[0] is "lab"; argv[argc] is NULL, as in main). Options stand before or
 * after NODE, but for exec only before it. Returns 0 or -EINVAL with a sentence.
 */
int lab_args_parse(int argc, char **argv, struct lab_args *out, struct err *err);

/* The name of the region whose turn it is at host @index of its kind; NULL @regions: "local". */
char *lab_region_pick(
	const char *regions, unsigned int index, char region[static LAB_REGION_MAX + 1]);

/* Whether @text may name a lab, a node or a program: letters, digits, "-" and "_", at most 32. */
bool lab_name_is_valid(const char *text);
