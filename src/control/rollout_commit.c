/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transaction of a rollout: the new machines into service, the release current, the old
 * machines on their way out, all or nothing; and what must hold for it. When it fails, memory is as
 * before.
 */
#include "control/rollout_impl.h"

#include <errno.h>

/*
 * Whether all new machines are still there and up: while the later ones came up, the first may have
 * crashed or been destroyed.
 */
int rollout_check_fresh(const struct rollout *rollout, struct err *err)
{
	for (size_t i = 0; i < rollout->fresh_count; i++) {
		const struct machine *machine =
			machine_find(rollout->control, rollout->fresh[i].id);

		if (!machine || machine->record->wish != WISH_STARTED)
			return err_set(err, -ECANCELED,
				"machine %s was taken away while others came up",
				rollout->fresh[i].id);
		if (machine->state != STATE_STARTED)
			return err_set(err, -EIO, "machine %s did not stay up: %s",
				rollout->fresh[i].id,
				machine->failure ? machine->failure : "its program ended");
	}
	return 0;
}

/* A machine by hand changes nothing of an app that has a release. */
bool rollout_changes_app(const struct rollout *rollout)
{
	return rollout->kind != ROLLOUT_DESTROY &&
	       (rollout->kind != ROLLOUT_RUN || rollout->release);
}

int64_t rollout_app_revision(const struct rollout *rollout)
{
	char key[STORE_KEY_MAX_BYTES];

	snprintf(key, sizeof(key), "apps/%s", rollout->app_name);
	return mirror_get(rollout->control->mirror, key);
}

/* The transaction that turns everything over. */
int rollout_commit(struct rollout *rollout, struct err *err)
{
	struct control *control = rollout->control;
	_free_ enum machine_wish *wishes = calloc(rollout->leaving_count + 1, sizeof(*wishes));
	struct change change = {};
	int r;

	if (!wishes)
		return err_errno(err, -ENOMEM, "cannot write to the catalog");
	/* What was planned is of the app as it was then. */
	if (rollout_changes_app(rollout) && rollout_app_revision(rollout) != rollout->app_revision)
		return err_set(err, -EAGAIN,
			"another host deployed, scaled or moved app %s meanwhile; ask again",
			rollout->app_name);
	if (rollout->release) {
		rollout->record->release = rollout->release->number;
		change_put_release(&change, rollout->release);
	}
	if (rollout_changes_app(rollout))
		change_put_app(&change, rollout->record);
	for (size_t i = 0; i < rollout->fresh_count; i++) {
		struct machine *machine = machine_find(control, rollout->fresh[i].id);

		machine->record->is_held = false;
		change_put_machine(&change, machine->record);
	}
	for (size_t i = 0; i < rollout->leaving_count; i++) {
		struct machine *machine = machine_find(control, rollout->leaving[i]);

		if (machine) {
			wishes[i] = machine->record->wish;
			machine->record->wish = WISH_DESTROYED;
			change_put_machine(&change, machine->record);
		}
	}
	r = change_commit(control, &change, err);
	if (r == 0)
		return 0;
	for (size_t i = 0; i < rollout->fresh_count; i++)
		machine_find(control, rollout->fresh[i].id)->record->is_held = true;
	for (size_t i = 0; i < rollout->leaving_count; i++) {
		struct machine *machine = machine_find(control, rollout->leaving[i]);

		if (machine)
			machine->record->wish = wishes[i];
	}
	return r;
}
