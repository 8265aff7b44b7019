/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one transaction of a rollout that changes what serves: its machines go into service, the
 * release becomes current, the machines of before are to go. A store that does not answer in the
 * middle of it may have done it or not; nothing is undone before that is known.
 */
#include "control/rollout_impl.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define FIND_OUT_MS 5000 /* for what another host, or this one, did to be heard of */

/* The code of a commit that failed with @r. */
const char *rollout_code_of(int r)
{
	return r == -EAGAIN ? "conflict" : "unavailable";
}

/*
 * Whether all new machines are still there and up: while the later ones came up, the first may have
 * crashed or been destroyed.
 */
static int check_fresh(const struct rollout *rollout, struct err *err)
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
static bool changes_app(const struct rollout *rollout)
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
static int commit(struct rollout *rollout, struct err *err)
{
	struct control *control = rollout->control;
	_free_ enum machine_wish *wishes = calloc(rollout->leaving_count + 1, sizeof(*wishes));
	struct change change = {};
	int r;

	if (!wishes)
		return err_errno(err, -ENOMEM, "cannot write to the catalog");
	/* What was planned is of the app as it was then. */
	if (changes_app(rollout) && rollout_app_revision(rollout) != rollout->app_revision)
		return err_set(err, -EAGAIN,
			"another host deployed, scaled or moved app %s meanwhile; ask again",
			rollout->app_name);
	if (rollout->release) {
		rollout->record->release = rollout->release->number;
		change_put_release(&change, rollout->release);
	}
	if (changes_app(rollout))
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

/* Heard of from the store: it was done after all. */
static bool has_happened(const struct rollout *rollout)
{
	const struct control *control = rollout->control;
	const struct app *app = catalog_find_app(control, rollout->app_name);
	const struct machine *machine;

	if (rollout->fresh_count) {
		machine = machine_find(control, rollout->fresh[0].id);
		return machine && !machine->record->is_held;
	}
	for (size_t i = 0; i < rollout->leaving_count; i++) {
		machine = machine_find(control, rollout->leaving[i]);
		if (machine && machine->record->wish != WISH_DESTROYED)
			return false;
	}
	return rollout->leaving_count ||
	       (rollout->release && app->record->release == rollout->release->number);
}

/* Memory as the transaction made the catalog. */
static void take_over(struct rollout *rollout)
{
	struct control *control = rollout->control;
	struct app *app = catalog_find_app(control, rollout->app_name);

	if (changes_app(rollout)) {
		app_record_free(app->record);
		app->record = take_ptr(rollout->record);
	}
	if (rollout->release)
		app_set_release(
			control, app, take_ptr(rollout->release), take_ptr(rollout->config));
}

/* The commit came to no clear end: the first time it is told, later it is asked again. */
static int wait_for_store(struct rollout *rollout)
{
	if (!rollout->is_unsure)
		api_stream_progress(rollout->stream,
			"The catalog does not answer; waiting for it, to know whether the machines "
			"are in service");
	rollout->is_unsure = true;
	rollout->unsure_ms = clock_now_ms();
	return 1;
}

int rollout_turn_over(struct rollout *rollout, const char **code, struct err *err)
{
	struct control *control = rollout->control;
	const bool is_away = store_is_away(control->store, err) < 0;
	int r;

	if (is_away && rollout->is_unsure)
		return wait_for_store(rollout);
	if (is_away) {
		*code = "unavailable";
		return -EHOSTDOWN;
	}
	if (rollout->is_unsure && has_happened(rollout)) {
		serve(control);
		return 0;
	}
	r = check_fresh(rollout, err);
	if (r < 0) {
		*code = "failed";
		return r;
	}
	r = commit(rollout, err);
	*code = rollout_code_of(r);
	if (r == -EHOSTDOWN)
		return wait_for_store(rollout);
	if (r == -EAGAIN && rollout->is_unsure && clock_now_ms() - rollout->unsure_ms < FIND_OUT_MS)
		return 1;
	if (r < 0)
		return r;
	take_over(rollout);
	err->text[0] = '\0';
	serve_apply(control, err);
	return 0;
}
