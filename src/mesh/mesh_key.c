/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private key of this host: a file of one line, 0600, as "wg genkey" writes it. wg(8) makes the
 * key (from getrandom(2)) and the public one of it, so that no cryptography is ours. A key that
 * others could read is refused rather than mended: nobody knows who has read it by then.
 */
#include "mesh/mesh_impl.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define TIMEOUT_MS 10000

/* Runs "wg @what" and reads the one key that it prints. */
static int ask_wg(
	const char *what, const char *input, char out[static MESH_KEY_LEN], struct err *err)
{
	const char *const argv[] = {"wg", what, NULL};
	_free_ char *text = NULL;
	int r = run_checked(argv, input, TIMEOUT_MS, &text, err);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (wg_is_key(text))
		memcpy(out, text, MESH_KEY_LEN);
	else
		r = err_set(err, -EBADMSG, "\"wg %s\" did not print a key", what);
	explicit_bzero(text, strlen(text));
	return r;
}

/* A new file, never one that was there: that could have any mode. */
static int write_key(const char *path, const char key[static MESH_KEY_LEN], struct err *err)
{
	struct iovec parts[] = {{(void *)key, MESH_KEY_LEN - 1}, {"\n", 1}};
	_close_ int fd = -1;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || writev(fd, parts, 2) != MESH_KEY_LEN || fsync(fd) < 0)
		return err_errno(err, errno ? -errno : -EIO, "cannot write the key %s", path);
	return 0;
}

static int make_key(const char *path, bool is_replacing, struct err *err)
{
	char key[MESH_KEY_LEN], temp[PATH_MAX];
	int r;

	if (snprintf(temp, sizeof(temp), "%s.%d.new", path, gettid()) >= (int)sizeof(temp))
		return err_errno(err, -ENAMETOOLONG, "cannot make the key %s", path);
	r = ask_wg("genkey", NULL, key, err);
	if (r == 0)
		r = write_key(temp, key, err);
	explicit_bzero(key, sizeof(key));
	/* Of two that make the first key at once, one is refused and reads the other's. */
	if (r == 0 &&
		(is_replacing ? rename(temp, path) < 0 : link(temp, path) < 0 && errno != EEXIST))
		r = err_errno(err, -errno, "cannot make the key %s", path);
	unlink(temp);
	return r;
}

static int check_file(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "cannot look at the key %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "the key %s is not a file", path);
	if (st.st_mode & 077)
		return err_set(err, -EPERM,
			"the private key %s can be read or written by others (mode %03o); if "
			"nobody "
			"has read it, chmod 600 it, else remove it: a new one is made then",
			path, (unsigned int)st.st_mode & 0777);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, -EPERM, "the private key %s belongs to user %u; chown root it",
			path, (unsigned int)st.st_uid);
	return 0;
}

/* -ENOENT, without a sentence, when there is no file. */
static int read_key(const char *path, char out[static MESH_KEY_LEN], struct err *err)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char text[MESH_KEY_LEN + 1] = "";
	ssize_t len;
	int r;

	if (fd < 0)
		return errno == ENOENT
			       ? -ENOENT
			       : err_errno(err, -errno, "cannot open the private key %s", path);
	r = check_file(fd, path, err);
	if (r < 0)
		return r;
	len = read(fd, text, sizeof(text));
	if (len == MESH_KEY_LEN && text[len - 1] == '\n')
		len--;
	if (len < (ssize_t)sizeof(text))
		text[len < 0 ? 0 : len] = '\0';
	if (len == MESH_KEY_LEN - 1 && wg_is_key(text))
		memcpy(out, text, MESH_KEY_LEN);
	else
		r = err_set(err, -EINVAL,
			"%s does not hold a WireGuard key; remove it, and a new one is made", path);
	explicit_bzero(text, sizeof(text));
	return r;
}

int mesh_public_key(const char *key_path, char out[static MESH_KEY_LEN], struct err *err)
{
	char key[MESH_KEY_LEN];
	int r = read_key(key_path, key, err);

	if (r == -ENOENT) {
		r = make_key(key_path, false, err);
		if (r == 0)
			r = read_key(key_path, key, err);
		if (r == -ENOENT)
			return err_errno(err, r, "cannot make the private key %s", key_path);
	}
	if (r < 0)
		return r;
	r = ask_wg("pubkey", key, out, err);
	explicit_bzero(key, sizeof(key));
	return r < 0 ? err_wrap(err, r, "cannot derive the public key of %s", key_path) : 0;
}

int mesh_new_key(const char *key_path, struct err *err)
{
	return make_key(key_path, true, err);
}
