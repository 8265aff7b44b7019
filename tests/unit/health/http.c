/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP checks against servers in a namespace, of which most misbehave; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../../lib/health.h"

#define GET TCP_SERVICE "http_checks = {path = \"/up\"}\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static bool read_request(struct server *server, int fd)
{
	size_t len = 0;

	memset(server->request, 0, sizeof(server->request));
	while (!strstr(server->request, "\r\n\r\n") && len < sizeof(server->request) - 1) {
		ssize_t got;

		if (!server_wait(server, fd, -1))
			return false;
		got = recv(fd, server->request + len, sizeof(server->request) - 1 - len, 0);
		if (got <= 0)
			return false;
		len += (size_t)got;
	}
	__atomic_fetch_add(&server->count, 1, __ATOMIC_RELAXED);
	return true;
}

/* Takes connections one by one, reads a request, sends the text and closes. */
static void *serve(void *arg)
{
	struct server *server = arg;

	while (server_wait(server, server->fd, -1)) {
		int fd = accept(server->fd, NULL, NULL);

		if (fd >= 0 && read_request(server, fd)) {
			if (!server->delay_ms || server_wait(server, -1, (int)server->delay_ms))
				send(fd, server->text, server->len, MSG_NOSIGNAL);
		}
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

/* Sends the text, and then its last 16 bytes without end. */
static void *serve_without_end(void *arg)
{
	struct server *server = arg;

	while (server_wait(server, server->fd, -1)) {
		int fd = accept(server->fd, NULL, NULL);

		if (fd >= 0 && read_request(server, fd)) {
			ssize_t sent = send(fd, server->text, server->len, MSG_NOSIGNAL);

			while (sent > 0 && server_wait(server, -1, 0))
				sent = send(fd, server->text + server->len - 16, 16, MSG_NOSIGNAL);
		}
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

/* Sends the text and keeps the connection, silent, until it is stopped or the client goes. */
static void *serve_and_hang(void *arg)
{
	struct server *server = arg;

	while (server_wait(server, server->fd, -1)) {
		int fd = accept(server->fd, NULL, NULL);

		if (fd >= 0 && read_request(server, fd)) {
			send(fd, server->text, server->len, MSG_NOSIGNAL);
			server_wait(server, fd, -1);
		}
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static void check_with(void *(*how)(void *arg), const char *config, const char *text,
	enum health_status status, const char *output, struct server *server)
{
	struct fixture f;

	server_start(server, machine_bound(SOCK_STREAM, "0.0.0.0", 8080), how, text);
	prepare(&f, config);
	start(&f);
	assert_string_equal(f.results[0].type, "http");
	expect_result(&f, status, output);
	finish(&f);
	server_stop(server);
}

static void check(const char *text, enum health_status status, const char *output)
{
	struct server server = {};

	check_with(serve, GET, text, status, output, &server);
}

static void a_status_of_2xx_passes_and_any_other_fails(void **state)
{
	static const struct {
		const char *line;
		enum health_status status;
		const char *output;
	} rows[] = {
		{"200 OK", HEALTH_PASSING, "answered 200"},
		{"201 Created", HEALTH_PASSING, "answered 201"},
		{"299 Odd", HEALTH_PASSING, "answered 299"},
		{"300 Choices", HEALTH_CRITICAL, "answered 300"},
		{"404 Not Found", HEALTH_CRITICAL, "answered 404"},
		{"500 Broken", HEALTH_CRITICAL, "answered 500"},
		{"503", HEALTH_CRITICAL, "answered 503"},
		{"999 Odd", HEALTH_CRITICAL, "answered 999"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[128];

		snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n",
			rows[i].line);
		check(text, rows[i].status, rows[i].output);
	}
	check("HTTP/1.0 204 No Content\r\n\r\n", HEALTH_PASSING, "answered 204");
	check("HTTP/1.1 100 Continue\r\n\r\n" OK, HEALTH_PASSING, "answered 200");
	check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		HEALTH_PASSING, "answered 200");
}

static void a_redirect_is_not_followed(void **state)
{
	struct server server = {};

	(void)state;
	check_with(serve, GET,
		"HTTP/1.1 302 Found\r\nLocation: http://" PRIMARY
		":8080/there\r\nContent-Length: 0\r\n\r\n",
		HEALTH_CRITICAL, "answered 302", &server);
	assert_non_null(strstr(server.request, "GET /up HTTP/1.1\r\n"));
}

static void the_request_is_as_the_config_says(void **state)
{
	struct server server = {};

	(void)state;
	check_with(serve,
		TCP_SERVICE "http_checks = {method = \"post\", path = \"/a/../b?c=%20#d\", "
			    "headers = {Host = \"app.example\", X-Empty = \"\", X-A = 1}}\n",
		OK, HEALTH_PASSING, "answered 200", &server);
	assert_ptr_equal(
		strstr(server.request, "POST /a/../b?c=%20#d HTTP/1.1\r\n"), server.request);
	assert_non_null(strstr(server.request, "Host: app.example\r\n"));
	assert_non_null(strstr(server.request, "X-Empty:\r\n"));
	assert_non_null(strstr(server.request, "X-A: 1\r\n"));
	assert_null(strstr(server.request, PRIMARY));

	server = (struct server){};
	check_with(serve, GET, OK, HEALTH_PASSING, "answered 200", &server);
	assert_non_null(strstr(server.request, "Host: " PRIMARY ":8080\r\n"));
	assert_non_null(strstr(server.request, "User-Agent: wherry/" WHERRY_VERSION "\r\n"));

	server = (struct server){};
	check_with(serve, TCP_SERVICE "http_checks = {method = \"head\"}\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", HEALTH_PASSING, "answered 200",
		&server);
	assert_ptr_equal(strstr(server.request, "HEAD / HTTP/1.1\r\n"), server.request);
}

static void the_proxy_of_the_environment_is_not_asked(void **state)
{
	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	check(OK, HEALTH_PASSING, "answered 200");
	unsetenv("http_proxy");
}

/* The reasons are libcurl's, so only their form is held. */
static void garbage_fails_with_a_printable_reason(void **state)
{
	static const char *const texts[] = {
		"\x1b[2J\xff\xfe garbage\r\n\r\n",
		"HTTP/1.1 abc\r\n\r\n",
		"HTTP/7 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: \x1b[2J\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\x1b\r\n",
		"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct server server = {};
		struct fixture f;

		server_start(&server, machine_bound(SOCK_STREAM, "0.0.0.0", 8080), serve, texts[i]);
		prepare(&f, GET);
		start(&f);
		run_until(&f, HEALTH_CRITICAL);
		assert_true(*f.results[0].output);
		for (const char *c = f.results[0].output; *c; c++)
			assert_true(*c >= ' ' && *c <= '~');
		assert_null(strstr(f.results[0].output, "within"));
		finish(&f);
		server_stop(&server);
	}
}

static void a_slow_answer_fails_at_the_timeout(void **state)
{
	struct server server = {.delay_ms = 450};

	(void)state;
	check_with(serve, GET, OK, HEALTH_CRITICAL, "no answer within 300ms", &server);
}

static void a_server_that_never_answers_fails_at_the_timeout(void **state)
{
	struct server server = {};
	struct fixture f;
	int fd;

	(void)state;
	check_with(serve_and_hang, GET, "", HEALTH_CRITICAL, "no answer within 300ms", &server);
	/* Nor takes the connection out of the kernel's hands. */
	fd = machine_bound(SOCK_STREAM, "0.0.0.0", 8080);
	prepare(&f, GET);
	start(&f);
	expect_result(&f, HEALTH_CRITICAL, "no answer within 300ms");
	finish(&f);
	close(fd);
}

static void an_answer_that_does_not_end_fails_at_the_timeout(void **state)
{
	struct server server = {};

	(void)state;
	check_with(serve_and_hang, GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
		HEALTH_CRITICAL, "the answer did not end within 300ms", &server);
}

static void of_a_body_without_end_only_the_status_counts(void **state)
{
	struct server server = {};

	(void)state;
	check_with(serve_without_end, GET, "HTTP/1.1 200 OK\r\n\r\n0123456789abcdef",
		HEALTH_PASSING, "answered 200", &server);
	server = (struct server){};
	check_with(serve_without_end, GET, "HTTP/1.1 500 No\r\n\r\n0123456789abcdef",
		HEALTH_CRITICAL, "answered 500", &server);
}

static void a_header_without_end_fails(void **state)
{
	struct server server = {};

	(void)state;
	check_with(serve_without_end, GET,
		"HTTP/1.1 200 OK\r\nX: 0123456789ab\r\nX: 01234567890\r\n", HEALTH_CRITICAL,
		"answered with a header of more than 64 KiB", &server);
	server = (struct server){};
	check_with(serve_without_end, GET, "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100\r\n\r\n",
		HEALTH_CRITICAL, "answered with a header of more than 64 KiB", &server);
}

static void a_closed_port_fails_at_once(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, GET);
	each_check(f.config, 50, 60000, 0);
	start(&f);
	assert_string_equal(f.results[0].name, "http-8080-/up");
	expect_result(&f, HEALTH_CRITICAL, "connect: Connection refused");
	finish(&f);
}

/* A TLS server with a certificate that nobody trusts. Returns its process. */
static pid_t start_tls(char dir[static 32])
{
	char *const argv[] = {(char *)"ip", (char *)"netns", (char *)"exec", netns_name,
		(char *)"openssl", (char *)"s_server", (char *)"-quiet", (char *)"-www",
		(char *)"-accept", (char *)PRIMARY ":8443", (char *)"-cert", (char *)"cert.pem",
		(char *)"-key", (char *)"key.pem", NULL};
	char command[512];
	pid_t pid = -1;

	strcpy(dir, "/tmp/wherry-health-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof(command),
		"cd %s && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=app.example -addext "
		"subjectAltName=DNS:app.example -days 2 -keyout key.pem -out cert.pem 2>/dev/null",
		dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(posix_spawnp(&pid, "ip", NULL, NULL, argv, environ), 0);
	return pid;
}

static void https_is_verified_unless_the_config_says_otherwise(void **state)
{
	static const char *const configs[] = {
		"[[services.http_checks]]\nprotocol = \"https\"\ntls_skip_verify = true\n",
		"[[services.http_checks]]\nprotocol = \"https\"\ntls_server_name = "
		"\"app.example\"\n",
	};
	char dir[32], text[512], cwd[512];
	struct fixture f;
	pid_t pid;

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	pid = start_tls(dir);
	for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
		snprintf(text, sizeof(text),
			"[[services]]\nprotocol = \"tcp\"\ninternal_port = 8443\nports = [{port = "
			"443}]\n%s",
			configs[i]);
		prepare(&f, text);
		each_check(f.config, 100, 3000, i == 0 ? 5000 : 0);
		start(&f);
		run_until(&f, i == 0 ? HEALTH_PASSING : HEALTH_CRITICAL);
		if (i == 0)
			assert_string_equal(f.results[0].output, "answered 200");
		else
			assert_non_null(strstr(f.results[0].output, "SSL certificate problem"));
		finish(&f);
	}
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	assert_int_equal(chdir(cwd), 0);
	snprintf(text, sizeof(text), "rm -r %s", dir);
	assert_int_equal(system(text), 0);
}

static void stopping_in_the_middle_of_a_request_leaves_nothing(void **state)
{
	struct server server = {};
	struct fixture f;

	(void)state;
	server_start(&server, machine_bound(SOCK_STREAM, "0.0.0.0", 8080), serve_and_hang,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok");
	prepare(&f, GET);
	each_check(f.config, 50, 60000, 0);
	start(&f);
	while (server_count(&server) == 0)
		run_for(&f, 5);
	finish(&f);
	server_stop(&server);
}

static void stopping_when_told_of_an_answer_leaves_nothing(void **state)
{
	struct server server = {};
	struct fixture f;

	(void)state;
	server_start(&server, machine_bound(SOCK_STREAM, "0.0.0.0", 8080), serve, OK);
	prepare(&f, GET);
	f.stops_when_told = true;
	start(&f);
	while (f.health)
		run_for(&f, 5);
	assert_int_equal(f.tell_count, 1);
	finish(&f);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_of_2xx_passes_and_any_other_fails),
		cmocka_unit_test(a_redirect_is_not_followed),
		cmocka_unit_test(the_request_is_as_the_config_says),
		cmocka_unit_test(the_proxy_of_the_environment_is_not_asked),
		cmocka_unit_test(garbage_fails_with_a_printable_reason),
		cmocka_unit_test(a_slow_answer_fails_at_the_timeout),
		cmocka_unit_test(a_server_that_never_answers_fails_at_the_timeout),
		cmocka_unit_test(an_answer_that_does_not_end_fails_at_the_timeout),
		cmocka_unit_test(of_a_body_without_end_only_the_status_counts),
		cmocka_unit_test(a_header_without_end_fails),
		cmocka_unit_test(a_closed_port_fails_at_once),
		cmocka_unit_test(https_is_verified_unless_the_config_says_otherwise),
		cmocka_unit_test(stopping_in_the_middle_of_a_request_leaves_nothing),
		cmocka_unit_test(stopping_when_told_of_an_answer_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
