/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Former machines of slots. A machine that is the former one of slots, because another joined its
 * group, keeps the flows it has there. Its host looks whether any are left; when none is, it says
 * so in the catalog, for just this membership of the group, and every host that has the same
 * membership forgets it: from then on packets of those slots go straight to their machines. Hosts
 * of another region see other memberships and forget it by time.
 */
#include "control/control_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

#define LOOK_MS 2000 /* reading the flows takes up to some 50 ms */

/*
 * A membership that comes back (a machine was unhealthy for a moment) may be one that was settled
 * before. The host of the former machine takes that back when it looks next.
 */
#define YOUNG_MS (2 * LOOK_MS + 1000)

/*
 * The host of the former machine forgets last: it would take for its own what an edge that has not
 * forgotten yet sends it first.
 */
#define LAST_MS 30000

/* One machine that is a former one, and what is known of the groups where it is that. */
struct former {
	char id[MACHINE_ID_LEN];
	bool has_flows, is_unsettled;
	json_t *settled; /* group -> membership without flows, for its host to write */
};

struct formers {
	struct control *control;
	struct former *items;
	size_t count;
};

static struct former *former_of(struct formers *formers, const char *id)
{
	struct former *items;

	for (size_t i = 0; i < formers->count; i++)
		if (strcmp(formers->items[i].id, id) == 0)
			return &formers->items[i];
	items = realloc(formers->items, (formers->count + 1) * sizeof(*items));
	if (!items)
		return NULL;
	formers->items = items;
	items[formers->count] = (struct former){.settled = json_object()};
	snprintf(items[formers->count].id, MACHINE_ID_LEN, "%s", id);
	return &items[formers->count++];
}

/* This host's own machine: are there flows? */
static void look_for_flows(struct control *control, const char *group, struct former *former)
{
	size_t count = 0;
	struct err err;

	if (fabric_group_former_flows(control->fabric, group, former->id,
		    control->config.flow_idle_s, &count, &err) < 0) {
		log_warn("flows-not-read", "machine=%s reason=\"%s\"", former->id, err.text);
		former->has_flows = true;
	} else if (count) {
		former->has_flows = true;
	} else {
		json_object_set_new(
			former->settled, group, json_integer(serve_group_members(control, group)));
	}
}

static bool is_settled(
	const struct control *control, const struct machine *machine, const char *group)
{
	const json_t *members = json_object_get(machine->settled, group);

	return json_is_integer(members) &&
	       json_integer_value(members) == serve_group_members(control, group);
}

/* A membership of another region is never the same; there, as long as a flow may be silent. */
static bool is_forgotten_by_time(struct control *control, struct machine *machine)
{
	const struct host *host = host_find(control, machine->record->host);

	if (!host || !host->record || strcmp(host->record->region, control->config.region) == 0)
		return false;
	return clock_now_ms() - machine->former_since_ms >= control->config.flow_idle_s * 1000ULL;
}

static void look_at(void *arg, const char *group, const char *id)
{
	struct formers *formers = arg;
	struct control *control = formers->control;
	struct machine *machine = machine_find(control, id);
	struct former *former;

	/* One that is leaving is forgotten when it is gone. */
	if (!machine || machine->record->wish != WISH_STARTED)
		return;
	former = former_of(formers, id);
	if (!former)
		return;
	if (!machine->former_since_ms)
		machine->former_since_ms = clock_now_ms();
	if (machine->is_local)
		look_for_flows(control, group, former);
	former->is_unsettled |=
		!is_settled(control, machine, group) && !is_forgotten_by_time(control, machine);
}

/* Also that there are flows again where there were none. Returns whether the catalog says so. */
static bool write_settled(
	struct control *control, struct machine *machine, const struct former *former)
{
	struct change change = {};
	struct err err;

	if (json_equal(machine->settled, former->settled))
		return true;
	change_put_settled(&change, former->id, former->settled);
	if (change_commit(control, &change, &err) < 0) {
		log_debug("settled-not-written", "reason=\"%s\"", err.text);
		return false;
	}
	json_decref(machine->settled);
	machine->settled = json_incref(former->settled);
	machine->settled_since_ms = clock_now_ms();
	return true;
}

static void act(struct control *control, const struct former *former)
{
	struct machine *machine = machine_find(control, former->id);
	struct err err;

	if (machine->is_local) {
		if (!write_settled(control, machine, former) || former->has_flows ||
			clock_now_ms() - machine->settled_since_ms < LAST_MS ||
			clock_now_ms() - machine->former_since_ms < LAST_MS)
			return;
	} else if (former->is_unsettled || clock_now_ms() - machine->former_since_ms < YOUNG_MS) {
		return;
	}
	if (fabric_machine_forget_former(control->fabric, former->id, &err) < 0)
		log_error(
			"data-plane-not-updated", "machine=%s reason=\"%s\"", former->id, err.text);
	else
		log_info("former-forgotten", "machine=%s", former->id);
}

/* Who is nobody's former machine now is young again when it becomes one. */
static void note_others(struct control *control, const struct formers *formers)
{
	for (size_t i = 0; i < control->machine_count; i++) {
		struct machine *machine = control->machines[i];
		bool is_former = false;

		if (!machine->former_since_ms)
			continue;
		for (size_t f = 0; f < formers->count && !is_former; f++)
			is_former = strcmp(formers->items[f].id, machine->record->id) == 0;
		if (!is_former)
			machine->former_since_ms = 0;
	}
}

void formers_tick(struct control *control)
{
	struct formers formers = {.control = control};
	const uint64_t now_ms = clock_now_ms();
	struct err err;

	if (!control->is_ready || now_ms - control->formers_ms < LOOK_MS)
		return;
	control->formers_ms = now_ms;
	if (fabric_formers_each(control->fabric, look_at, &formers, &err) < 0)
		log_warn("formers-not-read", "reason=\"%s\"", err.text);
	note_others(control, &formers);
	for (size_t i = 0; i < formers.count; i++) {
		act(control, &formers.items[i]);
		json_decref(formers.items[i].settled);
	}
	free(formers.items);
}
