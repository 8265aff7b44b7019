/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What server.c, request.c and stream.c share. A request lives as long as its connection works on
 * it or a handler has deferred it, whichever is longer; a stream as long as its request or its
 * owner. What has lost its other side has a NULL there.
 */
#pragma once

#include <microhttpd.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/router.h"
#include "api/server.h"
#include "base/buf.h"

struct api_stream {
	LIST_ENTRY(api_stream) link;	   /* in the server's list while there is a server */
	struct api_server *server;	   /* NULL: it was freed */
	struct MHD_Connection *connection; /* NULL: the client is gone or was served */
	uv_poll_t *hangup;		   /* closed with the connection; frees itself */
	struct buf pending;
	size_t sent_bytes; /* of pending */
	void (*closed_fn)(void *arg);
	void *closed_arg;
	bool is_owned;	   /* api_stream_end() is still to come */
	bool is_suspended; /* the connection waits for a line */
	bool is_closed;	   /* takes no more lines */
	bool is_hung_up;
	bool tells_closed; /* closed_fn is to be called */
};

struct api_request {
	LIST_ENTRY(api_request) link;
	struct api_server *server;	   /* NULL: it was freed */
	struct MHD_Connection *connection; /* NULL: the client is gone */
	struct target target;
	char *refusal; /* why the target was refused */
	struct buf upload;
	uint64_t upload_bytes; /* also what was not kept */
	json_t *body;
	struct MHD_Response *response; /* waits to be queued */
	int status;
	struct api_stream *stream;
	char method[16];
	bool has_headers;
	bool is_handled;  /* the handler was called */
	bool is_answered; /* there is or was a response */
	bool is_deferred; /* the handler's side holds the request */
	bool is_suspended;
};

struct api_server {
	uv_loop_t *loop;
	struct MHD_Daemon *daemon;
	const struct api_route *routes;
	void *arg;
	LIST_HEAD(, api_request) requests;
	LIST_HEAD(, api_stream) streams;
	uv_poll_t poll;	  /* of MHD's epoll descriptor */
	uv_timer_t timer; /* MHD's timeouts, and closed callbacks that are due */
	int open_handles;
	bool is_closing;
	char *socket_path; /* NULL: not ours to remove */
	uint64_t socket_dev, socket_ino;
};

/* request.c: MHD's callbacks. */
void *request_begin(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result request_handle(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *data_len,
	void **connection_arg);
void request_completed(void *cls, struct MHD_Connection *connection, void **connection_arg,
	enum MHD_RequestTerminationCode code);
/* Lets MHD see a deferred request's connection again, so that it can close it. */
void request_resume(struct api_request *req);

/* request.c: gives the request its response, which is taken over. */
void request_answer(struct api_request *req, int status, struct MHD_Response *response);
json_t *sentence_json(const char *sentence);
json_t *error_document(const char *code, const char *sentence, json_t *extra);

/* stream.c */
void stream_detach(struct api_stream *stream);
void stream_resume(struct api_stream *stream);

/* server.c: runs MHD and due callbacks in the next turn of the loop. */
void server_wake(struct api_server *server);
