/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/mirror.h"

#define MANY 20000

static int setup(void **state)
{
	*state = mirror_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	mirror_free(*state);
	return 0;
}

static const char *key_of(int i)
{
	static char key[32];

	snprintf(key, sizeof(key), "machines/%d", i);
	return key;
}

static void a_key_that_was_never_set_has_revision_0_and_is_read(void **state)
{
	assert_int_equal(mirror_get(*state, "apps/web"), 0);
	assert_true(mirror_is_read(*state, "apps/web"));
}

static void the_last_revision_counts(void **state)
{
	assert_int_equal(mirror_set(*state, "apps/web", 7), 0);
	assert_int_equal(mirror_set(*state, "apps/web", 9), 0);
	assert_int_equal(mirror_get(*state, "apps/web"), 9);
	assert_int_equal(mirror_get(*state, "apps/we"), 0);
	assert_int_equal(mirror_get(*state, "apps/web2"), 0);
}

static void a_deleted_key_is_unknown_and_can_come_back(void **state)
{
	mirror_set(*state, "apps/web", 7);
	mirror_set(*state, "apps/web", 0);
	assert_int_equal(mirror_get(*state, "apps/web"), 0);
	mirror_set(*state, "apps/web", 11);
	assert_int_equal(mirror_get(*state, "apps/web"), 11);
}

static void all_keys_survive_growing(void **state)
{
	for (int i = 0; i < MANY; i++)
		assert_int_equal(mirror_set(*state, key_of(i), i + 1), 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(mirror_get(*state, key_of(i)), i + 1);
}

static void deleted_keys_do_not_come_back_when_it_grows(void **state)
{
	for (int i = 0; i < MANY; i++) {
		mirror_set(*state, key_of(i), i + 1);
		if (i % 3 == 0)
			mirror_set(*state, key_of(i), 0);
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(mirror_get(*state, key_of(i)), i % 3 ? i + 1 : 0);
}

static void an_unread_mark_lasts_until_the_key_is_set_again(void **state)
{
	mirror_set(*state, "apps/web", 7);
	mirror_mark_unread(*state, "apps/web");
	assert_false(mirror_is_read(*state, "apps/web"));
	assert_int_equal(mirror_get(*state, "apps/web"), 7);
	for (int i = 0; i < MANY; i++)
		mirror_set(*state, key_of(i), 1);
	assert_false(mirror_is_read(*state, "apps/web"));
	mirror_set(*state, "apps/web", 8);
	assert_true(mirror_is_read(*state, "apps/web"));
}

static void an_unread_mark_goes_with_its_key(void **state)
{
	mirror_set(*state, "releases/web/1", 7);
	mirror_mark_unread(*state, "releases/web/1");
	mirror_delete_prefix(*state, "releases/web/");
	assert_true(mirror_is_read(*state, "releases/web/1"));
	mirror_set(*state, "releases/web/1", 8);
	assert_true(mirror_is_read(*state, "releases/web/1"));
	mirror_mark_unread(*state, "nobody/knows");
	assert_true(mirror_is_read(*state, "nobody/knows"));
}

static void only_keys_with_the_prefix_are_deleted(void **state)
{
	mirror_set(*state, "releases/web/1", 1);
	mirror_set(*state, "releases/web/2", 2);
	mirror_set(*state, "releases/web2/1", 3);
	mirror_set(*state, "apps/web", 4);
	mirror_delete_prefix(*state, "releases/web/");
	assert_int_equal(mirror_get(*state, "releases/web/1"), 0);
	assert_int_equal(mirror_get(*state, "releases/web/2"), 0);
	assert_int_equal(mirror_get(*state, "releases/web2/1"), 3);
	assert_int_equal(mirror_get(*state, "apps/web"), 4);
}

struct sum {
	struct mirror *mirror;
	int64_t revisions;
	unsigned int count;
};

static void add(void *arg, const char *key, int64_t revision)
{
	struct sum *sum = arg;

	sum->revisions += revision;
	sum->count++;
	assert_int_equal(mirror_set(sum->mirror, key, revision), 0);
}

static void each_tells_every_living_key_with_the_prefix_once(void **state)
{
	struct sum sum = {.mirror = *state};

	for (int i = 0; i < 3000; i++)
		mirror_set(*state, key_of(i), i + 1);
	mirror_set(*state, key_of(5), 0);
	mirror_set(*state, "apps/web", 100000000);
	mirror_each(*state, "machines/", add, &sum);
	assert_int_equal(sum.count, 2999);
	assert_int_equal(sum.revisions, 3000 * 3001 / 2 - 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_that_was_never_set_has_revision_0_and_is_read),
		TEST(the_last_revision_counts),
		TEST(a_deleted_key_is_unknown_and_can_come_back),
		TEST(all_keys_survive_growing),
		TEST(deleted_keys_do_not_come_back_when_it_grows),
		TEST(an_unread_mark_lasts_until_the_key_is_set_again),
		TEST(an_unread_mark_goes_with_its_key),
		TEST(only_keys_with_the_prefix_are_deleted),
		TEST(each_tells_every_living_key_with_the_prefix_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
