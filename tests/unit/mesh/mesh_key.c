/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "mesh/wg_dump.h"

static char dir[64];

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void public_key(const char *path, char out[static MESH_KEY_LEN])
{
	struct err err = {};

	if (mesh_public_key(path, out, &err) < 0)
		fail_msg("%s", err.text);
}

static void an_absent_key_is_made_for_its_owner_only_and_stays(void **state)
{
	char first[MESH_KEY_LEN], again[MESH_KEY_LEN];
	const char *path = path_of("made");
	_free_ char *text = NULL;
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	public_key(path, first);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	public_key(path, again);
	assert_string_equal(first, again);
	assert_true(wg_is_key(first));
	assert_int_equal(file_read(path, 100, &text, NULL, NULL), 0);
	assert_int_equal(strlen(text), MESH_KEY_LEN); /* with a newline */
	text[MESH_KEY_LEN - 1] = '\0';
	assert_true(wg_is_key(text));
	assert_string_not_equal(text, first);
}

static void a_key_that_others_can_read_is_refused(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0620, 0666};
	char key[MESH_KEY_LEN];
	const char *path = path_of("open");

	(void)state;
	public_key(path, key);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		struct err err = {};

		assert_int_equal(chmod(path, modes[i]), 0);
		assert_int_equal(mesh_public_key(path, key, &err), -EPERM);
		assert_non_null(strstr(err.text, "can be read or written by others"));
	}
}

static void what_is_no_key_is_refused_and_kept(void **state)
{
	static const char *const texts[] = {"", "\n", "hello\n",
		"6Nk0Yo1gMX9RMS2w9JDDfgbwHYTbxNL4lFkLnBaU+Ws", /* cut off */
		"6Nk0Yo1gMX9RMS2w9JDDfgbwHYTbxNL4lFkLnBaU+Ws=x",
		"6Nk0Yo1gMX9RMS2w9JDDfgbwHYTbxNL4lFkLnBaU+Ws=\nmore"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *path = path_of("wrong");
		char key[MESH_KEY_LEN];
		_free_ char *text = NULL;
		struct err err = {};

		assert_int_equal(file_replace(path, texts[i], strlen(texts[i]), 0600, NULL), 0);
		assert_int_equal(mesh_public_key(path, key, &err), -EINVAL);
		assert_non_null(strstr(err.text, "does not hold a WireGuard key"));
		assert_int_equal(file_read(path, 100, &text, NULL, NULL), 0);
		assert_string_equal(text, texts[i]);
	}
}

static void what_is_no_file_is_refused(void **state)
{
	char key[MESH_KEY_LEN];
	struct err err = {};

	(void)state;
	assert_int_equal(mkdir(path_of("directory"), 0700), 0);
	assert_int_equal(mesh_public_key(path_of("directory"), key, &err), -EINVAL);
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	assert_int_equal(mesh_public_key(path_of("fifo"), key, &err), -EINVAL);
	assert_int_equal(mesh_public_key(path_of("nowhere/key"), key, &err), -ENOENT);
	assert_non_null(strstr(err.text, "nowhere/key"));
}

static void a_new_key_takes_the_place_of_the_old_one(void **state)
{
	char before[MESH_KEY_LEN], after[MESH_KEY_LEN];
	const char *path = path_of("rotated");
	struct stat st;

	(void)state;
	public_key(path, before);
	assert_int_equal(mesh_new_key(path, NULL), 0);
	public_key(path, after);
	assert_string_not_equal(before, after);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 1);
}

static void *make(void *arg)
{
	return mesh_public_key(path_of("raced"), arg, NULL) < 0 ? arg : NULL;
}

static void of_two_that_make_the_first_key_both_have_the_same(void **state)
{
	char keys[4][MESH_KEY_LEN];
	pthread_t threads[4];
	void *failed;

	(void)state;
	path_of("raced");
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make, keys[i]), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
		assert_string_equal(keys[i], keys[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_absent_key_is_made_for_its_owner_only_and_stays),
		cmocka_unit_test(a_key_that_others_can_read_is_refused),
		cmocka_unit_test(what_is_no_key_is_refused_and_kept),
		cmocka_unit_test(what_is_no_file_is_refused),
		cmocka_unit_test(a_new_key_takes_the_place_of_the_old_one),
		cmocka_unit_test(of_two_that_make_the_first_key_both_have_the_same),
	};
	int failed;

	strcpy(dir, "/tmp/wherry-mesh-key-XXXXXX");
	if (!mkdtemp(dir))
		return 77;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	file_remove_all(dir, NULL);
	return failed;
}
