/* SPDX-License-Identifier: Apache-2.0 */
/* The fly.toml a command works with: found, read and parsed; its problems told. */
#pragma once

#include <jansson.h>

#include "base/mem.h"
#include "model/config.h"

struct cli;

#define CONFIG_FILE_NAME "fly.toml"

struct config_file {
	char *path; /* as the person wrote it, for messages */
	char *text;
	size_t len_bytes;
	struct app_config *config; /* NULL while it was read only */
};

void config_file_clear(struct config_file *file);

/*
 * Where the file is: that of --config, else fly.toml in @dir. A relative --config is tried from
 * the current directory, then from @dir. The caller frees it.
 */
char *config_file_path(const struct cli *cli, const char *dir);

/* Reads without parsing. A missing file is CLI_INVALID. Returns an exit status. */
int config_file_read(struct cli *cli, const char *path, struct config_file *out);

/*
 * Reads and parses; warnings are printed. CLI_INVALID with all the diagnostics in the failure when
 * there is an error. Returns an exit status.
 */
int config_file_load(struct cli *cli, const char *path, struct config_file *out);

/* The diagnostics as docs/api.md has them, with "file"; the caller owns the array. */
json_t *config_file_diagnostics(const struct diagnostics *diags);
