/* SPDX-License-Identifier: Apache-2.0 */
/* wherry checks list, against a daemon that gives one prepared answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/run.h"

static char dir[32];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/wherry-cli-XXXXXX");
	unsetenv("WHERRY_APP");
	unsetenv("FLY_APP");
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return chdir("/") == 0 ? file_remove_all(dir, NULL) : -1;
}

static void redirect(const char *name, int fd)
{
	int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (file < 0 || dup2(file, fd) < 0)
		_exit(126);
}

/* Answers one request with @json; returns the request line, which the caller frees. */
static char *answer_once(int server, const char *json)
{
	char request[4096] = "";
	size_t len = 0;
	int fd = accept(server, NULL, NULL);

	while (len < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
		ssize_t got = recv(fd, request + len, sizeof(request) - 1 - len, 0);

		if (got <= 0)
			break;
		len += (size_t)got;
	}
	dprintf(fd,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
		"%zu\r\nConnection: close\r\n\r\n%s",
		strlen(json), json);
	close(fd);
	request[strcspn(request, "\r")] = '\0';
	return strdup(request);
}

/* Runs the command; *request is what it asked, the value what it printed; both to be freed. */
static char *run(const char *json, char **request, const char *flag)
{
	const char *words[] = {"wherry", "checks", "list", "-a", "web", flag, NULL};
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
	int server = socket(AF_UNIX, SOCK_STREAM, 0), status;
	char *out = NULL;
	pid_t pid;

	alarm(30); /* a command that asks nothing would hang the test */
	assert_int_equal(bind(server, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(server, 1), 0);
	setenv("WHERRY_SOCKET", "sock", 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		redirect(".out", STDOUT_FILENO);
		status = cli_run(flag ? 6 : 5, (char **)words);
		fflush(stdout);
		_exit(status);
	}
	*request = answer_once(server, json);
	close(server);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), CLI_OK);
	assert_int_equal(file_read(".out", 1 << 20, &out, NULL, NULL), 0);
	return out;
}

static const char two[] =
	"[{\"machine\":\"3d8e00aa\",\"name\":\"udp-5000\",\"type\":\"udp\",\"status\":\"passing\","
	"\"output\":\"answered 4 bytes\",\"updated_at\":\"2001-01-01T00:00:00Z\",\"host\":\"w1\"},"
	"{\"machine\":\"5bb1c0de\",\"name\":\"http-8080-/up\",\"type\":\"http\",\"status\":"
	"\"critical\",\"output\":\"answered 503\",\"updated_at\":null}]";

static void each_check_of_each_machine_is_a_row_with_its_reason(void **state)
{
	char *request _free_ = NULL, *out _free_ = run(two, &request, NULL);

	(void)state;
	assert_string_equal(request, "GET /v1/apps/web/checks HTTP/1.1");
	assert_int_equal(strncmp(out, "NAME", 4), 0);
	assert_non_null(strstr(out, "udp-5000"));
	assert_non_null(strstr(out, "passing"));
	assert_non_null(strstr(out, "w1"));
	assert_non_null(strstr(out, "d ago"));
	assert_non_null(strstr(out, "answered 4 bytes\n"));
	assert_non_null(strstr(out, "critical"));
	assert_non_null(strstr(out, "5bb1c0de"));
	assert_non_null(strstr(out, "answered 503\n"));
}

static void json_is_what_the_daemon_said(void **state)
{
	char *request _free_ = NULL, *out _free_ = run(two, &request, "-j");

	(void)state;
	assert_non_null(strstr(out, "\"output\": \"answered 503\""));
	assert_non_null(strstr(out, "\"host\": \"w1\""));
}

static void an_app_without_checks_is_told_so(void **state)
{
	char *request _free_ = NULL, *out _free_ = run("[]", &request, NULL);

	(void)state;
	assert_string_equal(
		out, "No machine of web has checks; fly.toml(5) says how to write some\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			each_check_of_each_machine_is_a_row_with_its_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(json_is_what_the_daemon_said, setup, teardown),
		cmocka_unit_test_setup_teardown(an_app_without_checks_is_told_so, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
