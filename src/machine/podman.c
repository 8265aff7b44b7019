/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers; see podman.h. A podman call costs 50 to 150 ms, so there is as little of it as can
 * be: one `podman run` starts a machine, the pid files that conmon writes into the state directory
 * tell that it runs, and only what became of an ended one is asked of podman.
 *
 * The container's first process is catatonit, which reaps and starts the program; without it the
 * program itself. podman reports success when catatonit runs, so the program's own start is looked
 * at here.
 */
#include "machine/podman.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/netns.h"
#include "base/run.h"
#include "machine/argv.h"
#include "machine/logs.h"
#include "machine/machine.h"
#include "machine/podman_host.h"
#include "machine/proc.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define NAME_LEN 32

#define RUN_TIMEOUT_MS	   60000
#define CLEANUP_TIMEOUT_MS 5000
#define EXEC_TIMEOUT_MS	   2000
#define EXEC_INTERVAL_NS   1000000

static char *container_name(const struct machine_spec *spec, char name[static NAME_LEN])
{
	snprintf(name, NAME_LEN, "wherry-%s", spec->id);
	return name;
}

static pid_t read_pid(const struct machine_spec *spec, const char *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", spec->state_dir, file);
	return proc_read_pid_file(path);
}

static bool is_conmon_alive(const struct machine_spec *spec, pid_t conmon)
{
	char name[NAME_LEN];

	return proc_is_alive(conmon, 0) && proc_has_argument(conmon, container_name(spec, name));
}

/* Until conmon has told podman of the end, podman takes the container for running. */
static void await_cleanup(const struct machine_spec *spec)
{
	pid_t conmon = read_pid(spec, "conmon.pid");
	_close_ int pidfd = conmon ? proc_open(conmon) : -1;

	if (pidfd >= 0 && is_conmon_alive(spec, conmon) && !proc_is_alive(read_pid(spec, "pid"), 0))
		proc_wait(pidfd, CLEANUP_TIMEOUT_MS);
}

/*
 * The container runs when the conmon of the pid file is still this container's and the first
 * process is alive.
 */
static bool is_running(const struct machine_spec *spec, struct machine_run *out)
{
	pid_t conmon = read_pid(spec, "conmon.pid"), first = read_pid(spec, "pid");

	if (!is_conmon_alive(spec, conmon) || !proc_is_alive(first, 0))
		return false;
	*out = (struct machine_run){
		.state = MACHINE_RUN_RUNNING, .pid = first, .watch_pid = conmon};
	return true;
}

/* The part of podman's complaint that says something: without its prefixes and OCI noise. */
static const char *reason(char *errors)
{
	static const char *const prefixes[] = {"Error: ", "OCI runtime error: "};
	static const char *const noise[] = {": OCI ", "\n"};
	char *last = errors + strlen(errors), *line, *found;

	while (last > errors && (last[-1] == '\n' || last[-1] == ' '))
		*--last = '\0';
	line = strrchr(errors, '\n');
	line = line ? line + 1 : errors;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (strncmp(line, prefixes[i], strlen(prefixes[i])) == 0)
			line += strlen(prefixes[i]);
	for (size_t i = 0; i < ARRAY_LEN(noise); i++)
		if ((found = strstr(line, noise[i])))
			*found = '\0';
	found = strstr(line, "unable to start container process: ");
	return found ? found + strlen("unable to start container process: ") : line;
}

static int run(const struct argv *argv, struct run_result *result, struct err *err)
{
	return run_program(argv_items(argv), NULL, RUN_TIMEOUT_MS, result, err);
}

/* A name may have moved on to another image since the release was made; its id cannot. */
static const char *image_of(const struct machine_spec *spec)
{
	return spec->image_id ? spec->image_id : spec->image;
}

static bool has_failed(const struct run_result *result)
{
	return !WIFEXITED(result->status) || WEXITSTATUS(result->status) != 0;
}

/* What the container executes: the image's entrypoint, else the command, else the image's own. */
static char *program_of(const struct machine_spec *spec)
{
	_cleanup_(argv_clear) struct argv argv = {};
	_cleanup_(run_result_clear) struct run_result result = {};
	char *end;

	podman_host_command(&argv);
	argv_add(&argv, "image");
	argv_add(&argv, "inspect");
	argv_add(&argv, "--format");
	argv_add(&argv, "{{range .Config.Entrypoint}}{{println .}}{{end}}"
			"{{with .Config.Entrypoint}}{{else}}{{println}}{{end}}"
			"{{range .Config.Cmd}}{{println .}}{{end}}");
	argv_add(&argv, image_of(spec));
	if (run(&argv, &result, NULL) < 0 || has_failed(&result))
		return strdup("");
	if (result.output[0] == '\n' && spec->command.count)
		return strdup(spec->command.items[0]);
	end = result.output + (result.output[0] == '\n');
	end[strcspn(end, "\n")] = '\0';
	return strdup(end);
}

/* The sentence for a program that could not be executed, by errno. */
static int explain_exec(const struct machine_spec *spec, int code, struct err *err)
{
	_free_ char *program = program_of(spec);

	if (!program)
		return -ENOMEM;
	switch (code) {
	case ENOENT:
		return err_set(err, -ENOENT,
			"the image %s has no program %s, or lacks the interpreter or loader that "
			"it needs",
			spec->image, program);
	case EACCES:
		return err_set(err, -EACCES,
			"%s of the image %s is not executable; chmod +x it in the Dockerfile",
			program, spec->image);
	case ENOEXEC:
		return err_set(err, -ENOEXEC,
			"%s of the image %s is not a program for this machine's processor, nor a "
			"script that begins with #!",
			program, spec->image);
	default:
		return err_set(err, -EIO, "cannot run %s of the image %s: %s", program, spec->image,
			strerror(code));
	}
}

static int explain_podman(
	const struct machine_spec *spec, struct run_result *result, struct err *err)
{
	const char *errors = result->errors;

	if (strstr(errors, "image not known"))
		return err_set(err, -ENOENT,
			"the image %s is not on this host; build it or podman pull it first",
			spec->image);
	/* Only without an init does the runtime itself execute the program. */
	if (strstr(errors, "attempted to invoke a command that was not found"))
		return explain_exec(spec, ENOENT, err);
	if (strstr(errors, "exec format error"))
		return explain_exec(spec, ENOEXEC, err);
	if (strstr(errors, "exec: \"") && strstr(errors, "OCI permission denied"))
		return explain_exec(spec, EACCES, err);
	return err_set(err, -EIO, "podman cannot run the image %s: %s", spec->image,
		reason(result->errors));
}

static void add_files(struct argv *argv, const struct machine_spec *spec)
{
	argv_add(argv, "--no-hosts");
	argv_addf(argv, "--volume=%s/hosts:/etc/hosts:rw", spec->state_dir);
	argv_addf(argv, "--volume=%s/resolv.conf:/etc/resolv.conf:rw", spec->state_dir);
	argv_addf(argv, "--pidfile=%s/pid", spec->state_dir);
	argv_addf(argv, "--conmon-pidfile=%s/conmon.pid", spec->state_dir);
	argv_add(argv, "--log-driver=k8s-file");
	argv_addf(argv, "--log-opt=path=%s/log", spec->state_dir);
	argv_addf(argv, "--log-opt=max-size=%d", LOGS_MAX_BYTES);
}

static void build_run(struct argv *argv, const struct machine_spec *spec)
{
	const char *init = podman_host_init_path();
	char name[NAME_LEN], netns[MACHINE_NETNS_LEN];

	podman_host_command(argv);
	argv_add(argv, "run");
	argv_add(argv, "--detach");
	/* A container that was made but never started is in the way otherwise. */
	argv_add(argv, "--replace");
	argv_addf(argv, "--name=%s", container_name(spec, name));
	argv_addf(argv, "--network=ns:" NETNS_DIR "/%s", machine_netns_name(spec->id, netns));
	/* podman sets this one by default, to nobody but root, in a namespace that is not its. */
	argv_add(argv, "--sysctl=net.ipv4.ping_group_range=0 2147483647");
	argv_addf(argv, "--hostname=%s", spec->id);
	argv_add(argv, "--pull=never");
	argv_add(argv, "--restart=no");
	/* The notify socket in our environment is the daemon's own. */
	argv_add(argv, "--sdnotify=ignore");
	argv_addf(argv, "--label=wherry.machine=%s", spec->id);
	if (spec->app)
		argv_addf(argv, "--label=wherry.app=%s", spec->app);
	if (spec->kill_signal)
		argv_addf(argv, "--stop-signal=%d", spec->kill_signal);
	if (init) {
		argv_add(argv, "--init");
		argv_addf(argv, "--init-path=%s", init);
	}
	add_files(argv, spec);
	podman_host_run_options(argv);
	for (size_t i = 0; i < spec->env_count; i++)
		argv_addf(argv, "--env=%s=%s", spec->env[i].name, spec->env[i].value);
	argv_add(argv, "--");
	argv_add(argv, image_of(spec));
	for (size_t i = 0; i < spec->command.count; i++)
		argv_add(argv, spec->command.items[i]);
}

/* Whether the two execute different files. One that is ending has no file any more. */
static bool differ_in_program(pid_t a, pid_t b)
{
	char path[2][64];
	struct stat st[2];

	snprintf(path[0], sizeof(path[0]), "/proc/%d/exe", (int)a);
	snprintf(path[1], sizeof(path[1]), "/proc/%d/exe", (int)b);
	return stat(path[0], &st[0]) == 0 && stat(path[1], &st[1]) == 0 &&
	       (st[0].st_dev != st[1].st_dev || st[0].st_ino != st[1].st_ino);
}

/* "runc:[2:INIT]", "crun". */
static bool is_runtime(const char *name)
{
	return strncmp(name, "runc", 4) == 0 || strncmp(name, "crun", 4) == 0;
}

/*
 * Waits until catatonit's child executes something else than catatonit. A kernel that does not
 * list children (CONFIG_PROC_CHILDREN) is taken at its word.
 */
static void await_exec(pid_t first)
{
	uint64_t deadline_ms = clock_now_ms() + EXEC_TIMEOUT_MS;
	struct proc_info info;
	char path[64];

	/* `podman run` may be back before the runtime has made way for catatonit. */
	while (proc_read(first, &info) == 0 && is_runtime(info.name) &&
		clock_now_ms() < deadline_ms)
		nanosleep(&(struct timespec){.tv_nsec = EXEC_INTERVAL_NS}, NULL);
	if (proc_read(first, &info) != 0 || strcmp(info.name, "podman-init") != 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)first, (int)first);
	if (access(path, R_OK) < 0)
		return;
	while (clock_now_ms() < deadline_ms && proc_is_alive(first, 0)) {
		pid_t child = proc_read_pid_file(path);

		if (child && differ_in_program(first, child) && proc_is_alive(child, 0))
			return;
		nanosleep(&(struct timespec){.tv_nsec = EXEC_INTERVAL_NS}, NULL);
	}
}

/* Records of the log that are looked through for what catatonit said. */
#define LAST_WORDS 6

static void find_exec_failure(void *arg, const struct log_line *line)
{
	static const char mark[] = "failed to exec pid1: ";
	const char *cause = strstr(line->message, mark);
	int *code = arg;

	/* catatonit writes the line in pieces; the first ones may be in records of their own. */
	if (!cause ||
		(cause != line->message && strncmp(line->message, "ERROR (catatonit", 16) != 0))
		return;
	*code = EIO;
	for (int i = 1; i < 134; i++)
		if (strcmp(strerror(i), cause + strlen(mark)) == 0)
			*code = i;
}

/* For a program that ended as soon as it began: whether it began at all. */
static int check_exec(const struct machine_spec *spec, struct err *err)
{
	struct logs_cursor cursor;
	int code = 0;

	if (logs_seek_tail(spec->state_dir, LAST_WORDS, &cursor) == 0)
		logs_read(spec->state_dir, &cursor, find_exec_failure, &code);
	return code ? explain_exec(spec, code, err) : 0;
}

/*
 * As podman_inspect(). @is_lost: the container ended after its conmon did, and podman believes that
 * it runs; nobody knows how it ended, and it cannot be started again.
 */
static int inspect(
	const struct machine_spec *spec, struct machine_run *out, bool *is_lost, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};
	_cleanup_(run_result_clear) struct run_result result = {};
	char name[NAME_LEN], state[16] = "", oom[8] = "";
	int code = 0, first = 0, conmon = 0, r;

	*is_lost = false;
	await_cleanup(spec);
	if (is_running(spec, out))
		return 0;
	*out = (struct machine_run){.state = MACHINE_RUN_ABSENT};
	podman_host_command(&argv);
	argv_add(&argv, "container");
	argv_add(&argv, "inspect");
	argv_add(&argv, "--format");
	argv_add(&argv, "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Pid}} "
			"{{.State.ConmonPid}}");
	argv_add(&argv, container_name(spec, name));
	r = run(&argv, &result, err);
	if (r < 0)
		return r;
	if (has_failed(&result)) {
		if (strstr(result.errors, "no such container"))
			return 0;
		return err_set(
			err, -EIO, "podman cannot inspect %s: %s", name, reason(result.errors));
	}
	if (sscanf(result.output, "%15s %d %7s %d %d", state, &code, oom, &first, &conmon) != 5)
		return err_set(err, -EIO, "podman describes %s as \"%.100s\", which is not clear",
			name, result.output);
	if (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0) {
		*is_lost = !proc_is_alive(first, 0) && !proc_is_alive(conmon, 0);
		out->state = *is_lost ? MACHINE_RUN_EXITED : MACHINE_RUN_RUNNING;
		out->exit_code = *is_lost ? 128 + SIGKILL : 0;
	}
	if (out->state == MACHINE_RUN_RUNNING) {
		/* Without its conmon, the first process itself is what can be watched. */
		out->pid = first;
		out->watch_pid = proc_is_alive(conmon, 0) ? conmon : first;
	} else if (strcmp(state, "exited") == 0 || strcmp(state, "stopped") == 0) {
		out->state = MACHINE_RUN_EXITED;
		out->exit_code = code;
		out->oom_killed = strcmp(oom, "true") == 0;
	}
	return 0;
}

int podman_inspect(const struct machine_spec *spec, struct machine_run *out, struct err *err)
{
	bool is_lost;

	return inspect(spec, out, &is_lost, err);
}

int podman_remove(const struct machine_spec *spec, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};
	_cleanup_(run_result_clear) struct run_result result = {};
	static const char *const files[] = {"pid", "conmon.pid"};
	char name[NAME_LEN], path[PATH_MAX];
	int r;

	podman_host_command(&argv);
	argv_add(&argv, "rm");
	argv_add(&argv, "--force");
	argv_add(&argv, "--ignore");
	argv_add(&argv, "--time=0");
	argv_add(&argv, container_name(spec, name));
	r = run(&argv, &result, err);
	if (r < 0)
		return r;
	if (has_failed(&result)) {
		/* One that ended without its conmon is stopped by the first try only. */
		run_result_clear(&result);
		r = run(&argv, &result, err);
		if (r < 0)
			return r;
	}
	if (has_failed(&result))
		return err_set(
			err, -EIO, "podman cannot remove %s: %s", name, reason(result.errors));
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", spec->state_dir, files[i]);
		unlink(path);
	}
	return 0;
}

int podman_start(const struct machine_spec *spec, struct machine_run *out, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};
	_cleanup_(run_result_clear) struct run_result result = {};
	char name[NAME_LEN];
	bool is_lost;
	int r;

	if (!spec->image || spec->image[0] == '-' || spec->image[0] == '\0')
		return err_set(err, -EINVAL, "\"%s\" is not the name of an image",
			spec->image ? spec->image : "");
	/* Only a container that ran before has a pid file: a first start saves this call. */
	if (read_pid(spec, "conmon.pid")) {
		r = inspect(spec, out, &is_lost, err);
		if (r < 0 || out->state == MACHINE_RUN_RUNNING)
			return r;
		if (is_lost) {
			r = podman_remove(spec, err);
			if (r < 0)
				return r;
		} else if (out->state == MACHINE_RUN_EXITED) {
			podman_host_command(&argv);
			argv_add(&argv, "start");
			argv_add(&argv, container_name(spec, name));
		}
	}
	if (argv.count == 0)
		build_run(&argv, spec);
	r = run(&argv, &result, err);
	if (r < 0)
		return r;
	if (has_failed(&result))
		return explain_podman(spec, &result, err);
	await_exec(read_pid(spec, "pid"));
	r = inspect(spec, out, &is_lost, err);
	if (r == 0 && out->state == MACHINE_RUN_EXITED && out->exit_code != 0)
		r = check_exec(spec, err);
	return r;
}

int podman_image_inspect(const char *image, const char *format, char **out, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};
	_cleanup_(run_result_clear) struct run_result result = {};
	int r;

	podman_host_command(&argv);
	argv_add(&argv, "image");
	argv_add(&argv, "inspect");
	argv_addf(&argv, "--format=%s", format);
	argv_add(&argv, "--");
	argv_add(&argv, image);
	r = run(&argv, &result, err);
	if (r < 0)
		return r;
	if (has_failed(&result)) {
		if (strstr(result.errors, "image not known"))
			return 1;
		return err_set(err, -EIO, "podman cannot inspect the image %s: %s", image,
			reason(result.errors));
	}
	if (out) {
		result.output[strcspn(result.output, "\n")] = '\0';
		*out = take_ptr(result.output);
	}
	return 0;
}

int machine_image_exists(const char *image, char **digest, struct err *err)
{
	return podman_image_inspect(image, "{{.Digest}}", digest, err);
}
