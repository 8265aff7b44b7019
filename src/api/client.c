/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of the API, by libcurl; see client.h. Each call is one connection: a Unix
 * socket costs nothing to open and a process of wherry makes one or two calls. An answer is taken
 * line by line only when it is a 200 of type application/x-ndjson; everything else is collected
 * and parsed whole.
 */
#include "api/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#define ANSWER_TIMEOUT_MS 30000
#define ANSWER_MAX_BYTES  ((size_t)256 << 20)
#define LINE_MAX_BYTES	  ((size_t)16 << 20)

enum reading {
	READING_HEADERS,
	READING_LINES,
	READING_DOCUMENT,
};

struct exchange {
	CURL *curl;
	const char *method;
	const char *path;
	api_line_fn *fn; /* NULL: lines are not asked for */
	void *arg;
	struct buf text; /* the document, or the line that is not complete yet */
	enum reading reading;
	uint64_t last_byte_ms;
	uint64_t answer_timeout_ms;
	bool is_late;
	int code;	 /* what stopped the transfer from within; 0: nothing did */
	struct err *err; /* the sentence for a negative code */
};

static void curl_easyp(CURL **curl)
{
	curl_easy_cleanup(*curl);
}

static void curl_listp(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

static int refuse_answer(struct exchange *x)
{
	return err_set(x->err, -EPROTO,
		"the answer to %s %s is not what the API promises; are wherry and wherryd of the "
		"same version?",
		x->method, x->path);
}

static int take_line(struct exchange *x, const char *text, size_t len)
{
	json_t *line;
	int r;

	if (len == 0)
		return 0;
	line = json_loadb(text, len, 0, NULL);
	if (!line)
		return refuse_answer(x);
	r = x->fn(x->arg, line);
	json_decref(line);
	return r;
}

static int take_lines(struct exchange *x, const char *data, size_t len)
{
	const char *end;
	int r;

	while ((end = memchr(data, '\n', len))) {
		size_t part = (size_t)(end - data);

		buf_add(&x->text, data, part);
		r = take_line(x, x->text.data, x->text.len);
		x->text.len = 0;
		if (r)
			return r;
		data += part + 1;
		len -= part + 1;
	}
	if (x->text.len + len > LINE_MAX_BYTES)
		return refuse_answer(x);
	buf_add(&x->text, data, len);
	return 0;
}

static enum reading kind_of_answer(struct exchange *x)
{
	static const char ndjson[] = "application/x-ndjson";
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(x->curl, CURLINFO_CONTENT_TYPE, &type);
	if (x->fn && status == 200 && type && strncmp(type, ndjson, sizeof(ndjson) - 1) == 0)
		return READING_LINES;
	return READING_DOCUMENT;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;
	size_t len = size * count;

	x->last_byte_ms = clock_now_ms();
	if (x->reading == READING_HEADERS)
		x->reading = kind_of_answer(x);
	if (x->reading == READING_LINES)
		x->code = take_lines(x, data, len);
	else if (x->text.len + len > ANSWER_MAX_BYTES)
		x->code = refuse_answer(x);
	else
		buf_add(&x->text, data, len);
	return x->code ? CURL_WRITEFUNC_ERROR : len;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;

	/* The empty line: from here on a stream may be silent for as long as it likes. */
	x->last_byte_ms = clock_now_ms();
	if (size * count == 2 && data[0] == '\r' && x->reading == READING_HEADERS)
		x->reading = kind_of_answer(x);
	return size * count;
}

/* libcurl calls this at least once a second. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct exchange *x = arg;

	(void)a, (void)b, (void)c, (void)d;
	if (x->reading == READING_LINES)
		return 0;
	x->is_late = clock_now_ms() - x->last_byte_ms > x->answer_timeout_ms;
	return x->is_late;
}

static int connect_failed(CURL *curl, const char *socket_path, struct err *err)
{
	long code = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &code);
	if (code == EACCES || code == EPERM)
		return err_set(err, -EACCES,
			"this user may not talk to wherryd on %s; run the command as root (sudo)",
			socket_path);
	if (code == EAGAIN)
		return err_set(err, -ETIMEDOUT,
			"wherryd on %s is too busy to answer; try again in a moment", socket_path);
	return err_set(err, -ECONNREFUSED,
		"wherryd does not answer on %s; is it running? systemctl start wherryd",
		socket_path);
}

static int transfer_failed(
	struct exchange *x, CURLcode result, const char *socket_path, struct err *err)
{
	if (x->code)
		return x->code;
	if (x->is_late)
		return err_set(err, -ETIMEDOUT,
			"wherryd did not answer %s %s within %llu s; systemctl status wherryd says "
			"what it does",
			x->method, x->path,
			(unsigned long long)(x->answer_timeout_ms + 999) / 1000);
	switch (result) {
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
		return connect_failed(x->curl, socket_path, err);
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return err_set(err, -ECONNRESET,
			"the connection to wherryd broke before the answer was complete; "
			"journalctl -u "
			"wherryd says why");
	case CURLE_OUT_OF_MEMORY:
		return err_errno(err, -ENOMEM, "cannot talk to wherryd");
	default:
		return err_set(err, -EPROTO, "what answers on %s is not wherryd: %s", socket_path,
			curl_easy_strerror(result));
	}
}

static int set_request(
	struct exchange *x, const char *socket_path, const char *body, struct curl_slist *headers)
{
	CURL *curl = x->curl;
	_free_ char *url = NULL;
	bool ok = true;

	if (asprintf(&url, "http://wherry%s", x->path) < 0)
		return -ENOMEM;
	ok &= curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
	/* An app called ".." is asked for as such. */
	ok &= curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)x->answer_timeout_ms) ==
	      CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
	if (body || strcmp(x->method, "POST") == 0) {
		ok &= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE,
			      body ? (long)strlen(body) : 0L) == CURLE_OK;
		ok &= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body ? body : "") == CURLE_OK;
	}
	ok &= curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, x->method) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_WRITEDATA, x) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_HEADERDATA, x) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
	return ok ? 0 : -ENOMEM;
}

static int finish_answer(struct exchange *x, json_t **reply, struct err *err)
{
	if (x->reading == READING_LINES) {
		if (x->text.len)
			return err_set(err, -ECONNRESET,
				"the connection to wherryd broke in the middle of a line; "
				"journalctl -u "
				"wherryd says why");
		*reply = NULL;
		return 0;
	}
	*reply = json_loadb(x->text.data ? x->text.data : "", x->text.len, JSON_DECODE_ANY, NULL);
	return *reply ? 0 : refuse_answer(x);
}

int api_stream(const struct api_client *client, const char *method, const char *path, json_t *body,
	api_line_fn *fn, void *arg, int *status, json_t **reply, struct err *err)
{
	const char *socket_path = client->socket_path ? client->socket_path : API_SOCKET_PATH;
	_cleanup_(curl_listp) struct curl_slist *headers = NULL;
	_cleanup_(curl_easyp) CURL *curl = curl_easy_init();
	_cleanup_(buf_clear) struct buf text = {};
	_free_ char *body_text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct exchange x = {
		.curl = curl,
		.method = method,
		.path = path,
		.fn = fn,
		.arg = arg,
		.last_byte_ms = clock_now_ms(),
		.answer_timeout_ms =
			client->answer_timeout_ms ? client->answer_timeout_ms : ANSWER_TIMEOUT_MS,
		.err = err,
	};
	CURLcode result;
	long code = 0;
	int r;

	if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_errno(err, -ENAMETOOLONG, "cannot connect to %s", socket_path);
	/* wherryd reads bodies at once; waiting for "100 Continue" would only cost time. */
	headers = curl_slist_append(headers, "Expect:");
	if (headers && body)
		headers = curl_slist_append(headers, "Content-Type: application/json");
	if (!curl || !headers || (body && !body_text) ||
		set_request(&x, socket_path, body_text, headers) < 0)
		return err_errno(err, -ENOMEM, "cannot talk to wherryd");

	result = curl_easy_perform(curl);
	text = x.text;
	if (result != CURLE_OK)
		return transfer_failed(&x, result, socket_path, err);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	if (x.reading == READING_HEADERS)
		x.reading = READING_DOCUMENT;
	r = finish_answer(&x, reply, err);
	if (r == 0)
		*status = (int)code;
	return r;
}

int api_call(const struct api_client *client, const char *method, const char *path, json_t *body,
	int *status, json_t **reply, struct err *err)
{
	return api_stream(client, method, path, body, NULL, NULL, status, reply, err);
}

struct job {
	api_progress_fn *fn;
	void *arg;
	int status;    /* 0: not ended yet */
	json_t *reply; /* a reference of our own */
};

static int on_job_line(void *arg, json_t *line)
{
	const char *event = json_string_value(json_object_get(line, "event"));
	const char *message = json_string_value(json_object_get(line, "message"));
	struct job *job = arg;

	if (!event || job->status)
		return 0;
	if (strcmp(event, "done") == 0) {
		json_t *result = json_object_get(line, "result");

		job->status = 200;
		job->reply = result ? json_incref(result) : json_null();
	} else if (strcmp(event, "error") == 0) {
		json_int_t status = json_integer_value(json_object_get(line, "status"));

		job->status = status >= 400 && status < 600 ? (int)status : 500;
		job->reply = json_incref(line);
	} else if (job->fn) {
		job->fn(job->arg, event, message ? message : "", line);
	}
	return 0;
}

int api_job(const struct api_client *client, const char *method, const char *path, json_t *body,
	api_progress_fn *fn, void *arg, int *status, json_t **reply, struct err *err)
{
	struct job job = {.fn = fn, .arg = arg};
	json_t *document = NULL;
	int code = 0, r;

	r = api_stream(client, method, path, body, on_job_line, &job, &code, &document, err);
	/* A connection that broke after the last line has told everything. */
	if (job.status) {
		json_decref(document);
		*status = job.status;
		*reply = job.reply;
		return 0;
	}
	if (r < 0)
		return r;
	if (!document)
		return err_set(err, -ECONNRESET,
			"the connection to wherryd broke before the answer was complete; "
			"journalctl -u "
			"wherryd says why, and the work may go on without it");
	*status = code;
	*reply = document;
	return 0;
}

static void add_escaped(struct buf *buf, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (; text && *text; text++) {
		if (strchr(plain, *text))
			buf_add(buf, text, 1);
		else
			buf_addf(buf, "%%%02X", (unsigned char)*text);
	}
}

char *api_path(const char *format, ...)
{
	struct buf path = {};
	va_list ap;

	va_start(ap, format);
	for (; *format; format++) {
		if (*format != '%' || !format[1])
			buf_add(&path, format, 1);
		else if (*++format == 's')
			add_escaped(&path, va_arg(ap, const char *));
		else if (*format == 'd')
			buf_addf(&path, "%d", va_arg(ap, int));
		else
			buf_add(&path, format, 1);
	}
	va_end(ap);
	return buf_take(&path);
}

const char *api_error_text(const json_t *reply)
{
	const char *text = json_string_value(json_object_get(reply, "error"));

	return text ? text : "wherryd failed without saying why; journalctl -u wherryd may";
}

const char *api_error_code(const json_t *reply)
{
	const char *code = json_string_value(json_object_get(reply, "code"));

	return code ? code : "failed";
}
