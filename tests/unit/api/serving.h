/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on a loop in a thread of its own, for tests that talk to it as clients do. The test
 * brings the routes; its handlers run in the loop's thread. stop_serving() lets the loop run until
 * every handle is closed, so that the leak checker sees what was forgotten.
 */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "api/server.h"
#include "base/err.h"

struct serving {
	char dir[64];
	char path[96];
	uv_loop_t loop;
	uv_async_t stop;
	pthread_t thread;
	struct api_server *server;
	/* Called in the loop's thread after the server was freed; may be NULL. */
	void (*after_free)(void);
};

static void on_stop(uv_async_t *async)
{
	struct serving *s = async->data;

	api_server_free(s->server);
	if (s->after_free)
		s->after_free();
	uv_close((uv_handle_t *)async, NULL);
}

static void *serve(void *arg)
{
	struct serving *s = arg;

	uv_run(&s->loop, UV_RUN_DEFAULT);
	return NULL;
}

static inline void start_serving(struct serving *s, const struct api_route *routes)
{
	struct err err = {};

	snprintf(s->dir, sizeof(s->dir), "/tmp/wherry-test-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/sock", s->dir);
	assert_int_equal(uv_loop_init(&s->loop), 0);
	assert_int_equal(uv_async_init(&s->loop, &s->stop, on_stop), 0);
	s->stop.data = s;
	if (api_server_new(&s->server, &s->loop, s->path, -1, routes, s, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void stop_serving(struct serving *s)
{
	uv_async_send(&s->stop);
	pthread_join(s->thread, NULL);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	assert_int_equal(access(s->path, F_OK), -1);
	assert_int_equal(rmdir(s->dir), 0);
}

static inline int connect_raw(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 10};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}
