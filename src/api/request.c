/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: reading its body, finding its handler, giving its answer; see server.h.
 *
 * MHD calls request_handle() with the headers, with each part of the body, at its end, and again
 * whenever a suspended connection was resumed. A response can be queued at the end or later, never
 * in between: that is why too long a body is read to its end (within reason) before it is refused.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/server_impl.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#define UPLOAD_DRAIN_MAX_BYTES ((uint64_t)64 << 20)

static void request_free(struct api_request *req)
{
	if (req->server)
		LIST_REMOVE(req, link);
	if (req->response)
		MHD_destroy_response(req->response);
	target_clear(&req->target);
	free(req->refusal);
	buf_clear(&req->upload);
	json_decref(req->body);
	free(req);
}

void request_resume(struct api_request *req)
{
	if (!req->is_suspended)
		return;
	req->is_suspended = false;
	MHD_resume_connection(req->connection);
	/* MHD looks for resumed connections only when it runs. */
	server_wake(req->server);
}

void request_answer(struct api_request *req, int status, struct MHD_Response *response)
{
	assert(!req->is_answered);
	req->is_answered = true;
	req->status = status;
	req->response = response;
	if (req->is_deferred && !req->connection) {
		request_free(req);
		return;
	}
	req->is_deferred = false;
	request_resume(req);
}

/* A sentence may quote what a program printed or a file is called, which need not be UTF-8. */
json_t *sentence_json(const char *sentence)
{
	json_t *text = json_string(sentence);
	_free_ char *copy = NULL;

	if (text)
		return text;
	copy = strdup(sentence);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(copy);
}

json_t *error_document(const char *code, const char *sentence, json_t *extra)
{
	json_t *document = json_pack("{s:o, s:s}", "error", sentence_json(sentence), "code", code);

	if (document && extra)
		json_object_update_missing(document, extra);
	json_decref(extra);
	return document;
}

static struct MHD_Response *json_response(json_t *json)
{
	_free_ char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	_cleanup_(buf_clear) struct buf body = {};
	struct MHD_Response *response;
	size_t len;

	json_decref(json);
	if (!text)
		return NULL;
	buf_adds(&body, text);
	buf_adds(&body, "\n");
	len = body.len;
	response = MHD_create_response_from_buffer(len, body.data, MHD_RESPMEM_MUST_FREE);
	if (!response)
		return NULL;
	(void)buf_take(&body);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return response;
}

static struct MHD_Response *failed_response(void)
{
	static char text[] =
		"{\"error\":\"wherryd could not write the answer as JSON; journalctl -u "
		"wherryd may say why\",\"code\":\"failed\"}\n";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);

	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return response;
}

void api_reply_json(struct api_request *req, int status, json_t *json)
{
	struct MHD_Response *response = json_response(json);

	if (response)
		request_answer(req, status, response);
	else
		request_answer(req, 500, failed_response());
}

void api_reply_error(
	struct api_request *req, int status, const char *code, const char *sentence, json_t *extra)
{
	api_reply_json(req, status, error_document(code, sentence, extra));
}

void api_request_defer(struct api_request *req)
{
	if (!req->is_answered)
		req->is_deferred = true;
}

static void reply_not_routed(struct api_request *req, const struct buf *allow)
{
	struct MHD_Response *response;
	struct err err = {};

	if (!allow->len) {
		err_set(&err, 0, "there is no %s in this API; docs/api.md lists its paths",
			req->target.path);
		api_reply_error(req, 404, "not_found", err.text, NULL);
		return;
	}
	err_set(&err, 0, "%s does not take %s; it takes %s", req->target.path, req->method,
		allow->data);
	response = json_response(error_document("invalid_request", err.text, NULL));
	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow->data);
	request_answer(req, 405, response ? response : failed_response());
}

/* Returns 0 with req->body, or -EINVAL when the request was answered already. */
static int read_body(struct api_request *req)
{
	struct err err = {};
	json_error_t error;

	if (req->upload_bytes > API_BODY_MAX_BYTES) {
		err_set(&err, 0, "the body is larger than the limit of %zu MiB",
			API_BODY_MAX_BYTES >> 20);
		api_reply_error(req, 413, "invalid_request", err.text, NULL);
		return -EINVAL;
	}
	if (!req->upload.len)
		return 0;
	req->body = json_loadb(req->upload.data, req->upload.len,
		JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	buf_clear(&req->upload);
	if (req->body && json_is_object(req->body))
		return 0;
	if (req->body)
		err_set(&err, 0, "the body is JSON, but not an object: {...} is expected");
	else
		err_set(&err, 0, "the body is not JSON: line %d, column %d: %s", error.line,
			error.column, error.text);
	api_reply_error(req, 400, "invalid_request", err.text, NULL);
	return -EINVAL;
}

static void dispatch(struct api_request *req)
{
	_cleanup_(buf_clear) struct buf allow = {};
	const struct api_route *route;

	if (req->server->is_closing) {
		api_reply_error(req, 503, "unavailable",
			"wherryd is being stopped; ask again when it is back", NULL);
		return;
	}
	route = router_find(req->server->routes, req->method, &req->target, &allow);
	if (!route) {
		reply_not_routed(req, &allow);
		return;
	}
	if (read_body(req) < 0)
		return;
	route->handler(req, req->server->arg);
	if (req->is_answered || req->is_deferred)
		return;
	log_error("api-no-answer", "method=%s route=\"%s\"", route->method, route->pattern);
	api_reply_error(
		req, 500, "failed", "wherryd has no answer to this; please report it", NULL);
}

void *request_begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
	struct api_request *req = calloc(1, sizeof(*req));
	struct err err = {};

	if (!req)
		return NULL;
	req->server = cls;
	req->connection = connection;
	LIST_INSERT_HEAD(&req->server->requests, req, link);
	/* Nothing can be answered before the whole request is there. */
	if (target_parse(uri, &req->target, &err) < 0)
		req->refusal = strdup(err.text);
	return req;
}

static enum MHD_Result receive(struct api_request *req, const char *data, size_t len)
{
	req->upload_bytes += len;
	if (req->upload_bytes > UPLOAD_DRAIN_MAX_BYTES)
		return MHD_NO;
	if (req->upload_bytes <= API_BODY_MAX_BYTES)
		buf_add(&req->upload, data, len);
	else
		buf_clear(&req->upload);
	return MHD_YES;
}

static enum MHD_Result queue_answer(struct api_request *req)
{
	struct MHD_Response *response = take_ptr(req->response);
	enum MHD_Result result;

	if (!response)
		return MHD_NO; /* out of memory: closes the connection */
	result = MHD_queue_response(req->connection, (unsigned int)req->status, response);
	MHD_destroy_response(response);
	return result;
}

enum MHD_Result request_handle(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *data_len,
	void **connection_arg)
{
	struct api_request *req = *connection_arg;

	(void)cls, (void)url, (void)version;
	if (!req)
		return MHD_NO;
	if (!req->has_headers) {
		req->has_headers = true;
		snprintf(req->method, sizeof(req->method), "%s", method);
		return MHD_YES;
	}
	if (*data_len) {
		size_t len = *data_len;

		*data_len = 0;
		return receive(req, data, len);
	}
	if (!req->is_handled) {
		req->is_handled = true;
		if (req->refusal)
			api_reply_error(req, 400, "invalid_request", req->refusal, NULL);
		else
			dispatch(req);
	}
	if (req->is_answered)
		return queue_answer(req);
	req->is_suspended = true;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

void request_completed(void *cls, struct MHD_Connection *connection, void **connection_arg,
	enum MHD_RequestTerminationCode code)
{
	struct api_request *req = *connection_arg;

	(void)cls, (void)connection, (void)code;
	*connection_arg = NULL;
	if (!req)
		return;
	if (req->stream)
		stream_detach(take_ptr(req->stream));
	req->connection = NULL;
	req->is_suspended = false;
	if (!req->is_deferred)
		request_free(req);
}

const char *api_request_method(const struct api_request *req)
{
	return req->method;
}

const char *api_request_param(const struct api_request *req, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < req->target.param_count; i++) {
		const struct target_pair *pair = &req->target.params[i];

		if (strncmp(pair->name, name, len) == 0 &&
			(pair->name[len] == '/' || pair->name[len] == '\0'))
			return pair->value;
	}
	return NULL;
}

const char *api_request_query(const struct api_request *req, const char *name)
{
	for (size_t i = req->target.query_count; i-- > 0;)
		if (strcmp(req->target.query[i].name, name) == 0)
			return req->target.query[i].value;
	return NULL;
}

json_t *api_request_body(const struct api_request *req)
{
	return req->body;
}
