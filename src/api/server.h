/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of the API (docs/api.md): HTTP/1.1 on a Unix socket, served from a libuv loop
 * in the loop's own thread. Everything here is called from that thread, and handlers and callbacks
 * run in it.
 *
 * A handler answers in one of three ways before it returns: at once (api_reply_*), with a stream
 * (api_stream_begin) or later (api_request_defer, then one of the first two). Functions that take a
 * json_t as content take over the reference, so that json_pack() can stand in the call.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

struct api_request;
struct api_server;
struct api_stream;
struct err;

#define API_BODY_MAX_BYTES   ((size_t)4 << 20)
#define API_STREAM_MAX_BYTES ((size_t)1 << 20) /* waiting for a client that does not read */

typedef void api_handler_fn(struct api_request *req, void *arg);

struct api_route {
	const char *method;
	const char *pattern; /* "/v1/apps/:app/ips/:address"; a parameter is one segment */
	api_handler_fn *handler;
};

/*
 * Serves @routes (kept; the last one's method is NULL) on @socket_path, whose directory exists. The
 * socket appears there with mode 0600, replacing one that a dead daemon left; that no other daemon
 * lives is the caller's to know. With @listen_fd >= 0, a listening socket that is taken over, @path
 * is not touched and may be NULL. @arg goes to every handler.
 */
int api_server_new(struct api_server **out, uv_loop_t *loop, const char *socket_path, int listen_fd,
	const struct api_route *routes, void *arg, struct err *err);

/*
 * Closes every connection and removes the socket if it is still ours. What ended streams still
 * hold is given a moment to be read. Not from within a handler.
 * Streams and deferred requests stay valid until their owners end or answer them, and their closed
 * callbacks are not called any more. The loop must run until its handles are closed.
 */
void api_server_free(struct api_server *server);

/* What the client asked; valid until the request is answered. */
const char *api_request_method(const struct api_request *req);
/* The pattern's ":name", decoded, never empty. NULL: the route has no such parameter. */
const char *api_request_param(const struct api_request *req, const char *name);
/* The value of "?name=value", decoded; the last one wins. NULL: absent. */
const char *api_request_query(const struct api_request *req, const char *name);
/* The body, an object; borrowed. NULL: there was none. */
json_t *api_request_body(const struct api_request *req);

void api_reply_json(struct api_request *req, int status, json_t *json);

/* @extra (may be NULL) is an object whose members are added to the failure's document. */
void api_reply_error(
	struct api_request *req, int status, const char *code, const char *sentence, json_t *extra);

/*
 * The answer comes after the handler has returned. The request then belongs to the handler's side
 * until it answers, which it must, also when the client is gone.
 */
void api_request_defer(struct api_request *req);

/*
 * Answers 200 and opens a stream, which the caller owns until it ends it. NULL: out of memory, the
 * request was answered so. Every stream function accepts NULL.
 */
struct api_stream *api_stream_begin(struct api_request *req);

/* Sends one line. Dropped when the stream is closed. */
void api_stream_send(struct api_stream *stream, json_t *line);

/* What was sent and not yet taken by the client; API_STREAM_MAX_BYTES is the bound. */
size_t api_stream_waiting_bytes(const struct api_stream *stream);

/* No more lines: what is waiting is still delivered. The stream is gone for the caller. */
void api_stream_end(struct api_stream *stream);

/*
 * Calls @fn once from the loop, never from within another function of this file, when the client
 * has gone or was dropped because it reads too slowly. The stream must still be ended.
 */
void api_stream_set_closed_cb(struct api_stream *stream, void (*fn)(void *arg), void *arg);
bool api_stream_is_closed(const struct api_stream *stream);

/* The documented events. The last two end the stream as well. */
void api_stream_progress(struct api_stream *stream, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void api_stream_warning(struct api_stream *stream, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void api_stream_done(struct api_stream *stream, json_t *result);
void api_stream_fail(struct api_stream *stream, int status, const char *code, const char *sentence,
	json_t *extra);
