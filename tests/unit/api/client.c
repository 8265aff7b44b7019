/* SPDX-License-Identifier: Apache-2.0 */
/* The client against servers that misbehave: each sends canned bytes and closes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "api/client.h"
#include "base/err.h"
#include "base/mem.h"

#define HEAD_STREAM                                                                                \
	"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: "             \
	"chunked\r\n\r\n"

struct canned {
	const char *parts[8]; /* NULL ends; "" is a pause of 1.3 seconds */
	bool is_bytewise;
};

static char dir[32], path[64];
static int listener = -1;
static pthread_t thread;
static char request[65536];

static void *answer(void *arg)
{
	const struct canned *canned = arg;
	_close_ int fd = accept(listener, NULL, NULL);
	size_t used = 0;
	ssize_t got;

	while (!strstr(request, "\r\n\r\n")) {
		got = recv(fd, request + used, sizeof(request) - used - 1, 0);
		if (got <= 0)
			return NULL;
		used += (size_t)got;
		request[used] = '\0';
	}
	for (size_t i = 0; canned->parts[i]; i++) {
		size_t len = strlen(canned->parts[i]);

		if (len == 0)
			usleep(1300000);
		for (size_t sent = 0; sent < len;) {
			size_t step = canned->is_bytewise ? 1 : len;

			if (send(fd, canned->parts[i] + sent, step, MSG_NOSIGNAL) < 0)
				return NULL;
			sent += step;
			if (canned->is_bytewise)
				usleep(300);
		}
	}
	return NULL;
}

static void serve(struct canned *canned)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	request[0] = '\0';
	unlink(path);
	strcpy(addr.sun_path, path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 5), 0);
	assert_int_equal(pthread_create(&thread, NULL, answer, canned), 0);
}

static void served(void)
{
	pthread_join(thread, NULL);
	close(listener);
	unlink(path);
}

static int count_lines(void *arg, json_t *line)
{
	(void)line;
	++*(int *)arg;
	return 0;
}

struct outcome {
	int r;
	int status;
	int lines;
	json_t *reply;
	struct err err;
};

static struct outcome call_once(const char *part)
{
	struct api_client client = {.socket_path = path, .answer_timeout_ms = 300};
	struct canned canned = {.parts = {part}};
	struct outcome o = {};

	serve(&canned);
	o.r = api_call(&client, "GET", "/v1/x", NULL, &o.status, &o.reply, &o.err);
	served();
	return o;
}

static struct outcome stream_once(struct canned canned)
{
	struct api_client client = {.socket_path = path, .answer_timeout_ms = 300};
	struct outcome o = {};

	serve(&canned);
	o.r = api_stream(
		&client, "GET", "/v1/x", NULL, count_lines, &o.lines, &o.status, &o.reply, &o.err);
	served();
	return o;
}

static struct outcome job_once(const char *part)
{
	struct api_client client = {.socket_path = path};
	struct canned canned = {.parts = {part}};
	struct outcome o = {};

	serve(&canned);
	o.r = api_job(&client, "POST", "/v1/x", NULL, NULL, NULL, &o.status, &o.reply, &o.err);
	served();
	return o;
}

static void paths_are_escaped(void **state)
{
	_free_ char *text = api_path("/v1/apps/%s/ips/%s?lines=%d", "a/../ü?&", "::1", -3);

	(void)state;
	assert_string_equal(text, "/v1/apps/a%2F..%2F%C3%BC%3F%26/ips/%3A%3A1?lines=-3");
}

static void a_daemon_that_is_not_there_is_said_so(void **state)
{
	struct api_client client = {.socket_path = path};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct err err = {};
	json_t *reply = NULL;
	int status, fd;

	(void)state;
	assert_int_equal(
		api_call(&client, "GET", "/v1/x", NULL, &status, &reply, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, path));
	assert_non_null(strstr(err.text, "systemctl start wherryd"));
	/* A socket that a dead daemon has left. */
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(
		api_call(&client, "GET", "/v1/x", NULL, &status, &reply, &err), -ECONNREFUSED);
	assert_null(reply);
	unlink(path);
}

static void a_socket_of_another_user_is_said_so(void **state)
{
	struct canned canned = {.parts = {NULL}};
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	serve(&canned);
	chmod(dir, 0755);
	chmod(path, 0600);
	pid = fork();
	if (pid == 0) {
		struct api_client client = {.socket_path = path};
		struct err err = {};
		json_t *reply;
		int r;

		if (setuid(65534) < 0)
			_exit(1);
		r = api_call(&client, "GET", "/v1/x", NULL, &status, &reply, &err);
		_exit(r == -EACCES && strstr(err.text, "root") ? 0 : 2);
	}
	waitpid(pid, &status, 0);
	shutdown(listener, SHUT_RDWR);
	served();
	assert_int_equal(status, 0);
}

static void a_path_that_is_too_long_is_said_so(void **state)
{
	struct api_client client = {};
	char long_path[200];
	struct err err = {};
	json_t *reply;
	int status;

	(void)state;
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	client.socket_path = long_path;
	assert_int_equal(
		api_call(&client, "GET", "/v1/x", NULL, &status, &reply, &err), -ENAMETOOLONG);
}

static void an_answer_that_breaks_off_is_noticed(void **state)
{
	static const char *const parts[] = {NULL, "HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		struct outcome o = call_once(parts[i]);

		assert_int_equal(o.r, -ECONNRESET);
		assert_non_null(strstr(o.err.text, "broke before the answer was complete"));
		assert_null(o.reply);
	}
}

static void what_does_not_speak_the_api_is_said_so(void **state)
{
	static const char *const parts[] = {"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		struct outcome o = call_once(parts[i]);

		assert_int_equal(o.r, -EPROTO);
		assert_true(o.err.text[0]);
		assert_null(o.reply);
	}
}

static void a_daemon_that_hangs_is_not_waited_for(void **state)
{
	struct outcome o = call_once("");

	(void)state;
	assert_int_equal(o.r, -ETIMEDOUT);
	assert_non_null(strstr(o.err.text, "did not answer GET /v1/x"));
}

static void a_stream_may_be_silent_for_longer_than_an_answer_may(void **state)
{
	struct outcome o = stream_once((struct canned){
		.parts = {HEAD_STREAM, "", "3\r\n{}\n\r\n", "", "3\r\n{}\n\r\n0\r\n\r\n"}});

	(void)state;
	assert_int_equal(o.r, 0);
	assert_int_equal(o.lines, 2);
	assert_int_equal(o.status, 200);
	assert_null(o.reply);
}

static void lines_may_arrive_in_any_pieces(void **state)
{
	struct outcome o = stream_once((struct canned){
		.parts = {HEAD_STREAM "8\r\n{\"a\": 1}\r\n1\r\n\n\r\n6\r\n{}\n\n{}\r\n1\r\n\n\r\n"
				      "0\r\n\r\n"},
		.is_bytewise = true});

	(void)state;
	assert_int_equal(o.r, 0);
	assert_int_equal(o.lines, 3);
}

static void a_stream_that_breaks_off_is_noticed(void **state)
{
	struct outcome o;

	(void)state;
	o = stream_once((struct canned){.parts = {HEAD_STREAM "3\r\n{}\n\r\n"}});
	assert_int_equal(o.r, -ECONNRESET);
	assert_int_equal(o.lines, 1);
	o = stream_once((struct canned){.parts = {HEAD_STREAM "4\r\n{}\n{\r\n0\r\n\r\n"}});
	assert_int_equal(o.r, -ECONNRESET);
	assert_int_equal(o.lines, 1);
	o = stream_once((struct canned){.parts = {HEAD_STREAM "2\r\n{\n\r\n0\r\n\r\n"}});
	assert_int_equal(o.r, -EPROTO);
	assert_int_equal(o.lines, 0);
}

static void a_job_without_an_end_broke_off(void **state)
{
	struct outcome o = job_once(HEAD_STREAM "15\r\n{\"event\":\"progress\"}\n\r\n0\r\n\r\n");

	(void)state;
	assert_int_equal(o.r, -ECONNRESET);
	assert_non_null(strstr(o.err.text, "may go on"));
}

static void a_job_that_ended_has_ended(void **state)
{
	/* The daemon went away right after its last line. */
	struct outcome o = job_once(HEAD_STREAM "1e\r\n{\"event\":\"done\",\"result\":[1]}\n\r\n");

	(void)state;
	assert_int_equal(o.r, 0);
	assert_int_equal(o.status, 200);
	assert_int_equal(json_array_size(o.reply), 1);
	json_decref(o.reply);
}

static void the_request_is_what_was_asked(void **state)
{
	struct api_client client = {.socket_path = path};
	struct canned canned = {.parts = {"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nnull"}};
	json_t *body = json_pack("{s:s}", "name", "web"), *reply = NULL;
	int status = 0;

	(void)state;
	serve(&canned);
	assert_int_equal(
		api_call(&client, "DELETE", "/v1/apps/../x", body, &status, &reply, NULL), 0);
	served();
	assert_int_equal(status, 201);
	assert_true(json_is_null(reply));
	assert_ptr_equal(strstr(request, "DELETE /v1/apps/../x HTTP/1.1\r\n"), request);
	assert_non_null(strstr(request, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(request, "{\"name\":\"web\"}"));
	json_decref(body);
	json_decref(reply);
}

static void a_reply_that_says_nothing_has_a_sentence(void **state)
{
	(void)state;
	assert_non_null(strstr(api_error_text(NULL), "journalctl"));
	assert_string_equal(api_error_code(NULL), "failed");
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/wherry-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_escaped),
		cmocka_unit_test(a_daemon_that_is_not_there_is_said_so),
		cmocka_unit_test(a_socket_of_another_user_is_said_so),
		cmocka_unit_test(a_path_that_is_too_long_is_said_so),
		cmocka_unit_test(an_answer_that_breaks_off_is_noticed),
		cmocka_unit_test(what_does_not_speak_the_api_is_said_so),
		cmocka_unit_test(a_daemon_that_hangs_is_not_waited_for),
		cmocka_unit_test(a_stream_may_be_silent_for_longer_than_an_answer_may),
		cmocka_unit_test(lines_may_arrive_in_any_pieces),
		cmocka_unit_test(a_stream_that_breaks_off_is_noticed),
		cmocka_unit_test(a_job_without_an_end_broke_off),
		cmocka_unit_test(a_job_that_ended_has_ended),
		cmocka_unit_test(the_request_is_what_was_asked),
		cmocka_unit_test(a_reply_that_says_nothing_has_a_sentence),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
