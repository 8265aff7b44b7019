/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the control plane share. One thread, the loop's, owns everything here; what
 * blocks (podman, links, namespaces) runs in libuv's workers on copies.
 *
 *   catalog.c    the catalog in memory, and changes to it
 *   sync.c       from the store into memory, at the start and at every change by another host
 *   apply.c      one key of the store into memory
 *   hosts.c      the hosts of the fleet; this one's joining
 *   slices.c     whose part of the machine pool is whose
 *   fleet.c      the mesh, the round trips, who is reachable
 *   placement.c  on which host a new machine is made
 *   addresses.c  which address is whose
 *   machine_list.c  the machines by id, and their memory
 *   machine.c    one machine: from what is wanted to what is
 *   jobs.c       the blocking part of that, in workers
 *   image_queue.c   images of other hosts, fetched before a start
 *   image_server.c  images of this host, for the others
 *   public.c     the public interface, and the host's network around it
 *   serve.c      services, groups and machines into the fabric
 *   rollout.c    deploy, scale, run, attach: new machines up, then old ones out
 *   behind.c     telling edges that they missed a change
 *   held.c       machines that such a one left behind
 *   views.c      the documents of the API
 *   drains.c     machines away from hosts that are to be left, or are lost
 *   routes.c     the API's calls
 */
#pragma once

#include <jansson.h>
#include <uv.h>

#include "api/server.h"
#include "base/err.h"
#include "base/mem.h"
#include "control/host_config.h"
#include "control/host_net.h"
#include "control/mirror.h"
#include "fabric/fabric.h"
#include "health/health.h"
#include "machine/machine.h"
#include "machine/sockets.h"
#include "mesh/mesh.h"
#include "mesh/probe.h"
#include "mesh/resizer.h"
#include "model/records.h"
#include "store/store.h"

struct control;

struct host {
	struct host_record *record; /* NULL: only signs of it are in the catalog */
	unsigned int id;
	struct host_alive alive; /* endpoint NULL: its daemon is not heard of by the store */
	json_t *measured;	 /* its round trips to the others, as host-probes/ID; or NULL */
	struct probe probe;	 /* ours to it */
	uint64_t down_since_ms;	 /* see drains.c; 0: it is not down */
	uint32_t steady_rtt_us;	 /* of it, for choices: follows large changes only; 0: none yet */
};

struct app {
	struct app_record *record;
	struct release_record *release; /* the current one; NULL before the first */
	struct app_config *config;	/* of the current release; NULL likewise */
	/* Read from the store, to become current with the app's record. */
	struct release_record *next_release;
	struct app_config *next_config;
};

enum machine_state {
	STATE_UNKNOWN, /* not looked at yet since the daemon started */
	STATE_CREATED,
	STATE_STARTING,
	STATE_STARTED,
	STATE_STOPPING,
	STATE_STOPPED,
	STATE_DESTROYING,
	STATE_FAILED, /* ended or could not be started; tried again when it is wanted */
};

enum job_type {
	JOB_ADOPT,
	JOB_START,
	JOB_INSPECT,
	JOB_STOP,
	JOB_REMOVE,
};

struct machine {
	struct control *control;
	struct machine_record *record;
	struct machine_state_record history;
	enum machine_state state;
	bool is_local;	     /* on this host; else its state is what its host wrote */
	bool needs_step;     /* its record came anew from the store */
	bool is_unpublished; /* on this host: the catalog does not have its state as it is */
	bool is_up;	     /* on this host: see struct machine_state_record */
	struct machine_net net;
	bool has_net;
	struct machine_run run;
	bool is_busy;	/* a job of it is under way */
	bool is_served; /* known to the fabric */
	bool is_draining;
	bool is_network_told; /* elsewhere: that its network cannot be its own */
	bool has_finished;    /* the program ended by itself, with success: until it is asked for */
	bool must_retry;      /* could not be ended or removed: not again before the timer */
	char *failure;	      /* why it is STATE_FAILED, a sentence */
	struct health *health;			 /* on this host, started; or NULL */
	const struct app_config *checked_config; /* what its checks are from */
	json_t *settled; /* memberships of its groups in which it has no former flows */
	uint64_t former_since_ms, settled_since_ms; /* see formers.c */
	uint64_t up_ms;			 /* since when it is looked at whether it is up */
	struct machine_sockets *sockets; /* for that */
	uv_timer_t up_timer;
	int pidfd;
	uv_poll_t watch; /* on pidfd */
	bool is_watched;
	uv_timer_t timer;     /* back-off, or the drain's clock */
	unsigned int holders; /* open handles and a job under way */
	bool is_gone;	      /* freed when nobody holds it */
	unsigned int backoff_ms;
	uint64_t started_ms;
	uint64_t drain_deadline_ms, drain_quiet_ms, drain_rx;
};

/* A call of the API that waits for a machine. */
struct waiter {
	struct waiter *next;
	char machine_id[MACHINE_ID_LEN];
	enum machine_state wanted; /* STATE_DESTROYING: until it is gone */
	struct api_stream *stream;
	json_t *result; /* the document of a machine that will be gone */
};

struct rollout;
struct follower;
struct leftover;
struct image_server;
struct image_work;
struct failed_move;
struct removal;

/* See index.c. */
struct index {
	struct machine **machines; /* by app, then id */
	size_t machine_count;
	struct ip_record **ips; /* by app, then address */
	size_t ip_count;
	bool is_old; /* machines or addresses came or went */
};

struct control {
	uv_loop_t *loop;
	struct store *store;
	struct mirror *mirror;
	int64_t revision; /* of the store, that memory is at */
	uv_poll_t store_poll;
	uv_timer_t settle_timer; /* acts once on several changes of the catalog */
	bool is_reading;	 /* all of the catalog: releases come after their apps */
	bool must_reload;	 /* something of the catalog was missed, or could not be taken */
	int reload_failure;	 /* said already; 0: none */
	bool is_store_away;	 /* what was said of it last */
	struct fabric *fabric;
	struct host_config config;
	struct host_public public; /* name "": none was found */
	struct prefix *pools;	   /* public pools that reach this host, effective */
	size_t pool_count;
	struct prefix *known_pools; /* those of all edges: addresses are allocated from them */
	size_t known_pool_count;
	struct api_server *api;
	char *config_path, *state_dir, *run_dir, *bpf_dir;
	char started_at[CLOCK_STAMP_LEN];

	/* The fleet; a host with an embedded store is a fleet of one. */
	bool is_fleet; /* a store that other hosts have too */
	char identity[HOST_IDENTITY_LEN];
	struct fleet_record fleet;
	struct host **hosts; /* by id */
	size_t host_count;
	unsigned int host_id; /* this one's */
	bool hosts_changed;
	struct mesh *mesh; /* NULL: none */
	struct mesh_device mesh_device;
	struct resizer resizer;
	struct probes *probes;
	uv_async_t probes_async;
	uv_timer_t fleet_timer;
	uv_udp_t behind_socket;
	uint64_t behind_ms; /* when the catalog was read again at another host's word */
	uint64_t published_ms, repaired_ms, formers_ms;

	struct app **apps; /* by name */
	size_t app_count;
	struct ip_record **ips; /* by address, then app */
	size_t ip_count;
	struct machine **machines; /* by id */
	size_t machine_count;
	struct index *index;
	struct leftover *leftovers; /* see serve_forget_elsewhere() */
	struct rollout *rollouts;
	struct waiter *waiters;
	struct failed_move *failed_moves; /* see drains.c */
	struct removal *removals;
	unsigned int adopting; /* machines that are STATE_UNKNOWN */
	bool is_ready;
	bool is_public_lost;
	void (*ready_fn)(void *arg);
	void *ready_arg;
	int link_fd;
	uv_poll_t link_watch;
	uv_timer_t reattach_timer;
	uv_timer_t adopt_timer;
	struct follower *followers;
	struct image_work *image_works;
	struct image_server *image_server; /* NULL: no mesh */
	bool is_closing;
};

/* catalog.c */

/* A transaction in the making. */
struct change {
	struct store_op *ops; /* keys and values are owned */
	size_t count;
	bool is_broken; /* out of memory on the way; commit fails */
};

void catalog_free(struct control *control);
void change_put_app(struct change *change, const struct app_record *record);
void change_put_ip(struct change *change, const struct ip_record *record);
void change_delete_ip(struct change *change, const struct ip_record *record);
void change_put_release(struct change *change, const struct release_record *record);
void change_put_machine(struct change *change, struct machine_record *record);
/* Of a new machine: no other one may have its network. */
void change_claim_network(struct change *change, const struct machine_record *record);
void change_delete_machine(struct change *change, const struct machine_record *record);
void change_put_host(struct change *change, const struct host_record *record);
void change_delete_host(struct change *change, const struct host_record *record);
/* A host joins, or starts again: one of those who do so at the same moment. */
void change_put_alive(struct change *change, unsigned int id, const struct host_alive *alive);
void change_put_settled(struct change *change, const char *id, json_t *settled);
void change_put_fleet(struct change *change, const struct fleet_record *record);
void change_put_state(struct change *change, const struct machine *machine);
/* Everything that is the app's alone: its record and releases. */
void change_delete_app(struct change *change, const struct app_record *record);
/*
 * Commits and clears @change in any case. On failure nothing was changed. -EAGAIN when another
 * host changed one of the values since it was read.
 */
int change_commit(struct control *control, struct change *change, struct err *err);
void change_clear(struct change *change);

struct app *catalog_find_app(const struct control *control, const char *name);
int catalog_add_app(struct control *control, struct app_record *record); /* takes it over */
void catalog_remove_app(struct control *control, struct app *app);
int catalog_add_ip(struct control *control, struct ip_record *record); /* takes it over */
/* The record of the address; @app NULL: of any app. */
struct ip_record *catalog_find_ip(
	const struct control *control, const struct addr *addr, const char *app);
void catalog_remove_ip(struct control *control, struct ip_record *record);
/* Makes @release current; takes over both. */
void app_set_release(struct control *control, struct app *app, struct release_record *release,
	struct app_config *config);

/* index.c */

/* The app's; NULL with a count of 0 when out of memory. */
struct machine **index_machines(const struct control *control, const char *app, size_t *count);
struct ip_record **index_ips(const struct control *control, const char *app, size_t *count);
void index_free(struct control *control);

/* Whether the store has the key, be it readable or not. */
bool catalog_has_slice(const struct control *control, const struct prefix *slice);
bool catalog_has_host(const struct control *control, unsigned int id);
/* The caller frees. */
char *catalog_ip_key(const struct ip_record *record);

/* apply.c */

/* The place of the key's kind in the order in which they are read, from 0; -1: it is none of ours.
 */
int catalog_rank(const char *key);
/* What keys of that place start with; NULL after the last. */
const char *catalog_prefix(int rank);
/* What one host says of what it sees, and writes anew whatever stands there. */
bool catalog_is_report(const char *key);
/* @value was written by @revision. One that cannot be read is told and marked in the mirror. */
void catalog_apply(struct control *control, const char *key, const char *value, size_t value_len,
	int64_t revision);
/* The key is gone. */
void catalog_forget(struct control *control, const char *key);

/* sync.c */

/* Reads the catalog into memory. */
int catalog_load(struct control *control, struct err *err);
/* Brings memory to what is in the store now. */
int catalog_reload(struct control *control, struct err *err);
/* The same, soon, and with what follows from it. */
void catalog_read_again(struct control *control);
/* From here on changes of other hosts are followed. */
int catalog_follow(struct control *control, struct err *err);
void catalog_unfollow(struct control *control);

/* addresses.c */

/* Takes an address of @type for @app, not yet in the catalog. -ENOSPC: the pool has none. */
int addresses_allocate(const struct control *control, const char *app, enum ip_type type,
	struct ip_record **out, struct err *err);
const struct ip_record *addresses_find(
	const struct control *control, const char *app, enum ip_type type);
/* A /29 of the host's slices that no machine has; the host may get another slice for it. */
int addresses_take_network(
	struct control *control, struct host *host, struct prefix *out, struct err *err);
struct addr network_gateway(const struct prefix *network);
struct addr network_primary(const struct prefix *network);
struct addr network_service(const struct prefix *network);

/* machine_list.c */

/* Before the first restart of a program that crashed; it doubles from there. */
#define MACHINE_BACKOFF_FIRST_MS 500

struct machine *machine_find(const struct control *control, const char *id);
/* By any unique prefix of the id. NULL with *@matches 0 or more than 1. */
struct machine *machine_find_prefix(
	const struct control *control, const char *prefix, size_t *matches);
/* Forgets a machine that is not in the catalog any more and whose host lets go of it. */
void machine_drop(struct machine *machine);
/* Takes @record over and starts to make it so. */
int machine_add(struct control *control, struct machine_record *record, struct machine **out);
void machine_close(struct machine *machine);
void machine_hold(struct machine *machine);
void machine_release(struct machine *machine);
void machine_unwatch(struct machine *machine);

/* machine.c */

/* Reads the wish again and acts on it; to be called after every change of the record. */
void machine_step(struct machine *machine);
void machine_adopt(struct machine *machine);
/* Called by jobs.c in the loop. */
struct machine_job;
void machine_job_done(struct machine *machine, const struct machine_job *job);
void machine_event(
	struct machine *machine, const char *type, const char *source, const char *message);
/* Its interface is gone: the namespace vanished or somebody deleted the link. */
void machine_net_gone(struct machine *machine);
const char *machine_state_name(const struct machine *machine);
/* Somebody asked for it: now, and also after it has finished. */
void machine_ask_start(struct machine *machine);
/* A machine elsewhere is what its host wrote about it. */
void machine_follow(struct machine *machine);
/* The machine's host wrote @record about it. */
void machine_heard(struct machine *machine, struct machine_state_record *record);
/* Writes its state for the other hosts, with its history. */
void machine_publish(struct machine *machine);

/* machine_up.c */

/* Finds out, from now on, when the machine is up, and says so. */
void machine_up_watch(struct machine *machine);
void machine_up_stop(struct machine *machine);

/* jobs.c */

struct machine_job {
	struct machine_job *next; /* while it waits for an image */
	uv_work_t work;
	struct machine *machine;
	enum job_type type;
	struct machine_spec spec;
	int result;
	struct err err;
	struct machine_net net;
	bool has_net;
	struct machine_run run;
};

/* Starts the job; machine_job_done() is called in the loop when it is over. */
int job_start(struct machine *machine, enum job_type type);
/* For image_queue.c: goes on with the job in a worker, or ends it without one. */
int job_run(struct machine_job *job);
void job_end(struct machine_job *job, int status);
int machine_spec_build(const struct machine *machine, struct machine_spec *out);
char *machine_dir(const struct control *control, const char *id);

/* image_queue.c */

/* The directory for transfers; what the last daemon left there goes. */
int image_queue_open(struct control *control, struct err *err);
char *image_dir(const struct control *control);
/* Whether the machine's image is another host's, and has to be fetched when it is not here. */
bool image_queue_needs(const struct machine *machine);
/* The job goes on, or ends with the sentence, when the image is here or cannot be had. */
int image_queue_fetch(struct machine_job *job);
/* A machine with this record is no more: an image that was fetched goes with the last one. */
void image_queue_unused(struct control *control, const struct machine_record *record);
/* What waits ends now; what runs ends later, with nobody to tell. */
void image_queue_close(struct control *control);

/* image_server.c */

/* Serves this host's images on its mesh address. Again when the mesh's device is another one. */
int image_server_open(struct control *control, struct err *err);
void image_server_close(struct control *control);

/* public.c */

/* Finds the public interface and sets the host's network up for it; at the start, and again. */
int public_setup(struct control *control, struct err *err);
/* Clients' packets come in from here on. */
int public_attach(struct control *control, struct err *err);
int public_watch(struct control *control, struct err *err);
void public_close(struct control *control);

/* serve.c */

/* Brings the fabric to what the catalog and the machines' states say. */
int serve_apply(struct control *control, struct err *err);
/* Applies and logs a failure; for callers that have nobody to tell. */
void serve(struct control *control);
/* Makes the machine known to the fabric, or forgets it. */
int serve_machine(struct machine *machine, struct err *err);
void serve_forget(struct machine *machine);
/*
 * Forgets a machine elsewhere that is gone, in two steps: no packet is sent to it from now on, and
 * what its host passes on for edges that are behind is still let in for a while.
 */
void serve_forget_elsewhere(struct machine *machine);
/* The second step, for those whose time is over; called now and then. */
void serve_forget_late(struct control *control);
void serve_close(struct control *control);
/* Whether another machine takes the new flows of all services that @machine serves. */
bool serve_has_others(const struct machine *machine);
/* A number for the machines that take new flows of the group "APP/GROUP" now. */
int64_t serve_group_members(const struct control *control, const char *group);
/* Two apps on one address and port. -EADDRINUSE with the sentence. */
int serve_check_claims(const struct control *control, const struct app *app,
	const struct app_config *config, struct err *err);

/* rollout.c */

enum rollout_kind {
	ROLLOUT_DEPLOY,
	ROLLOUT_SCALE,
	ROLLOUT_RUN,	 /* one machine that deploy does not manage: run, attach */
	ROLLOUT_DESTROY, /* the app goes */
	ROLLOUT_MOVE,	 /* the machines of a host are made on others */
};

struct rollout_request {
	enum rollout_kind kind;
	struct app *app;
	const char *config_text, *file_name; /* NULL: the current release's */
	struct app_config *config;	     /* of config_text; taken over */
	const char *image;
	json_t *counts;		/* {"GROUP": N, "GROUP@REGION": N}, or NULL */
	unsigned int from_host; /* ROLLOUT_MOVE: whose machines are made elsewhere */
	bool allocate_v4;
	bool is_dry;			/* only say whether it would be refused */
	struct machine_record *machine; /* ROLLOUT_RUN: what to make; taken over */
};

/*
 * What can be refused is refused before anything changes: a negative errno, the sentence, and the
 * API's code in *@code. Otherwise the rollout is under way and owns a stream of @req; without a
 * request it tells its end to move_ended().
 */
int rollout_begin(struct control *control, struct rollout_request *request, struct api_request *req,
	const char **code, struct err *err);
void rollout_request_clear(struct rollout_request *request);
/* A machine changed its state or is gone. */
void rollouts_machine_changed(struct control *control);
void rollouts_free(struct control *control);
bool rollout_is_active(const struct control *control, const char *app);
/* Whether any ROLLOUT_MOVE is under way. */
bool rollout_is_moving(const struct control *control);

/* drains.c */

/*
 * Whether a host that is to be left can let go of the machine by having it made elsewhere: deploy
 * made it, and it is wanted to run. Otherwise *@reason says why it stays.
 */
bool move_is_possible(const struct machine *machine, const char **reason);
/* The ROLLOUT_MOVE of the app is over; @failure is NULL when the machines have moved. */
void move_ended(
	struct control *control, const char *app, unsigned int from_host, const char *failure);
/* Why the machines of the app could not be moved, a sentence, or NULL. */
const char *move_failure(const struct control *control, const char *app, unsigned int from_host);
/* Moves machines away from hosts that drain, or are down for good; once a second. */
void drains_tick(struct control *control);
/* Takes a host out of the fleet, with its machines; answers by a stream that ends with @result. */
void removal_begin(
	struct control *control, struct host *host, json_t *result, struct api_request *req);
void drains_free(struct control *control);

/* views.c */

json_t *view_app(const struct control *control, const struct app *app, bool with_machines);
json_t *view_ip(const struct ip_record *record);
json_t *view_machine(const struct machine *machine);
json_t *view_services(const struct control *control, const struct app *app);
json_t *view_counters(const struct control *control);
json_t *view_info(const struct control *control);
/* Path of its network namespace; the caller frees. */
char *view_netns_path(const struct machine *machine);

/* routes.c, routes_machines.c */

extern const struct api_route control_routes[];
void followers_end(struct control *control);
void waiters_machine_changed(struct control *control);

#include "control/fleet_impl.h" /* hosts, the mesh, checks: the fleet's part of this file */
