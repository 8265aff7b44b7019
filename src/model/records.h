/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalog holds, as plain data, and its JSON. Records say what is wanted and what was
 * decided (addresses, release numbers); what is observed of a machine lives beside them in
 * memory and, for the last events, under a key of its own that only the machine's host writes.
 *
 *   apps/NAME              struct app_record
 *   ips/ADDRESS            struct ip_record
 *   releases/APP/NUMBER    struct release_record (ten digits)
 *   machines/ID            struct machine_record
 *   machine-state/ID       struct machine_state_record
 *   settled/ID             in which memberships of its groups no former flow of it is left
 *   networks/ADDRESS       whose /29 it is: the machine's id, so that no two take the same
 *   fleet                  struct fleet_record
 *   hosts/ID               struct host_record (five digits)
 *   slices/ADDRESS         whose part of the machine pool it is: the host's id
 *   joins                  who joined last: no two do so at the same moment
 *   host-alive/ID          struct host_alive, while the host's daemon lives
 *   host-probes/ID         what the host measured of the others, by id: [rtt_us, loss_permille]
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "model/config.h"
#include "model/machine_kind.h"

struct err;

#define APP_NAME_MAX 63

/*
 * How many machines of a group are wanted: in a region, or, with no region, in all those that have
 * no count of their own. As JSON {"web": 2, "web@fra": 1}.
 */
struct group_count {
	char *group;
	char *region; /* NULL: the regions without a count of their own */
	unsigned int count;
};

struct app_record {
	char *name;
	char created_at[CLOCK_STAMP_LEN];
	unsigned int release;	    /* the one that serves; 0: none yet */
	unsigned int last_release;  /* the highest number that was given out */
	struct group_count *counts; /* see app_record_count() */
	size_t count_count;
};

enum ip_type {
	IP_V4,
	IP_SHARED_V4,
	IP_V6,
};

/* A shared address has no app of its own: its record is "ips/ADDRESS/APP". */
struct ip_record {
	struct addr addr;
	enum ip_type type;
	char *app;
	char created_at[CLOCK_STAMP_LEN];
};

struct release_record {
	unsigned int number;
	char *app;
	char *image;	/* what podman runs; NULL: no managed machines */
	char *image_id; /* 64 hexadecimal digits, what the name meant then; NULL: not asked */
	unsigned int image_host; /* the host whose podman has it; 0: the machine's own */
	char *config_text;	 /* the fly.toml */
	char *file_name;
	char created_at[CLOCK_STAMP_LEN];
};

enum machine_wish {
	WISH_STARTED,
	WISH_STOPPED,
	WISH_DESTROYED,
};

struct machine_record {
	char id[MACHINE_ID_LEN];
	char *name;
	char *app, *group;
	enum machine_kind kind;
	enum machine_wish wish;
	bool is_managed;      /* made and replaced by deploy and scale */
	bool is_held;	      /* not in service yet: a deploy has not decided */
	unsigned int host;    /* the id of the host it is on */
	unsigned int held_by; /* is_held: the id of the host whose deploy has not decided */
	unsigned int release;
	unsigned int start_count; /* how often it was asked to start; its host compares */
	char *image, *rootfs, *netns;
	char *image_id;		 /* as the release's */
	unsigned int image_host; /* likewise */
	uint16_t *await_ports;	 /* UDP ports that its program opens before it is up */
	size_t await_port_count;
	struct strings command;
	struct env_var *env; /* what its maker added to the release's [env] */
	size_t env_count;
	struct prefix network; /* the /29 */
	struct addr private_v6;
	int kill_signal;
	unsigned int kill_timeout_s;
	char created_at[CLOCK_STAMP_LEN];
	char updated_at[CLOCK_STAMP_LEN];
};

struct machine_event {
	char type[16];	 /* "launch", "start", "exit", "stop", "destroy" */
	char status[16]; /* the state it led to */
	char source[16]; /* "user", "deploy", "host" */
	char timestamp[CLOCK_STAMP_LEN];
	char *message; /* one sentence, or NULL */
};

#define MACHINE_EVENTS_MAX 20

struct machine_state_record {
	char state[16];	   /* as machine_state_name(); "": not known yet */
	bool is_up;	   /* started, and its program opened its ports or had the time to */
	bool is_unhealthy; /* a check of it is critical */
	unsigned int unbound_port; /* is_up for want of time: nobody listens there; 0: none */
	char *failure;		   /* why it failed, a sentence, or NULL */
	json_t *checks;		   /* what its health checks found, as the API shows it; or NULL */
	struct machine_event events[MACHINE_EVENTS_MAX]; /* oldest first */
	size_t event_count;
	unsigned int restarts;
	int exit_code;
	bool has_exit_code;
};

/* What all hosts of a fleet agree on; the first one decides. */
struct fleet_record {
	struct prefix machine_pool, mesh_pool;
};

#define HOST_KEY_LEN	  45 /* a WireGuard key in base64, with the NUL */
#define HOST_IDENTITY_LEN 33 /* 16 random bytes in hexadecimal, with the NUL */
#define HOST_ID_MAX	  65000

struct host_record {
	unsigned int id; /* from 1 */
	char *name, *region;
	char identity[HOST_IDENTITY_LEN]; /* the installation's, kept in its state directory */
	char public_key[HOST_KEY_LEN];	  /* "": no mesh */
	struct addr endpoint;		  /* on the underlay */
	uint16_t endpoint_port;
	struct addr mesh_v4, mesh_v6;
	bool is_edge, is_worker;
	bool is_draining;      /* the operator's wish: no new machines, no new flows */
	struct prefix *slices; /* of the machine pool: its machines' networks are in them */
	size_t slice_count;
	struct prefix *pools; /* public addresses that reach it */
	size_t pool_count;
	char joined_at[CLOCK_STAMP_LEN];
};

struct host_alive {
	char identity[HOST_IDENTITY_LEN];
	char *endpoint; /* "ADDRESS:PORT": a copy of the installation has another */
	char *version;
	char started_at[CLOCK_STAMP_LEN];
};

/* Each returns NULL or a new reference, or fills *out, which record_free functions free. */
json_t *app_record_to_json(const struct app_record *record);
int app_record_from_json(const json_t *json, struct app_record **out, struct err *err);
void app_record_free(struct app_record *record);
DEFINE_CLEANUP(struct app_record *, app_record_free)

json_t *ip_record_to_json(const struct ip_record *record);
int ip_record_from_json(const json_t *json, struct ip_record **out, struct err *err);
void ip_record_free(struct ip_record *record);
DEFINE_CLEANUP(struct ip_record *, ip_record_free)

json_t *release_record_to_json(const struct release_record *record);
int release_record_from_json(const json_t *json, struct release_record **out, struct err *err);
void release_record_free(struct release_record *record);
DEFINE_CLEANUP(struct release_record *, release_record_free)

json_t *machine_record_to_json(const struct machine_record *record);
int machine_record_from_json(const json_t *json, struct machine_record **out, struct err *err);
void machine_record_free(struct machine_record *record);
DEFINE_CLEANUP(struct machine_record *, machine_record_free)

json_t *machine_state_to_json(const struct machine_state_record *record);
int machine_state_from_json(const json_t *json, struct machine_state_record *out, struct err *err);
void machine_state_clear(struct machine_state_record *record);

json_t *fleet_record_to_json(const struct fleet_record *record);
int fleet_record_from_json(const json_t *json, struct fleet_record *out, struct err *err);

json_t *host_record_to_json(const struct host_record *record);
int host_record_from_json(const json_t *json, struct host_record **out, struct err *err);
void host_record_free(struct host_record *record);
DEFINE_CLEANUP(struct host_record *, host_record_free)

json_t *host_alive_to_json(const struct host_alive *alive);
int host_alive_from_json(const json_t *json, struct host_alive *out, struct err *err);
void host_alive_clear(struct host_alive *alive);

/* Adds an event, dropping the oldest when there are too many. */
void machine_state_add(struct machine_state_record *record, const char *type, const char *status,
	const char *source, const char *message);

const char *ip_type_name(enum ip_type type); /* flyctl's: "v4", "shared_v4", "v6" */
int ip_type_parse(const char *text, enum ip_type *out);
const char *machine_kind_name(enum machine_kind kind); /* "image", "rootfs", "attached" */
int machine_kind_parse(const char *text, enum machine_kind *out);

/*
 * The wanted number of machines of @group in @region; NULL: in the regions that have no count of
 * their own. A group without any count has one machine.
 */
unsigned int app_record_count(
	const struct app_record *record, const char *group, const char *region);
int app_record_set_count(
	struct app_record *record, const char *group, const char *region, unsigned int count);
/* Whether the group has a count of its own in @region. */
bool app_record_has_region(const struct app_record *record, const char *group, const char *region);
/* From here on the group's machines are counted together. */
void app_record_drop_regions(struct app_record *record, const char *group);

/* {"web": 2, "web@fra": 1} */
json_t *app_record_counts_to_json(const struct app_record *record);
/*
 * "web@fra" as its parts, which the caller frees; *region is NULL where there is none. -EINVAL: it
 * is neither.
 */
int group_count_parse(const char *key, char **group, char **region);
