/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of a root directory under the built wherry-init. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../lib/machine.h"
#include "machine/init_spec.h"

static char app[PATH_MAX];

static void setup_net(const struct machine_spec *spec)
{
	struct machine_net net;
	struct err err = {};

	fixture_ok(machine_net_setup(spec, &net, &err), &err);
}

static struct machine_spec make_machine(unsigned int index)
{
	struct machine_spec spec = fixture_spec(index, MACHINE_ROOTFS);

	spec.rootfs = strdup("/");
	setup_net(&spec);
	return spec;
}

static void start(const struct machine_spec *spec, struct machine_run *run)
{
	struct err err = {};

	fixture_ok(machine_start(spec, run, &err), &err);
}

static void stop(const struct machine_spec *spec, struct machine_run *run)
{
	struct err err = {};

	fixture_ok(machine_stop(spec, run, &err), &err);
	assert_int_equal(run->state, MACHINE_RUN_EXITED);
}

static void the_exit_code_is_the_programs(void **state)
{
	struct machine_spec spec = make_machine(1);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, app, "exit", "7");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 7);
	/* An exited one is started again. */
	COMMAND(&spec, app, "raise", "11");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 128 + SIGSEGV);
	fixture_destroy(&spec);
}

static void the_program_sees_its_names_host_and_environment_only(void **state)
{
	struct machine_spec spec = make_machine(2);
	struct machine_run run;
	_free_ char *hosts = NULL;
	char text[128];

	(void)state;
	spec.mtu_bytes = 1420;
	setup_net(&spec);
	spec.env = calloc(1, sizeof(*spec.env));
	spec.env[0] = (struct env_var){strdup("FLY_APP_NAME"), strdup("two\nlines")};
	spec.env_count = 1;
	COMMAND(&spec, app, "cat", "/etc/hosts", "cat", "/etc/resolv.conf", "host", "env", "mtu");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	snprintf(text, sizeof(text), "stdout: 172.29.0.19\tfly-global-services\n");
	fixture_expect_log(&spec, text);
	fixture_expect_log(&spec, "stdout: nameserver 172.29.0.17\n");
	snprintf(text, sizeof(text), "stdout: host %s\nstdout: cwd /\n", spec.id);
	fixture_expect_log(&spec, text);
	fixture_expect_log(&spec,
		"stdout: cwd /\nstdout: env FLY_APP_NAME=two\nstdout: lines\n"
		"stdout: env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
		"stdout: env HOME=/root\nstdout: mtu 1420\n");
	/* The host's own file is as it was. */
	assert_int_equal(file_read("/etc/hosts", 1 << 20, &hosts, NULL, NULL), 0);
	assert_null(strstr(hosts, spec.id));
	fixture_destroy(&spec);
}

static void a_program_that_cannot_run_is_named_in_words(void **state)
{
	struct machine_spec spec = make_machine(3);
	struct machine_run run;
	struct err err = {};

	(void)state;
	COMMAND(&spec, "/bin/no-such-program");
	assert_true(machine_start(&spec, &run, &err) < 0);
	assert_string_equal(
		err.text, "cannot run /bin/no-such-program in /: No such file or directory");
	COMMAND(&spec, "/etc/passwd");
	assert_true(machine_start(&spec, &run, &err) < 0);
	assert_string_equal(err.text, "cannot run /etc/passwd in /: Permission denied");
	COMMAND(&spec, app);
	free(spec.rootfs);
	spec.rootfs = strdup("/no-such-root");
	assert_true(machine_start(&spec, &run, &err) < 0);
	assert_non_null(strstr(err.text, "/no-such-root: No such file"));
	fixture_ok(machine_inspect(&spec, &run, &err), &err);
	assert_int_equal(run.state, MACHINE_RUN_ABSENT);
	fixture_destroy(&spec);
}

static void a_shell_that_passes_nothing_on_does_not_cut_short_its_child(void **state)
{
	struct machine_spec spec = make_machine(4);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, app, "fork", "handle", "2", "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	stop(&spec, &run);
	assert_int_equal(run.exit_code, 5);
	fixture_expect_log(&spec, "ready\nstdout: bye\nstdout: done\nstdout: parent\n");
	fixture_destroy(&spec);
}

static void a_program_that_ignores_the_signal_is_killed_after_the_timeout(void **state)
{
	struct machine_spec spec = make_machine(5);
	struct machine_run run;
	uint64_t begin, took;

	(void)state;
	spec.kill_timeout_s = 1;
	COMMAND(&spec, app, "spawn", "ignore", "2", "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	begin = clock_now_ms();
	stop(&spec, &run);
	took = clock_now_ms() - begin;
	assert_in_range(took, 950, 3000);
	assert_int_equal(run.exit_code, 128 + SIGKILL);
	/* Stopping what does not run is success. */
	stop(&spec, &run);
	fixture_destroy(&spec);
}

static void the_signal_reaches_every_process(void **state)
{
	struct machine_spec spec = make_machine(6);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, app, "spawn", "spawn", "handle", "10", "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	assert_int_equal(machine_signal_all(run.pid, SIGUSR1), 3);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 0);
	fixture_expect_log(&spec, "bye\nstdout: done\n");
	assert_int_equal(machine_signal_all(getpid(), SIGUSR1), -EINVAL);
	fixture_destroy(&spec);
}

static void a_machine_outlives_the_process_that_started_it(void **state)
{
	struct machine_spec spec = make_machine(7);
	struct machine_run run;
	struct err err = {};
	pid_t pid;
	int status;

	(void)state;
	COMMAND(&spec, app, "print", "ready", "handle", "2", "sleep");
	pid = fork();
	if (pid == 0)
		_exit(machine_start(&spec, &run, NULL) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fixture_await_log(&spec, "ready");
	fixture_ok(machine_inspect(&spec, &run, &err), &err);
	assert_int_equal(run.state, MACHINE_RUN_RUNNING);
	/* Starting it again finds it. */
	pid = run.pid;
	start(&spec, &run);
	assert_int_equal(run.pid, pid);
	stop(&spec, &run);
	assert_int_equal(run.exit_code, 0);
	fixture_destroy(&spec);
}

static void a_killed_supervisor_takes_the_program_along(void **state)
{
	struct machine_spec spec = make_machine(8);
	struct machine_run run;
	_close_ int first = -1;

	(void)state;
	COMMAND(&spec, app, "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	first = proc_open(run.pid);
	assert_int_equal(kill(run.watch_pid, SIGKILL), 0);
	assert_int_equal(proc_wait(first, 5000), 0);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 128 + SIGKILL);
	fixture_destroy(&spec);
}

static void what_the_program_leaves_behind_ends_with_it(void **state)
{
	struct machine_spec spec = make_machine(9);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, app, "spawn", "exit", "3");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 3);
	fixture_destroy(&spec);
}

static void a_chatty_programs_log_is_bounded_and_keeps_the_end(void **state)
{
	struct machine_spec spec = make_machine(10);
	_free_ char *path = logs_path(spec.state_dir);
	struct logs_cursor cursor;
	_cleanup_(buf_clear) struct buf tail = {};
	struct machine_run run;
	struct stat st;

	(void)state;
	COMMAND(&spec, app, "fill", "25", "print", "the end");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, LOGS_MAX_BYTES);
	assert_int_equal(logs_seek_tail(spec.state_dir, 2, &cursor), 0);
	assert_int_equal(logs_read(spec.state_dir, &cursor, fixture_add_line, &tail), 0);
	assert_non_null(strstr(tail.data, "xxx\nstdout: the end\n"));
	assert_int_equal(tail.len, strlen("stdout: \n") * 2 + 99 + strlen("the end"));
	fixture_destroy(&spec);
}

static void last_words_without_a_newline_are_in_the_log(void **state)
{
	struct machine_spec spec = make_machine(11);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, "/bin/sh", "-c", "printf 'no config' >&2; exit 1");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	fixture_expect_log(&spec, "stderr: no config\n");
	fixture_destroy(&spec);
}

static void a_root_directory_gets_mount_points_and_files_of_its_own(void **state)
{
	struct machine_spec spec = make_machine(12);
	struct machine_run run;
	struct err err = {};
	char path[PATH_MAX + 32], text[128];
	const char *const copy[] = {"cp", app, path, NULL};

	(void)state;
	free(spec.rootfs);
	assert_true(asprintf(&spec.rootfs, "%s/root", fixture_dir) > 0);
	snprintf(path, sizeof(path), "%s/etc", spec.rootfs);
	fixture_ok(file_mkdirs(path, 0755, &err), &err);
	/* As systemd-resolved leaves it: a link to where nothing is yet. */
	snprintf(path, sizeof(path), "%s/etc/resolv.conf", spec.rootfs);
	assert_int_equal(symlink("../run/systemd/resolve/stub-resolv.conf", path), 0);
	snprintf(path, sizeof(path), "%s/app", spec.rootfs);
	fixture_ok(run_checked(copy, NULL, 5000, NULL, &err), &err);
	COMMAND(&spec, "/app", "cat", "/etc/hosts", "cat", "/etc/resolv.conf", "cat",
		"/proc/1/comm", "cat", "/etc/passwd");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 0);
	snprintf(text, sizeof(text), "stdout: 172.29.0.98\t%s\n", spec.id);
	fixture_expect_log(&spec, text);
	fixture_expect_log(&spec,
		"stdout: nameserver 172.29.0.97\nstdout: wherry-init\nstdout: no /etc/passwd\n");
	fixture_destroy(&spec);
}

struct parallel {
	struct machine_spec spec;
	struct machine_run run;
	struct err err;
	int result;
	uint64_t took_ms;
};

static void *start_thread(void *arg)
{
	struct parallel *p = arg;
	struct machine_net net;
	uint64_t begin = clock_now_ms();

	p->result = machine_net_setup(&p->spec, &net, &p->err);
	if (p->result == 0)
		p->result = machine_start(&p->spec, &p->run, &p->err);
	p->took_ms = clock_now_ms() - begin;
	return NULL;
}

static void twenty_machines_start_and_stop_at_once(void **state)
{
	struct parallel machines[20] = {};
	pthread_t threads[20];
	uint64_t slowest = 0;

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		machines[i].spec = fixture_spec(100 + i, MACHINE_ROOTFS);
		machines[i].spec.rootfs = strdup("/");
		COMMAND(&machines[i].spec, app, "print", "ready", "sleep");
		assert_int_equal(pthread_create(&threads[i], NULL, start_thread, &machines[i]), 0);
	}
	for (int i = 0; i < 20; i++) {
		pthread_join(threads[i], NULL);
		fixture_ok(machines[i].result, &machines[i].err);
		if (machines[i].took_ms > slowest)
			slowest = machines[i].took_ms;
	}
	print_message("twenty at once: the slowest took %ju ms\n", (uintmax_t)slowest);
	for (int i = 0; i < 20; i++) {
		fixture_await_log(&machines[i].spec, "ready");
		stop(&machines[i].spec, &machines[i].run);
		assert_int_equal(machines[i].run.exit_code, 128 + SIGINT);
		fixture_destroy(&machines[i].spec);
	}
}

/* The program under test is the one of the same build. */
static void choose_init(void)
{
	char path[PATH_MAX] = "";
	char *cut = NULL;

	if (readlink("/proc/self/exe", path, sizeof(path) - 32) < 0 ||
		!(cut = strstr(path, "/tests/unit/")))
		fixture_skip("cannot tell where the build is");
	strcpy(cut, "/wherry-init");
	if (access(path, X_OK) < 0)
		fixture_skip("wherry-init is not built; make builds it");
	setenv("WHERRY_INIT", path, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_exit_code_is_the_programs),
		cmocka_unit_test(the_program_sees_its_names_host_and_environment_only),
		cmocka_unit_test(a_program_that_cannot_run_is_named_in_words),
		cmocka_unit_test(a_shell_that_passes_nothing_on_does_not_cut_short_its_child),
		cmocka_unit_test(a_program_that_ignores_the_signal_is_killed_after_the_timeout),
		cmocka_unit_test(the_signal_reaches_every_process),
		cmocka_unit_test(a_machine_outlives_the_process_that_started_it),
		cmocka_unit_test(a_killed_supervisor_takes_the_program_along),
		cmocka_unit_test(what_the_program_leaves_behind_ends_with_it),
		cmocka_unit_test(a_chatty_programs_log_is_bounded_and_keeps_the_end),
		cmocka_unit_test(last_words_without_a_newline_are_in_the_log),
		cmocka_unit_test(a_root_directory_gets_mount_points_and_files_of_its_own),
		cmocka_unit_test(twenty_machines_start_and_stop_at_once),
	};

	choose_init();
	fixture_begin("process");
	fixture_build_app(app);
	return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
