/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machines of the host by id, and how long each lives: until its handles are closed and its
 * last job is over. What happens to a machine in between is in machine.c.
 */
#include "control/control_impl.h"

#include <errno.h>
#include <string.h>

/* The array is sorted by id. */
static size_t position(const struct control *control, const char *id)
{
	size_t low = 0, high = control->machine_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(control->machines[middle]->record->id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct machine *machine_find(const struct control *control, const char *id)
{
	size_t at = position(control, id);

	if (at < control->machine_count && strcmp(control->machines[at]->record->id, id) == 0)
		return control->machines[at];
	return NULL;
}

struct machine *machine_find_prefix(
	const struct control *control, const char *prefix, size_t *matches)
{
	size_t first = position(control, prefix), at = first, len = strlen(prefix);

	while (at < control->machine_count &&
		strncmp(control->machines[at]->record->id, prefix, len) == 0)
		at++;
	*matches = len ? at - first : 0;
	return *matches == 1 ? control->machines[first] : NULL;
}

/* Handles are closed in the background; the memory goes with the last one. */

static void free_machine(struct machine *machine)
{
	machine_record_free(machine->record);
	machine_state_clear(&machine->history);
	mem_closep(&machine->pidfd);
	free(machine->failure);
	json_decref(machine->settled);
	machine_sockets_close(machine->sockets);
	free(machine);
}

void machine_hold(struct machine *machine)
{
	machine->holders++;
}

void machine_release(struct machine *machine)
{
	if (--machine->holders == 0)
		free_machine(machine);
}

static void handle_closed(uv_handle_t *handle)
{
	machine_release(handle->data);
}

void machine_unwatch(struct machine *machine)
{
	if (machine->is_watched)
		uv_poll_stop(&machine->watch);
	machine->is_watched = false;
}

void machine_close(struct machine *machine)
{
	struct control *control = machine->control;
	size_t at = position(control, machine->record->id);

	if (at < control->machine_count && control->machines[at] == machine) {
		control->machine_count--;
		memmove(&control->machines[at], &control->machines[at + 1],
			(control->machine_count - at) * sizeof(*control->machines));
	}
	machine->is_gone = true;
	control->index->is_old = true;
	checks_stop(machine);
	/* One that is closed already to be made anew lets go in watch_closed(). */
	if (machine->pidfd >= 0 && !uv_is_closing((uv_handle_t *)&machine->watch)) {
		machine_unwatch(machine);
		uv_close((uv_handle_t *)&machine->watch, handle_closed);
	}
	uv_close((uv_handle_t *)&machine->timer, handle_closed);
	uv_close((uv_handle_t *)&machine->up_timer, handle_closed);
}

void machine_drop(struct machine *machine)
{
	serve_forget_elsewhere(machine);
	machine_close(machine);
}

int machine_add(struct control *control, struct machine_record *record, struct machine **out)
{
	size_t at = position(control, record->id);
	struct machine **bigger =
		realloc(control->machines, (control->machine_count + 1) * sizeof(*bigger));
	struct machine *machine = calloc(1, sizeof(*machine));

	if (bigger)
		control->machines = bigger;
	if (!bigger || !machine) {
		free(machine);
		machine_record_free(record);
		return -ENOMEM;
	}
	machine->control = control;
	machine->record = record;
	machine->state = STATE_CREATED;
	machine->pidfd = -1;
	machine->backoff_ms = MACHINE_BACKOFF_FIRST_MS;
	uv_timer_init(control->loop, &machine->timer);
	machine->timer.data = machine;
	uv_timer_init(control->loop, &machine->up_timer);
	machine->up_timer.data = machine;
	machine->is_local = !control->host_id || record->host == control->host_id;
	machine->holders = 2;
	memmove(&bigger[at + 1], &bigger[at], (control->machine_count - at) * sizeof(*bigger));
	bigger[at] = machine;
	control->machine_count++;
	control->index->is_old = true;
	if (out)
		*out = machine;
	return 0;
}
