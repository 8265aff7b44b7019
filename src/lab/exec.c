/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lab exec`: the process itself moves into the node and becomes the command, so that standard
 * input and output, exit status, signals and job control are the command's own. Reads no state
 * unless the node cannot be found: it has to be quick.
 */
#include "lab/verbs.h"

#include "base/err.h"
#include "lab/daemon.h"
#include "lab/node.h"
#include "lab/paths.h"
#include "lab/state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int explain_missing(const struct lab_args *args, struct err *err)
{
	struct lab lab = {};
	int r = lab_load(args->name, &lab, err);

	if (r == 0)
		r = lab_no_node(&lab, args->node, err);
	lab_clear(&lab);
	return r;
}

int lab_exec(const struct lab_args *args, struct err *err)
{
	char cwd[PATH_MAX], mnt[PATH_MAX], own[PATH_MAX];
	const char *program = args->command[0];
	int r;

	if (access(lab_node_path(args->name, args->node, ".mnt", mnt), F_OK) < 0)
		return explain_missing(args, err);
	daemon_own_dir(own);
	if (!getcwd(cwd, sizeof(cwd)))
		strcpy(cwd, "/");
	r = node_enter(args->name, args->node, err);
	if (r < 0)
		return r;
	if (chdir(cwd) < 0 && chdir("/") < 0)
		return err_errno(err, -errno, "cannot change to / in %s", args->node);
	daemon_set_environment(args->name, args->node);
	execvp(program, args->command);
	if (errno == ENOENT || errno == ENOTDIR)
		return err_set(err, -ENOTSUP, "there is no program %s in %s", program, args->node);
	return err_errno(err, -ENOEXEC, "cannot run %s in %s", program, args->node);
}
