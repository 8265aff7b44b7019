/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to wherryd over its Unix socket (docs/api.md): calls that answer with one JSON document,
 * streams that answer with a JSON object a line, and jobs, which are streams that say in their
 * last line how the work ended.
 *
 * All block until the answer is complete. An answer that arrived is a success here whatever its
 * HTTP status is: the caller looks at *status. Failures are the cases without an answer:
 *   -ECONNREFUSED  wherryd does not run (also when its socket is absent)
 *   -EACCES        the socket may not be opened by this user
 *   -ETIMEDOUT     no answer began within the time limit
 *   -ECONNRESET    the connection broke before the answer was complete
 *   -EPROTO        what answered does not speak the API
 */
#pragma once

#include <jansson.h>

struct err;

#define API_SOCKET_PATH "/run/wherry/wherryd.sock"

struct api_client {
	const char *socket_path;	/* NULL: API_SOCKET_PATH */
	unsigned int answer_timeout_ms; /* until the answer begins; 0: 30 seconds */
};

/*
 * Makes a path of @format, in which %s stands for percent-encoded text (one segment or one query
 * value) and %d for an int; nothing else is understood. The caller frees it.
 */
char *api_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* @body is borrowed and may be NULL. *reply is never NULL on success; the caller owns it. */
int api_call(const struct api_client *client, const char *method, const char *path, json_t *body,
	int *status, json_t **reply, struct err *err);

/* Called for each line; @line is borrowed. A value other than 0 ends the stream, which returns it.
 */
typedef int api_line_fn(void *arg, json_t *line);

/*
 * Hands every line to @fn until the server ends the stream; there is no time limit once it began.
 * What was refused at once comes without a line: *status is not 200 and *reply is its document
 * (NULL otherwise).
 */
int api_stream(const struct api_client *client, const char *method, const char *path, json_t *body,
	api_line_fn *fn, void *arg, int *status, json_t **reply, struct err *err);

/* @event is "progress" or "warning"; @line is the whole object, borrowed. */
typedef void api_progress_fn(void *arg, const char *event, const char *message, json_t *line);

/*
 * Like api_call() for the calls that answer with a stream of events: *status is 200 and *reply the
 * result of "done", or they are the status and the object of "error" (or of a refusal at once).
 * @fn may be NULL. -ECONNRESET also when the stream ended without saying how.
 */
int api_job(const struct api_client *client, const char *method, const char *path, json_t *body,
	api_progress_fn *fn, void *arg, int *status, json_t **reply, struct err *err);

/* The sentence of a failure's document, or a general one; never NULL, valid as long as @reply. */
const char *api_error_text(const json_t *reply);
/* The document's "code", or "failed". */
const char *api_error_code(const json_t *reply);
