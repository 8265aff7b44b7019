/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store.h promises, of every store: a store joins by a line in the table of constructors.
 * What is particular to one (its files, its errors) has a file of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"
#include "../../lib/etcd_server.h"

struct constructor {
	const char *name;
	/* Opens the store whose state lives in @dir; a second call sees the first one's state. */
	int (*open)(struct store **out, const char *dir, struct err *err);
};

struct fixture {
	const struct constructor *constructor;
	char dir[32];
	struct store *store;
	int told;
	int64_t told_revision;
	char told_keys[256]; /* "key=value", or "-key" when deleted, each followed by a blank;
				"all" for a NULL */
	size_t told_count;   /* keys, in all */
	int64_t first;	     /* the revision before the test did anything */
};

static int open_sqlite(struct store **out, const char *dir, struct err *err)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/catalog.db", dir);
	return store_open_sqlite(out, path, err);
}

static struct etcd_server etcd = {.txn_ops = "16384"};

/* All tests share the etcd; the directory's name is the prefix. */
static int open_etcd(struct store **out, const char *dir, struct err *err)
{
	char url[128];

	snprintf(url, sizeof(url), "etcd://127.0.0.1:%d/%s", etcd.port, strrchr(dir, '/') + 1);
	return store_open_etcd(out, &(struct store_etcd_options){.url = url}, err);
}

static const struct constructor constructors[] = {
	{"sqlite", open_sqlite},
	{"etcd", open_etcd},
};

static const struct constructor *constructor_now;

static void on_change(void *arg, int64_t revision, const struct store_event *events, size_t count)
{
	struct fixture *f = arg;
	size_t used = 0;

	f->told++;
	f->told_revision = revision;
	f->told_count += count;
	snprintf(f->told_keys, sizeof(f->told_keys), "%s", events ? "" : "all");
	for (size_t i = 0; i < count && used < 150; i++) {
		const struct store_event *event = &events[i];

		used += (size_t)snprintf(f->told_keys + used, sizeof(f->told_keys) - used,
			event->value ? "%.40s=%.40s " : "-%.40s ", event->key, event->value);
		assert_int_equal(event->value_len, event->value ? strlen(event->value) : 0);
	}
}

/* Lets the watcher hear of @revision, when it has not yet; with 0, of nothing for a while. */
static void hear(struct fixture *f, int64_t revision)
{
	uint64_t end = clock_now_ms() + (revision ? 5000 : 100);
	int fd = store_watch_fd(f->store);

	while (fd >= 0 && clock_now_ms() < end && (!revision || f->told_revision < revision)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		poll(&p, 1, 20);
		assert_int_equal(store_dispatch(f->store, NULL), 0);
	}
	if (revision && f->told_revision < revision)
		fail_msg("revision %lld was not told", (long long)revision);
}

/* A store tells in the order of etcd's key space or of its own: what counts is the set. */
static void expect_told(struct fixture *f, int64_t revision, const char *keys)
{
	char all[256], *rest = NULL;

	hear(f, revision);
	assert_int_equal(f->told_revision, revision);
	assert_int_equal(strlen(f->told_keys), strlen(keys));
	snprintf(all, sizeof(all), "%s", keys);
	for (char *key = strtok_r(all, " ", &rest); key; key = strtok_r(NULL, " ", &rest))
		if (!strstr(f->told_keys, key))
			fail_msg("%s is not in: %s", key, f->told_keys);
}

static void open_again(struct fixture *f)
{
	struct store_entries entries = {};
	struct err err = {};

	store_close(f->store);
	f->store = NULL;
	if (f->constructor->open(&f->store, f->dir, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(store_range(f->store, "", &entries, &f->first, &err), 0);
	store_entries_clear(&entries);
	store_watch(f->store, f->first, on_change, f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->constructor = constructor_now;
	strcpy(f->dir, "/tmp/wherry-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	open_again(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	assert_int_equal(file_remove_all(f->dir, NULL), 0);
	free(f);
	return 0;
}

static int64_t commit(struct fixture *f, const struct store_op *ops, size_t count)
{
	struct err err = {};
	int64_t revision = -1;

	if (store_txn(f->store, NULL, 0, ops, count, &revision, &err) != 0)
		fail_msg("%s", err.text);
	return revision;
}

static int64_t put(struct fixture *f, const char *key, const char *value)
{
	return commit(f, &(struct store_op){STORE_PUT, key, value}, 1);
}

/* Asserts the value, or that there is none; returns the revision. */
static int64_t expect(struct fixture *f, const char *key, const char *value)
{
	struct store_entry entry = {};
	int64_t revision;
	int r = store_get(f->store, key, &entry, NULL);

	assert_int_equal(r, value ? 0 : 1);
	if (!value)
		return 0;
	assert_string_equal(entry.key, key);
	assert_string_equal(entry.value, value);
	assert_int_equal(entry.value_len, strlen(value));
	revision = entry.mod_revision;
	store_entry_clear(&entry);
	return revision;
}

/* Asserts the keys under @prefix, each followed by a blank. */
static void expect_range(struct fixture *f, const char *prefix, const char *keys)
{
	struct store_entries entries = {};
	char text[512] = "";

	assert_int_equal(store_range(f->store, prefix, &entries, NULL, NULL), 0);
	for (size_t i = 0; i < entries.count; i++) {
		strcat(text, entries.items[i].key);
		strcat(text, " ");
	}
	assert_string_equal(text, keys);
	store_entries_clear(&entries);
}

static void a_key_has_the_revision_that_wrote_it(void **state)
{
	struct fixture *f = *state;

	expect(f, "apps/web", NULL);
	assert_int_equal(put(f, "apps/web", "{}"), f->first + 1);
	assert_int_equal(put(f, "apps/dns", "{\"a\": \"ü\"}"), f->first + 2);
	assert_int_equal(put(f, "apps/web", "{\"b\": 1}"), f->first + 3);
	assert_int_equal(expect(f, "apps/web", "{\"b\": 1}"), f->first + 3);
	assert_int_equal(expect(f, "apps/dns", "{\"a\": \"ü\"}"), f->first + 2);
	put(f, "empty", "");
	expect(f, "empty", "");
}

static void what_was_committed_is_there_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct store_entries entries = {};
	int64_t revision = 0, first = f->first;

	put(f, "a", "1");
	put(f, "b", "2");
	open_again(f);
	assert_int_equal(expect(f, "a", "1"), first + 1);
	assert_int_equal(store_range(f->store, "", &entries, &revision, NULL), 0);
	assert_int_equal(entries.count, 2);
	assert_int_equal(revision, first + 2);
	store_entries_clear(&entries);
	assert_int_equal(put(f, "c", "3"), first + 3);
}

static void a_range_is_the_prefix_in_order(void **state)
{
	struct fixture *f = *state;

	put(f, "ips/b", "");
	put(f, "ips/a", "");
	put(f, "ips", "");
	put(f, "ips0", "");
	put(f, "ips/\xc3\xbc", "");
	put(f, "ips/a/1", "");
	put(f, "IPS/a", "");
	expect_range(f, "ips/", "ips/a ips/a/1 ips/b ips/\xc3\xbc ");
	expect_range(f, "ips/a", "ips/a ips/a/1 ");
	expect_range(f, "", "IPS/a ips ips/a ips/a/1 ips/b ips/\xc3\xbc ips0 ");
	expect_range(f, "x", "");
	expect_range(f, "%", "");
}

static void a_prefix_of_the_highest_bytes_has_a_range(void **state)
{
	struct fixture *f = *state;

	put(f, "\xff\xff", "");
	put(f, "\xff\xff\x01", "");
	put(f, "a\xff", "");
	put(f, "b", "");
	expect_range(f, "\xff", "\xff\xff \xff\xff\x01 ");
	expect_range(f, "a\xff", "a\xff ");
}

static void compare_and_swap_takes_the_first_only(void **state)
{
	struct fixture *f = *state;
	struct store_compare absent = {"k", 0}, seen;
	struct store_op op = {STORE_PUT, "k", "1"}, second = {STORE_PUT, "k", "2"};
	int64_t revision = 0;

	assert_int_equal(store_txn(f->store, &absent, 1, &op, 1, &revision, NULL), 0);
	assert_int_equal(store_txn(f->store, &absent, 1, &second, 1, NULL, NULL), 1);
	expect(f, "k", "1");
	seen = (struct store_compare){"k", revision};
	assert_int_equal(store_txn(f->store, &seen, 1, &second, 1, NULL, NULL), 0);
	assert_int_equal(store_txn(f->store, &seen, 1, &op, 1, NULL, NULL), 1);
	assert_int_equal(expect(f, "k", "2"), revision + 1);
	hear(f, revision + 1);
	assert_int_equal(f->told, 2);
}

static void every_compare_must_hold(void **state)
{
	struct fixture *f = *state;
	struct store_compare compares[] = {{"a", f->first + 1}, {"b", 0}, {"c", 7}};
	struct store_op op = {STORE_PUT, "d", ""};

	put(f, "a", "");
	assert_int_equal(store_txn(f->store, compares, 3, &op, 1, NULL, NULL), 1);
	expect(f, "d", NULL);
	assert_int_equal(store_txn(f->store, compares, 2, &op, 1, NULL, NULL), 0);
	expect(f, "d", "");
}

static void a_transaction_is_one_revision(void **state)
{
	struct fixture *f = *state;
	struct store_op ops[] = {{STORE_PUT, "a", "1"}, {STORE_PUT, "b", "2"},
		{STORE_DELETE, "old", NULL}, {STORE_PUT, "a", "3"}};

	put(f, "old", "");
	assert_int_equal(commit(f, ops, 4), f->first + 2);
	assert_int_equal(expect(f, "a", "3"), f->first + 2);
	assert_int_equal(expect(f, "b", "2"), f->first + 2);
	expect(f, "old", NULL);
	expect_told(f, f->first + 2, "a=3 b=2 -old ");
	assert_int_equal(f->told, 2);
}

static void deleting_takes_the_key_and_no_other(void **state)
{
	struct fixture *f = *state;
	struct store_op op = {STORE_DELETE, "a", NULL};

	put(f, "a", "");
	put(f, "a/b", "");
	put(f, "a\x01", "");
	expect_told(f, commit(f, &op, 1), "-a ");
	expect_range(f, "", "a\x01 a/b ");
}

static void deleting_a_prefix_tells_every_key(void **state)
{
	struct fixture *f = *state;
	struct store_op replace[] = {{STORE_DELETE_PREFIX, "m/", NULL}, {STORE_PUT, "m/3", "new"}};
	struct store_op all = {STORE_DELETE_PREFIX, "", NULL};

	put(f, "m/1", "");
	put(f, "m/2", "");
	put(f, "m", "");
	expect_told(f, commit(f, replace, 2), "-m/1 -m/2 m/3=new ");
	expect_range(f, "", "m m/3 ");
	expect_told(f, commit(f, &all, 1), "-m -m/3 ");
	expect_range(f, "", "");
}

static void the_last_operation_on_a_key_wins(void **state)
{
	struct fixture *f = *state;
	struct store_op ops[] = {{STORE_PUT, "m/1", "x"}, {STORE_PUT, "m/2", "gone"},
		{STORE_DELETE_PREFIX, "m/1", NULL}, {STORE_DELETE_PREFIX, "m/", NULL},
		{STORE_PUT, "m/2", "y"}, {STORE_PUT, "m/2/a", "z"}, {STORE_DELETE, "m/3", NULL},
		{STORE_PUT, "m/4", "w"}, {STORE_DELETE, "m/4", NULL},
		{STORE_DELETE_PREFIX, "m/5/", NULL}, {STORE_PUT, "m0", "beside"},
		{STORE_DELETE, "l", NULL}, {STORE_PUT, "l", "back"}};
	const char *const before[] = {
		"l", "m/", "m/1", "m/1/1", "m/2", "m/2/", "m/2/b", "m/3", "m/4", "m/5/1"};

	for (size_t i = 0; i < ARRAY_LEN(before); i++)
		put(f, before[i], "old");
	expect_told(f, commit(f, ops, ARRAY_LEN(ops)),
		"l=back -m/ -m/1 -m/1/1 m/2=y -m/2/ m/2/a=z -m/2/b -m/3 -m/4 -m/5/1 m0=beside ");
	expect_range(f, "", "l m/2 m/2/a m0 ");
	expect(f, "m/2", "y");
}

static void a_watch_begins_after_its_revision(void **state)
{
	struct fixture *f = *state;
	int64_t revision = put(f, "a", "1");

	hear(f, revision);
	f->told = 0;
	store_watch(f->store, revision, on_change, f);
	expect_told(f, put(f, "b", "2"), "b=2 ");
	assert_int_equal(f->told, 1);
	store_watch(f->store, 0, on_change, f);
	expect_told(f, put(f, "c", "3"), "c=3 ");
	assert_int_equal(f->told, 2);
}

static void a_key_that_is_kept_alive_is_there_and_can_be_replaced(void **state)
{
	struct fixture *f = *state;
	struct err err = {};

	assert_int_equal(store_is_away(f->store, &err), 0);
	assert_int_equal(store_keep_alive(f->store, "hosts/1", "{}", 5, &err), 0);
	assert_int_equal(store_keep_alive(f->store, "hosts/2", "{}", 5, &err), 0);
	expect(f, "hosts/1", "{}");
	assert_int_equal(store_keep_alive(f->store, "hosts/1", "{\"a\":1}", 5, &err), 0);
	expect(f, "hosts/1", "{\"a\":1}");
	expect_range(f, "hosts/", "hosts/1 hosts/2 ");
	assert_int_equal(store_keep_alive(f->store, "hosts/3", "{}", 0, &err), -EINVAL);
	assert_non_null(strstr(err.text, "hosts/3"));
}

static void what_changes_nothing_is_no_revision(void **state)
{
	struct fixture *f = *state;
	struct store_op ops[] = {{STORE_DELETE, "x", NULL}, {STORE_DELETE_PREFIX, "y/", NULL}};

	put(f, "a", "");
	assert_int_equal(commit(f, ops, 2), f->first + 1);
	assert_int_equal(commit(f, NULL, 0), f->first + 1);
	hear(f, f->first + 1);
	hear(f, 0);
	assert_int_equal(f->told, 1);
}

static void over_a_limit_nothing_changes(void **state)
{
	struct fixture *f = *state;
	_free_ char *value = malloc(STORE_VALUE_MAX_BYTES + 2);
	_free_ struct store_op *many = calloc(STORE_TXN_MAX_OPS + 1, sizeof(*many));
	char key[STORE_KEY_MAX_BYTES + 2];
	struct store_op ops[] = {{STORE_PUT, "a", ""}, {STORE_PUT, key, value}};
	struct store_entries entries = {};
	struct store_entry entry;
	struct err err = {};

	memset(value, 'v', STORE_VALUE_MAX_BYTES + 1);
	value[STORE_VALUE_MAX_BYTES + 1] = '\0';
	strcpy(key, "b");
	assert_int_equal(store_txn(f->store, NULL, 0, ops, 2, NULL, &err), -E2BIG);
	assert_non_null(strstr(err.text, "under b"));
	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	value[0] = '\0';
	assert_int_equal(store_txn(f->store, NULL, 0, ops, 2, NULL, &err), -E2BIG);
	assert_int_equal(store_get(f->store, key, &entry, &err), -E2BIG);
	assert_int_equal(store_range(f->store, key, &entries, NULL, &err), -E2BIG);
	assert_int_equal(
		store_txn(f->store, NULL, 0, many, STORE_TXN_MAX_OPS + 1, NULL, &err), -E2BIG);
	key[0] = '\0';
	assert_int_equal(store_txn(f->store, NULL, 0, ops, 2, NULL, &err), -EINVAL);
	expect_range(f, "", "");
	hear(f, 0);
	assert_int_equal(f->told, 0);
}

static void the_limits_themselves_fit(void **state)
{
	struct fixture *f = *state;
	_free_ char *value = malloc(STORE_VALUE_MAX_BYTES + 1);
	char key[STORE_KEY_MAX_BYTES + 1];

	memset(value, 'v', STORE_VALUE_MAX_BYTES);
	value[STORE_VALUE_MAX_BYTES] = '\0';
	memset(key, 0xff, sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	put(f, key, value);
	expect(f, key, value);
	commit(f, &(struct store_op){STORE_DELETE, key, NULL}, 1);
	expect(f, key, NULL);
}

struct chain {
	struct fixture *fixture;
	int depth;
};

static void commit_again(
	void *arg, int64_t revision, const struct store_event *events, size_t count)
{
	struct chain *chain = arg;
	struct fixture *f = chain->fixture;

	f->told_revision = revision;
	assert_int_equal(count, 1);
	assert_int_equal(revision, f->first + chain->depth + 1);
	assert_string_equal(events[0].value, "");
	if (++chain->depth < 3)
		put(f, events[0].key, "");
	else
		store_watch(f->store, 0, NULL, NULL);
}

static void a_watcher_may_use_the_store(void **state)
{
	struct fixture *f = *state;
	struct chain chain = {.fixture = f};

	store_watch(f->store, f->first, commit_again, &chain);
	put(f, "k", "");
	hear(f, f->first + 3);
	assert_int_equal(chain.depth, 3);
	put(f, "k", "");
	hear(f, 0);
	assert_int_equal(chain.depth, 3);
	assert_int_equal(store_dispatch(f->store, NULL), 0);
}

static void another_clients_changes_are_not_missed(void **state)
{
	struct fixture *f = *state;
	struct store_op op = {STORE_PUT, "theirs", "1"};
	struct store *other = NULL;

	put(f, "ours", "1");
	assert_int_equal(f->constructor->open(&other, f->dir, NULL), 0);
	assert_int_equal(store_txn(other, NULL, 0, &op, 1, NULL, NULL), 0);
	store_close(other);
	expect(f, "theirs", "1");
	if (store_watch_fd(f->store) >= 0) {
		expect_told(f, f->first + 2, "theirs=1 ");
		return;
	}
	assert_int_equal(put(f, "ours", "2"), f->first + 3);
	assert_int_equal(store_dispatch(f->store, NULL), 0);
	assert_string_equal(f->told_keys, "all");
}

#define MANY 10000

static void ten_thousand_values_take_little_time(void **state)
{
	struct fixture *f = *state;
	_free_ struct store_op *ops = calloc(MANY, sizeof(*ops));
	_free_ char(*keys)[24] = calloc(MANY, sizeof(*keys));
	struct store_entries entries = {};
	char value[512];
	bool is_embedded = store_watch_fd(f->store) < 0;
	uint64_t start, put_ms, range_ms;
	int64_t revision;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (size_t i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(keys[i]), "machines/%08zx", i * 2654435761u % 0xffffffff);
		ops[i] = (struct store_op){STORE_PUT, keys[i], value};
	}
	start = clock_now_ms();
	revision = commit(f, ops, MANY);
	put_ms = clock_now_ms() - start;
	start = clock_now_ms();
	assert_int_equal(store_range(f->store, "machines/", &entries, NULL, NULL), 0);
	range_ms = clock_now_ms() - start;
	assert_int_equal(entries.count, MANY);
	for (size_t i = 1; i < MANY; i++)
		assert_true(strcmp(entries.items[i - 1].key, entries.items[i].key) < 0);
	store_entries_clear(&entries);
	print_message("           %d values: put %llu ms, read %llu ms\n", MANY,
		(unsigned long long)put_ms, (unsigned long long)range_ms);
	assert_true(put_ms < (is_embedded ? 500 : 2000) && range_ms < (is_embedded ? 500 : 2000));
	hear(f, revision);
	for (int i = 0; i < 100 && f->told_count < MANY; i++) /* it may come in parts */
		hear(f, 0);
	assert_int_equal(f->told_count, MANY);
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(a_key_has_the_revision_that_wrote_it),
		STORE_TEST(what_was_committed_is_there_after_a_restart),
		STORE_TEST(a_range_is_the_prefix_in_order),
		STORE_TEST(a_prefix_of_the_highest_bytes_has_a_range),
		STORE_TEST(compare_and_swap_takes_the_first_only),
		STORE_TEST(every_compare_must_hold),
		STORE_TEST(a_transaction_is_one_revision),
		STORE_TEST(deleting_takes_the_key_and_no_other),
		STORE_TEST(deleting_a_prefix_tells_every_key),
		STORE_TEST(the_last_operation_on_a_key_wins),
		STORE_TEST(a_watch_begins_after_its_revision),
		STORE_TEST(a_key_that_is_kept_alive_is_there_and_can_be_replaced),
		STORE_TEST(what_changes_nothing_is_no_revision),
		STORE_TEST(over_a_limit_nothing_changes),
		STORE_TEST(the_limits_themselves_fit),
		STORE_TEST(a_watcher_may_use_the_store),
		STORE_TEST(another_clients_changes_are_not_missed),
		STORE_TEST(ten_thousand_values_take_little_time),
	};
	int failures = 0;

	if (!etcd_server_start(&etcd))
		print_message("no etcd here (Debian's etcd-server): the store on it is skipped\n");
	for (size_t i = 0; i < ARRAY_LEN(constructors); i++) {
		if (constructors[i].open == open_etcd && !etcd.pid)
			continue;
		constructor_now = &constructors[i];
		failures += cmocka_run_group_tests_name(constructors[i].name, tests, NULL, NULL);
	}
	if (!etcd.pid && !failures)
		failures = 77;
	etcd_server_remove(&etcd);
	return failures;
}
