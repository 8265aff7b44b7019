/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite store's file: what is refused, in which words, and what a failure leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"

static char dir[32], path[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/wherry-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/catalog.db", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	umount2(dir, MNT_DETACH); /* after a test that failed */
	assert_int_equal(file_remove_all(dir, NULL), 0);
	return 0;
}

static struct store *open_store(void)
{
	struct store *store = NULL;
	struct err err = {};

	if (store_open_sqlite(&store, path, &err) < 0)
		fail_msg("%s", err.text);
	return store;
}

static void expect_refused(int code, const char *says)
{
	struct store *store = NULL;
	struct err err = {};
	int r = store_open_sqlite(&store, path, &err);

	if (r != code)
		fail_msg("%d, not %d: %s", r, code, err.text);
	assert_null(store);
	assert_non_null(strstr(err.text, path));
	if (!strstr(err.text, says))
		fail_msg("no \"%s\" in: %s", says, err.text);
}

static int put(struct store *store, const char *key, const char *value, struct err *err)
{
	struct store_op op = {STORE_PUT, key, value};

	return store_txn(store, NULL, 0, &op, 1, NULL, err);
}

static void expect_stored(struct store *store, const char *key, const char *value)
{
	struct store_entry entry = {};

	assert_int_equal(store_get(store, key, &entry, NULL), value ? 0 : 1);
	if (value)
		assert_string_equal(entry.value, value);
	store_entry_clear(&entry);
}

static void fill(struct store *store, int count)
{
	char key[32], value[1024];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key/%d", i);
		assert_int_equal(put(store, key, value, NULL), 0);
	}
}

static void run_sql(const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void overwrite(off_t offset, const void *data, size_t len)
{
	_close_ int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, data, len, offset), len);
}

static void a_new_file_is_for_its_owner_only(void **state)
{
	struct stat st;
	char wal[80];

	(void)state;
	store_close(open_store());
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	struct store *store = open_store();

	fill(store, 1);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	store_close(store);
}

static void a_damaged_page_is_found_at_opening(void **state)
{
	char junk[4096];
	struct store *store = open_store();

	(void)state;
	fill(store, 200);
	store_close(store);
	memset(junk, 0xa5, sizeof(junk));
	overwrite(8 * 4096, junk, sizeof(junk));
	expect_refused(-EBADMSG, "damaged");
	expect_refused(-EBADMSG, "machines and traffic go on");
	expect_refused(-EBADMSG, "move it away");
}

static void a_truncated_file_is_found_at_opening(void **state)
{
	struct store *store = open_store();

	(void)state;
	fill(store, 200);
	store_close(store);
	assert_int_equal(truncate(path, 10 * 4096), 0);
	expect_refused(-EBADMSG, "damaged");
}

static void random_bytes_are_no_database(void **state)
{
	char junk[8192];

	(void)state;
	srand(1);
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (char)rand();
	assert_int_equal(file_replace(path, junk, sizeof(junk), 0600, NULL), 0);
	expect_refused(-EBADMSG, "not an SQLite database");
}

static void missing_tables_are_damage(void **state)
{
	(void)state;
	store_close(open_store());
	run_sql("DROP TABLE meta");
	expect_refused(-EBADMSG, "damaged");
}

static void revisions_from_the_future_are_damage(void **state)
{
	(void)state;
	store_close(open_store());
	run_sql("INSERT INTO entry VALUES ('k', 'v', 99)");
	expect_refused(-EBADMSG, "revisions");
}

static void another_programs_database_is_left_as_it_is(void **state)
{
	_free_ char *before = NULL, *after = NULL;
	size_t before_len, after_len;

	(void)state;
	run_sql("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x')");
	assert_int_equal(file_read(path, 1 << 20, &before, &before_len, NULL), 0);
	expect_refused(-EMEDIUMTYPE, "another program's database");
	assert_int_equal(file_read(path, 1 << 20, &after, &after_len, NULL), 0);
	assert_int_equal(before_len, after_len);
	assert_memory_equal(before, after, before_len);
}

static void a_newer_schema_is_left_as_it_is(void **state)
{
	(void)state;
	store_close(open_store());
	run_sql("PRAGMA user_version = 2");
	expect_refused(-EPROTONOSUPPORT, "newer wherryd");
	run_sql("PRAGMA user_version = 1");
	store_close(open_store());
}

static void a_missing_directory_is_named(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/no/catalog.db", dir);
	expect_refused(-ENOENT, "No such file or directory");
	snprintf(path, sizeof(path), "%s", dir);
	expect_refused(-EISDIR, "Is a directory");
}

static void a_locked_catalog_is_busy_and_recovers(void **state)
{
	struct store *store = open_store();
	struct err err = {};
	sqlite3 *db = NULL;

	(void)state;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(put(store, "k", "v", &err), -EBUSY);
	assert_non_null(strstr(err.text, "locked"));
	expect_stored(store, "k", NULL);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(put(store, "k", "v", NULL), 0);
	store_close(store);
}

/* A child reports each revision that was answered as committed and is killed while it goes on. */
static void what_was_answered_survives_a_kill(void **state)
{
	int fds[2], reported = 0, number;
	struct store *store;
	char key[32];
	pid_t pid;

	(void)state;
	store_close(open_store());
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		if (store_open_sqlite(&store, path, NULL) < 0)
			_exit(1);
		for (int i = 1;; i++) {
			snprintf(key, sizeof(key), "%d", i);
			if (put(store, key, key, NULL) < 0 || write(fds[1], &i, sizeof(i)) < 0)
				_exit(1);
		}
	}
	close(fds[1]);
	while (reported < 50 && read(fds[0], &number, sizeof(number)) == sizeof(number))
		reported = number;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(fds[0], &number, sizeof(number)) == sizeof(number))
		reported = number;
	close(fds[0]);
	assert_true(reported >= 50);
	store = open_store();
	for (int i = 1; i <= reported; i++) {
		snprintf(key, sizeof(key), "%d", i);
		expect_stored(store, key, key);
	}
	store_close(store);
}

/* A small file system of our own over @dir, in a mount namespace that the process keeps. */
static void mount_small(const char *options)
{
	static bool is_private;

	if (!is_private && (unshare(CLONE_NEWNS) < 0 ||
				   mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)) {
		print_message("           skipped: a mount namespace needs root\n");
		skip();
	}
	is_private = true;
	assert_int_equal(mount("tmpfs", dir, "tmpfs", 0, options), 0);
}

/* Fills the disk to its last byte. */
static void fill_disk(void)
{
	static const char zeros[4096];
	char other[80];
	_close_ int fd = -1;

	snprintf(other, sizeof(other), "%s/other", dir);
	fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

static void empty_disk(void)
{
	char other[80];

	snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(unlink(other), 0);
}

static void a_full_disk_changes_nothing_and_passes(void **state)
{
	_free_ char *large = calloc(1, 1 << 20);
	struct store_op ops[] = {{STORE_PUT, "small", "new"}, {STORE_PUT, "large", large}};
	struct store *store;
	struct err err = {};

	(void)state;
	mount_small("size=4m");
	store = open_store();
	assert_int_equal(put(store, "small", "old", NULL), 0);
	memset(large, 'x', (1 << 20) - 1);
	fill_disk();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(store_txn(store, NULL, 0, ops, 2, NULL, &err), -ENOSPC);
		assert_non_null(strstr(err.text, "full"));
		assert_non_null(strstr(err.text, path));
		expect_stored(store, "small", "old");
		expect_stored(store, "large", NULL);
	}
	empty_disk();
	assert_int_equal(store_txn(store, NULL, 0, ops, 2, NULL, &err), 0);
	expect_stored(store, "small", "new");
	store_close(store);
	store = open_store();
	expect_stored(store, "large", large);
	store_close(store);
	assert_int_equal(umount(dir), 0);
}

static void a_catalog_on_a_full_disk_can_be_opened(void **state)
{
	_free_ char *large = calloc(1, 1 << 20);
	struct store *store;
	struct err err = {};

	(void)state;
	mount_small("size=4m");
	store = open_store();
	assert_int_equal(put(store, "k", "v", NULL), 0);
	store_close(store);
	fill_disk();
	store = open_store();
	expect_stored(store, "k", "v");
	memset(large, 'x', (1 << 20) - 1);
	assert_int_equal(put(store, "large", large, &err), -ENOSPC);
	empty_disk();
	assert_int_equal(put(store, "large", large, &err), 0);
	store_close(store);
	assert_int_equal(umount(dir), 0);
}

static void a_new_catalog_on_a_full_disk_is_refused(void **state)
{
	(void)state;
	mount_small("size=1m");
	fill_disk();
	expect_refused(-ENOSPC, "full");
	empty_disk();
	store_close(open_store());
	assert_int_equal(umount(dir), 0);
}

static void a_read_only_file_system_is_refused_in_words(void **state)
{
	struct store *store;
	struct err err = {};

	(void)state;
	mount_small("size=4m");
	store_close(open_store());
	assert_int_equal(mount("none", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	expect_refused(-EROFS, "read-only");
	assert_int_equal(unlink(path), -1);
	snprintf(path, sizeof(path), "%s/new.db", dir);
	expect_refused(-EROFS, "read-only");
	assert_int_equal(mount("none", dir, NULL, MS_REMOUNT, NULL), 0);
	store = open_store();
	assert_int_equal(put(store, "k", "v", &err), 0);
	store_close(store);
	assert_int_equal(umount(dir), 0);
}

/* Root may write everything, so this is what a process without that right sees. */
static void a_read_only_file_is_refused_in_words(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	store_close(open_store());
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(chmod(path, 0444), 0);
	pid = fork();
	if (pid == 0) {
		struct store *store = NULL;
		struct err err = {};

		if (setuid(65534) < 0 || store_open_sqlite(&store, path, &err) != -EROFS)
			_exit(1);
		_exit(strstr(err.text, "read-only") ? 0 : 2);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void a_key_that_is_kept_alive_goes_when_the_store_is_closed(void **state)
{
	struct store *store = open_store();
	struct store_entries entries = {};

	(void)state;
	assert_int_equal(put(store, "stays", "", NULL), 0);
	assert_int_equal(store_keep_alive(store, "hosts/1", "1", 5, NULL), 0);
	assert_int_equal(store_keep_alive(store, "hosts/2", "1", 5, NULL), 0);
	assert_int_equal(store_keep_alive(store, "hosts/1", "2", 5, NULL), 0);
	store_close(store);
	store = open_store();
	assert_int_equal(store_range(store, "", &entries, NULL, NULL), 0);
	assert_int_equal(entries.count, 1);
	assert_string_equal(entries.items[0].key, "stays");
	store_entries_clear(&entries);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(a_new_file_is_for_its_owner_only),
		FILE_TEST(a_damaged_page_is_found_at_opening),
		FILE_TEST(a_truncated_file_is_found_at_opening),
		FILE_TEST(random_bytes_are_no_database),
		FILE_TEST(missing_tables_are_damage),
		FILE_TEST(revisions_from_the_future_are_damage),
		FILE_TEST(another_programs_database_is_left_as_it_is),
		FILE_TEST(a_newer_schema_is_left_as_it_is),
		FILE_TEST(a_missing_directory_is_named),
		FILE_TEST(a_locked_catalog_is_busy_and_recovers),
		FILE_TEST(what_was_answered_survives_a_kill),
		FILE_TEST(a_read_only_file_is_refused_in_words),
		FILE_TEST(a_full_disk_changes_nothing_and_passes),
		FILE_TEST(a_catalog_on_a_full_disk_can_be_opened),
		FILE_TEST(a_new_catalog_on_a_full_disk_is_refused),
		FILE_TEST(a_read_only_file_system_is_refused_in_words),
		FILE_TEST(a_key_that_is_kept_alive_goes_when_the_store_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
