/* SPDX-License-Identifier: Apache-2.0 */
/* Getting the image that a deploy will run: one that is here, one that is pulled, one built. */
#pragma once

struct cli;
struct config_file;

/*
 * Finds the image for the app @app: --image, [build] image, or the Dockerfile, built in the
 * directory @dir (NULL: the current one). The caller frees *image. Returns an exit status.
 */
int image_prepare(struct cli *cli, const struct config_file *file, const char *app, const char *dir,
	char **image);

/* The Dockerfile a directory has, or NULL; the caller frees. */
char *image_dockerfile(const char *dir);
