/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's mount table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "lab/mountinfo.h"

static const char table_text[] =
	"23 27 0:22 / /sys rw,relatime - sysfs sysfs rw\n"
	"26 24 0:24 / /dev/pts rw,relatime - devpts devpts rw,mode=600\n"
	"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"
	"29 26 0:26 / /dev/pts rw,relatime - devpts devpts rw,mode=600\n"
	"36 27 98:0 /mnt1 /mnt/with\\040space\\134 rw,noatime shared:7 master:3 - ext3 /dev/x rw\n"
	"40 27 0:40 / /slave rw master:3 propagate_from:2 unbindable - tmpfs none rw\n"
	"71 27 0:4 net:[4026532177] /run/netns/a rw shared:30 - nsfs nsfs rw";

static void optional_fields_come_in_any_number(void **state)
{
	struct mount_table table;
	struct err err = {};

	(void)state;
	assert_int_equal(mount_table_parse(table_text, &table, &err), 0);
	assert_int_equal(table.count, 7);
	assert_string_equal(table.entries[0].type, "sysfs");
	assert_false(table.entries[0].is_shared);
	assert_int_equal(table.entries[0].id, 23);
	assert_int_equal(table.entries[0].parent_id, 27);
	assert_true(table.entries[2].is_shared);
	assert_true(table.entries[4].is_shared);
	assert_string_equal(table.entries[4].type, "ext3");
	assert_false(table.entries[5].is_shared);
	assert_string_equal(table.entries[5].type, "tmpfs");
	assert_string_equal(table.entries[6].type, "nsfs");
	mount_table_clear(&table);
}

static void octal_escapes_in_a_path_are_undone(void **state)
{
	struct mount_table table;
	struct err err = {};

	(void)state;
	assert_int_equal(mount_table_parse(table_text, &table, &err), 0);
	assert_string_equal(table.entries[4].target, "/mnt/with space\\");
	mount_table_clear(&table);
}

static void a_lookup_finds_the_topmost_of_stacked_mounts(void **state)
{
	struct mount_table table;
	struct err err = {};

	(void)state;
	assert_int_equal(mount_table_parse(table_text, &table, &err), 0);
	assert_int_equal(mount_table_find(&table, "/dev/pts")->id, 29);
	assert_int_equal(mount_table_find(&table, "/")->id, 27);
	assert_null(mount_table_find(&table, "/dev"));
	mount_table_clear(&table);
}

static void a_line_of_another_form_is_refused_by_its_number(void **state)
{
	static const char *const lines[] = {"x", "1 2 0:1 / /a rw", "1 2 0:1 / /a rw shared:1",
		"1 2 0:1 / /a rw -", "1 2 0:1 / - ext4 x rw", "a b 0:1 / /a rw - ext4 x rw"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct mount_table table = {};
		struct err err = {};
		char text[256];

		strcpy(text, "23 27 0:22 / /sys rw - sysfs sysfs rw\n");
		strcat(text, lines[i]);
		assert_int_equal(mount_table_parse(text, &table, &err), -EINVAL);
		assert_non_null(strstr(err.text, "line 2"));
		assert_int_equal(table.count, 0);
	}
}

static void the_own_table_has_a_root_and_proc(void **state)
{
	struct mount_table table;
	struct err err = {};

	(void)state;
	assert_int_equal(mount_table_read(&table, &err), 0);
	assert_non_null(mount_table_find(&table, "/proc"));
	mount_table_clear(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(optional_fields_come_in_any_number),
		cmocka_unit_test(octal_escapes_in_a_path_are_undone),
		cmocka_unit_test(a_lookup_finds_the_topmost_of_stacked_mounts),
		cmocka_unit_test(a_line_of_another_form_is_refused_by_its_number),
		cmocka_unit_test(the_own_table_has_a_root_and_proc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
