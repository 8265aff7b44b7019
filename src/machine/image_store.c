/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to podman about images; see image_store.h. */
#include "machine/image_store.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/run.h"
#include "machine/podman.h"
#include "machine/podman_host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define TIMEOUT_MS     60000
#define NAME_MAX_BYTES 128

bool image_id_is_valid(const char *id)
{
	return strlen(id) == IMAGE_ID_LEN - 1 && strspn(id, "0123456789abcdef") == IMAGE_ID_LEN - 1;
}

static char *fetched_name(const char *id, char name[static NAME_MAX_BYTES])
{
	snprintf(name, NAME_MAX_BYTES, IMAGE_STORE_FETCHED ":%s", id);
	return name;
}

int image_store_find(const char *name, char id[static IMAGE_ID_LEN], struct err *err)
{
	_free_ char *found = NULL;
	int r = podman_image_inspect(name, "{{.Id}}", &found, err);

	if (r != 0)
		return r;
	if (!image_id_is_valid(found))
		return err_set(err, -EIO,
			"podman gives the image %s the ID \"%.100s\", which is not clear", name,
			found);
	memcpy(id, found, IMAGE_ID_LEN);
	return 0;
}

int image_store_has(const char *id, struct err *err)
{
	char found[IMAGE_ID_LEN];
	int r = image_store_find(id, found, err);

	/* A name that looks like an ID is another image's. */
	return r == 0 && strcmp(found, id) != 0 ? 1 : r;
}

static int image_command(const char *verb, const char *first, const char *second, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};

	podman_host_command(&argv);
	argv_add(&argv, verb);
	argv_add(&argv, "--");
	argv_add(&argv, first);
	if (second)
		argv_add(&argv, second);
	return run_checked(argv_items(&argv), NULL, TIMEOUT_MS, NULL, err);
}

int image_store_keep(const char *id, const char *name, struct err *err)
{
	char ours[NAME_MAX_BYTES], other[IMAGE_ID_LEN];
	int r = image_command("tag", id, fetched_name(id, ours), err);

	/* For people only, machines are run by the ID. A name with a digest cannot be given. */
	if (r == 0 && name && !strchr(name, '@') && image_store_find(name, other, NULL) == 1)
		image_command("tag", id, name, NULL);
	return r;
}

int image_store_forget(const char *id, const char *name, struct err *err)
{
	char ours[NAME_MAX_BYTES], found[IMAGE_ID_LEN];
	int r = image_store_find(fetched_name(id, ours), found, err);

	if (r != 0)
		return r;
	if (name && image_store_find(name, found, NULL) == 0 && strcmp(found, id) == 0)
		image_command("rmi", name, NULL, NULL);
	return image_command("rmi", ours, NULL, err);
}
