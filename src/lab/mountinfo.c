/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading mountinfo; see mountinfo.h. Lines look like this, with zero or more optional fields
 * before the dash:
 *
 *     36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *
 * Space, tab, newline and backslash in a path are written as three octal digits.
 */
#include "lab/mountinfo.h"

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

#define MOUNTINFO_MAX_BYTES (16 * 1024 * 1024)

static bool is_octal(const char *text)
{
	for (int i = 0; i < 3; i++)
		if (text[i] < '0' || text[i] > '7')
			return false;
	return true;
}

static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && is_octal(from + 1)) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* Parses one line, which it cuts into words. Returns false when it has another form. */
static bool parse_line(char *line, struct mount_entry *out)
{
	char *rest = NULL, *word = strtok_r(line, " ", &rest);
	int index = 0;

	for (; word && strcmp(word, "-") != 0; word = strtok_r(NULL, " ", &rest), index++) {
		if (index == 0)
			out->id = atoi(word);
		else if (index == 1)
			out->parent_id = atoi(word);
		else if (index == 4)
			out->target = word;
		else if (index >= 6 && strncmp(word, "shared:", 7) == 0)
			out->is_shared = true;
	}
	out->type = word ? strtok_r(NULL, " ", &rest) : NULL;
	if (index < 6 || !out->type || out->id <= 0)
		return false;
	unescape(out->target);
	return true;
}

static int add_entry(struct mount_table *table, const struct mount_entry *entry)
{
	struct mount_entry *bigger;

	bigger = reallocarray(table->entries, table->count + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	table->entries = bigger;
	bigger[table->count] = *entry;
	bigger[table->count].target = strdup(entry->target);
	bigger[table->count].type = strdup(entry->type);
	table->count++;
	return bigger[table->count - 1].target && bigger[table->count - 1].type ? 0 : -ENOMEM;
}

int mount_table_parse(const char *text, struct mount_table *out, struct err *err)
{
	_cleanup_(mount_table_clear) struct mount_table table = {};
	_free_ char *copy = strdup(text);
	char *rest = NULL;
	unsigned int number = 0;

	if (!copy)
		return err_errno(err, -ENOMEM, "cannot read the mount table");
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct mount_entry entry = {};

		number++;
		if (!parse_line(line, &entry))
			return err_set(err, -EINVAL,
				"line %u of the mount table is not in the form of proc(5)", number);
		if (add_entry(&table, &entry) < 0)
			return err_errno(err, -ENOMEM, "cannot read the mount table");
	}
	*out = table;
	table = (struct mount_table){};
	return 0;
}

int mount_table_read(struct mount_table *out, struct err *err)
{
	_free_ char *text = NULL;
	int r = file_read("/proc/self/mountinfo", MOUNTINFO_MAX_BYTES, &text, NULL, err);

	return r < 0 ? r : mount_table_parse(text, out, err);
}

void mount_table_clear(struct mount_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		free(table->entries[i].target);
		free(table->entries[i].type);
	}
	free(table->entries);
	*table = (struct mount_table){};
}

/* Mounts stacked on one path are each other's parents. */
static bool is_covered(const struct mount_table *table, const struct mount_entry *entry)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->entries[i].parent_id == entry->id &&
			strcmp(table->entries[i].target, entry->target) == 0)
			return true;
	return false;
}

const struct mount_entry *mount_table_find(const struct mount_table *table, const char *target)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->entries[i].target, target) == 0 &&
			!is_covered(table, &table->entries[i]))
			return &table->entries[i];
	return NULL;
}
