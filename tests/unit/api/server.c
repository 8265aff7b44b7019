/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/client.h"
#include "base/mem.h"
#include "serving.h"

static struct serving serving;

static void echo(struct api_request *req, void *arg)
{
	const char *lines = api_request_query(req, "lines");

	assert_ptr_equal(arg, &serving);
	api_reply_json(req, 200,
		json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "method", api_request_method(req), "app",
			api_request_param(req, "app"), "address", api_request_param(req, "address"),
			"lines", lines, "other", api_request_param(req, "addr")));
}

static void body(struct api_request *req, void *arg)
{
	(void)arg;
	api_reply_json(req, 201, json_pack("{s:O?}", "body", api_request_body(req)));
}

static void refuse(struct api_request *req, void *arg)
{
	(void)arg;
	api_reply_error(req, 422, "invalid_config", "caf\xe9.toml is wrong",
		json_pack("{s:[{s:i}]}", "diagnostics", "line", 12));
}

static void forget(struct api_request *req, void *arg)
{
	(void)req, (void)arg;
}

static void answer_later(uv_timer_t *timer)
{
	api_reply_json(timer->data, 200, json_pack("{s:b}", "later", 1));
	uv_close((uv_handle_t *)timer, (uv_close_cb)free);
}

static void later(struct api_request *req, void *arg)
{
	const char *ms = api_request_query(req, "ms");
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	(void)arg;
	uv_timer_init(&serving.loop, timer);
	timer->data = req;
	uv_timer_start(timer, answer_later, ms ? (uint64_t)atoi(ms) : 0, 0);
	api_request_defer(req);
}

static void defer_and_answer(struct api_request *req, void *arg)
{
	(void)arg;
	api_request_defer(req);
	api_reply_json(req, 200, json_object());
}

static void large(struct api_request *req, void *arg)
{
	json_t *list = json_array();

	(void)arg;
	for (int i = 0; i < 100000; i++)
		json_array_append_new(list, json_integer(i));
	api_reply_json(req, 200, list);
}

static const struct api_route routes[] = {
	{"GET", "/v1/apps/:app/ips/:address", echo},
	{"DELETE", "/v1/apps/:app/ips/:address", echo},
	{"POST", "/v1/body", body},
	{"GET", "/v1/refuse", refuse},
	{"GET", "/v1/forget", forget},
	{"GET", "/v1/later", later},
	{"GET", "/v1/defer-and-answer", defer_and_answer},
	{"GET", "/v1/large", large},
	{},
};

static int call(const char *method, const char *path, json_t *in, json_t **reply)
{
	struct api_client client = {.socket_path = serving.path};
	struct err err = {};
	int status = 0;

	if (api_call(&client, method, path, in, &status, reply, &err) < 0)
		fail_msg("%s", err.text);
	return status;
}

static const char *text_of(json_t *reply, const char *name)
{
	const char *text = json_string_value(json_object_get(reply, name));

	return text ? text : "(none)";
}

static void parameters_arrive_decoded(void **state)
{
	_free_ char *path = api_path("/v1/apps/%s/ips/%s?lines=%d", "a/b c", "2001:db8::1", 7);
	json_t *reply;

	(void)state;
	assert_int_equal(call("DELETE", path, NULL, &reply), 200);
	assert_string_equal(text_of(reply, "method"), "DELETE");
	assert_string_equal(text_of(reply, "app"), "a/b c");
	assert_string_equal(text_of(reply, "address"), "2001:db8::1");
	assert_string_equal(text_of(reply, "lines"), "7");
	assert_true(json_is_null(json_object_get(reply, "other")));
	json_decref(reply);
}

static void an_unknown_path_is_404_in_the_documented_form(void **state)
{
	static const char *const paths[] = {"/", "/v1", "/v1/apps/web", "/v1/apps//ips/x",
		"/v1/apps/web/ips/x/", "/v1/apps/web/ips/x/y", "/v1/a/b/c/d/e/f/g/h"};
	json_t *reply;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		assert_int_equal(call("GET", paths[i], NULL, &reply), 404);
		assert_string_equal(api_error_code(reply), "not_found");
		assert_non_null(strstr(api_error_text(reply), paths[i]));
		json_decref(reply);
	}
}

static void roundtrip_raw(const char *request, size_t len, char *answer, size_t size)
{
	/* The server waits longer than this for the rest of a request that will not come. */
	struct timeval limit = {.tv_usec = 300000};
	_close_ int fd = connect_raw(serving.path);
	size_t used = 0;
	ssize_t got;

	assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), len);
	shutdown(fd, SHUT_WR);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (used + 1 < size && (got = recv(fd, answer + used, size - used - 1, 0)) > 0)
		used += (size_t)got;
	answer[used] = '\0';
}

static void a_wrong_method_is_405_with_allow(void **state)
{
	static const char request[] = "PUT /v1/apps/web/ips/x HTTP/1.1\r\nHost: wherry\r\n"
				      "Content-Length: 0\r\nConnection: close\r\n\r\n";
	char answer[4096];

	(void)state;
	roundtrip_raw(request, sizeof(request) - 1, answer, sizeof(answer));
	assert_non_null(strstr(answer, "HTTP/1.1 405"));
	assert_non_null(strstr(answer, "Allow: GET, DELETE\r\n"));
	assert_non_null(strstr(answer, "\"code\":\"invalid_request\""));
}

static void a_body_comes_as_json(void **state)
{
	json_t *in = json_pack("{s:s}", "name", "web"), *reply;

	(void)state;
	assert_int_equal(call("POST", "/v1/body", in, &reply), 201);
	assert_true(json_equal(json_object_get(reply, "body"), in));
	json_decref(reply);
	json_decref(in);
	assert_int_equal(call("POST", "/v1/body", NULL, &reply), 201);
	assert_true(json_is_null(json_object_get(reply, "body")));
	json_decref(reply);
}

static void a_bad_body_is_400_with_its_place(void **state)
{
	static const struct {
		const char *body;
		const char *says;
	} cases[] = {
		{"{\"name\": \n  web}", "line 2, column 5"},
		{"[1]", "not an object"},
		{"{\"a\": 1, \"a\": 2}", "duplicate"},
		{"{\"a\": \"\\u0000\"}", "not JSON"},
		{"\xff\xfe", "not JSON"},
		{"{} {}", "not JSON"},
	};
	char request[512], answer[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int len = snprintf(request, sizeof(request),
			"POST /v1/body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
			"%zu\r\n\r\n%s",
			strlen(cases[i].body), cases[i].body);

		roundtrip_raw(request, (size_t)len, answer, sizeof(answer));
		assert_non_null(strstr(answer, "HTTP/1.1 400"));
		assert_non_null(strstr(answer, cases[i].says));
		assert_non_null(strstr(answer, "\"code\":\"invalid_request\""));
	}
}

static void a_bad_path_is_400(void **state)
{
	static const char *const paths[] = {"/v1/%zz", "/v1/%", "/v1/%4", "/v1/a%00b", "/v1/%ff",
		"/1/2/3/4/5/6/7/8/9/10/11/12/13", "/v1/body?a=%"};
	json_t *reply;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		assert_int_equal(call("GET", paths[i], NULL, &reply), 400);
		assert_string_equal(api_error_code(reply), "invalid_request");
		json_decref(reply);
	}
}

static json_t *body_of(size_t len)
{
	char *text = malloc(len + 1);
	json_t *json;

	memset(text, 'x', len);
	text[len] = '\0';
	json = json_pack("{s:s}", "a", text);
	free(text);
	return json;
}

static void bodies_end_at_four_mebibytes(void **state)
{
	size_t overhead = strlen("{\"a\":\"\"}");
	json_t *fits = body_of(API_BODY_MAX_BYTES - overhead);
	json_t *too_long = body_of(API_BODY_MAX_BYTES - overhead + 1);
	json_t *reply;

	(void)state;
	assert_int_equal(call("POST", "/v1/body", fits, &reply), 201);
	json_decref(reply);
	assert_int_equal(call("POST", "/v1/body", too_long, &reply), 413);
	assert_non_null(strstr(api_error_text(reply), "4 MiB"));
	json_decref(reply);
	json_decref(fits);
	json_decref(too_long);
}

static void an_endless_body_ends_the_connection(void **state)
{
	static const char head[] = "POST /v1/body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
				   "chunked\r\n\r\n";
	_close_ int fd = connect_raw(serving.path);
	_free_ char *chunk = malloc((1 << 20) + 16);
	size_t len, sent = 0;

	(void)state;
	len = (size_t)sprintf(chunk, "100000\r\n");
	memset(chunk + len, 'x', 1 << 20);
	len += 1 << 20;
	memcpy(chunk + len, "\r\n", 2);
	len += 2;
	assert_true(send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL) > 0);
	while (sent < ((size_t)256 << 20)) {
		ssize_t put = send(fd, chunk, len, MSG_NOSIGNAL);

		if (put < (ssize_t)len)
			break;
		sent += (size_t)put;
	}
	assert_true(sent < ((size_t)128 << 20));
}

static void a_refusal_keeps_its_extras_and_becomes_utf8(void **state)
{
	json_t *reply;

	(void)state;
	assert_int_equal(call("GET", "/v1/refuse", NULL, &reply), 422);
	assert_string_equal(api_error_text(reply), "caf?.toml is wrong");
	assert_string_equal(api_error_code(reply), "invalid_config");
	assert_int_equal(json_array_size(json_object_get(reply, "diagnostics")), 1);
	json_decref(reply);
}

static void a_handler_that_forgets_to_answer_is_a_500(void **state)
{
	json_t *reply;

	(void)state;
	assert_int_equal(call("GET", "/v1/forget", NULL, &reply), 500);
	json_decref(reply);
}

static void answers_may_come_later(void **state)
{
	json_t *reply;

	(void)state;
	assert_int_equal(call("GET", "/v1/later?ms=50", NULL, &reply), 200);
	assert_true(json_is_true(json_object_get(reply, "later")));
	json_decref(reply);
	assert_int_equal(call("GET", "/v1/defer-and-answer", NULL, &reply), 200);
	json_decref(reply);
}

static void a_large_answer_is_whole(void **state)
{
	json_t *reply;

	(void)state;
	assert_int_equal(call("GET", "/v1/large", NULL, &reply), 200);
	assert_int_equal(json_array_size(reply), 100000);
	json_decref(reply);
}

static void a_client_that_leaves_before_its_answer_is_forgotten(void **state)
{
	static const char request[] = "GET /v1/later?ms=30 HTTP/1.1\r\nHost: x\r\n\r\n";
	json_t *reply;

	(void)state;
	for (int i = 0; i < 10; i++) {
		int fd = connect_raw(serving.path);

		assert_true(send(fd, request, sizeof(request) - 1, 0) > 0);
		usleep(5000);
		close(fd);
	}
	/* Answered after theirs; that nothing of them is left is the leak checker's to say. */
	assert_int_equal(call("GET", "/v1/later?ms=80", NULL, &reply), 200);
	json_decref(reply);
}

static void *call_later(void *arg)
{
	struct api_client client = {.socket_path = serving.path};
	json_t *reply = NULL;
	int status = 0;

	(void)arg;
	if (api_call(&client, "GET", "/v1/later?ms=20", NULL, &status, &reply, NULL) < 0)
		status = -1;
	json_decref(reply);
	return (void *)(intptr_t)status;
}

static void a_hundred_clients_are_served_at_once(void **state)
{
	pthread_t threads[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_later, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		void *status;

		pthread_join(threads[i], &status);
		assert_int_equal((intptr_t)status, 200);
	}
}

static void one_connection_carries_many_requests(void **state)
{
	static const char two[] =
		"GET /v1/later?ms=5 HTTP/1.1\r\nHost: x\r\n\r\n"
		"GET /v1/apps/a/ips/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	char answer[4096], *second;

	(void)state;
	roundtrip_raw(two, sizeof(two) - 1, answer, sizeof(answer));
	second = strstr(answer + 1, "HTTP/1.1 200");
	assert_non_null(strstr(answer, "\"later\":true"));
	assert_non_null(second);
	assert_non_null(strstr(second, "\"app\":\"a\""));
}

static void garbage_hurts_nobody_else(void **state)
{
	char bytes[4096], answer[4096];
	json_t *reply;

	(void)state;
	srand(1);
	for (int i = 0; i < 50; i++) {
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (char)rand();
		roundtrip_raw(bytes, 1 + (size_t)rand() % sizeof(bytes), answer, sizeof(answer));
		assert_null(strstr(answer, "HTTP/1.1 200"));
	}
	assert_int_equal(call("GET", "/v1/apps/a/ips/b", NULL, &reply), 200);
	json_decref(reply);
}

static void the_socket_is_for_its_owner_only(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(lstat(serving.path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_newer_server_takes_the_path_over(void **state)
{
	struct api_server *newer = NULL;
	struct stat before, after;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	lstat(serving.path, &before);
	assert_int_equal(api_server_new(&newer, &loop, serving.path, -1, routes, NULL, NULL), 0);
	lstat(serving.path, &after);
	assert_int_not_equal(before.st_ino, after.st_ino);
	api_server_free(newer);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	/* What it leaves is what a dead daemon leaves: put a stale socket there and start anew. */
	stop_serving(&serving);
	start_serving(&serving, routes);
}

static void a_file_in_the_sockets_place_is_left_alone(void **state)
{
	char path[] = "/tmp/wherry-test-XXXXXX", missing[] = "/nonexistent/wherryd.sock";
	_close_ int fd = mkstemp(path);
	struct api_server *server = NULL;
	struct err err = {};
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	assert_int_equal(api_server_new(&server, &loop, path, -1, routes, NULL, &err), -EEXIST);
	assert_non_null(strstr(err.text, "not a socket"));
	assert_int_equal(api_server_new(&server, &loop, missing, -1, routes, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, missing));
	assert_null(server);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(unlink(path), 0);
}

static int setup(void **state)
{
	(void)state;
	start_serving(&serving, routes);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_serving(&serving);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_arrive_decoded),
		cmocka_unit_test(an_unknown_path_is_404_in_the_documented_form),
		cmocka_unit_test(a_wrong_method_is_405_with_allow),
		cmocka_unit_test(a_body_comes_as_json),
		cmocka_unit_test(a_bad_body_is_400_with_its_place),
		cmocka_unit_test(a_bad_path_is_400),
		cmocka_unit_test(bodies_end_at_four_mebibytes),
		cmocka_unit_test(an_endless_body_ends_the_connection),
		cmocka_unit_test(a_refusal_keeps_its_extras_and_becomes_utf8),
		cmocka_unit_test(a_handler_that_forgets_to_answer_is_a_500),
		cmocka_unit_test(answers_may_come_later),
		cmocka_unit_test(a_large_answer_is_whole),
		cmocka_unit_test(a_client_that_leaves_before_its_answer_is_forgotten),
		cmocka_unit_test(a_hundred_clients_are_served_at_once),
		cmocka_unit_test(one_connection_carries_many_requests),
		cmocka_unit_test(garbage_hurts_nobody_else),
		cmocka_unit_test(the_socket_is_for_its_owner_only),
		cmocka_unit_test(a_newer_server_takes_the_path_over),
		cmocka_unit_test(a_file_in_the_sockets_place_is_left_alone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
