/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers of etcd's JSON gateway: int64 are strings, absent fields are zero, keys and values
 * are base64. Pure functions over bytes from outside: whatever is not what etcd promises is
 * -EPROTO and a sentence, and nothing is left to be freed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "store/store.h"

struct err;

/* Where an answer comes from: which cluster, and at which revision. */
struct etcd_header {
	uint64_t cluster_id;
	int64_t revision; /* 0: not said */
};

/* A refusal: gRPC's status code and etcd's words, printable. */
struct etcd_failure {
	int code;
	char message[256];
};

struct etcd_range_answer {
	struct etcd_header header;
	struct store_entries entries; /* without the prefix */
	size_t size;		      /* what entries has room for */
	/* The last key as etcd has it, for the next page; NULL when no more keys follow. */
	char *last_key;
	size_t last_key_len;
};

struct etcd_txn_answer {
	struct etcd_header header;
	bool has_succeeded;
};

struct etcd_lease_answer {
	struct etcd_header header;
	int64_t id;
	int64_t ttl_s; /* 0: there is no such lease any more */
};

struct etcd_change {
	struct store_event event; /* its key and value are owned */
	int64_t revision;
};

struct etcd_watch_answer {
	struct etcd_header header;
	bool is_created;
	bool is_canceled;
	int64_t compact_revision; /* why it was canceled, or 0 */
	struct etcd_change *changes;
	size_t count;
};

/* The body of an answer that is not 200. -EPROTO when it is not one of etcd's. */
int etcd_json_failure(const char *text, size_t len, struct etcd_failure *out);

/* Adds to @out, which begins zeroed and takes one page after the other. */
int etcd_json_range(const char *text, size_t len, const char *prefix, struct etcd_range_answer *out,
	struct err *err);
int etcd_json_txn(const char *text, size_t len, struct etcd_txn_answer *out, struct err *err);
/* Of a grant, and of a keep-alive, which comes as a stream of one. */
int etcd_json_lease(const char *text, size_t len, struct etcd_lease_answer *out, struct err *err);
/* One line of the stream; the caller clears it. An error in it is -EIO with etcd's words. */
int etcd_json_watch(const char *text, size_t len, const char *prefix, struct etcd_watch_answer *out,
	struct err *err);

void etcd_range_answer_clear(struct etcd_range_answer *answer);
void etcd_watch_answer_clear(struct etcd_watch_answer *answer);
