/* SPDX-License-Identifier: Apache-2.0 */
/* Exporting a catalog and importing it: between both stores, and texts that are no exports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"
#include "store/transfer.h"
#include "../../lib/etcd_server.h"

#define MANY 250

static struct etcd_server etcd; /* with the default limits */
static char dir[32];

static struct store *open_sqlite(const char *name)
{
	struct store *store = NULL;
	struct err err = {};
	char path[64];

	snprintf(path, sizeof(path), "%s/%s.db", dir, name);
	if (store_open_sqlite(&store, path, &err) < 0)
		fail_msg("%s", err.text);
	return store;
}

static struct store *open_etcd(const char *prefix)
{
	struct store *store = NULL;
	struct err err = {};
	char url[96];

	snprintf(url, sizeof(url), "etcd://127.0.0.1:%d/%s-%s", etcd.port, dir + 5, prefix);
	if (store_open_etcd(&store, &(struct store_etcd_options){.url = url}, &err) < 0)
		fail_msg("%s", err.text);
	return store;
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/wherry-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(file_remove_all(dir, NULL), 0);
	return 0;
}

static void put(struct store *store, const char *key, const char *value)
{
	struct store_op op = {STORE_PUT, key, value};

	assert_int_equal(store_txn(store, NULL, 0, &op, 1, NULL, NULL), 0);
}

static void fill(struct store *store)
{
	_free_ char *large = malloc(600001);
	char key[32];

	for (int i = 0; i < MANY; i++) {
		snprintf(key, sizeof(key), "apps/%03d", i);
		put(store, key, "{\"quoted\": \"ü\\n\"}");
	}
	put(store, "not-utf8/\xff\xfe", "\xc3(");
	put(store, "empty", "");
	memset(large, 'v', 600000);
	large[600000] = '\0';
	put(store, "large/1", large);
	put(store, "large/2", large);
	put(store, "large/3", large);
}

static char *export(struct store *store)
{
	struct err err = {};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (store_export(store, out, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	fclose(out);
	return text;
}

static int import(struct store *store, const char *text, bool is_forced, struct err *err)
{
	_fclose_ FILE *in = fmemopen((char *)text, strlen(text), "r");

	return store_import(store, in, is_forced, NULL, err);
}

static void expect_same(struct store *a, struct store *b)
{
	struct store_entries x = {}, y = {};

	assert_int_equal(store_range(a, "", &x, NULL, NULL), 0);
	assert_int_equal(store_range(b, "", &y, NULL, NULL), 0);
	assert_int_equal(x.count, y.count);
	for (size_t i = 0; i < x.count; i++) {
		assert_string_equal(x.items[i].key, y.items[i].key);
		assert_string_equal(x.items[i].value, y.items[i].value);
	}
	store_entries_clear(&x);
	store_entries_clear(&y);
}

static void what_is_skipped_is_neither_written_nor_promised(void **state)
{
	static const char *const skipped[] = {"host-alive/", "large/", NULL};
	_cleanup_(store_closep) struct store *from = open_sqlite("skip"),
					     *to = open_sqlite("skipped");
	_cleanup_(store_entries_clear) struct store_entries entries = {};
	_free_ char *text = NULL;
	size_t len = 0, count = 0;
	FILE *out = open_memstream(&text, &len);
	struct err err = {};

	(void)state;
	put(from, "host-alive/00001", "{}");
	put(from, "hosts/00001", "{}");
	put(from, "large/1", "{}");
	assert_int_equal(store_export(from, out, skipped, &count, NULL), 0);
	fclose(out);
	assert_int_equal(count, 1);
	if (import(to, text, false, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(store_range(to, "", &entries, NULL, NULL), 0);
	assert_int_equal(entries.count, 1);
	assert_string_equal(entries.items[0].key, "hosts/00001");
}

static void move(struct store *from, struct store *to)
{
	_free_ char *text = NULL;
	struct err err = {};

	fill(from);
	text = export(from);
	if (import(to, text, false, &err) < 0)
		fail_msg("%s", err.text);
	expect_same(from, to);
	store_close(from);
	store_close(to);
}

static void a_catalog_moves_from_sqlite_to_etcd(void **state)
{
	(void)state;
	if (!etcd.pid)
		skip();
	move(open_sqlite("a"), open_etcd("to"));
}

static void a_catalog_moves_from_etcd_to_sqlite(void **state)
{
	(void)state;
	if (!etcd.pid)
		skip();
	move(open_etcd("from"), open_sqlite("a"));
}

static void an_export_names_its_version_and_revision(void **state)
{
	struct store *store = open_sqlite("a");
	_free_ char *text = NULL;

	(void)state;
	put(store, "k", "v");
	put(store, "k", "w");
	text = export(store);
	assert_string_equal(text, "{\"format\":\"wherry-catalog\",\"version\":1,\"revision\":2,"
				  "\"count\":1}\n{\"key\":\"k\",\"value\":\"w\"}\n");
	store_close(store);
}

static void an_empty_catalog_moves_too(void **state)
{
	struct store *from = open_sqlite("a"), *to = open_sqlite("b");
	_free_ char *text = export(from);

	(void)state;
	assert_int_equal(import(to, text, false, NULL), 0);
	expect_same(from, to);
	store_close(from);
	store_close(to);
}

static void a_store_with_keys_is_refused_unless_forced(void **state)
{
	struct store *from = open_sqlite("a"), *to = open_sqlite("b");
	struct store_entry entry = {};
	_free_ char *text = NULL;
	struct err err = {};

	(void)state;
	put(from, "k", "new");
	text = export(from);
	put(to, "k", "old");
	put(to, "other", "");
	assert_int_equal(import(to, text, false, &err), -EEXIST);
	assert_non_null(strstr(err.text, "2 keys already"));
	assert_int_equal(store_get(to, "k", &entry, NULL), 0);
	assert_string_equal(entry.value, "old");
	store_entry_clear(&entry);
	assert_int_equal(import(to, text, true, &err), 0);
	assert_int_equal(store_get(to, "k", &entry, NULL), 0);
	assert_string_equal(entry.value, "new");
	store_entry_clear(&entry);
	assert_int_equal(store_get(to, "other", &entry, NULL), 0);
	store_entry_clear(&entry);
	store_close(from);
	store_close(to);
}

#define HEAD(count)                                                                                \
	"{\"format\":\"wherry-catalog\",\"version\":1,\"revision\":2,\"count\":" count "}\n"

static void what_is_no_export_is_refused_before_the_first_write(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"\n", "line 1"},
		{"hello\n", "line 1"},
		{"{}\n", "line 1"},
		{"[1]\n", "line 1"},
		{"{\"format\":\"other\",\"version\":1,\"count\":0}\n", "line 1"},
		{"{\"format\":\"wherry-catalog\",\"version\":2,\"count\":0}\n", "version 2"},
		{"{\"format\":\"wherry-catalog\",\"version\":1}\n", "how many"},
		{HEAD("2") "{\"key\":\"k\",\"value\":\"v\"}\n", "1 of the 2"},
		{HEAD("0") "{\"key\":\"k\",\"value\":\"v\"}\n", "1 of the 0"},
		{HEAD("2") "{\"key\":\"k\",\"value\":\"v\"}\n{\"key\":\"l\",\"val", "line 3"},
		{HEAD("2") "{\"key\":\"k\",\"value\":\"v\"}\n{\"key\":\"k\",\"value\":\"v\"}\n",
			"k twice"},
		{HEAD("1") "{\"key\":\"\",\"value\":\"v\"}\n", "line 2"},
		{HEAD("1") "{\"key\":\"k\\u0000l\",\"value\":\"v\"}\n", "line 2"},
		{HEAD("1") "{\"key\":\"k\",\"value\":7}\n", "no value"},
		{HEAD("1") "{\"key_base64\":\"!!!!\",\"value\":\"\"}\n", "no key"},
		{HEAD("1") "{\"key\":\"a\",\"key\":\"b\",\"value\":\"\"}\n", "line 2"},
	};
	struct store *store = open_sqlite("a");
	struct store_entries entries = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = {};

		assert_int_equal(import(store, cases[i].text, true, &err), -EINVAL);
		if (!strstr(err.text, cases[i].says))
			fail_msg("no \"%s\" in: %s", cases[i].says, err.text);
	}
	assert_int_equal(store_range(store, "", &entries, NULL, NULL), 0);
	assert_int_equal(entries.count, 0);
	store_close(store);
}

static void an_output_that_is_full_is_told(void **state)
{
	struct store *store = open_sqlite("a");
	_fclose_ FILE *full = fopen("/dev/full", "w");
	struct err err = {};

	(void)state;
	put(store, "k", "v");
	assert_int_equal(store_export(store, full, NULL, NULL, &err), -EIO);
	assert_non_null(strstr(err.text, "No space left"));
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_catalog_moves_from_sqlite_to_etcd, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_catalog_moves_from_etcd_to_sqlite, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_export_names_its_version_and_revision, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_skipped_is_neither_written_nor_promised, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_catalog_moves_too, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_store_with_keys_is_refused_unless_forced, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_no_export_is_refused_before_the_first_write, setup, teardown),
		cmocka_unit_test_setup_teardown(an_output_that_is_full_is_told, setup, teardown),
	};
	int failures;

	if (!etcd_server_start(&etcd))
		print_message("no etcd here (Debian's etcd-server)\n");
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	if (!etcd.pid && !failures)
		failures = 77;
	etcd_server_remove(&etcd);
	return failures;
}
