/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store against a server that is no good etcd: silent, slow, endless, lying, or gone at the
 * worst moment. Whatever it does, calls end in time with a sentence, and a transaction is sent
 * once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/store.h"
#include "../../lib/etcd_server.h"

#define HEADER                                                                                     \
	"\"header\":{\"cluster_id\":\"7\",\"member_id\":\"1\",\"revision\":\"5\","                 \
	"\"raft_term\":\"2\"}"
#define OK_HEAD	     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define MAX_SERVED   64
#define BODY_BYTES   4096
#define REQUEST_SIZE 8192

/* What it does with a request for a path. */
struct answer {
	const char *path; /* "/v3/kv/txn"; NULL: any */
	enum { SAY, SAY_ERROR, SAY_AND_STAY, HANG, DRIP, FLOOD, HANG_UP } what;
	const char *text; /* the whole answer, of SAY and SAY_ERROR a JSON body */
};

static struct {
	const struct answer *answers; /* the last one is for any path */
	int fd, port;
	pthread_t acceptor, threads[MAX_SERVED];
	int fds[MAX_SERVED];
	atomic_int count, txns;
	atomic_bool is_over;
} fake;

static bool read_request(int fd, char request[static REQUEST_SIZE])
{
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, request + len, REQUEST_SIZE - 1 - len, 0);
		char *body, *field;

		if (n <= 0)
			return false;
		len += (size_t)n;
		request[len] = '\0';
		body = strstr(request, "\r\n\r\n");
		field = strstr(request, "Content-Length: ");
		if (body && field && strlen(body + 4) >= strtoul(field + 16, NULL, 10))
			return true;
		if (len == REQUEST_SIZE - 1)
			return false;
	}
}

static void say(int fd, const char *text)
{
	send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void wait_for_end(int fd)
{
	char byte;

	while (!fake.is_over && recv(fd, &byte, 1, 0) > 0)
		;
}

static void pour(int fd, const char *first, unsigned int pause_ms, size_t chunk)
{
	char spaces[BODY_BYTES];

	memset(spaces, ' ', sizeof(spaces));
	say(fd, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n");
	if (first) {
		char part[512];

		snprintf(part, sizeof(part), "%zx\r\n%s\r\n", strlen(first), first);
		say(fd, part);
	}
	while (!fake.is_over) {
		char size[16];

		snprintf(size, sizeof(size), "%zx\r\n", chunk);
		say(fd, size);
		if (send(fd, spaces, chunk, MSG_NOSIGNAL) < 0)
			return;
		say(fd, "\r\n");
		if (pause_ms)
			usleep(pause_ms * 1000);
	}
}

/* Returns whether the connection goes on. */
static bool answer_request(int fd, const char *request)
{
	const struct answer *answer = fake.answers;
	char head[128];

	while (answer->path && strncmp(request + 5, answer->path, strlen(answer->path)) != 0)
		answer++;
	if (strstr(request, "/v3/kv/txn"))
		fake.txns++;
	switch (answer->what) {
	case SAY:
	case SAY_ERROR:
		snprintf(head, sizeof(head), "%sContent-Length: %zu\r\n\r\n",
			answer->what == SAY ? OK_HEAD : "HTTP/1.1 503 No\r\n",
			strlen(answer->text));
		say(fd, head);
		say(fd, answer->text);
		return true;
	case SAY_AND_STAY:
		say(fd, answer->text);
		wait_for_end(fd);
		return false;
	case HANG:
		wait_for_end(fd);
		return false;
	case DRIP:
		pour(fd, answer->text, 50, 1);
		return false;
	case FLOOD:
		pour(fd, answer->text, 0, BODY_BYTES);
		return false;
	case HANG_UP:
		return false;
	}
	return false;
}

static void *serve_connection(void *arg)
{
	int fd = *(int *)arg;
	char request[REQUEST_SIZE];

	while (!fake.is_over && read_request(fd, request) && answer_request(fd, request))
		;
	shutdown(fd, SHUT_RDWR);
	return NULL;
}

static void *accept_connections(void *arg)
{
	(void)arg;
	while (fake.count < MAX_SERVED) {
		int fd = accept(fake.fd, NULL, NULL), i = fake.count;

		if (fd < 0 || fake.is_over) {
			if (fd >= 0)
				close(fd);
			break;
		}
		fake.fds[i] = fd;
		if (pthread_create(&fake.threads[i], NULL, serve_connection, &fake.fds[i]) != 0)
			abort();
		fake.count++;
	}
	return NULL;
}

static void start_fake(const struct answer *answers)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t len = sizeof(addr);

	memset(&fake, 0, sizeof(fake));
	fake.answers = answers;
	fake.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake.fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(fake.fd, 16), 0);
	assert_int_equal(getsockname(fake.fd, (struct sockaddr *)&addr, &len), 0);
	fake.port = ntohs(addr.sin_port);
	assert_int_equal(pthread_create(&fake.acceptor, NULL, accept_connections, NULL), 0);
}

static void stop_fake(void)
{
	fake.is_over = true;
	shutdown(fake.fd, SHUT_RDWR);
	pthread_join(fake.acceptor, NULL);
	for (int i = 0; i < fake.count; i++) {
		shutdown(fake.fds[i], SHUT_RDWR);
		pthread_join(fake.threads[i], NULL);
		close(fake.fds[i]);
	}
	close(fake.fd);
}

static int open_store(struct store **out, struct err *err)
{
	char url[64];

	snprintf(url, sizeof(url), "etcd://127.0.0.1:%d", fake.port);
	return store_open_etcd(out, &(struct store_etcd_options){.url = url}, err);
}

#define GOOD_RANGE                                                                                 \
	{                                                                                          \
		"/v3/kv/range", SAY, "{" HEADER "}"                                                \
	}

static void serve(struct store *store, unsigned int for_ms)
{
	uint64_t end = clock_now_ms() + for_ms;
	struct pollfd p = {.fd = store_watch_fd(store), .events = POLLIN};

	while (clock_now_ms() < end) {
		poll(&p, 1, 20);
		store_dispatch(store, NULL);
	}
}

static void a_server_that_is_no_etcd_is_refused_in_time(void **state)
{
	static const struct answer bad[][1] = {
		{{NULL, HANG, NULL}},
		{{NULL, DRIP, NULL}},
		{{NULL, FLOOD, NULL}},
		{{NULL, HANG_UP, NULL}},
		{{NULL, SAY_AND_STAY, "hello\r\n"}},
		{{NULL, SAY_AND_STAY, OK_HEAD "Content-Length: 100\r\n\r\n{\"header\""}},
		{{NULL, SAY_AND_STAY,
			"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsorry"}},
		{{NULL, SAY_AND_STAY,
			"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"}},
		{{NULL, SAY, ""}},
		{{NULL, SAY, "<html>"}},
		{{NULL, SAY, "[]"}},
		{{NULL, SAY, "{}"}},
		{{NULL, SAY, "{\"header\":7}"}},
		{{NULL, SAY, "{\"header\":{\"cluster_id\":\"x\",\"revision\":\"5\"}}"}},
		{{NULL, SAY, "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"-5\"}}"}},
		{{NULL, SAY, "{" HEADER ",\"kvs\":7}"}},
		{{NULL, SAY, "{" HEADER ",\"more\":true}"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct store *store = NULL;
		struct err err = {};
		uint64_t start;
		int r;

		start_fake(bad[i]);
		start = clock_now_ms();
		r = open_store(&store, &err);
		if (store || r >= 0 || clock_now_ms() - start > 2500)
			fail_msg("%zu: %d after %llu ms: %s", i, r,
				(unsigned long long)(clock_now_ms() - start), err.text);
		assert_non_null(strstr(err.text, "127.0.0.1:"));
		stop_fake();
	}
}

static void a_transaction_without_an_answer_is_not_repeated(void **state)
{
	static const struct answer bad[][2] = {
		{GOOD_RANGE, {NULL, HANG_UP, NULL}},
		{GOOD_RANGE, {NULL, HANG, NULL}},
		{GOOD_RANGE, {NULL, SAY, "{\"succeeded\":true}"}},
		{GOOD_RANGE,
			{NULL, SAY_ERROR,
				"{\"message\":\"etcdserver: request timed out\",\"code\":14}"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct store *store = NULL;
		struct store_op op = {STORE_PUT, "k", "v"};
		struct err err = {};
		uint64_t start;

		start_fake(bad[i]);
		assert_int_equal(open_store(&store, &err), 0);
		start = clock_now_ms();
		assert_int_equal(store_txn(store, NULL, 0, &op, 1, NULL, &err), -EHOSTDOWN);
		assert_true(clock_now_ms() - start < 2500);
		if (!strstr(err.text, "may have been"))
			fail_msg("%zu: %s", i, err.text);
		serve(store, 300);
		assert_int_equal(fake.txns, 1);
		store_close(store);
		stop_fake();
	}
}

static void a_transaction_that_etcd_refused_is_no_absence(void **state)
{
	static const struct answer full[] = {
		GOOD_RANGE,
		{NULL, SAY_ERROR,
			"{\"message\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}"},
	};
	struct store *store = NULL;
	struct store_op op = {STORE_PUT, "k", "v"};
	struct err err = {};

	(void)state;
	start_fake(full);
	assert_int_equal(open_store(&store, &err), 0);
	assert_int_equal(store_txn(store, NULL, 0, &op, 1, NULL, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "quota-backend-bytes"));
	assert_int_equal(store_is_away(store, NULL), 0);
	store_close(store);
	stop_fake();
}

static void on_change(void *arg, int64_t revision, const struct store_event *events, size_t count)
{
	(void)revision, (void)events;
	*(int *)arg += (int)count;
}

static void a_stream_of_garbage_is_asked_for_again_with_pauses(void **state)
{
	static const struct answer bad[][2] = {
		{GOOD_RANGE, {NULL, SAY, "garbage\nmore\n"}},
		{GOOD_RANGE, {NULL, HANG_UP, NULL}},
		{GOOD_RANGE, {NULL, FLOOD, NULL}},
		{GOOD_RANGE, {NULL, SAY, "{\"result\":{" HEADER ",\"events\":[7]}}\n"}},
		{GOOD_RANGE,
			{NULL, SAY,
				"{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"YQ==\","
				"\"mod_revision\":\"6\"}}]}}\n"}}, /* not below the prefix */
		{GOOD_RANGE, {NULL, SAY, "{\"result\":{" HEADER ",\"canceled\":true}}\n"}},
		{GOOD_RANGE, {NULL, SAY, "{\"error\":{\"message\":\"no\"}}\n"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct store *store = NULL;
		int told = 0;

		start_fake(bad[i]);
		assert_int_equal(open_store(&store, NULL), 0);
		store_watch(store, 0, on_change, &told);
		serve(store, 700);
		assert_int_equal(told, 0);
		assert_in_range(fake.count, 2, 8);
		assert_int_equal(store_is_away(store, NULL), 0);
		store_close(store);
		stop_fake();
	}
}

static void count_missed(
	void *arg, int64_t revision, const struct store_event *events, size_t count)
{
	assert_null(events);
	assert_int_equal(count, 0);
	assert_int_equal(revision, 5);
	++*(int *)arg;
}

static void more_than_can_be_told_is_to_be_read(void **state)
{
	static const struct answer flood[] = {
		GOOD_RANGE,
		{NULL, FLOOD, "{\"result\":{" HEADER ",\"created\":true}}\n{"},
	};
	struct store *store = NULL;
	int missed = 0;

	(void)state;
	start_fake(flood);
	assert_int_equal(open_store(&store, NULL), 0);
	store_watch(store, 2, count_missed, &missed);
	for (int i = 0; i < 50 && !missed; i++)
		serve(store, 100);
	assert_int_equal(missed, 1);
	store_close(store);
	stop_fake();
}

static void an_endpoint_that_hangs_costs_one_call_a_part_of_its_time(void **state)
{
	static const struct answer silent[] = {{NULL, HANG, NULL}};
	struct etcd_server etcd = {};
	struct store *store = NULL;
	struct store_op op = {STORE_PUT, "k", "v"};
	struct store_entry entry = {};
	struct err err = {};
	char url[64];
	uint64_t start;

	(void)state;
	if (!etcd_server_start(&etcd))
		skip();
	start_fake(silent);
	snprintf(url, sizeof(url), "etcd://127.0.0.1:%d,127.0.0.1:%d", fake.port, etcd.port);
	if (store_open_etcd(&store, &(struct store_etcd_options){.url = url}, &err) < 0)
		fail_msg("%s", err.text);
	start = clock_now_ms();
	for (int i = 0; i < 20; i++) {
		assert_int_equal(store_txn(store, NULL, 0, &op, 1, NULL, &err), 0);
		assert_int_equal(store_get(store, "k", &entry, &err), 0);
		store_entry_clear(&entry);
	}
	assert_true(clock_now_ms() - start < 500);
	store_close(store);
	stop_fake();
	etcd_server_remove(&etcd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_is_no_etcd_is_refused_in_time),
		cmocka_unit_test(a_transaction_without_an_answer_is_not_repeated),
		cmocka_unit_test(a_transaction_that_etcd_refused_is_no_absence),
		cmocka_unit_test(a_stream_of_garbage_is_asked_for_again_with_pauses),
		cmocka_unit_test(more_than_can_be_told_is_to_be_read),
		cmocka_unit_test(an_endpoint_that_hangs_costs_one_call_a_part_of_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
