/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files; see file.h. */
#include "base/file.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

int file_read(const char *path, size_t max_bytes, char **out, size_t *len, struct err *err)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_free_ char *data = NULL;
	size_t used = 0, size = 0;

	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	for (;;) {
		ssize_t got;

		if (used == size) {
			char *bigger;

			size = size ? size * 2 : 4096;
			bigger = realloc(data, size + 1);
			if (!bigger)
				return err_errno(err, -ENOMEM, "cannot read %s", path);
			data = bigger;
		}
		got = read(fd, data + used, size - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, -errno, "cannot read %s", path);
		if (got == 0)
			break;
		used += (size_t)got;
		if (used > max_bytes)
			return err_set(err, -EFBIG, "%s is larger than the limit of %zu bytes",
				path, max_bytes);
	}
	data[used] = '\0';
	*out = take_ptr(data);
	if (len)
		*len = used;
	return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t put = write(fd, data, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		data += put;
		len -= (size_t)put;
	}
	return 0;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	char temp[PATH_MAX];
	_close_ int fd = -1;
	int r;

	if (snprintf(temp, sizeof(temp), "%s.tmp", path) >= (int)sizeof(temp))
		return err_errno(err, -ENAMETOOLONG, "cannot write %s", path);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return err_errno(err, -errno, "cannot write %s", temp);
	r = write_all(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temp);
		return err_errno(err, r, "cannot write %s", path);
	}
	return 0;
}

int file_mkdirs(const char *path, mode_t mode, struct err *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(part))
		return err_errno(err, -ENAMETOOLONG, "cannot make the directory %s", path);
	memcpy(part, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "cannot make the directory %s", part);
		if (i < len)
			part[i] = '/';
	}
	return 0;
}

int file_set(const char *path, const char *value, struct err *err)
{
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	r = write_all(fd, value, strlen(value));
	if (r < 0)
		return err_errno(err, r, "cannot write \"%s\" to %s", value, path);
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

int file_remove_all(const char *path, struct err *err)
{
	int r = nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

	if (r == -1 && errno == ENOENT)
		return 0;
	if (r)
		return err_errno(err, r == -1 ? -errno : r, "cannot remove %s", path);
	return 0;
}
