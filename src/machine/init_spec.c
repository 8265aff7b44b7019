/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files between wherryd and wherry-init; see init_spec.h. The spec is a sequence of
 * NUL-terminated strings, key and value in turn: any value fits, and no parser is needed.
 */
#include "machine/init_spec.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SPEC_MAX_BYTES (8 * 1024 * 1024)

void init_spec_clear(struct init_spec *spec)
{
	free(spec->id);
	free(spec->netns);
	free(spec->rootfs);
	free(spec->state_dir);
	argv_clear(&spec->command);
	argv_clear(&spec->env);
	*spec = (struct init_spec){};
}

static void put(struct buf *buf, const char *key, const char *value)
{
	buf_add(buf, key, strlen(key) + 1);
	buf_add(buf, value, strlen(value) + 1);
}

int init_spec_write(const struct init_spec *spec, struct err *err)
{
	_cleanup_(buf_clear) struct buf buf = {};
	char path[PATH_MAX];

	put(&buf, "id", spec->id);
	put(&buf, "netns", spec->netns);
	put(&buf, "rootfs", spec->rootfs);
	put(&buf, "state_dir", spec->state_dir);
	for (size_t i = 0; i < spec->command.count; i++)
		put(&buf, "arg", spec->command.items[i]);
	for (size_t i = 0; i < spec->env.count; i++)
		put(&buf, "env", spec->env.items[i]);
	snprintf(path, sizeof(path), "%s/" INIT_SPEC_FILE, spec->state_dir);
	return file_replace(path, buf.data, buf.len, 0600, err);
}

static void take(struct init_spec *spec, const char *key, const char *value)
{
	char **const texts[] = {&spec->id, &spec->netns, &spec->rootfs, &spec->state_dir};
	static const char *const names[] = {"id", "netns", "rootfs", "state_dir"};

	if (strcmp(key, "arg") == 0)
		argv_add(&spec->command, value);
	if (strcmp(key, "env") == 0)
		argv_add(&spec->env, value);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(key, names[i]) == 0) {
			free(*texts[i]);
			*texts[i] = strdup(value);
		}
}

int init_spec_read(const char *path, struct init_spec *out, struct err *err)
{
	_cleanup_(init_spec_clear) struct init_spec spec = {};
	_free_ char *text = NULL;
	size_t len;
	int r = file_read(path, SPEC_MAX_BYTES, &text, &len, err);

	if (r < 0)
		return r;
	/* file_read() terminates the text, so a cut-off last string ends at its end. */
	for (const char *key = text, *value; key < text + len; key = value + strlen(value) + 1) {
		value = key + strlen(key) + 1;
		if (value >= text + len)
			break;
		take(&spec, key, value);
	}
	if (!spec.id || !spec.netns || !spec.rootfs || !spec.state_dir || !spec.command.count)
		return err_set(err, -EINVAL, "%s is not whole; start the machine again", path);
	*out = spec;
	spec = (struct init_spec){};
	return 0;
}

static void read_boot_id(char id[static 64])
{
	_free_ char *text = NULL;

	id[0] = '\0';
	if (file_read("/proc/sys/kernel/random/boot_id", 4096, &text, NULL, NULL) == 0)
		sscanf(text, "%63s", id);
}

int init_pids_write(const char *state_dir, const struct init_pids *pids, struct err *err)
{
	char path[PATH_MAX], text[256], boot[64];

	read_boot_id(boot);
	snprintf(path, sizeof(path), "%s/" INIT_PID_FILE, state_dir);
	snprintf(text, sizeof(text), "%d %" PRIu64 " %d %" PRIu64 " %s\n", (int)pids->first,
		pids->first_start, (int)pids->supervisor, pids->supervisor_start, boot);
	return file_replace(path, text, strlen(text), 0644, err);
}

int init_pids_read(const char *state_dir, struct init_pids *out)
{
	char path[PATH_MAX], boot[64], boot_now[64];
	_free_ char *text = NULL;
	struct init_pids pids;
	int r;

	snprintf(path, sizeof(path), "%s/" INIT_PID_FILE, state_dir);
	r = file_read(path, 4096, &text, NULL, NULL);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	if (sscanf(text, "%d %" SCNu64 " %d %" SCNu64 " %63s", &pids.first, &pids.first_start,
		    &pids.supervisor, &pids.supervisor_start, boot) != 5)
		return 1;
	read_boot_id(boot_now);
	if (strcmp(boot, boot_now) != 0)
		return 1;
	*out = pids;
	return 0;
}

int init_exit_write(const char *state_dir, int code, struct err *err)
{
	char path[PATH_MAX], text[32];

	snprintf(path, sizeof(path), "%s/" INIT_EXIT_FILE, state_dir);
	snprintf(text, sizeof(text), "%d\n", code);
	return file_replace(path, text, strlen(text), 0644, err);
}

int init_exit_read(const char *state_dir, int *code)
{
	char path[PATH_MAX];
	_free_ char *text = NULL;
	int r;

	snprintf(path, sizeof(path), "%s/" INIT_EXIT_FILE, state_dir);
	r = file_read(path, 4096, &text, NULL, NULL);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	return sscanf(text, "%d", code) == 1 ? 0 : 1;
}
