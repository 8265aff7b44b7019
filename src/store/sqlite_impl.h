/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the SQLite store share: the file (sqlite_file.c) and its use (sqlite.c).
 */
#pragma once

#include <sqlite3.h>

struct err;

/*
 * Opens @path, makes the schema in a new file, and checks an old one: ours, of a schema we know,
 * undamaged, writable. What is not ours is not changed.
 */
int sqlite_file_open(sqlite3 **out, const char *path, struct err *err);

/* The sentence and the errno for what @db failed with last; @rc is the call's result. */
int sqlite_file_error(sqlite3 *db, int rc, const char *path, struct err *err);
