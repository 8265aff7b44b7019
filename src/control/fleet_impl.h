/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files about the other hosts share: hosts.c to placement.c of the list in control_impl.h,
 * which includes this file and is the one to include.
 */
#pragma once

#include "control/control_impl.h"

/* hosts.c */

struct host *host_find(const struct control *control, unsigned int id);
/* By name or id. */
struct host *host_find_named(const struct control *control, const char *name);
/* The entry of @id, made when there is none; NULL: out of memory. */
struct host *host_add(struct control *control, unsigned int id);
void hosts_free(struct control *control);
/* Before anything of the catalog: it tells this host's record from others'. */
int host_read_identity(struct control *control, struct err *err);
/*
 * Gives this host its id, addresses and slice of the machine pool, or finds those it has, and says
 * that it lives. Refuses in words what clashes with another host.
 */
int host_join(struct control *control, struct err *err);
/*
 * Neither packets nor the store hear of it: what is on it is lost, or at least out of reach. Never
 * this host itself, and none while it is not known.
 */
bool host_is_down(const struct control *control, const struct host *host);
/* Its daemon is known to the store. */
bool host_is_alive(const struct control *control, const struct host *host);
/* Packets reach it, as far as this host knows. Itself: always. */
bool host_is_reachable(const struct control *control, unsigned int id);
const char *host_name(const struct control *control, unsigned int id);

/* host_claims.c */

/* Whether another host may be what its record says. -EBADMSG, -EEXIST: a clash; in words. */
int host_claims_check(
	const struct control *control, const struct host_record *record, struct err *err);
/* Of the machine pool, and no other host's. */
bool host_may_have_slice(
	const struct control *control, unsigned int id, const struct prefix *slice);
/* Whether the machine's network is its own: of its host, and no other machine's. As above. */
int machine_network_check(const struct machine *machine, struct err *err);
/* The mesh address of the host with this id. */
struct addr host_mesh_v6(unsigned int id);

/* slices.c */

/* One more slice of the machine pool into the record. -ENOSPC: there is none. */
int slices_add(const struct control *control, struct host_record *record, struct err *err);
/* The same in the catalog too. */
int host_take_slice(struct control *control, struct host *host, struct err *err);
/* Catalogs from before there were slices: those in which this host's machines are. -ENOMEM. */
int slices_adopt(struct control *control, struct host_record *record);

/* fleet.c */

/* Collects the public pools of all edges. */
void fleet_collect_pools(struct control *control);

int fleet_open(struct control *control, struct err *err);
void fleet_close(struct control *control);
/* A new key for WireGuard, told to the others first; sessions are made anew within seconds. */
int fleet_rotate_key(struct control *control, struct err *err);
/* Some host's record or sign of life changed: peers, programs and probes follow. */
void fleet_update(struct control *control);
/* Round-trip time to the region's nearest host that is reachable; 0 to our own; UINT32_MAX. */
uint32_t fleet_region_rtt_us(const struct control *control, const char *region);
/* The largest packet that a machine of this host sends. */
unsigned int fleet_machine_mtu(const struct control *control);

/* held.c */

/* A machine of the app that a rollout of another host has not decided about; or NULL. */
const struct machine *held_elsewhere(const struct control *control, const char *app);
/* Lets go of machines whose rollout is no more; called now and then. */
void held_let_go(struct control *control);

/* checks.c */

/* Starts and ends checks as the machines' states and releases want it. */
void checks_update(struct control *control);
void checks_stop(struct machine *machine);
/* Before a config of the app is freed. */
void checks_stop_app(struct control *control, const char *app);
json_t *view_checks(const struct control *control, const struct app *app);

/* behind.c */

int behind_open(struct control *control, const struct addr *mesh_addr, struct err *err);
void behind_close(struct control *control);
/* Tells the edges that sent packets here for machines that are gone. */
void behind_tick(struct control *control);

/* formers.c */

/* Called now and then: forgets former machines whose flows are gone. */
void formers_tick(struct control *control);

/* placement.c */

/*
 * The host for one more machine of the app's group, in @region, or, when that is NULL, in one for
 * which @app has no count: the host that has the fewest of them. -EHOSTUNREACH with the sentence
 * when there is none.
 */
int placement_choose(struct control *control, const struct app_record *app, const char *group,
	const char *region, struct host **out, struct err *err);
