/* SPDX-License-Identifier: Apache-2.0 */
/* Running podman for builds; see builder.h. */
#include "cli/builder.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "machine/argv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

extern char **environ;

static bool has_systemd(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

void builder_add_options(struct argv *argv)
{
	bool may_raise_limits = prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1;

	/* The default isolation starts an OCI runtime for each step, which wants both. */
	if (!may_raise_limits || !has_systemd()) {
		argv_add(argv, "--isolation");
		argv_add(argv, "chroot");
	}
}

static void keep_line(struct builder_output *out, const char *line)
{
	if (strncmp(line, "STEP ", 5) == 0)
		snprintf(out->step, sizeof(out->step), "%s", line + 5);
	if (strncmp(line, "Error: ", 7) == 0)
		line += 7;
	if (*line)
		snprintf(out->last, sizeof(out->last), "%s", line);
}

/* Passes everything on until the program closes its end, but its error: that is the caller's to
 * say. */
static void pass_on(const struct cli *cli, int fd, struct builder_output *out)
{
	_fclose_ FILE *stream = fdopen(fd, "r");
	_free_ char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (!stream) {
		close(fd);
		return;
	}
	while ((len = getline(&line, &size, stream)) > 0) {
		if (!cli->is_quiet && strncmp(line, "Error: ", 7) != 0) {
			fputs(line, stderr);
			fflush(stderr);
		}
		line[strcspn(line, "\r\n")] = '\0';
		keep_line(out, line);
	}
}

static int start(const struct argv *argv, int output, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
	r = posix_spawnp(pid, argv->items[0], &actions, NULL, argv->items, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

int builder_run(struct cli *cli, const struct argv *argv, struct builder_output *out)
{
	int pipe_fds[2], status, r;
	pid_t pid;

	*out = (struct builder_output){};
	if (cli->is_verbose) {
		_cleanup_(buf_clear) struct buf text = {};

		for (size_t i = 0; i < argv->count; i++)
			buf_addf(&text, " %s", argv->items[i]);
		progress_line("$%s", text.data);
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	r = start(argv, pipe_fds[1], &pid);
	close(pipe_fds[1]);
	if (r) {
		close(pipe_fds[0]);
		return -r;
	}
	pass_on(cli, pipe_fds[0], out);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	out->exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}
