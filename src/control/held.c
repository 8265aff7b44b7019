/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that were made and are not in service: held, until the rollout that made them decides.
 * When that rollout is no more (its daemon was killed, its host died, or the catalog was away when
 * it failed) they have to go. The host whose rollout it was sees to it, and each host to its own
 * machines whose maker is not alive.
 */
#include "control/control_impl.h"

#include "base/log.h"

#include <errno.h>

static bool is_left_behind(const struct control *control, const struct machine *machine)
{
	const struct machine_record *record = machine->record;
	const struct host *maker = host_find(control, record->held_by);

	if (!record->is_held || record->wish == WISH_DESTROYED)
		return false;
	if (record->held_by == control->host_id)
		return !rollout_is_active(control, record->app);
	return machine->is_local && (!maker || !host_is_alive(control, maker));
}

const struct machine *held_elsewhere(const struct control *control, const char *app)
{
	size_t count;
	struct machine **machines = index_machines(control, app, &count);

	for (size_t i = 0; i < count; i++) {
		const struct machine_record *record = machines[i]->record;
		const struct host *maker = host_find(control, record->held_by);

		if (record->is_held && record->wish != WISH_DESTROYED && maker &&
			maker->id != control->host_id && host_is_alive(control, maker))
			return machines[i];
	}
	return NULL;
}

void held_let_go(struct control *control)
{
	for (size_t i = control->machine_count; i-- > 0;) {
		struct machine *machine = i < control->machine_count ? control->machines[i] : NULL;
		struct change change = {};
		struct err err;

		if (!machine || !is_left_behind(control, machine))
			continue;
		machine->record->wish = WISH_DESTROYED;
		change_put_machine(&change, machine->record);
		if (change_commit(control, &change, &err) < 0) {
			/* Asked again later. */
			machine->record->wish = WISH_STARTED;
			log_warn("machine-not-let-go", "machine=%s reason=\"%s\"",
				machine->record->id, err.text);
			return;
		}
		log_info("machine", "app=%s machine=%s type=let-go", machine->record->app,
			machine->record->id);
		machine_step(machine);
	}
}
