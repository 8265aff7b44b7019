/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/run.h"

/*
 * Whole runs without a daemon. Each is a process of its own with its standard streams in files of
 * a directory that is made for the test.
 */
struct fixture {
	char dir[32];
	char *out, *err;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){.dir = "/tmp/wherry-cli-XXXXXX"};
	*state = &fixture;
	unsetenv("WHERRY_APP");
	unsetenv("FLY_APP");
	setenv("WHERRY_SOCKET", "/nonexistent/wherryd.sock", 1);
	return mkdtemp(fixture.dir) && chdir(fixture.dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	free(fixture->out);
	free(fixture->err);
	return chdir("/") == 0 ? file_remove_all(fixture->dir, NULL) : -1;
}

static void redirect(const char *name, int fd)
{
	int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (file < 0 || dup2(file, fd) < 0)
		_exit(126);
}

static int run_words(struct fixture *fixture, const char *const words[], int count)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		redirect(".out", STDOUT_FILENO);
		redirect(".err", STDERR_FILENO);
		status = cli_run(count, (char **)words);
		fflush(stdout);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	free(fixture->out);
	free(fixture->err);
	assert_int_equal(file_read(".out", 1 << 20, &fixture->out, NULL, NULL), 0);
	assert_int_equal(file_read(".err", 1 << 20, &fixture->err, NULL, NULL), 0);
	return WEXITSTATUS(status);
}

#define RUN(fixture, ...)                                                                          \
	({                                                                                         \
		static const char *const words_[] = {"wherry", __VA_ARGS__, NULL};                 \
		run_words(fixture, words_, (int)ARRAY_LEN(words_) - 1);                            \
	})

static void write_file(const char *name, const char *text)
{
	assert_int_equal(file_replace(name, text, strlen(text), 0644, NULL), 0);
}

static void assert_one_sentence(const char *text)
{
	assert_int_equal(strncmp(text, "Error: ", 7), 0);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static const char udp_toml[] = "app = \"echo\"\n[[services]]\nprotocol = \"udp\"\n"
			       "internal_port = 5000\n[[services.ports]]\nport = 5000\n";

static void a_daemon_that_is_not_there_is_exit_6_and_one_sentence(void **state)
{
	(void)state;
	assert_int_equal(RUN(*state, "apps", "list"), CLI_UNREACHABLE);
	assert_one_sentence(((struct fixture *)*state)->err);
	assert_int_equal(RUN(*state, "status", "-a", "web"), CLI_UNREACHABLE);
	assert_int_equal(RUN(*state, "logs", "-f", "-a", "web"), CLI_UNREACHABLE);
	assert_int_equal(RUN(*state, "doctor"), CLI_UNREACHABLE);
	write_file("fly.toml", udp_toml);
	assert_int_equal(RUN(*state, "deploy", "--image", "x"), CLI_UNREACHABLE);
	assert_one_sentence(((struct fixture *)*state)->err);
}

static void with_json_an_error_is_a_line_of_json(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(RUN(fixture, "apps", "list", "-j"), CLI_UNREACHABLE);
	assert_int_equal(strncmp(fixture->err, "{\"error\":\"", 10), 0);
	assert_non_null(strstr(fixture->err, "\"code\":\"unreachable\"}\n"));
	assert_string_equal(fixture->out, "");
	assert_int_equal(RUN(fixture, "-j", "no-such-command"), CLI_USAGE);
	assert_int_equal(strncmp(fixture->err, "{\"error\":\"", 10), 0);
}

static void a_valid_file_needs_no_daemon(void **state)
{
	struct fixture *fixture = *state;

	write_file("fly.toml", udp_toml);
	assert_int_equal(RUN(fixture, "config", "validate"), CLI_OK);
	assert_string_equal(fixture->out, "Configuration is valid\n");
	assert_int_equal(RUN(fixture, "config", "validate", "-j"), CLI_OK);
	assert_non_null(strstr(fixture->out, "\"valid\": true"));
	assert_int_equal(RUN(fixture, "config", "show", "-c", "fly.toml"), CLI_OK);
	assert_non_null(strstr(fixture->out, "\"echo\""));
}

static void every_problem_of_a_file_is_shown_and_exit_is_5(void **state)
{
	struct fixture *fixture = *state;

	write_file("bad.toml", "app = \"echo\"\n[[services]]\nprotocol = \"udp\"\n"
			       "internal_port = 70000\n[[services.ports]]\nport = -1\n");
	assert_int_equal(RUN(fixture, "config", "validate", "-c", "bad.toml"), CLI_INVALID);
	assert_non_null(strstr(fixture->err, "bad.toml:4:"));
	assert_non_null(strstr(fixture->err, "bad.toml:6:"));
	assert_int_equal(RUN(fixture, "config", "validate", "-jc", "bad.toml"), CLI_INVALID);
	assert_non_null(strstr(fixture->out, "\"valid\": false"));
	assert_int_equal(RUN(fixture, "deploy", "-c", "bad.toml"), CLI_INVALID);
	assert_non_null(strstr(fixture->err, "bad.toml:4:"));
	assert_non_null(strstr(fixture->err, "bad.toml:6:"));
}

static void a_missing_file_is_exit_5_and_says_what_to_do(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(RUN(fixture, "config", "validate"), CLI_INVALID);
	assert_one_sentence(fixture->err);
	assert_non_null(strstr(fixture->err, "wherry launch"));
	assert_int_equal(RUN(fixture, "deploy"), CLI_INVALID);
	assert_int_equal(
		RUN(fixture, "config", "validate", "-c", "/nonexistent/a.toml"), CLI_INVALID);
	assert_one_sentence(fixture->err);
}

static void a_wrong_command_line_is_exit_2_with_a_line_of_usage(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(RUN(fixture, "machine", "stpo"), CLI_USAGE);
	assert_string_equal(fixture->err,
		"Error: there is no command \"machine stpo\"; did you mean "
		"\"machine stop\"?\nUsage: wherry machine COMMAND [flags]\n");
	assert_int_equal(RUN(fixture, "machine"), CLI_USAGE);
	assert_int_equal(RUN(fixture, "status"), CLI_USAGE);
	assert_int_equal(RUN(fixture, "scale", "count", "x", "-a", "web"), CLI_USAGE);
	assert_int_equal(RUN(fixture, "machine", "run", "-a", "web"), CLI_USAGE);
	assert_int_equal(RUN(fixture, "logs", "-n", "-5", "-a", "web"), CLI_USAGE);
}

static void launch_writes_a_valid_file_and_keeps_one_that_is_there(void **state)
{
	struct fixture *fixture = *state;
	_free_ char *first = NULL, *second = NULL;

	write_file("Dockerfile", "FROM scratch\nEXPOSE 5000/udp\n");
	/* It ends at the daemon, after the file. */
	assert_int_equal(RUN(fixture, "launch", "--name", "echo", "-y"), CLI_UNREACHABLE);
	assert_int_equal(RUN(fixture, "config", "validate", "--strict"), CLI_OK);
	assert_int_equal(file_read("fly.toml", 1 << 20, &first, NULL, NULL), 0);
	assert_non_null(strstr(first, "\"udp\""));
	assert_int_equal(RUN(fixture, "launch", "--name", "other", "-y"), CLI_UNREACHABLE);
	assert_int_equal(file_read("fly.toml", 1 << 20, &second, NULL, NULL), 0);
	assert_string_equal(first, second);
}

static void launch_of_an_empty_directory_says_what_is_missing(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(RUN(fixture, "launch", "-y"), CLI_INVALID);
	assert_one_sentence(fixture->err);
	assert_int_equal(access("fly.toml", F_OK), -1);
}

static void destroying_is_not_done_where_nobody_can_be_asked(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(RUN(fixture, "apps", "destroy", "web"), CLI_USAGE);
	assert_non_null(strstr(fixture->err, "-y"));
}

static void help_is_exit_0_on_standard_output(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(RUN(fixture, "machine", "run", "--help"), CLI_OK);
	assert_non_null(strstr(fixture->out, "Usage: wherry machine run"));
	assert_string_equal(fixture->err, "");
	assert_int_equal(RUN(fixture, "help", "ips", "release"), CLI_OK);
	assert_non_null(strstr(fixture->out, "Usage: wherry ips release"));
	assert_int_equal(RUN(fixture, "help", "nonsense"), CLI_USAGE);
}

static void nothing_is_coloured_without_a_terminal(void **state)
{
	struct fixture *fixture = *state;

	RUN(fixture, "apps", "list");
	assert_null(strchr(fixture->err, '\033'));
	RUN(fixture, "help");
	assert_null(strchr(fixture->out, '\033'));
}

#define RUN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(a_daemon_that_is_not_there_is_exit_6_and_one_sentence),
		RUN_TEST(with_json_an_error_is_a_line_of_json),
		RUN_TEST(a_valid_file_needs_no_daemon),
		RUN_TEST(every_problem_of_a_file_is_shown_and_exit_is_5),
		RUN_TEST(a_missing_file_is_exit_5_and_says_what_to_do),
		RUN_TEST(a_wrong_command_line_is_exit_2_with_a_line_of_usage),
		RUN_TEST(launch_writes_a_valid_file_and_keeps_one_that_is_there),
		RUN_TEST(launch_of_an_empty_directory_says_what_is_missing),
		RUN_TEST(destroying_is_not_done_where_nobody_can_be_asked),
		RUN_TEST(help_is_exit_0_on_standard_output),
		RUN_TEST(nothing_is_coloured_without_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
