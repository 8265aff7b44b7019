/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry catalog export|import: a whole catalog as a file, to move a fleet from one store to
 * another or to keep a copy. They work on the store itself, without wherryd: reading is safe beside
 * it. Signs of life and round trips are left out: they are of the moment.
 */
#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/handlers.h"
#include "cli/progress.h"
#include "store/store.h"
#include "store/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define CATALOG_PATH "/var/lib/wherry/catalog.db"

static const char *const skipped[] = {"host-alive/", "host-probes/", NULL};

static bool is_etcd(const char *store)
{
	return strncmp(store, "etcd://", 7) == 0 || strncmp(store, "etcds://", 8) == 0;
}

static int failed(struct cli *cli, const struct err *err)
{
	return cli_fail(cli, CLI_FAILED, "failed", "%s", err->text);
}

static int open_etcd(struct cli *cli, const char *url, struct store **out)
{
	const struct store_etcd_options options = {
		.url = url,
		.ca_file = args_get(&cli->args, "etcd-ca"),
		.cert_file = args_get(&cli->args, "etcd-cert"),
		.key_file = args_get(&cli->args, "etcd-key"),
	};
	struct err err;
	int r = store_open_etcd(out, &options, &err);

	if (r == -EINVAL)
		return cli_fail(cli, CLI_USAGE, "invalid_request", "%s", err.text);
	if (r < 0)
		return cli_fail(cli, CLI_UNREACHABLE, "unreachable", "%s", err.text);
	return CLI_OK;
}

static int open_store(struct cli *cli, bool may_make, struct store **out)
{
	const char *store = args_get(&cli->args, "store");
	struct err err;

	if (store && is_etcd(store))
		return open_etcd(cli, store, out);
	if (!store || strcmp(store, "sqlite") == 0)
		store = CATALOG_PATH;
	if (strstr(store, "://"))
		return cli_fail(cli, CLI_USAGE, "invalid_request",
			"%s is no store: it is etcd://HOST:PORT, etcds://HOST:PORT or the path of "
			"a "
			"catalog.db",
			store);
	if (!may_make && access(store, F_OK) < 0)
		return cli_fail(cli, CLI_NOT_FOUND, "not_found",
			"there is no catalog at %s; --store says where it is", store);
	return store_open_sqlite(out, store, &err) < 0 ? failed(cli, &err) : CLI_OK;
}

static bool is_standard(const char *path)
{
	return strcmp(path, "-") == 0;
}

/* The file holds what apps' environments say: it is its owner's alone. */
static FILE *open_output(const char *path)
{
	_close_ int fd = -1;
	FILE *out;

	if (is_standard(path))
		return stdout;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (out)
		take_fd(fd);
	return out;
}

int catalog_export_command(struct cli *cli)
{
	const char *path = args_positional(&cli->args, 0);
	_cleanup_(store_closep) struct store *store = NULL;
	struct err err;
	size_t count = 0;
	FILE *out;
	int r = open_store(cli, false, &store);

	if (r != CLI_OK)
		return r;
	out = open_output(path);
	if (!out)
		return cli_fail(
			cli, CLI_FAILED, "failed", "cannot write %s: %s", path, strerror(errno));
	r = store_export(store, out, skipped, &count, &err);
	if (out != stdout && fclose(out) != 0 && r == 0)
		r = err_errno(&err, -errno, "cannot write %s", path);
	if (r < 0)
		return failed(cli, &err);
	progress_line("%zu keys exported", count);
	return CLI_OK;
}

int catalog_import_command(struct cli *cli)
{
	const char *path = args_positional(&cli->args, 0);
	_cleanup_(store_closep) struct store *store = NULL;
	struct err err;
	size_t count = 0;
	FILE *in;
	int r;

	in = is_standard(path) ? stdin : fopen(path, "re");
	if (!in)
		return cli_fail(
			cli, CLI_FAILED, "failed", "cannot read %s: %s", path, strerror(errno));
	r = open_store(cli, true, &store);
	if (r == CLI_OK)
		r = store_import(store, in, args_has(&cli->args, "force"), &count, &err);
	else
		err.text[0] = '\0';
	if (in != stdin)
		fclose(in);
	if (r > 0)
		return r; /* told by open_store() */
	if (r == -EEXIST)
		return cli_fail(cli, CLI_CONFLICT, "conflict", "%s", err.text);
	if (r == -EINVAL)
		return cli_fail(cli, CLI_INVALID, "invalid_request", "%s", err.text);
	if (r < 0)
		return failed(cli, &err);
	progress_line("%zu keys imported", count);
	return CLI_OK;
}
