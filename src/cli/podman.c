/* SPDX-License-Identifier: Apache-2.0 */
/* Running podman; see podman.h. */
#include "cli/podman.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/run.h"
#include "cli/cli.h"
#include "cli/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define EXISTS_TIMEOUT_MS 20000

extern char **environ;

void argv_add(struct argv *argv, const char *word)
{
	argv->words = realloc(argv->words, (argv->count + 2) * sizeof(argv->words[0]));
	if (!argv->words)
		abort();
	argv->words[argv->count] = strdup(word);
	if (!argv->words[argv->count++])
		abort();
	argv->words[argv->count] = NULL;
}

void argv_clear(struct argv *argv)
{
	for (size_t i = 0; i < argv->count; i++)
		free(argv->words[i]);
	free(argv->words);
	*argv = (struct argv){};
}

static bool has_systemd(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

void podman_begin(struct argv *argv)
{
	argv_add(argv, "podman");
	if (!has_systemd())
		argv_add(argv, "--cgroup-manager=cgroupfs");
	/* crun refuses hybrid cgroups ("hybrid mode not supported"). */
	if (access("/sys/fs/cgroup/unified", F_OK) == 0) {
		argv_add(argv, "--runtime");
		argv_add(argv, "runc");
	}
}

void podman_add_build(struct argv *argv)
{
	bool may_raise_limits = prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1;

	/* The default isolation starts an OCI runtime for each step, which wants both. */
	if (!may_raise_limits || !has_systemd()) {
		argv_add(argv, "--isolation");
		argv_add(argv, "chroot");
	}
}

static void keep_line(struct podman_output *out, const char *line)
{
	if (strncmp(line, "STEP ", 5) == 0)
		snprintf(out->step, sizeof(out->step), "%s", line + 5);
	if (strncmp(line, "Error: ", 7) == 0)
		line += 7;
	if (*line)
		snprintf(out->last, sizeof(out->last), "%s", line);
}

/* Passes everything on until the program closes its end. */
static void pass_on(const struct cli *cli, int fd, struct podman_output *out)
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
		if (!cli->is_quiet) {
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
	r = posix_spawnp(pid, argv->words[0], &actions, NULL, argv->words, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

int podman_run(struct cli *cli, const struct argv *argv, struct podman_output *out)
{
	int pipe_fds[2], status, r;
	pid_t pid;

	*out = (struct podman_output){};
	if (cli->is_verbose) {
		_cleanup_(buf_clear) struct buf text = {};

		for (size_t i = 0; i < argv->count; i++)
			buf_addf(&text, " %s", argv->words[i]);
		progress_line("$%s", text.data);
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -1;
	r = start(argv, pipe_fds[1], &pid);
	close(pipe_fds[1]);
	if (r) {
		close(pipe_fds[0]);
		errno = r;
		return -1;
	}
	pass_on(cli, pipe_fds[0], out);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	out->exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

bool podman_has_image(const char *image)
{
	_cleanup_(run_result_clear) struct run_result result = {};
	_cleanup_(argv_clear) struct argv argv = {};

	podman_begin(&argv);
	argv_add(&argv, "image");
	argv_add(&argv, "exists");
	argv_add(&argv, image);
	return run_program((const char *const *)argv.words, NULL, EXISTS_TIMEOUT_MS, &result,
		       NULL) == 0 &&
	       result.status == 0;
}
