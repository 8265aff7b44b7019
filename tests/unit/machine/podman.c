/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images under the host's real podman. Needs root and podman; makes (and removes) an image FROM
 * scratch with the test program in it, so no registry is asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../lib/machine.h"
#include "machine/argv.h"
#include "machine/podman_host.h"

static char image[64];

static int podman(const char *const words[], char **output, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};

	podman_host_command(&argv);
	for (; *words; words++)
		argv_add(&argv, *words);
	return run_checked(argv_items(&argv), NULL, 60000, output, err);
}

#define PODMAN(output, err, ...) podman((const char *const[]){__VA_ARGS__, NULL}, output, err)

static void build_image(void)
{
	static const char dockerfile[] = "FROM scratch\n"
					 "COPY app /app\n"
					 "COPY --chmod=755 text /text\n"
					 "COPY --chmod=644 text /plain\n"
					 "ENV FROM_IMAGE=yes FLY_REGION=image\n"
					 "CMD [\"/app\", \"print\", \"ready\", \"handle\", \"2\", "
					 "\"sleep\"]\n";
	char app[PATH_MAX], path[PATH_MAX];
	struct err err;

	fixture_build_app(app);
	snprintf(path, sizeof(path), "%s/Dockerfile", fixture_dir);
	file_replace(path, dockerfile, strlen(dockerfile), 0644, NULL);
	snprintf(path, sizeof(path), "%s/text", fixture_dir);
	file_replace(path, "no program\n", 11, 0644, NULL);
	snprintf(image, sizeof(image), "localhost/wherry-test-%d:latest", (int)getpid());
	if (PODMAN(NULL, &err, "build", "--isolation=chroot", "--quiet", "--tag", image,
		    fixture_dir) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(fixture_end(err.text[0] == 'p' && strstr(err.text, "not installed") ? 77 : 1));
	}
}

static struct machine_spec make_machine(unsigned int index)
{
	struct machine_spec spec = fixture_spec(index, MACHINE_IMAGE);
	struct machine_net net;
	struct err err = {};

	spec.app = strdup("test");
	spec.image = strdup(image);
	fixture_ok(machine_net_setup(&spec, &net, &err), &err);
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

static void an_image_starts_stops_and_starts_again(void **state)
{
	struct machine_spec spec = make_machine(1);
	struct machine_run run;
	struct err err = {};
	uint64_t begin;

	(void)state;
	fixture_ok(machine_inspect(&spec, &run, &err), &err);
	assert_int_equal(run.state, MACHINE_RUN_ABSENT);
	begin = clock_now_ms();
	start(&spec, &run);
	print_message("start: %ju ms\n", (uintmax_t)(clock_now_ms() - begin));
	assert_int_equal(run.state, MACHINE_RUN_RUNNING);
	assert_true(proc_is_alive(run.pid, 0));
	fixture_await_log(&spec, "ready");
	begin = clock_now_ms();
	fixture_ok(machine_inspect(&spec, &run, &err), &err);
	print_message("inspect of a running one: %ju ms\n", (uintmax_t)(clock_now_ms() - begin));
	begin = clock_now_ms();
	stop(&spec, &run);
	print_message("stop (300 ms of them the program's): %ju ms\n",
		(uintmax_t)(clock_now_ms() - begin));
	assert_int_equal(run.exit_code, 0);
	fixture_expect_log(&spec, "bye\nstdout: done\n");
	begin = clock_now_ms();
	start(&spec, &run);
	print_message("start again: %ju ms\n", (uintmax_t)(clock_now_ms() - begin));
	assert_int_equal(run.state, MACHINE_RUN_RUNNING);
	fixture_await_log(&spec, "done\nstdout: ready\n");
	fixture_destroy(&spec);
}

static void exit_codes_and_signals_are_told(void **state)
{
	struct machine_spec spec = make_machine(2);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, "/app", "exit", "7");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 7);
	assert_false(run.oom_killed);
	fixture_destroy(&spec);
	spec = make_machine(2);
	COMMAND(&spec, "/app", "raise", "11");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 128 + SIGSEGV);
	fixture_destroy(&spec);
}

static void the_program_sees_its_names_host_environment_and_mtu(void **state)
{
	struct machine_spec spec = make_machine(3);
	struct machine_run run;
	char text[128];

	(void)state;
	spec.env = calloc(2, sizeof(*spec.env));
	spec.env[0] = (struct env_var){strdup("FLY_REGION"), strdup("local")};
	spec.env[1] = (struct env_var){strdup("TEXT"), strdup("two\nlines, \"quoted\"=$HOME")};
	spec.env_count = 2;
	COMMAND(&spec, "/app", "cat", "/etc/hosts", "cat", "/etc/resolv.conf", "host", "env", "mtu",
		"cat", "/proc/sys/net/ipv4/ping_group_range");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	fixture_expect_log(&spec, "stdout: 172.29.0.27\tfly-global-services\n");
	snprintf(text, sizeof(text), "stdout: 172.29.0.26\t%s\n", spec.id);
	fixture_expect_log(&spec, text);
	fixture_expect_log(&spec, "stdout: nameserver 172.29.0.25\n");
	snprintf(text, sizeof(text), "stdout: host %s\nstdout: cwd /\n", spec.id);
	fixture_expect_log(&spec, text);
	fixture_expect_log(&spec, "stdout: env FLY_REGION=local\n");
	fixture_expect_log(&spec, "stdout: env FROM_IMAGE=yes\n");
	fixture_expect_log(&spec, "stdout: env TEXT=two\nstdout: lines, \"quoted\"=$HOME\n");
	fixture_expect_log(&spec, "stdout: mtu 1500\nstdout: 0\t2147483647\n");
	fixture_destroy(&spec);
}

static void what_cannot_start_is_explained(void **state)
{
	static const struct {
		const char *image, *program, *words;
		int code;
	} cases[] = {
		{"localhost/wherry-nothing", NULL, "is not on this host", -ENOENT},
		{NULL, "/nope", "has no program /nope", -ENOENT},
		{NULL, "/plain", "/plain of the image", -EACCES},
		/* catatonit gives what the kernel refuses to /bin/sh, which is not there. */
		{NULL, "/text", "lacks the interpreter", -ENOENT},
		{"--help", NULL, "is not the name of an image", -EINVAL},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		struct machine_spec spec = make_machine(4 + i);
		struct machine_run run;
		struct err err = {};
		int r;

		if (cases[i].image) {
			free(spec.image);
			spec.image = strdup(cases[i].image);
		}
		if (cases[i].program)
			COMMAND(&spec, cases[i].program);
		r = machine_start(&spec, &run, &err);
		if (r != cases[i].code || !strstr(err.text, cases[i].words))
			fail_msg("case %u: %d: %s", i, r, err.text);
		fixture_destroy(&spec);
	}
}

static void a_shell_that_passes_nothing_on_does_not_cut_short_its_child(void **state)
{
	struct machine_spec spec = make_machine(10);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, "/app", "fork", "fork", "handle", "2", "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	stop(&spec, &run);
	assert_int_equal(run.exit_code, 5);
	fixture_expect_log(
		&spec, "ready\nstdout: bye\nstdout: done\nstdout: parent\nstdout: parent\n");
	fixture_destroy(&spec);
}

static void a_program_that_ignores_the_signal_is_killed_after_the_timeout(void **state)
{
	struct machine_spec spec = make_machine(11);
	struct machine_run run;
	uint64_t begin, took;

	(void)state;
	spec.kill_timeout_s = 1;
	COMMAND(&spec, "/app", "spawn", "ignore", "2", "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	begin = clock_now_ms();
	stop(&spec, &run);
	took = clock_now_ms() - begin;
	assert_in_range(took, 950, 4000);
	assert_int_equal(run.exit_code, 128 + SIGKILL);
	fixture_destroy(&spec);
}

static void the_signal_reaches_every_process_but_the_init(void **state)
{
	struct machine_spec spec = make_machine(12);
	struct machine_run run;

	(void)state;
	COMMAND(&spec, "/app", "spawn", "spawn", "handle", "10", "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	assert_int_equal(machine_signal_all(run.pid, SIGUSR1), 3);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 0);
	fixture_destroy(&spec);
}

static void a_container_outlives_the_process_that_started_it(void **state)
{
	struct machine_spec spec = make_machine(13);
	struct machine_run run;
	struct err err = {};
	int status;
	pid_t pid = fork();

	(void)state;
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

static void a_container_without_its_conmon_is_still_found_and_stopped(void **state)
{
	struct machine_spec spec = make_machine(14);
	struct machine_run run;
	struct err err = {};

	(void)state;
	COMMAND(&spec, "/app", "print", "ready", "sleep");
	start(&spec, &run);
	fixture_await_log(&spec, "ready");
	assert_int_equal(kill(run.watch_pid, SIGKILL), 0);
	fixture_sleep_ms(100);
	fixture_ok(machine_inspect(&spec, &run, &err), &err);
	assert_int_equal(run.state, MACHINE_RUN_RUNNING);
	assert_int_equal(run.watch_pid, run.pid);
	fixture_ok(machine_stop(&spec, &run, &err), &err);
	assert_int_equal(run.state, MACHINE_RUN_EXITED);
	start(&spec, &run);
	assert_int_equal(run.state, MACHINE_RUN_RUNNING);
	fixture_destroy(&spec);
}

static void a_container_that_podman_lost_is_absent(void **state)
{
	struct machine_spec spec = make_machine(15);
	struct machine_run run;
	struct err err = {};
	char name[64];

	(void)state;
	start(&spec, &run);
	snprintf(name, sizeof(name), "wherry-%s", spec.id);
	fixture_ok(PODMAN(NULL, &err, "rm", "--force", "--time=0", name), &err);
	fixture_ok(machine_inspect(&spec, &run, &err), &err);
	assert_int_equal(run.state, MACHINE_RUN_ABSENT);
	start(&spec, &run);
	assert_int_equal(run.state, MACHINE_RUN_RUNNING);
	fixture_ok(machine_remove(&spec, &err), &err);
	fixture_ok(machine_remove(&spec, &err), &err);
	fixture_ok(machine_inspect(&spec, &run, &err), &err);
	assert_int_equal(run.state, MACHINE_RUN_ABSENT);
	fixture_destroy(&spec);
}

static void a_chatty_programs_log_is_bounded_and_keeps_the_end(void **state)
{
	struct machine_spec spec = make_machine(16);
	_free_ char *path = logs_path(spec.state_dir);
	struct logs_cursor cursor;
	_cleanup_(buf_clear) struct buf tail = {};
	struct machine_run run;
	struct stat st;

	(void)state;
	COMMAND(&spec, "/app", "fill", "25", "print", "the end");
	start(&spec, &run);
	fixture_await_exit(&spec, &run);
	assert_int_equal(run.exit_code, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, LOGS_MAX_BYTES + 65536);
	assert_int_equal(logs_seek_tail(spec.state_dir, 2, &cursor), 0);
	assert_int_equal(logs_read(spec.state_dir, &cursor, fixture_add_line, &tail), 0);
	assert_non_null(strstr(tail.data, "xxx\nstdout: the end\n"));
	fixture_destroy(&spec);
}

static void an_image_is_found_with_its_digest_or_not(void **state)
{
	_free_ char *digest = NULL;
	struct err err = {};

	(void)state;
	fixture_ok(machine_image_exists(image, &digest, &err), &err);
	assert_int_equal(strncmp(digest, "sha256:", 7), 0);
	assert_int_equal(strlen(digest), 7 + 64);
	assert_int_equal(machine_image_exists("localhost/wherry-nothing", NULL, &err), 1);
	assert_int_equal(machine_image_exists("--help", NULL, &err) < 0, 1);
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

static void *stop_thread(void *arg)
{
	struct parallel *p = arg;

	p->result = machine_stop(&p->spec, &p->run, &p->err);
	return NULL;
}

static void for_all(struct parallel *machines, int count, void *(*fn)(void *arg))
{
	pthread_t threads[32];

	for (int i = 0; i < count; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fn, &machines[i]), 0);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < count; i++)
		fixture_ok(machines[i].result, &machines[i].err);
}

static void twenty_machines_start_and_stop_at_once(void **state)
{
	struct parallel machines[20] = {};
	uint64_t slowest = 0;

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		machines[i].spec = fixture_spec(100 + i, MACHINE_IMAGE);
		machines[i].spec.image = strdup(image);
	}
	for_all(machines, 20, start_thread);
	for (int i = 0; i < 20; i++) {
		fixture_await_log(&machines[i].spec, "ready");
		if (machines[i].took_ms > slowest)
			slowest = machines[i].took_ms;
	}
	print_message("twenty at once: the slowest took %ju ms\n", (uintmax_t)slowest);
	for_all(machines, 20, stop_thread);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(machines[i].run.exit_code, 0);
		fixture_destroy(&machines[i].spec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_image_starts_stops_and_starts_again),
		cmocka_unit_test(exit_codes_and_signals_are_told),
		cmocka_unit_test(the_program_sees_its_names_host_environment_and_mtu),
		cmocka_unit_test(what_cannot_start_is_explained),
		cmocka_unit_test(a_shell_that_passes_nothing_on_does_not_cut_short_its_child),
		cmocka_unit_test(a_program_that_ignores_the_signal_is_killed_after_the_timeout),
		cmocka_unit_test(the_signal_reaches_every_process_but_the_init),
		cmocka_unit_test(a_container_outlives_the_process_that_started_it),
		cmocka_unit_test(a_container_without_its_conmon_is_still_found_and_stopped),
		cmocka_unit_test(a_container_that_podman_lost_is_absent),
		cmocka_unit_test(a_chatty_programs_log_is_bounded_and_keeps_the_end),
		cmocka_unit_test(an_image_is_found_with_its_digest_or_not),
		cmocka_unit_test(twenty_machines_start_and_stop_at_once),
	};
	char prefix[16], filter[32];
	int failed;

	fixture_begin("podman");
	build_image();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(filter, sizeof(filter), "name=wherry-%s", fixture_prefix(prefix));
	PODMAN(NULL, NULL, "rm", "--force", "--time=0", "--filter", filter);
	PODMAN(NULL, NULL, "image", "rm", "--force", image);
	return fixture_end(failed);
}
