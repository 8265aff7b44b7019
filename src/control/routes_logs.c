/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs of an app's machines as a stream: what is there, by time, and with follow=1 what comes.
 * The files are looked at a few times a second; a follower holds a place in each, nothing more.
 * Lines are sent as fast as the client takes them, and more are read when it has them all.
 */
#include "control/routes.h"

#include "machine/logs.h"

#include <errno.h>
#include <string.h>

#define FOLLOW_MS     250
#define PACE_MS	      10 /* while lines wait for the client */
#define PACE_BYTES    (API_STREAM_MAX_BYTES / 4)
#define LINES_DEFAULT 100
#define LINES_MAX     100000

struct place {
	char machine_id[MACHINE_ID_LEN];
	char *group;
	char *dir;
	struct logs_cursor cursor;
};

struct line {
	char *timestamp;
	json_t *json;
};

struct follower {
	struct follower *next;
	struct control *control;
	struct api_stream *stream;
	uv_timer_t timer;
	char *app;
	char machine_id[MACHINE_ID_LEN]; /* "": all of the app */
	unsigned int lines;		 /* of those that are there already */
	bool has_looked, is_following;
	struct place *places;
	size_t place_count;
	struct line *batch; /* of one look, to be sorted by time */
	size_t batch_count, sent_count;
	const struct place *reading;
};

static void drop_batch(struct follower *follower)
{
	for (size_t i = 0; i < follower->batch_count; i++) {
		free(follower->batch[i].timestamp);
		if (i >= follower->sent_count)
			json_decref(follower->batch[i].json);
	}
	follower->batch_count = follower->sent_count = 0;
}

static void free_follower(uv_handle_t *handle)
{
	struct follower *follower = handle->data;

	drop_batch(follower);
	for (size_t i = 0; i < follower->place_count; i++) {
		free(follower->places[i].group);
		free(follower->places[i].dir);
	}
	free(follower->places);
	free(follower->batch);
	free(follower->app);
	free(follower);
}

static void end(struct follower *follower)
{
	struct follower **at = &follower->control->followers;

	while (*at != follower)
		at = &(*at)->next;
	*at = follower->next;
	api_stream_end(take_ptr(follower->stream));
	uv_timer_stop(&follower->timer);
	uv_close((uv_handle_t *)&follower->timer, free_follower);
}

static void collect(void *arg, const struct log_line *line)
{
	struct follower *follower = arg;
	const struct place *place = follower->reading;
	struct line *batch;

	if ((follower->batch_count & (follower->batch_count + 1)) == 0) {
		batch = realloc(follower->batch, (follower->batch_count * 2 + 2) * sizeof(*batch));
		if (!batch)
			return;
		follower->batch = batch;
	}
	batch = &follower->batch[follower->batch_count++];
	batch->timestamp = strdup(line->timestamp);
	batch->json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s}}", "timestamp",
		line->timestamp, "level", strcmp(line->stream, "stderr") == 0 ? "error" : "info",
		"instance", place->machine_id, "region", follower->control->config.region,
		"message", line->message, "meta", "stream", line->stream, "group", place->group);
}

static int compare_lines(const void *a, const void *b)
{
	const struct line *left = a, *right = b;

	return strcmp(
		left->timestamp ? left->timestamp : "", right->timestamp ? right->timestamp : "");
}

static struct place *find_place(struct follower *follower, const struct machine *machine)
{
	struct place *places;

	for (size_t i = 0; i < follower->place_count; i++)
		if (strcmp(follower->places[i].machine_id, machine->record->id) == 0)
			return &follower->places[i];
	places = realloc(follower->places, (follower->place_count + 1) * sizeof(*places));
	if (!places)
		return NULL;
	follower->places = places;
	places = &places[follower->place_count++];
	*places = (struct place){
		.group = strdup(machine->record->group),
		.dir = machine_dir(follower->control, machine->record->id),
	};
	memcpy(places->machine_id, machine->record->id, sizeof(places->machine_id));
	/* Machines that come while it follows are read from their beginning. */
	if (places->dir && !follower->has_looked)
		logs_seek_tail(places->dir, follower->lines, &places->cursor);
	return places;
}

static void look(struct follower *follower)
{
	const struct control *control = follower->control;

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *machine = control->machines[i];
		struct place *place;

		if (!machine->is_local || strcmp(machine->record->app, follower->app) != 0 ||
			(follower->machine_id[0] &&
				strcmp(machine->record->id, follower->machine_id) != 0))
			continue;
		place = find_place(follower, machine);
		if (!place || !place->dir)
			continue;
		follower->reading = place;
		logs_read(place->dir, &place->cursor, collect, follower);
	}
	if (follower->batch_count)
		qsort(follower->batch, follower->batch_count, sizeof(*follower->batch),
			compare_lines);
	/* Each machine gave as many lines as were asked of all together. */
	if (!follower->has_looked && follower->batch_count > follower->lines)
		for (; follower->sent_count < follower->batch_count - follower->lines;
			follower->sent_count++)
			json_decref(follower->batch[follower->sent_count].json);
	follower->has_looked = true;
}

/* Returns true when all lines of the last look are sent. */
static bool send_batch(struct follower *follower)
{
	while (follower->sent_count < follower->batch_count) {
		if (api_stream_waiting_bytes(follower->stream) >= PACE_BYTES)
			return false;
		api_stream_send(follower->stream, follower->batch[follower->sent_count++].json);
	}
	drop_batch(follower);
	return true;
}

static void tick(uv_timer_t *timer)
{
	struct follower *follower = timer->data;

	if (api_stream_is_closed(follower->stream)) {
		end(follower);
		return;
	}
	if (!send_batch(follower)) {
		uv_timer_start(timer, tick, PACE_MS, 0);
		return;
	}
	if (!follower->is_following && follower->has_looked) {
		end(follower);
		return;
	}
	look(follower);
	uv_timer_start(
		timer, tick, follower->batch_count || !follower->is_following ? 0 : FOLLOW_MS, 0);
}

void followers_end(struct control *control)
{
	while (control->followers)
		end(control->followers);
}

static int parse_lines(const char *text, unsigned int *out)
{
	char *rest;
	unsigned long count;

	*out = LINES_DEFAULT;
	if (!text)
		return 0;
	errno = 0;
	count = strtoul(text, &rest, 10);
	if (*text < '0' || *text > '9' || *rest || errno)
		return -EINVAL;
	*out = (unsigned int)(count > LINES_MAX ? LINES_MAX : count);
	return 0;
}

void routes_logs(struct api_request *req, void *arg)
{
	struct control *control = arg;
	struct app *app = routes_app(control, req);
	const char *id = api_request_query(req, "machine"),
		   *lines = api_request_query(req, "lines");
	const char *follow = api_request_query(req, "follow");
	struct machine *machine = NULL;
	struct follower *follower;
	unsigned int count;
	size_t matches;
	struct err err;

	if (!app)
		return;
	if (parse_lines(lines, &count) < 0) {
		api_reply_error(req, 400, "invalid_request",
			"\"lines\" is the number of past lines to send", NULL);
		return;
	}
	if (id && *id) {
		machine = machine_find_prefix(control, id, &matches);
		if (!machine || strcmp(machine->record->app, app->record->name) != 0) {
			api_reply_error(req, 404, "not_found",
				"the app has no such machine; wherry "
				"machine list shows those it has",
				NULL);
			return;
		}
	}
	if (machine && !machine->is_local) {
		err_set(&err, -EREMOTE, "machine %s is on host %s; run this there",
			machine->record->id, host_name(control, machine->record->host));
		api_reply_error(req, 409, "conflict", err.text, NULL);
		return;
	}
	follower = calloc(1, sizeof(*follower));
	if (!follower || !(follower->app = strdup(app->record->name))) {
		free(follower);
		api_reply_error(req, 500, "failed", "out of memory", NULL);
		return;
	}
	follower->control = control;
	follower->lines = count;
	follower->is_following = follow && strcmp(follow, "1") == 0;
	if (machine)
		memcpy(follower->machine_id, machine->record->id, sizeof(follower->machine_id));
	uv_timer_init(control->loop, &follower->timer);
	/* A follower must not keep a daemon that is being stopped. */
	uv_unref((uv_handle_t *)&follower->timer);
	follower->timer.data = follower;
	follower->stream = api_stream_begin(req);
	follower->next = control->followers;
	control->followers = follower;
	uv_timer_start(&follower->timer, tick, 0, 0);
}
