/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to one endpoint of etcd and what became of it. The same exchange serves one request
 * after the other and keeps its connection; it is driven by curl_easy_perform() or by the loop.
 */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "store/etcd_json.h"

/* Files in PEM; NULL: the system's authorities, no certificate of one's own. */
struct etcd_tls {
	char *ca_file, *cert_file, *key_file;
};

struct etcd_exchange {
	CURL *curl;
	struct curl_slist *headers;
	const char *endpoint; /* of the request now; borrowed */
	struct buf body, answer;
	size_t answer_max_bytes;
	long connect_limit_ms; /* 0: a second */
	bool is_too_large;     /* the answer was */
	int starts;	       /* how often the request went to the wire */
	char error[CURL_ERROR_SIZE];
	/* The loop's: called when the exchange has ended, out of the loop's hands. */
	void (*done)(struct etcd_exchange *exchange, CURLcode code);
	void *owner;
	bool is_running;
};

enum etcd_outcome {
	ETCD_ANSWERED,	/* 200 */
	ETCD_REFUSED,	/* etcd said no: nothing has changed, and another endpoint says no, too */
	ETCD_UNREACHED, /* nothing has changed; another endpoint may take it */
	ETCD_UNKNOWN,	/* no answer to be had: what was asked for may have been done or not */
};

int etcd_exchange_init(struct etcd_exchange *exchange, const struct etcd_tls *tls);
void etcd_exchange_clear(struct etcd_exchange *exchange);

/* Makes the exchange ready to POST @exchange->body to @endpoint's @path; @limit_ms 0: none. */
void etcd_exchange_set(struct etcd_exchange *exchange, bool is_tls, const char *endpoint,
	const char *path, long limit_ms);

/*
 * What became of it. @failure is filled for all but ETCD_ANSWERED, with a reason in words and
 * etcd's code (0: it is not etcd who failed).
 */
enum etcd_outcome etcd_exchange_outcome(
	struct etcd_exchange *exchange, CURLcode code, struct etcd_failure *failure);
