/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "api/client.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "serving.h"

static struct serving serving;
static atomic_int closed_count, ended_count;
static struct api_stream *left_open;

/* A stream whose lines come from a timer, which ends it after the last or when the client left. */
struct ticker {
	uv_timer_t timer;
	struct api_stream *stream;
	int left;
	int number;
};

static void end_ticker(struct ticker *ticker)
{
	atomic_fetch_add(&ended_count, 1);
	uv_close((uv_handle_t *)&ticker->timer, (uv_close_cb)free);
}

static void tick(uv_timer_t *timer)
{
	struct ticker *ticker = timer->data;

	if (ticker->left-- > 0) {
		api_stream_progress(ticker->stream, "step %d", ++ticker->number);
		return;
	}
	api_stream_done(ticker->stream, json_pack("{s:i}", "steps", ticker->number));
	end_ticker(ticker);
}

static void on_closed(void *arg)
{
	struct ticker *ticker = arg;

	assert_true(api_stream_is_closed(ticker->stream));
	atomic_fetch_add(&closed_count, 1);
	api_stream_end(ticker->stream);
	end_ticker(ticker);
}

static void start_ticker(struct api_request *req, int lines, int ms, bool minds_closing)
{
	struct ticker *ticker = calloc(1, sizeof(*ticker));

	uv_timer_init(&serving.loop, &ticker->timer);
	ticker->timer.data = ticker;
	ticker->left = lines;
	ticker->stream = api_stream_begin(req);
	if (minds_closing)
		api_stream_set_closed_cb(ticker->stream, on_closed, ticker);
	uv_timer_start(&ticker->timer, tick, (uint64_t)ms, (uint64_t)ms);
}

static void slow(struct api_request *req, void *arg)
{
	(void)arg;
	start_ticker(req, 5, 30, true);
}

/* Works on when its client leaves, as a deploy does. */
static void stubborn(struct api_request *req, void *arg)
{
	(void)arg;
	start_ticker(req, 5, 10, false);
}

static void silent(struct api_request *req, void *arg)
{
	(void)arg;
	start_ticker(req, 1, 3600 * 1000, true);
}

static void at_once(struct api_request *req, void *arg)
{
	struct api_stream *stream = api_stream_begin(req);

	(void)arg;
	api_stream_warning(stream, "caf\xe9");
	api_stream_fail(stream, 409, "conflict", "it is there already", NULL);
}

static void many_lines(struct api_request *req, void *arg)
{
	struct api_stream *stream = api_stream_begin(req);

	(void)arg;
	for (int i = 0; i < 20000; i++)
		api_stream_send(stream, json_pack("{s:i}", "n", i));
	api_stream_end(stream);
}

/* More than is held for a client, in lines of 64 KiB. */
static void flood(struct api_request *req, void *arg)
{
	_free_ char *text = malloc((64 << 10) + 1);
	struct ticker *ticker = calloc(1, sizeof(*ticker));

	(void)arg;
	memset(text, 'x', 64 << 10);
	text[64 << 10] = '\0';
	uv_timer_init(&serving.loop, &ticker->timer);
	ticker->stream = api_stream_begin(req);
	api_stream_set_closed_cb(ticker->stream, on_closed, ticker);
	for (int i = 0; i < 1024; i++)
		api_stream_send(ticker->stream, json_pack("{s:s}", "text", text));
	assert_true(api_stream_is_closed(ticker->stream));
}

static void begin_later(uv_timer_t *timer)
{
	struct api_request *req = timer->data;

	start_ticker(req, 1, 10, true);
	uv_close((uv_handle_t *)timer, (uv_close_cb)free);
}

static void deferred(struct api_request *req, void *arg)
{
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	(void)arg;
	uv_timer_init(&serving.loop, timer);
	timer->data = req;
	uv_timer_start(timer, begin_later, 30, 0);
	api_request_defer(req);
}

/* Left to its owner beyond the server's life. */
static void outlive(struct api_request *req, void *arg)
{
	(void)arg;
	left_open = api_stream_begin(req);
	api_stream_progress(left_open, "here");
}

static const struct api_route routes[] = {
	{"POST", "/v1/slow", slow},
	{"POST", "/v1/stubborn", stubborn},
	{"GET", "/v1/silent", silent},
	{"POST", "/v1/at-once", at_once},
	{"GET", "/v1/many-lines", many_lines},
	{"GET", "/v1/flood", flood},
	{"POST", "/v1/deferred", deferred},
	{"GET", "/v1/outlive", outlive},
	{},
};

static struct api_client client(void)
{
	return (struct api_client){.socket_path = serving.path};
}

/* Waits until @counter reaches @value, for at most 5 seconds. */
static void wait_for(atomic_int *counter, int value)
{
	uint64_t end = clock_now_ms() + 5000;

	while (atomic_load(counter) < value && clock_now_ms() < end)
		usleep(1000);
	assert_int_equal(atomic_load(counter), value);
}

struct seen {
	int progress;
	int warnings;
	char message[64];
	uint64_t first_ms;
};

static void see(void *arg, const char *event, const char *message, json_t *line)
{
	struct seen *seen = arg;

	(void)line;
	if (!seen->first_ms)
		seen->first_ms = clock_now_ms();
	if (strcmp(event, "progress") == 0)
		seen->progress++;
	if (strcmp(event, "warning") == 0)
		seen->warnings++;
	snprintf(seen->message, sizeof(seen->message), "%s", message);
}

static int job(const char *path, struct seen *seen, json_t **reply)
{
	struct api_client c = client();
	struct err err = {};
	int status = 0;

	if (api_job(&c, "POST", path, NULL, see, seen, &status, reply, &err) < 0)
		fail_msg("%s", err.text);
	return status;
}

static void lines_arrive_while_the_work_goes_on(void **state)
{
	struct seen seen = {};
	json_t *reply;

	(void)state;
	assert_int_equal(job("/v1/slow", &seen, &reply), 200);
	assert_true(clock_now_ms() - seen.first_ms >= 100);
	assert_int_equal(seen.progress, 5);
	assert_string_equal(seen.message, "step 5");
	assert_int_equal(json_integer_value(json_object_get(reply, "steps")), 5);
	json_decref(reply);
}

static void a_job_that_fails_has_the_status_of_its_last_line(void **state)
{
	struct seen seen = {};
	json_t *reply;

	(void)state;
	assert_int_equal(job("/v1/at-once", &seen, &reply), 409);
	assert_string_equal(api_error_text(reply), "it is there already");
	assert_string_equal(api_error_code(reply), "conflict");
	assert_int_equal(seen.warnings, 1);
	assert_string_equal(seen.message, "caf?");
	json_decref(reply);
}

static void a_job_that_is_refused_at_once_has_no_stream(void **state)
{
	struct seen seen = {};
	json_t *reply;

	(void)state;
	assert_int_equal(job("/v1/nothing", &seen, &reply), 404);
	assert_string_equal(api_error_code(reply), "not_found");
	json_decref(reply);
}

static void a_deferred_request_may_become_a_stream(void **state)
{
	struct seen seen = {};
	json_t *reply;

	(void)state;
	assert_int_equal(job("/v1/deferred", &seen, &reply), 200);
	assert_int_equal(seen.progress, 1);
	json_decref(reply);
}

static int count_in_order(void *arg, json_t *line)
{
	int *count = arg;

	assert_int_equal(json_integer_value(json_object_get(line, "n")), *count);
	(*count)++;
	return 0;
}

static void many_lines_arrive_in_order(void **state)
{
	struct api_client c = client();
	json_t *reply = NULL;
	int status = 0, count = 0;

	(void)state;
	assert_int_equal(api_stream(&c, "GET", "/v1/many-lines", NULL, count_in_order, &count,
				 &status, &reply, NULL),
		0);
	assert_int_equal(status, 200);
	assert_null(reply);
	assert_int_equal(count, 20000);
}

static int ask(const char *method, const char *path)
{
	char request[256];
	int fd = connect_raw(serving.path);
	int len = snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", method, path);

	assert_int_equal(send(fd, request, (size_t)len, 0), len);
	return fd;
}

static void a_client_that_leaves_a_silent_stream_is_noticed(void **state)
{
	int closed = atomic_load(&closed_count);
	char head[1024];
	clock_t before;
	int fds[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = ask("GET", "/v1/silent");
		assert_true(recv(fds[i], head, sizeof(head), 0) > 0);
	}
	before = clock();
	usleep(200000);
	assert_true(clock() - before < CLOCKS_PER_SEC / 10); /* nobody spins meanwhile */
	assert_int_equal(atomic_load(&closed_count), closed);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	wait_for(&closed_count, closed + 3);
}

static void a_client_that_only_stops_writing_gets_its_lines(void **state)
{
	_cleanup_(buf_clear) struct buf answer = {};
	_close_ int fd = ask("POST", "/v1/slow");
	char part[1024];
	ssize_t got;

	(void)state;
	shutdown(fd, SHUT_WR);
	while ((got = recv(fd, part, sizeof(part), 0)) > 0) {
		buf_add(&answer, part, (size_t)got);
		if (strstr(answer.data, "\"done\""))
			break;
	}
	assert_non_null(strstr(answer.data, "\"done\""));
}

static void work_goes_on_without_its_client(void **state)
{
	int ended = atomic_load(&ended_count), closed = atomic_load(&closed_count);

	char head[256];
	int fd = ask("POST", "/v1/stubborn");

	(void)state;
	assert_true(recv(fd, head, sizeof(head), 0) > 0);
	close(fd);
	wait_for(&ended_count, ended + 1);
	assert_int_equal(atomic_load(&closed_count), closed);
}

static void a_slow_reader_loses_lines_and_is_told(void **state)
{
	int closed = atomic_load(&closed_count);
	_cleanup_(buf_clear) struct buf answer = {};
	_close_ int fd = ask("GET", "/v1/flood");
	char part[65536];
	clock_t before;
	ssize_t got;

	(void)state;
	/* The owner hears of it although the client has not read a byte. */
	wait_for(&closed_count, closed + 1);
	before = clock();
	usleep(200000);
	assert_true(clock() - before < CLOCKS_PER_SEC / 10);
	while ((got = recv(fd, part, sizeof(part), 0)) > 0) {
		buf_add(&answer, part, (size_t)got);
		if (answer.len > 5 && strcmp(answer.data + answer.len - 5, "0\r\n\r\n") == 0)
			break;
	}
	assert_true(answer.len < API_STREAM_MAX_BYTES + (256 << 10));
	assert_non_null(strstr(answer.data, "too slowly"));
}

static int stop_at_two(void *arg, json_t *line)
{
	int *count = arg;

	(void)line;
	return ++*count == 2 ? 42 : 0;
}

static void a_callback_may_end_the_stream(void **state)
{
	int closed = atomic_load(&closed_count), status = 0, count = 0;
	struct api_client c = client();
	json_t *reply = NULL;

	(void)state;
	assert_int_equal(api_stream(&c, "POST", "/v1/slow", NULL, stop_at_two, &count, &status,
				 &reply, NULL),
		42);
	wait_for(&closed_count, closed + 1);
}

static void end_what_is_left(void)
{
	assert_true(api_stream_is_closed(left_open));
	api_stream_progress(left_open, "dropped");
	api_stream_end(left_open);
}

static void *read_until_the_end(void *arg)
{
	struct api_client c = client();
	json_t *reply = NULL;
	int status = 0, count = 0, r;

	(void)arg;
	r = api_stream(&c, "GET", "/v1/outlive", NULL, stop_at_two, &count, &status, &reply, NULL);
	return (void *)(intptr_t)(count == 1 ? r : 1);
}

static void a_stream_outlives_its_server(void **state)
{
	pthread_t thread;
	void *result;

	(void)state;
	pthread_create(&thread, NULL, read_until_the_end, NULL);
	usleep(100000);
	serving.after_free = end_what_is_left;
	stop_serving(&serving);
	pthread_join(thread, &result);
	/* The client sees that the answer was cut off. */
	assert_int_equal((intptr_t)result, -ECONNRESET);
	serving.after_free = NULL;
	start_serving(&serving, routes);
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
		cmocka_unit_test(lines_arrive_while_the_work_goes_on),
		cmocka_unit_test(a_job_that_fails_has_the_status_of_its_last_line),
		cmocka_unit_test(a_job_that_is_refused_at_once_has_no_stream),
		cmocka_unit_test(a_deferred_request_may_become_a_stream),
		cmocka_unit_test(many_lines_arrive_in_order),
		cmocka_unit_test(a_client_that_leaves_a_silent_stream_is_noticed),
		cmocka_unit_test(a_client_that_only_stops_writing_gets_its_lines),
		cmocka_unit_test(work_goes_on_without_its_client),
		cmocka_unit_test(a_slow_reader_loses_lines_and_is_told),
		cmocka_unit_test(a_callback_may_end_the_stream),
		cmocka_unit_test(a_stream_outlives_its_server),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
