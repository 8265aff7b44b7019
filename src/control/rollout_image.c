/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which image the name of a release means. Hosts of a fleet each have images of their own, so the
 * ID is asked once, of the podman of the host that runs the rollout, and put down in the release:
 * whatever the name means later or elsewhere, the release stays what it was.
 */
#include "control/rollout_impl.h"

#include "machine/image_store.h"

#include <errno.h>
#include <string.h>

struct rollout_image {
	struct rollout *rollout; /* NULL: it ended meanwhile */
	uv_work_t work;
	rollout_image_fn *fn;
	char *name;
	char id[IMAGE_ID_LEN];
	int result;
	struct err err;
};

static void look(uv_work_t *work)
{
	struct rollout_image *image = work->data;

	image->result = image_store_find(image->name, image->id, &image->err);
}

static int keep(struct rollout *rollout, struct rollout_image *image)
{
	struct release_record *release = rollout->release;

	if (image->result < 0)
		return image->result;
	if (image->result > 0)
		return err_set(&image->err, -ENOENT,
			"the image %s is not on host %s; build it or podman pull it there first",
			image->name, host_name(rollout->control, rollout->control->host_id));
	release->image_id = strdup(image->id);
	release->image_host = rollout->control->host_id;
	return release->image_id ? 0 : err_errno(&image->err, -ENOMEM, "cannot make a release");
}

static void looked(uv_work_t *work, int status)
{
	struct rollout_image *image = work->data;
	struct rollout *rollout = image->rollout;

	if (rollout && status == 0) {
		rollout->image = NULL;
		image->result = keep(rollout, image);
		image->fn(rollout, image->result < 0 ? image->err.text : NULL);
	}
	free(image->name);
	free(image);
}

void rollout_image_find(struct rollout *rollout, rollout_image_fn *fn)
{
	struct rollout_image *image;

	if (!rollout->control->is_fleet || !rollout->release || !rollout->release->image) {
		fn(rollout, NULL);
		return;
	}
	image = calloc(1, sizeof(*image));
	if (image)
		image->name = strdup(rollout->release->image);
	if (!image || !image->name) {
		free(image);
		fn(rollout, "out of memory");
		return;
	}
	image->rollout = rollout;
	image->fn = fn;
	image->work.data = image;
	rollout->image = image;
	uv_queue_work(rollout->control->loop, &image->work, look, looked);
}

void rollout_image_forget(struct rollout *rollout)
{
	if (rollout->image)
		rollout->image->rollout = NULL;
	rollout->image = NULL;
}
