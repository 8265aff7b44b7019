/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to etcd by libcurl; see etcd_http.h. A request goes to the wire once: libcurl would
 * send it again by itself when a connection that was kept turns out to be dead, and a transaction
 * that is done twice is told "a compare did not hold" of its own work.
 */
#include "store/etcd_http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"

#define CONNECT_LIMIT_MS 1000

/* gRPC's status codes that say that nothing was done. */
enum {
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_NOT_FOUND = 5,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNAUTHENTICATED = 16,
};

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct etcd_exchange *x = arg;
	size_t len = size * count;

	if (x->answer.len + len > x->answer_max_bytes) {
		x->is_too_large = true;
		return CURL_WRITEFUNC_ERROR;
	}
	buf_add(&x->answer, data, len);
	return len;
}

static int on_start(void *arg, char *a, char *b, int c, int d)
{
	struct etcd_exchange *x = arg;

	(void)a, (void)b, (void)c, (void)d;
	return x->starts++ ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* The stream of changes may be silent for long: the kernel notices when nobody is there. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype type)
{
	unsigned int dead_after_ms = 4000;
	int on = 1, idle_s = 2, interval_s = 1;

	(void)arg, (void)type;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_after_ms, sizeof(dead_after_ms));
	return CURL_SOCKOPT_OK;
}

static bool set_tls(CURL *curl, const struct etcd_tls *tls)
{
	bool ok = true;

	if (tls->ca_file) {
		ok &= curl_easy_setopt(curl, CURLOPT_CAINFO, tls->ca_file) == CURLE_OK;
		ok &= curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK;
	}
	if (tls->cert_file)
		ok &= curl_easy_setopt(curl, CURLOPT_SSLCERT, tls->cert_file) == CURLE_OK;
	if (tls->key_file)
		ok &= curl_easy_setopt(curl, CURLOPT_SSLKEY, tls->key_file) == CURLE_OK;
	return ok;
}

/* "hasleader": a member that is cut off from the others says so, and ends a stream of changes. */
static bool set_headers(struct etcd_exchange *x)
{
	static const char *const lines[] = {
		"Content-Type: application/json",
		"Grpc-Metadata-hasleader: true",
		"Expect:",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct curl_slist *headers = curl_slist_append(x->headers, lines[i]);

		if (!headers)
			return false;
		x->headers = headers;
	}
	return curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, x->headers) == CURLE_OK;
}

int etcd_exchange_init(struct etcd_exchange *x, const struct etcd_tls *tls)
{
	CURL *curl = x->curl = curl_easy_init();
	bool ok = curl != NULL;

	if (!ok)
		return -ENOMEM;
	ok &= set_headers(x) && set_tls(curl, tls);
	ok &= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, x->error) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_WRITEDATA, x) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_start) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_PREREQDATA, x) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, on_socket) == CURLE_OK;
	ok &= curl_easy_setopt(curl, CURLOPT_PRIVATE, x) == CURLE_OK;
	return ok ? 0 : -ENOMEM;
}

void etcd_exchange_clear(struct etcd_exchange *x)
{
	curl_easy_cleanup(x->curl);
	curl_slist_free_all(x->headers);
	buf_clear(&x->body);
	buf_clear(&x->answer);
	*x = (struct etcd_exchange){};
}

void etcd_exchange_set(
	struct etcd_exchange *x, bool is_tls, const char *endpoint, const char *path, long limit_ms)
{
	char url[512];

	/* Cannot fail but for want of memory, and then the request fails, having no body or URL. */
	snprintf(url, sizeof(url), "%s://%s/v3/%s", is_tls ? "https" : "http", endpoint, path);
	curl_easy_setopt(x->curl, CURLOPT_URL, url);
	curl_easy_setopt(x->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.len);
	curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, x->body.data ? x->body.data : "");
	curl_easy_setopt(x->curl, CURLOPT_TIMEOUT_MS, limit_ms);
	curl_easy_setopt(x->curl, CURLOPT_CONNECTTIMEOUT_MS,
		x->connect_limit_ms ? x->connect_limit_ms : (long)CONNECT_LIMIT_MS);
	x->endpoint = endpoint;
	x->answer.len = 0;
	x->is_too_large = false;
	x->starts = 0;
	x->error[0] = '\0';
}

static void set_failure(struct etcd_failure *out, const char *reason)
{
	out->code = 0;
	snprintf(out->message, sizeof(out->message), "%.255s", reason);
}

static enum etcd_outcome of_failure(const struct etcd_failure *failure)
{
	switch (failure->code) {
	case GRPC_INVALID_ARGUMENT:
	case GRPC_NOT_FOUND:
	case GRPC_PERMISSION_DENIED:
	case GRPC_RESOURCE_EXHAUSTED:
	case GRPC_FAILED_PRECONDITION:
	case GRPC_OUT_OF_RANGE:
	case GRPC_UNAUTHENTICATED:
		return ETCD_REFUSED;
	}
	/* Said before anything was proposed to the others. */
	if (strstr(failure->message, "no leader") || strstr(failure->message, "proposal dropped"))
		return ETCD_UNREACHED;
	return ETCD_UNKNOWN;
}

enum etcd_outcome etcd_exchange_outcome(
	struct etcd_exchange *x, CURLcode code, struct etcd_failure *failure)
{
	long status = 0;

	*failure = (struct etcd_failure){};
	if (code == CURLE_OPERATION_TIMEDOUT) {
		set_failure(failure, x->starts ? "no answer in time" : "no connection in time");
		return x->starts ? ETCD_UNKNOWN : ETCD_UNREACHED;
	}
	if (code != CURLE_OK) {
		set_failure(failure, x->is_too_large ? "its answer is too large"
				     : x->error[0]   ? x->error
						     : curl_easy_strerror(code));
		return x->starts ? ETCD_UNKNOWN : ETCD_UNREACHED;
	}
	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200)
		return ETCD_ANSWERED;
	if (etcd_json_failure(x->answer.data, x->answer.len, failure) == 0)
		return of_failure(failure);
	set_failure(failure, "what answers there is not etcd");
	return ETCD_UNKNOWN;
}
