/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP check, by libcurl: one request, which passes when it is answered with 2xx. Redirects are
 * not followed, and no name is ever resolved: whatever the URL says, the connection goes to the
 * machine's primary address. libcurl's handles live as long as a look; it tells which sockets to
 * watch and when to call again, and its callbacks change nothing but that. struct http itself is
 * freed by the loop, so its sentences outlive the end of the look.
 *
 * The answer comes from a machine, which is not trusted: of header and of body 64 KiB are read.
 */
#include "health/look.h"
#include "health/socket.h"

#include "base/err.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#define MAX_BYTES (64 * 1024)

/* A socket of libcurl's. */
struct http_watch {
	struct http *http;
	curl_socket_t fd;
	uv_poll_t poll;
	int events;
	struct http_watch *next;
};

struct http {
	struct look *look;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	struct http_watch *watches;
	uv_timer_t timer; /* libcurl's */
	size_t header_bytes, body_bytes;
	int socket_error; /* why there is no socket, with its sentence; 0: there is one */
	struct err err;
	char curl_error[CURL_ERROR_SIZE];
};

static void watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void http_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void remove_watch(struct http_watch *watch)
{
	struct http_watch **at = &watch->http->watches;

	while (*at != watch)
		at = &(*at)->next;
	*at = watch->next;
	uv_close((uv_handle_t *)&watch->poll, watch_closed);
}

static void close_http(struct look *look)
{
	struct http *http = take_ptr(look->http);

	if (!http)
		return;
	if (http->multi) {
		/* What closes now asks for nothing more. */
		curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, NULL);
		curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, NULL);
	}
	while (http->watches)
		remove_watch(http->watches);
	if (http->multi && http->easy)
		curl_multi_remove_handle(http->multi, http->easy);
	curl_easy_cleanup(http->easy);
	curl_multi_cleanup(http->multi);
	curl_slist_free_all(http->headers);
	curl_slist_free_all(http->connect_to);
	uv_close((uv_handle_t *)&http->timer, http_closed);
}

/* The sentence of a request that got no whole answer; @status is 0 before one began. */
static void end_failed(struct look *look, CURLcode result, long status)
{
	const struct http *http = look->http;
	char text[CURL_ERROR_SIZE];
	long error = 0;

	curl_easy_getinfo(http->easy, CURLINFO_OS_ERRNO, &error);
	snprintf(text, sizeof(text), "%s",
		*http->curl_error ? http->curl_error : curl_easy_strerror(result));
	if (http->socket_error)
		look_end(look,
			http->socket_error == -ENOENT || http->socket_error == -EINVAL
				? LOOK_FAILED
				: LOOK_IMPOSSIBLE,
			"%s", http->err.text);
	else if (result == CURLE_COULDNT_CONNECT && error)
		look_end_errno(look, "connect", (int)error);
	else if (result == CURLE_OUT_OF_MEMORY)
		look_end(look, LOOK_IMPOSSIBLE, "cannot look: %s", text);
	else if (status)
		look_end(look, LOOK_FAILED, "answered %ld, but: %s", status, text);
	else
		look_end(look, LOOK_FAILED, "%s", text);
}

static void end_with(struct look *look, CURLcode result)
{
	const struct http *http = look->http;
	bool is_cut = result == CURLE_WRITE_ERROR && http->body_bytes > MAX_BYTES;
	long status = 0;

	curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
	if (http->header_bytes > MAX_BYTES)
		look_end(look, LOOK_FAILED, "answered with a header of more than 64 KiB");
	else if (result != CURLE_OK && !is_cut)
		end_failed(look, result, status);
	else if (status >= 200 && status <= 299)
		look_end(look, LOOK_PASSED, "answered %ld", status);
	else
		look_end(look, LOOK_FAILED, "answered %ld", status);
}

/* Lets libcurl work on @fd, and ends the look when the request is over. */
static void act(struct look *look, curl_socket_t fd, int events)
{
	const CURLMsg *message;
	int count;

	curl_multi_socket_action(look->http->multi, fd, events, &count);
	while ((message = curl_multi_info_read(look->http->multi, &count))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		end_with(look, message->data.result);
		return;
	}
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct http_watch *watch = poll->data;

	/* libuv stops at an error; libcurl finds it, and what came before it, by reading. */
	if (status < 0) {
		uv_poll_start(poll, watch->events, on_event);
		events = UV_READABLE | UV_WRITABLE;
	}
	act(watch->http->look, watch->fd,
		(events & UV_READABLE ? CURL_CSELECT_IN : 0) |
			(events & UV_WRITABLE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(uv_timer_t *timer)
{
	struct http *http = timer->data;

	act(http->look, CURL_SOCKET_TIMEOUT, 0);
}

static struct http_watch *add_watch(struct http *http, curl_socket_t fd)
{
	struct http_watch *watch = calloc(1, sizeof(*watch));

	if (!watch || uv_poll_init_socket(http->timer.loop, &watch->poll, fd) < 0) {
		free(watch);
		return NULL;
	}
	watch->http = http;
	watch->fd = fd;
	watch->poll.data = watch;
	watch->next = http->watches;
	http->watches = watch;
	curl_multi_assign(http->multi, fd, watch);
	return watch;
}

static int curl_wants_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_watch *watch = socket_arg;
	struct http *http = arg;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch)
			remove_watch(watch);
		return 0;
	}
	if (!watch)
		watch = add_watch(http, fd);
	/* A socket that is not watched ends with the timeout. */
	if (watch) {
		watch->events = (what & CURL_POLL_IN ? UV_READABLE : 0) |
				(what & CURL_POLL_OUT ? UV_WRITABLE : 0);
		uv_poll_start(&watch->poll, watch->events, on_event);
	}
	return 0;
}

static int curl_wants_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *http = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&http->timer);
	else
		uv_timer_start(&http->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static curl_socket_t curl_opens_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct http *http = arg;
	int fd = health_socket(http->look->target->netns_path, addr->family, addr->socktype,
		addr->protocol, &http->err);

	(void)purpose;
	if (fd >= 0)
		return fd;
	http->socket_error = fd;
	return CURL_SOCKET_BAD;
}

static size_t curl_has_header(char *data, size_t size, size_t count, void *arg)
{
	struct http *http = arg;

	(void)data;
	http->header_bytes += size * count;
	return http->header_bytes > MAX_BYTES ? 0 : size * count;
}

static size_t curl_has_body(char *data, size_t size, size_t count, void *arg)
{
	struct http *http = arg;

	(void)data;
	http->body_bytes += size * count;
	return http->body_bytes > MAX_BYTES ? 0 : size * count;
}

static bool append(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*list, text);

	if (longer)
		*list = longer;
	return longer != NULL;
}

/* A header without a value is written "Name;", or libcurl leaves it out. */
static bool set_headers(struct http *http, const struct check *check)
{
	bool ok = true;

	for (size_t i = 0; i < check->header_count && ok; i++) {
		const struct env_var *header = &check->headers[i];
		char *text _free_ = NULL;

		if (asprintf(&text, *header->value ? "%s: %s" : "%s;%s", header->name,
			    header->value) < 0)
			return false;
		ok = append(&http->headers, text);
	}
	return ok && curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, http->headers) == CURLE_OK;
}

/* The URL names who is asked, for Host and TLS; CONNECT_TO is where the connection goes. */
static bool set_address(struct http *http, const struct look *look)
{
	const struct check *check = look->check;
	bool is_named = check->https && check->tls_server_name;
	bool is_v6 = look->target->primary.family == AF_INET6;
	char *url _free_ = NULL, *to _free_ = NULL;
	char addr[ADDR_TEXT_LEN], host[ADDR_TEXT_LEN + 2];

	addr_format(&look->target->primary, addr);
	snprintf(host, sizeof(host), is_v6 ? "[%s]" : "%s", addr);
	if (asprintf(&url, "%s://%s:%u/", check->https ? "https" : "http",
		    is_named ? check->tls_server_name : host, look->port) < 0 ||
		asprintf(&to, "::%s:%u", host, look->port) < 0)
		return false;
	return append(&http->connect_to, to) &&
	       curl_easy_setopt(http->easy, CURLOPT_CONNECT_TO, http->connect_to) == CURLE_OK &&
	       curl_easy_setopt(http->easy, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(http->easy, CURLOPT_REQUEST_TARGET, check->path) == CURLE_OK;
}

static bool set_tls(CURL *easy, const struct check *check)
{
	bool ok = true;

	if (!check->https || !check->tls_skip_verify)
		return true;
	ok &= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK;
	/* The host's authorities would be read from disk each time, for nothing. */
	ok &= curl_easy_setopt(easy, CURLOPT_CAINFO, NULL) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK;
	return ok;
}

/* libcurl copies all strings but the lists. */
static bool set_request(struct http *http, const struct look *look)
{
	const struct check *check = look->check;
	CURL *easy = http->easy;
	bool ok = true;

	ok &= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_USERAGENT, "wherry/" WHERRY_VERSION) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->curl_error) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, curl_opens_socket) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, http) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, curl_has_header) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_HEADERDATA, http) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, curl_has_body) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_WRITEDATA, http) == CURLE_OK;
	/* The method comes after it: NOBODY sets one. */
	ok &= curl_easy_setopt(easy, CURLOPT_NOBODY,
		      strcmp(check->method, "HEAD") == 0 ? 1L : 0L) == CURLE_OK;
	ok &= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, check->method) == CURLE_OK;
	return ok && set_tls(easy, check) && set_address(http, look) && set_headers(http, check);
}

static bool set_callbacks(struct http *http)
{
	CURLM *multi = http->multi;
	bool ok = true;

	ok &= curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, curl_wants_socket) == CURLM_OK;
	ok &= curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, http) == CURLM_OK;
	ok &= curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, curl_wants_timer) == CURLM_OK;
	ok &= curl_multi_setopt(multi, CURLMOPT_TIMERDATA, http) == CURLM_OK;
	return ok;
}

static void begin(struct look *look)
{
	struct http *http = calloc(1, sizeof(*http));

	look->http = http;
	if (http) {
		http->look = look;
		uv_timer_init(look->timer.loop, &http->timer);
		http->timer.data = http;
		http->multi = curl_multi_init();
		http->easy = curl_easy_init();
	}
	if (!http || !http->multi || !http->easy || !set_callbacks(http) ||
		!set_request(http, look) ||
		curl_multi_add_handle(http->multi, http->easy) != CURLM_OK)
		look_end(look, LOOK_IMPOSSIBLE, "cannot look: libcurl cannot make a request");
}

static void late(struct look *look)
{
	long status = 0;

	curl_easy_getinfo(look->http->easy, CURLINFO_RESPONSE_CODE, &status);
	look_end_late(look, status ? "the answer did not end" : "no answer");
}

const struct look_kind look_http = {
	.type = "http", .begin = begin, .late = late, .close = close_http};
