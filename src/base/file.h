/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: read with a bound, replace atomically, make directories. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct err;

/*
 * Reads all of @path into a NUL-terminated buffer that the caller frees. -EFBIG when it holds more
 * than @max_bytes. @len may be NULL.
 */
int file_read(const char *path, size_t max_bytes, char **out, size_t *len, struct err *err);

/* Writes @path.tmp, syncs it and renames it over @path: readers see the old or the new text. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *err);

/* Makes @path and its parents; existing directories are fine. */
int file_mkdirs(const char *path, mode_t mode, struct err *err);

/* Writes a short value into an existing file such as a sysctl. */
int file_set(const char *path, const char *value, struct err *err);

/* Removes a file or a whole directory tree; an absent one is success. Stays on one file system. */
int file_remove_all(const char *path, struct err *err);
