/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of other hosts for machines of this one. A start whose image may have to be fetched waits
 * here, in the loop and not in a worker, so that other machines' jobs find workers: at most
 * RUNNING_MAX transfers have one. One image is one piece of work, for all machines that wait for
 * it. Fetched images go with their last machine; as that is work of the same image, a start never
 * meets an image that is being removed.
 */
#include "control/control_impl.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "machine/image_transfer.h"

#include <errno.h>
#include <string.h>

#define RUNNING_MAX 4

struct image_work {
	struct image_work *next; /* in the order in which they came */
	struct control *control;
	uv_work_t work;
	struct image_want want; /* no sources: nothing to fetch, the image goes */
	bool is_removal, is_running;
	struct machine_job *jobs; /* that wait for it */
	int result;
	struct err err;
	uint64_t since_ms;
};

static void run_next(struct control *control);

char *image_dir(const struct control *control)
{
	char *dir;

	return asprintf(&dir, "%s/images", control->state_dir) < 0 ? NULL : dir;
}

int image_queue_open(struct control *control, struct err *err)
{
	_free_ char *dir = image_dir(control);
	int r = dir ? file_remove_all(dir, err) : err_errno(err, -ENOMEM, "cannot start");

	return r < 0 ? r : file_mkdirs(dir, 0700, err);
}

static bool is_used(const struct control *control, const char *id)
{
	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine_record *record = control->machines[i]->record;

		if (control->machines[i]->is_local && record->image_id &&
			strcmp(record->image_id, id) == 0)
			return true;
	}
	return false;
}

static void do_work(uv_work_t *work)
{
	struct image_work *image = work->data;
	const struct image_want *want = &image->want;

	image->result = image->is_removal ? image_store_forget(want->id, want->name, &image->err)
					  : image_transfer_fetch(want, &image->err);
}

static void unlink_work(struct control *control, struct image_work *image)
{
	struct image_work **at = &control->image_works;

	while (*at != image)
		at = &(*at)->next;
	*at = image->next;
}

static void free_work(struct image_work *image)
{
	image_want_clear(&image->want);
	free(image);
}

/* What waited for it goes on, or fails with its sentence. */
static void release_jobs(struct image_work *image, int status)
{
	while (image->jobs) {
		struct machine_job *job = image->jobs;

		image->jobs = job->next;
		if (status == 0 && image->result < 0) {
			job->result = image->result;
			job->err = image->err;
			job_end(job, 0);
		} else if (status < 0 || job_run(job) < 0) {
			job_end(job, status < 0 ? status : UV_ENOMEM);
		}
	}
}

static void log_end(const struct image_work *image)
{
	const struct image_want *want = &image->want;

	if (image->is_removal && image->result < 0)
		log_warn("image-not-removed", "image=%s id=%s reason=\"%s\"", want->name, want->id,
			image->err.text);
	else if (image->is_removal && image->result == 0)
		log_info("image-removed", "image=%s id=%s", want->name, want->id);
	else if (!image->is_removal && image->result == 1)
		log_info("image-fetched", "image=%s id=%s ms=%ju", want->name, want->id,
			(uintmax_t)(clock_now_ms() - image->since_ms));
}

static void work_done(uv_work_t *work, int status)
{
	struct image_work *image = work->data;
	struct control *control = image->control;

	unlink_work(control, image);
	log_end(image);
	release_jobs(image, control->is_closing ? UV_ECANCELED : status);
	free_work(image);
	run_next(control);
}

/* Whether it has to wait for other work, that of its own image or any. */
static bool must_wait(const struct control *control, const struct image_work *image)
{
	unsigned int running = 0;

	for (const struct image_work *other = control->image_works; other; other = other->next) {
		running += other->is_running;
		if (other->is_running && strcmp(other->want.id, image->want.id) == 0)
			return true;
	}
	return running >= RUNNING_MAX;
}

static void start(struct image_work *image)
{
	struct control *control = image->control;

	if (image->is_removal && is_used(control, image->want.id)) {
		unlink_work(control, image);
		free_work(image);
		return;
	}
	image->work.data = image;
	image->since_ms = clock_now_ms();
	image->is_running = true;
	if (uv_queue_work(control->loop, &image->work, do_work, work_done) == 0)
		return;
	image->is_running = false;
	unlink_work(control, image);
	release_jobs(image, UV_ENOMEM);
	free_work(image);
}

static void run_next(struct control *control)
{
	struct image_work *image = control->image_works, *next;

	for (; image && !control->is_closing; image = next) {
		next = image->next;
		if (!image->is_running && !must_wait(control, image))
			start(image);
	}
}

/* At the end of the list. */
static struct image_work *add_work(
	struct control *control, const struct machine_record *record, bool is_removal)
{
	struct image_work **at = &control->image_works, *image = calloc(1, sizeof(*image));

	if (!image)
		return NULL;
	image->control = control;
	image->is_removal = is_removal;
	image->want.name = strdup(record->image ? record->image : record->image_id);
	image->want.host = strdup(host_name(control, control->host_id));
	image->want.dir = image_dir(control);
	if (!image->want.name || !image->want.host || !image->want.dir) {
		free_work(image);
		return NULL;
	}
	snprintf(image->want.id, sizeof(image->want.id), "%s", record->image_id);
	while (*at)
		at = &(*at)->next;
	*at = image;
	return image;
}

static void add_source(struct control *control, struct image_want *want, unsigned int id)
{
	const struct host *host = host_find(control, id);
	struct image_source *source = &want->sources[want->source_count];

	if (!host || !host->record || !host->record->mesh_v4.family || id == control->host_id ||
		want->source_count == IMAGE_SOURCES_MAX)
		return;
	for (size_t i = 0; i < want->source_count; i++)
		if (addr_equal(&want->sources[i].addr, &host->record->mesh_v4))
			return;
	source->addr = host->record->mesh_v4;
	source->host = strdup(host->record->name);
	want->source_count += source->host != NULL;
}

/* The host that built it, then those whose machines run it: the first may be gone by now. */
static void add_sources(
	struct control *control, const struct machine_record *record, struct image_want *want)
{
	add_source(control, want, record->image_host);
	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine *other = control->machines[i];

		if (!other->is_local && other->state == STATE_STARTED && other->record->image_id &&
			strcmp(other->record->image_id, record->image_id) == 0 &&
			host_is_reachable(control, other->record->host))
			add_source(control, want, other->record->host);
	}
}

bool image_queue_needs(const struct machine *machine)
{
	const struct machine_record *record = machine->record;

	return record->kind == MACHINE_IMAGE && record->image_id && record->image_host &&
	       record->image_host != machine->control->host_id &&
	       image_id_is_valid(record->image_id);
}

int image_queue_fetch(struct machine_job *job)
{
	struct machine *machine = job->machine;
	struct control *control = machine->control;
	const struct machine_record *record = machine->record;
	struct image_work *image = control->image_works;

	while (image && (image->is_removal || strcmp(image->want.id, record->image_id) != 0))
		image = image->next;
	if (!image) {
		image = add_work(control, record, false);
		if (!image)
			return -ENOMEM;
		memcpy(image->want.identity, control->identity, HOST_IDENTITY_LEN);
		image->want.from = host_find(control, control->host_id)->record->mesh_v4;
		add_sources(control, record, &image->want);
	}
	job->next = image->jobs;
	image->jobs = job;
	run_next(control);
	return 0;
}

void image_queue_unused(struct control *control, const struct machine_record *record)
{
	if (record->kind != MACHINE_IMAGE || !record->image_id || !record->image_host ||
		record->image_host == control->host_id || !image_id_is_valid(record->image_id) ||
		is_used(control, record->image_id))
		return;
	if (add_work(control, record, true))
		run_next(control);
}

void image_queue_close(struct control *control)
{
	struct image_work *image = control->image_works, *next;

	for (; image; image = next) {
		next = image->next;
		if (image->is_running)
			continue;
		unlink_work(control, image);
		release_jobs(image, UV_ECANCELED);
		free_work(image);
	}
}
