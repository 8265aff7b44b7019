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

struct group_count {
	char *group;
	unsigned int count;
};

struct app_record {
	char *name;
	char created_at[CLOCK_STAMP_LEN];
	unsigned int release;	    /* the one that serves; 0: none yet */
	unsigned int last_release;  /* the highest number that was given out */
	struct group_count *counts; /* wanted machines of a group; 1 when not listed */
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
	char *image;	   /* what podman runs; NULL: no managed machines */
	char *config_text; /* the fly.toml */
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
	bool is_managed; /* made and replaced by deploy and scale */
	bool is_held;	 /* not in service yet: a deploy has not decided */
	unsigned int release;
	char *image, *rootfs, *netns;
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
	struct machine_event events[MACHINE_EVENTS_MAX]; /* oldest first */
	size_t event_count;
	unsigned int restarts;
	int exit_code;
	bool has_exit_code;
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

/* Adds an event, dropping the oldest when there are too many. */
void machine_state_add(struct machine_state_record *record, const char *type, const char *status,
	const char *source, const char *message);

const char *ip_type_name(enum ip_type type); /* flyctl's: "v4", "shared_v4", "v6" */
int ip_type_parse(const char *text, enum ip_type *out);
const char *machine_kind_name(enum machine_kind kind); /* "image", "rootfs", "attached" */
int machine_kind_parse(const char *text, enum machine_kind *out);

/* The wanted number of machines of @group. */
unsigned int app_record_count(const struct app_record *record, const char *group);
int app_record_set_count(struct app_record *record, const char *group, unsigned int count);
