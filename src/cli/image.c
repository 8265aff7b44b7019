/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image of a deploy; see image.h. Podman is run here and not in wherryd: its output belongs on
 * the person's terminal, and a build that is interrupted there is interrupted.
 */
#include "cli/image.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/builder.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "cli/progress.h"
#include "machine/machine.h"
#include "machine/podman_host.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static char *path_in(const char *dir, const char *name)
{
	struct buf path = {};

	if (name[0] != '/' && dir && *dir && strcmp(dir, ".") != 0)
		buf_addf(&path, "%s/", dir);
	buf_adds(&path, name);
	return buf_take(&path);
}

static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

char *image_dockerfile(const char *dir)
{
	static const char *const names[] = {"Dockerfile", "dockerfile", "Containerfile"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_free_ char *path = path_in(dir, names[i]);

		if (is_file(path))
			return take_ptr(path);
	}
	return NULL;
}

static int no_podman(struct cli *cli, int code)
{
	if (code == -ENOENT)
		return cli_fail(cli, CLI_FAILED, "failed",
			"podman is not installed; apt-get install podman");
	return cli_fail(cli, CLI_FAILED, "failed", "cannot run podman: %s", strerror(-code));
}

static int pull(struct cli *cli, const char *image)
{
	static const char local[] = "localhost/";
	_cleanup_(argv_clear) struct argv argv = {};
	struct builder_output output;
	int r;

	/* No registry has these: podman would try for seconds to find one on this host. */
	if (strncmp(image, local, sizeof(local) - 1) == 0)
		return cli_fail(cli, CLI_FAILED, "failed",
			"there is no image %s on this host; podman images lists those there are",
			image);
	podman_host_command(&argv);
	argv_add(&argv, "pull");
	argv_add(&argv, image);
	progress_line("Pulling %s", image);
	r = builder_run(cli, &argv, &output);
	if (r < 0)
		return no_podman(cli, r);
	if (output.exit_status == 0)
		return CLI_OK;
	return cli_fail(cli, CLI_FAILED, "failed",
		"the image %s is neither here nor can it be pulled: %s", image, output.last);
}

/*
 * As in flyctl: [build] dockerfile is relative to the configuration file, a Dockerfile that nobody
 * named is looked for in the directory that is deployed. Where that one has none but the file's
 * own directory does, the app is what is in the latter.
 */
static int find_dockerfile(struct cli *cli, const struct config_file *file, const char *dir,
	char **dockerfile, char **context)
{
	const char *named = args_get(&cli->args, "dockerfile");
	_free_ char *file_dir = dir_of(file->path), *found = NULL, *where = strdup(dir ? dir : ".");

	if (named)
		found = strdup(named);
	else if (file->config->build_dockerfile)
		found = path_in(file_dir, file->config->build_dockerfile);
	if (found && !is_file(found))
		return cli_fail(cli, CLI_INVALID, "invalid_config",
			"there is no Dockerfile %s; %s names it", found,
			named ? "--dockerfile" : "[build] dockerfile");
	if (!found)
		found = image_dockerfile(where);
	if (!found) {
		found = image_dockerfile(file_dir);
		free(where);
		where = take_ptr(file_dir);
	}
	if (!found)
		return cli_fail(cli, CLI_INVALID, "invalid_config",
			"%s names no image, and there is no Dockerfile in %s; write one, or name "
			"an "
			"image with --image or [build] image",
			file->path, dir ? dir : "the current directory");
	*dockerfile = take_ptr(found);
	*context = take_ptr(where);
	return CLI_OK;
}

static void add_build_args(
	const struct cli *cli, const struct app_config *config, struct argv *argv)
{
	const char *target = args_get(&cli->args, "build-target"), *given;
	size_t at = 0;

	if (!target)
		target = config->build_target;
	if (target) {
		argv_add(argv, "--target");
		argv_add(argv, target);
	}
	for (size_t i = 0; i < config->build_arg_count; i++) {
		_free_ char *arg = NULL;

		if (asprintf(&arg, "%s=%s", config->build_args[i].name,
			    config->build_args[i].value) < 0)
			abort();
		argv_add(argv, "--build-arg");
		argv_add(argv, arg);
	}
	while ((given = args_next(&cli->args, "build-arg", &at))) {
		argv_add(argv, "--build-arg");
		argv_add(argv, given);
	}
	if (args_has(&cli->args, "no-cache"))
		argv_add(argv, "--no-cache");
}

static int build_failed(
	struct cli *cli, const char *dockerfile, const struct builder_output *output)
{
	const char *reason = output->last;

	/* buildah says the step again: building at STEP "RUN false": ... */
	if (*output->step && strncmp(reason, "building at STEP ", 17) == 0 &&
		strstr(reason, "\": "))
		reason = strstr(reason, "\": ") + 3;
	if (*output->step)
		return cli_fail(cli, CLI_FAILED, "failed", "%s could not be built: step %s: %s",
			dockerfile, output->step, reason);
	return cli_fail(cli, CLI_FAILED, "failed", "%s could not be built: %s", dockerfile, reason);
}

static int build(struct cli *cli, const struct config_file *file, const char *app, const char *dir,
	char **image)
{
	_free_ char *dockerfile = NULL, *context = NULL, *tag = NULL;
	_cleanup_(argv_clear) struct argv argv = {};
	struct builder_output output;
	int r = find_dockerfile(cli, file, dir, &dockerfile, &context);

	if (r != CLI_OK)
		return r;
	if (asprintf(&tag, "localhost/wherry/%s:deployment-%lld", app, (long long)time(NULL)) < 0)
		abort();
	podman_host_command(&argv);
	argv_add(&argv, "build");
	builder_add_options(&argv);
	argv_add(&argv, "--tag");
	argv_add(&argv, tag);
	argv_add(&argv, "--file");
	argv_add(&argv, dockerfile);
	add_build_args(cli, file->config, &argv);
	argv_add(&argv, context);
	progress_line("Building %s", tag);
	r = builder_run(cli, &argv, &output);
	if (r < 0)
		return no_podman(cli, r);
	if (output.exit_status)
		return build_failed(cli, dockerfile, &output);
	*image = take_ptr(tag);
	return CLI_OK;
}

int image_prepare(struct cli *cli, const struct config_file *file, const char *app, const char *dir,
	char **image)
{
	const char *named = args_get(&cli->args, "image");
	struct err err = {};
	int r;

	if (!named)
		named = file->config->build_image;
	if (!named)
		return build(cli, file, app, dir, image);
	r = machine_image_exists(named, NULL, &err);
	if (r < 0)
		return cli_fail(cli, CLI_FAILED, "failed", "%s", err.text);
	if (r > 0)
		r = pull(cli, named);
	if (r != CLI_OK)
		return r;
	*image = strdup(named);
	return CLI_OK;
}
