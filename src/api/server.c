/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd inside a libuv loop; see server.h. MHD runs without threads: its epoll descriptor
 * and its timeout are polled by the loop, which calls MHD_run() when either has something to say.
 * Handlers run inside MHD_run(); closed callbacks after it, so that they may do anything.
 */
#include "api/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "api/server_impl.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#define IDLE_TIMEOUT_S		60
#define FLUSH_MAX_MS		100
#define CONNECTION_LIMIT	512
#define CONNECTION_MEMORY_BYTES ((size_t)64 << 10) /* bounds the headers, too */

static struct api_stream *next_to_tell(struct api_server *server)
{
	struct api_stream *stream = LIST_FIRST(&server->streams);

	while (stream && !stream->tells_closed)
		stream = LIST_NEXT(stream, link);
	return stream;
}

/* A callback may end any stream, so each search starts anew. */
static void tell_closed(struct api_server *server)
{
	struct api_stream *stream;

	while ((stream = next_to_tell(server))) {
		stream->tells_closed = false;
		if (stream->closed_fn)
			stream->closed_fn(stream->closed_arg);
	}
}

static void on_timer(uv_timer_t *timer);

static void server_run(struct api_server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	MHD_run(server->daemon);
	if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&server->timer, on_timer, timeout_ms, 0);
	else
		uv_timer_stop(&server->timer);
	tell_closed(server);
}

static void on_timer(uv_timer_t *timer)
{
	server_run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	server_run(poll->data);
}

void server_wake(struct api_server *server)
{
	uv_timer_start(&server->timer, on_timer, 0, 0);
}

static void log_mhd(void *cls, const char *format, va_list ap)
	__attribute__((format(printf, 2, 0)));

/* Any client can cause these, by sending nonsense. */
static void log_mhd(void *cls, const char *format, va_list ap)
{
	char text[256];

	(void)cls;
	vsnprintf(text, sizeof(text), format, ap);
	log_debug("api-http", "message=\"%.*s\"", (int)strcspn(text, "\n"), text);
}

static int bind_error(const char *socket_path, int code, struct err *err)
{
	return err_errno(err, code, "cannot make the API's socket %s", socket_path);
}

/*
 * The socket is bound under a name of its own, listens, and is then renamed: whoever sees
 * @socket_path can connect to it. Linux takes a socket file's mode from the unbound socket.
 */
static int listen_on(const char *socket_path, struct stat *st, int *out, struct err *err)
{
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int len, r;

	if (fd < 0)
		return bind_error(socket_path, -errno, err);
	len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s.%d", socket_path, (int)getpid());
	if (len < 0 || len >= (int)sizeof(addr.sun_path))
		return bind_error(socket_path, -ENAMETOOLONG, err);
	if (lstat(socket_path, st) == 0 && !S_ISSOCK(st->st_mode))
		return err_set(err, -EEXIST,
			"%s exists and is not a socket; move it away, the API's socket belongs "
			"there",
			socket_path);
	unlink(addr.sun_path);
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return bind_error(socket_path, -errno, err);
	if (listen(fd, SOMAXCONN) < 0 || lstat(addr.sun_path, st) < 0 ||
		rename(addr.sun_path, socket_path) < 0) {
		r = -errno;
		unlink(addr.sun_path);
		return bind_error(socket_path, r, err);
	}
	*out = take_fd(fd);
	return 0;
}

static int start_daemon(struct api_server *server, int listen_fd, struct err *err)
{
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		request_handle, server, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, NULL,
		MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_URI_LOG_CALLBACK, request_begin,
		server, MHD_OPTION_NOTIFY_COMPLETED, request_completed, server,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_TIMEOUT_S,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTION_LIMIT,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, MHD_OPTION_END);
	if (!server->daemon)
		return err_set(err, -EIO,
			"cannot start the API's HTTP server: libmicrohttpd %s refused its options",
			MHD_get_version());
	return 0;
}

static void server_release(struct api_server *server)
{
	free(server->socket_path);
	free(server);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct api_server *server = handle->data;

	if (--server->open_handles == 0)
		server_release(server);
}

static int start_polling(struct api_server *server, uv_loop_t *loop, struct err *err)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return err_set(err, -EIO, "libmicrohttpd was built without epoll; use Debian's");
	uv_timer_init(loop, &server->timer);
	server->timer.data = server;
	server->open_handles = 1;
	r = uv_poll_init(loop, &server->poll, info->epoll_fd);
	if (r < 0)
		return err_set(err, r, "cannot poll the API's socket: %s", uv_strerror(r));
	server->poll.data = server;
	server->open_handles = 2;
	uv_poll_start(&server->poll, UV_READABLE, on_readable);
	return 0;
}

int api_server_new(struct api_server **out, uv_loop_t *loop, const char *socket_path, int listen_fd,
	const struct api_route *routes, void *arg, struct err *err)
{
	_close_ int fd = listen_fd;
	struct api_server *server;
	struct stat st = {};
	int r = 0;

	server = calloc(1, sizeof(*server));
	if (!server)
		return err_errno(err, -ENOMEM, "cannot start the API");
	server->loop = loop;
	server->routes = routes;
	server->arg = arg;
	LIST_INIT(&server->requests);
	LIST_INIT(&server->streams);
	if (fd < 0) {
		r = listen_on(socket_path, &st, &fd, err);
		server->socket_path = r == 0 ? strdup(socket_path) : NULL;
		server->socket_dev = st.st_dev;
		server->socket_ino = st.st_ino;
	}
	if (r == 0)
		r = start_daemon(server, fd, err);
	if (r == 0) {
		fd = -1; /* MHD's now */
		r = start_polling(server, loop, err);
	}
	if (r < 0) {
		api_server_free(server);
		return r;
	}
	*out = server;
	return 0;
}

static void remove_socket(struct api_server *server)
{
	struct stat st;

	/* The daemon that replaced this one may have put its own there already. */
	if (server->socket_path && lstat(server->socket_path, &st) == 0 &&
		st.st_dev == server->socket_dev && st.st_ino == server->socket_ino)
		unlink(server->socket_path);
}

static bool has_last_words(const struct api_server *server)
{
	const struct api_stream *stream;

	LIST_FOREACH(stream, &server->streams, link)
	if (!stream->is_owned && stream->connection && stream->pending.len > stream->sent_bytes)
		return true;
	return false;
}

/* How streams ended is still to be read; a client that reads takes it at once. */
static void flush_streams(struct api_server *server)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	server->is_closing = true;
	for (int i = 0; i < FLUSH_MAX_MS && has_last_words(server); i++) {
		MHD_run(server->daemon);
		nanosleep(&pause, NULL);
	}
	/* Once more for the end of the last stream's answer, which follows its content. */
	MHD_run(server->daemon);
}

void api_server_free(struct api_server *server)
{
	struct api_request *req;
	struct api_stream *stream;

	if (!server)
		return;
	remove_socket(server);
	if (server->daemon)
		flush_streams(server);
	if (server->open_handles == 2)
		uv_poll_stop(&server->poll);
	/* MHD does not stop with suspended connections. */
	for (req = LIST_FIRST(&server->requests); req; req = LIST_NEXT(req, link))
		request_resume(req);
	for (stream = LIST_FIRST(&server->streams); stream; stream = LIST_NEXT(stream, link))
		stream_resume(stream);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	while ((req = LIST_FIRST(&server->requests))) {
		LIST_REMOVE(req, link);
		req->server = NULL;
	}
	while ((stream = LIST_FIRST(&server->streams))) {
		LIST_REMOVE(stream, link);
		stream->server = NULL;
	}
	if (server->open_handles == 0)
		server_release(server);
	else if (server->open_handles == 1)
		uv_close((uv_handle_t *)&server->timer, on_handle_closed);
	else {
		uv_close((uv_handle_t *)&server->timer, on_handle_closed);
		uv_close((uv_handle_t *)&server->poll, on_handle_closed);
	}
}
