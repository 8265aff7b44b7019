/* SPDX-License-Identifier: Apache-2.0 */
/* The app's configuration file; see config_file.h. */
#include "cli/config_file.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

void config_file_clear(struct config_file *file)
{
	free(file->path);
	free(file->text);
	config_free(file->config);
	*file = (struct config_file){};
}

static char *join(const char *dir, const char *name)
{
	_cleanup_(buf_clear) struct buf path = {};

	if (dir && strcmp(dir, ".") != 0 && name[0] != '/')
		buf_addf(&path, "%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/");
	buf_adds(&path, name);
	return buf_take(&path);
}

char *config_file_path(const struct cli *cli, const char *dir)
{
	if (!cli->config_path)
		return join(dir && *dir ? dir : ".", CONFIG_FILE_NAME);
	if (dir && *dir && access(cli->config_path, F_OK) < 0) {
		_free_ char *inside = join(dir, cli->config_path);

		if (access(inside, F_OK) == 0)
			return take_ptr(inside);
	}
	return strdup(cli->config_path);
}

static int missing_file(struct cli *cli, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (strcmp(name, CONFIG_FILE_NAME) != 0)
		return cli_fail(cli, CLI_INVALID, "invalid_config",
			"there is no file %s; name the app's configuration with -c FILE", path);
	return cli_fail(cli, CLI_INVALID, "invalid_config",
		"there is no fly.toml in %.*s; wherry launch writes one, -c FILE names another",
		slash ? (int)(slash - path) : 21, slash ? path : "the current directory");
}

int config_file_read(struct cli *cli, const char *path, struct config_file *out)
{
	struct err err = {};
	int r;

	if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return missing_file(cli, path);
	r = file_read(path, CONFIG_MAX_BYTES, &out->text, &out->len_bytes, &err);
	if (r == -EFBIG)
		return cli_fail(cli, CLI_INVALID, "invalid_config",
			"%s is larger than %d KiB; that is no app configuration", path,
			CONFIG_MAX_BYTES / 1024);
	if (r < 0)
		return cli_fail(cli, CLI_INVALID, "invalid_config", "%s", err.text);
	out->path = strdup(path);
	return CLI_OK;
}

json_t *config_file_diagnostics(const struct diagnostics *diags)
{
	json_t *array = json_array();

	for (size_t i = 0; i < diags->count; i++) {
		const struct diagnostic *d = &diags->items[i];

		json_array_append_new(array,
			json_pack("{s:s?, s:s, s:i, s:i, s:s}", "file", diags->file_name,
				"severity", d->severity == SEVERITY_ERROR ? "error" : "warning",
				"line", (int)d->line, "column", (int)d->column, "message",
				d->message));
	}
	return array;
}

static void warn(struct cli *cli, const struct diagnostics *diags)
{
	for (size_t i = 0; i < diags->count; i++) {
		const struct diagnostic *d = &diags->items[i];
		char where[512];

		if (d->line)
			snprintf(where, sizeof(where), "%s:%u:%u: ", diags->file_name, d->line,
				d->column);
		else
			snprintf(where, sizeof(where), "%s: ", diags->file_name);
		cli_warn(cli, where, d->message);
	}
}

int config_file_load(struct cli *cli, const char *path, struct config_file *out)
{
	_cleanup_(diagnostics_clear) struct diagnostics diags = {};
	unsigned int errors;
	int r = config_file_read(cli, path, out);

	if (r != CLI_OK)
		return r;
	if (config_parse(out->text, out->len_bytes, path, &out->config, &diags) == 0) {
		warn(cli, &diags);
		return CLI_OK;
	}
	errors = diagnostics_count(&diags, SEVERITY_ERROR);
	r = cli_fail(cli, CLI_INVALID, "invalid_config", "%s has %u error%s", path, errors,
		errors == 1 ? "" : "s");
	cli->failure.diagnostics = config_file_diagnostics(&diags);
	return r;
}
