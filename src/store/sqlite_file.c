/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog's file: opening, schema, and errors in words. Nothing that was answered as committed
 * may be lost with the power, hence WAL with synchronous=FULL: one fsync(2) a transaction, and a
 * catalog changes a few times a minute. The file is 0600, as it holds the apps' environments.
 *
 * Codes: -EBADMSG damaged or no database, -EMEDIUMTYPE another program's, -EPROTONOSUPPORT a newer
 * schema, -EROFS, -ENOSPC, -EBUSY, -EIO.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/sqlite_impl.h"

#define APPLICATION_ID	0x77687279 /* "whry" */
#define SCHEMA_VERSION	1
#define BUSY_TIMEOUT_MS 500

/* Without anything to change first: the revision counts from 1. */
static const char schema[] = "BEGIN IMMEDIATE;"
			     "CREATE TABLE entry ("
			     " key TEXT PRIMARY KEY NOT NULL,"
			     " value TEXT NOT NULL,"
			     " mod_revision INTEGER NOT NULL"
			     ") STRICT;"
			     "CREATE TABLE meta ("
			     " one INTEGER PRIMARY KEY CHECK (one = 1),"
			     " revision INTEGER NOT NULL"
			     ") STRICT;"
			     "INSERT INTO meta (one, revision) VALUES (1, 0);"
			     "PRAGMA application_id = 2003333753;" /* APPLICATION_ID */
			     "PRAGMA user_version = 1;"
			     "COMMIT;";

_Static_assert(APPLICATION_ID == 2003333753, "the schema's text has the number in decimal");
_Static_assert(SCHEMA_VERSION == 1, "the schema's text sets version 1");

static void sqlite_closep(sqlite3 **db)
{
	sqlite3_close_v2(*db);
}

static void sqlite_finalizep(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

static int damaged(const char *path, const char *what, struct err *err)
{
	return err_set(err, -EBADMSG,
		"the catalog %s is damaged (%s); machines and traffic go on without it; put a "
		"backup copy "
		"in its place, or move it away (with %s-wal and -shm) to start with an empty "
		"catalog",
		path, what, path);
}

int sqlite_file_error(sqlite3 *db, int rc, const char *path, struct err *err)
{
	int system = db ? sqlite3_system_errno(db) : 0;
	int primary = rc & 0xff;

	if (primary == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT))
		primary = SQLITE_FULL;
	if (primary != SQLITE_FULL && system == EROFS)
		primary = SQLITE_READONLY;
	/* It cannot make its -wal file then. */
	if (primary == SQLITE_CANTOPEN && db && sqlite3_db_readonly(db, "main") == 1)
		primary = SQLITE_READONLY;
	switch (primary) {
	case SQLITE_FULL:
		return err_set(err, -ENOSPC,
			"the disk with the catalog %s is full; nothing was changed; make room and "
			"try again",
			path);
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return err_set(err, -EROFS,
			"the catalog %s cannot be written: the file, its directory or its file "
			"system is "
			"read-only; make it writable",
			path);
	case SQLITE_CORRUPT:
		return damaged(path, sqlite3_errmsg(db), err);
	case SQLITE_NOTADB:
		return damaged(path, "it is not an SQLite database", err);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(err, -EBUSY,
			"another program holds the catalog %s locked; nothing was changed; end it "
			"(fuser -v %s "
			"names it) and try again",
			path, path);
	case SQLITE_NOMEM:
		return err_errno(err, -ENOMEM, "cannot use the catalog %s", path);
	default:
		break;
	}
	if (system)
		return err_set(err, primary == SQLITE_CANTOPEN ? -system : -EIO,
			"cannot use the catalog %s: %s (%s)", path, sqlite3_errstr(rc),
			strerror(system));
	return err_set(err, -EIO, "cannot use the catalog %s: %s", path,
		db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

static int read_number(sqlite3 *db, const char *sql, sqlite3_int64 *out)
{
	_cleanup_(sqlite_finalizep) sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
	*out = sqlite3_column_int64(stmt, 0);
	return SQLITE_OK;
}

static int check_content(sqlite3 *db, const char *path, struct err *err)
{
	_cleanup_(sqlite_finalizep) sqlite3_stmt *stmt = NULL;
	sqlite3_int64 unsound;
	int rc;

	rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW)
		return sqlite_file_error(db, rc, path, err);
	if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
		return damaged(path, (const char *)sqlite3_column_text(stmt, 0), err);
	rc = read_number(db,
		"SELECT (SELECT count(*) FROM meta) <> 1 OR EXISTS (SELECT 1 FROM entry "
		"WHERE mod_revision > (SELECT revision FROM meta))",
		&unsound);
	if ((rc & 0xff) == SQLITE_ERROR)
		return damaged(path, sqlite3_errmsg(db), err);
	if (rc != SQLITE_OK)
		return sqlite_file_error(db, rc, path, err);
	if (unsound)
		return damaged(path, "its revisions contradict each other", err);
	return 0;
}

/* Returns 0 when the file is ours, 1 when it is empty. */
static int identify(sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_int64 application, version, tables;
	int rc = read_number(db, "PRAGMA application_id", &application);

	if (rc == SQLITE_OK)
		rc = read_number(db, "PRAGMA user_version", &version);
	if (rc == SQLITE_OK)
		rc = read_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (rc != SQLITE_OK)
		return sqlite_file_error(db, rc, path, err);
	if (application == 0 && version == 0 && tables == 0)
		return 1;
	if (application != APPLICATION_ID)
		return err_set(err, -EMEDIUMTYPE,
			"%s is another program's database, not a catalog; it was left as it is; "
			"move it away or "
			"choose another state directory",
			path);
	if (version > SCHEMA_VERSION)
		return err_set(err, -EPROTONOSUPPORT,
			"the catalog %s was written by a newer wherryd (schema %lld, this one "
			"knows %d); it was "
			"left as it is; install the newer version again, or put back the copy from "
			"before it",
			path, (long long)version, SCHEMA_VERSION);
	if (version != SCHEMA_VERSION)
		return damaged(path, "its schema has no version", err);
	return 0;
}

static int set_up(sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_int64 ignored;
	int is_new, rc;

	sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
	is_new = identify(db, path, err);
	if (is_new < 0)
		return is_new;
	if (sqlite3_db_readonly(db, "main"))
		return sqlite_file_error(db, SQLITE_READONLY, path, err);
	rc = sqlite3_exec(db,
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;"
		"PRAGMA journal_size_limit = 16777216;",
		NULL, NULL, NULL);
	if (rc == SQLITE_OK && is_new)
		rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = read_number(db, "SELECT count(*) FROM sqlite_schema", &ignored);
	if (rc != SQLITE_OK)
		return sqlite_file_error(db, rc, path, err);
	return is_new ? 0 : check_content(db, path, err);
}

static int open_once(sqlite3 **out, const char *path, bool is_exclusive, struct err *err)
{
	_cleanup_(sqlite_closep) sqlite3 *db = NULL;
	int rc, r;

	rc = sqlite3_open_v2(path, &db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc == SQLITE_OK && is_exclusive)
		rc = sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return sqlite_file_error(db, rc, path, err);
	r = set_up(db, path, err);
	if (r < 0)
		return r;
	*out = take_ptr(db);
	return 0;
}

/* SQLite would make it readable for all. Closing a descriptor of an existing file drops its locks.
 */
static int make_file(const char *path, struct err *err)
{
	_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0 || errno == EEXIST)
		return 0;
	if (errno == ENOSPC || errno == EDQUOT)
		return sqlite_file_error(NULL, SQLITE_FULL, path, err);
	if (errno == EROFS)
		return access(path, F_OK) == 0
			       ? 0
			       : sqlite_file_error(NULL, SQLITE_READONLY, path, err);
	return err_errno(err, -errno, "cannot make the catalog %s", path);
}

int sqlite_file_open(sqlite3 **out, const char *path, struct err *err)
{
	int r = make_file(path, err);

	if (r < 0)
		return r;
	r = open_once(out, path, false, err);
	/* A full disk has no room for the shared index, which one process alone does not need. */
	if (r == -ENOSPC)
		r = open_once(out, path, true, err);
	return r;
}
