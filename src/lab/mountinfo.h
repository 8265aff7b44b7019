/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/mountinfo as data (proc(5)). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct err;

struct mount_entry {
	int id, parent_id;
	char *target; /* octal escapes undone */
	char *type;   /* of the file system, such as "nsfs" */
	bool is_shared;
};

struct mount_table {
	struct mount_entry *entries; /* in the kernel's order: a child may precede its parent */
	size_t count;
};

/* Parses the text of a mountinfo file. -EINVAL names the line that has another form. */
int mount_table_parse(const char *text, struct mount_table *out, struct err *err);

/* Reads the calling process's own. */
int mount_table_read(struct mount_table *out, struct err *err);
void mount_table_clear(struct mount_table *table);

/* The mount that a path lookup of @target ends on: the topmost there. NULL: no mount point. */
const struct mount_entry *mount_table_find(const struct mount_table *table, const char *target);
