/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of JSON lines; see server.h. MHD asks for content when the socket takes some. With none
 * there the connection is suspended, and resumed with the next line. MHD does not look at a
 * suspended connection's socket, so the loop watches it for a hang-up.
 *
 * A stream has two sides: its owner and its connection. Each ends on its own; the one that ends
 * last frees it.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/server_impl.h"
#include "base/mem.h"

#define BLOCK_BYTES 16384
/* How long a client that does not read keeps what is left of a stream that has ended. */
#define DRAIN_TIMEOUT_S 600

static size_t pending_bytes(const struct api_stream *stream)
{
	return stream->pending.len - stream->sent_bytes;
}

static void stream_free(struct api_stream *stream)
{
	if (stream->server)
		LIST_REMOVE(stream, link);
	buf_clear(&stream->pending);
	free(stream);
}

void stream_resume(struct api_stream *stream)
{
	if (!stream->is_suspended)
		return;
	stream->is_suspended = false;
	MHD_resume_connection(stream->connection);
	server_wake(stream->server);
}

static ssize_t read_pending(void *cls, uint64_t position, char *out, size_t max)
{
	struct api_stream *stream = cls;
	struct buf *pending = &stream->pending;
	size_t len = pending_bytes(stream);

	(void)position;
	if (stream->is_hung_up)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (len == 0 && stream->is_closed)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (len == 0) {
		stream->is_suspended = true;
		MHD_suspend_connection(stream->connection);
		return 0;
	}
	if (len > max)
		len = max;
	memcpy(out, pending->data + stream->sent_bytes, len);
	stream->sent_bytes += len;
	/* Moving at most half of it each time keeps the cost linear. */
	if (stream->sent_bytes >= pending->len / 2) {
		pending->len -= stream->sent_bytes;
		memmove(pending->data, pending->data + stream->sent_bytes, pending->len);
		stream->sent_bytes = 0;
	}
	return (ssize_t)len;
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void stop_hangup(struct api_stream *stream)
{
	if (!stream->hangup)
		return;
	uv_poll_stop(stream->hangup);
	uv_close((uv_handle_t *)take_ptr(stream->hangup), free_handle);
}

static void on_hangup(uv_poll_t *handle, int status, int events)
{
	struct api_stream *stream = handle->data;

	(void)status, (void)events;
	stop_hangup(stream);
	stream->is_hung_up = true;
	stream_resume(stream);
}

/*
 * UV_PRIORITIZED, which a Unix socket never has unasked, leaves hang-up and error: a client that
 * has only shut down its writing side still reads.
 */
static void watch_hangup(struct api_stream *stream)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(stream->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	uv_poll_t *handle;

	if (!info)
		return;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return;
	if (uv_poll_init(stream->server->loop, handle, info->connect_fd) < 0) {
		free(handle);
		return;
	}
	handle->data = stream;
	stream->hangup = handle;
	uv_poll_start(handle, UV_PRIORITIZED, on_hangup);
}

struct api_stream *api_stream_begin(struct api_request *req)
{
	struct api_stream *stream = calloc(1, sizeof(*stream));
	struct MHD_Response *response = NULL;

	assert(!req->is_answered);
	if (stream)
		response = MHD_create_response_from_callback(
			MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_pending, stream, NULL);
	if (!response) {
		free(stream);
		api_reply_error(req, 500, "failed",
			"wherryd is out of memory; try again when the host has some free", NULL);
		return NULL;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
	stream->is_owned = true;
	stream->server = req->server;
	stream->connection = req->connection;
	stream->is_closed = !req->connection;
	if (stream->server)
		LIST_INSERT_HEAD(&stream->server->streams, stream, link);
	if (stream->connection) {
		req->stream = stream;
		MHD_set_connection_option(stream->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
		watch_hangup(stream);
	}
	request_answer(req, 200, response);
	return stream;
}

void stream_detach(struct api_stream *stream)
{
	stop_hangup(stream);
	stream->connection = NULL;
	stream->is_suspended = false;
	buf_clear(&stream->pending);
	stream->sent_bytes = 0;
	if (!stream->is_owned) {
		stream_free(stream);
		return;
	}
	if (stream->is_closed)
		return; /* was told when it was dropped */
	stream->is_closed = true;
	stream->tells_closed = true;
}

static void close_writing(struct api_stream *stream)
{
	stream->is_closed = true;
	if (!stream->connection)
		return;
	MHD_set_connection_option(
		stream->connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned int)DRAIN_TIMEOUT_S);
	stream_resume(stream);
}

static json_t *error_event(int status, const char *code, const char *sentence, json_t *extra)
{
	json_t *line = json_pack("{s:s, s:i}", "event", "error", "status", status);
	json_t *document = error_document(code, sentence, extra);

	json_object_update(line, document);
	json_decref(document);
	return line;
}

static void append_line(struct api_stream *stream, json_t *line)
{
	_free_ char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

	json_decref(line);
	if (!text)
		return;
	buf_adds(&stream->pending, text);
	buf_adds(&stream->pending, "\n");
}

void api_stream_send(struct api_stream *stream, json_t *line)
{
	if (!stream || stream->is_closed) {
		json_decref(line);
		return;
	}
	if (pending_bytes(stream) < API_STREAM_MAX_BYTES) {
		append_line(stream, line);
		stream_resume(stream);
		return;
	}
	json_decref(line);
	append_line(stream, error_event(500, "failed",
				    "the client reads too slowly; lines were dropped here", NULL));
	close_writing(stream);
	stream->tells_closed = true;
	server_wake(stream->server);
}

size_t api_stream_waiting_bytes(const struct api_stream *stream)
{
	return stream ? pending_bytes(stream) : 0;
}

void api_stream_end(struct api_stream *stream)
{
	if (!stream)
		return;
	stream->is_owned = false;
	stream->tells_closed = false;
	if (stream->connection)
		close_writing(stream);
	else
		stream_free(stream);
}

void api_stream_set_closed_cb(struct api_stream *stream, void (*fn)(void *arg), void *arg)
{
	if (!stream)
		return;
	stream->closed_fn = fn;
	stream->closed_arg = arg;
}

bool api_stream_is_closed(const struct api_stream *stream)
{
	return !stream || stream->is_closed || stream->is_hung_up;
}

static void send_message(struct api_stream *stream, const char *event, const char *format,
	va_list ap) __attribute__((format(printf, 3, 0)));

static void send_message(
	struct api_stream *stream, const char *event, const char *format, va_list ap)
{
	char message[1024];

	vsnprintf(message, sizeof(message), format, ap);
	api_stream_send(
		stream, json_pack("{s:s, s:o}", "event", event, "message", sentence_json(message)));
}

void api_stream_progress(struct api_stream *stream, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	send_message(stream, "progress", format, ap);
	va_end(ap);
}

void api_stream_warning(struct api_stream *stream, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	send_message(stream, "warning", format, ap);
	va_end(ap);
}

void api_stream_done(struct api_stream *stream, json_t *result)
{
	api_stream_send(stream,
		json_pack("{s:s, s:o}", "event", "done", "result", result ? result : json_null()));
	api_stream_end(stream);
}

void api_stream_fail(struct api_stream *stream, int status, const char *code, const char *sentence,
	json_t *extra)
{
	api_stream_send(stream, error_event(status, code, sentence, extra));
	api_stream_end(stream);
}
