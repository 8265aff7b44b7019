/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on etcd, in its parts: calls that block (etcd_call.c), the probe that decides whether
 * etcd is away (etcd_probe.c), the stream of changes (etcd_watch.c), the keys under leases
 * (etcd_lease.c). One thread owns it all. The three in the background have the same shape:
 * etcd_x_run() starts what is due and is called by store_dispatch(), etcd_x_due_ms() says when it
 * wants to be called next.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/etcd_http.h"
#include "store/etcd_json.h"
#include "store/etcd_loop.h"
#include "store/etcd_url.h"
#include "store/store_impl.h"

/* A call of store.h is over after this, whatever happens. */
#define ETCD_CALL_LIMIT_MS 2000

struct etcd_probe {
	struct etcd_exchange exchange;
	uint64_t due_ms;
	struct etcd_header seen_before; /* when it was sent */
	size_t failures;		/* in a row */
	unsigned int back_off_ms;
};

struct etcd_watch {
	struct etcd_exchange exchange;
	bool is_wanted;
	bool is_created;     /* etcd has confirmed the stream that runs */
	size_t scanned;	     /* of the answer, without the end of a line */
	int64_t next;	     /* the first revision that the watcher has not been told */
	uint64_t due_ms;     /* when to try again */
	uint64_t confirm_ms; /* by when etcd must have confirmed it */
	unsigned int back_off_ms;
	unsigned int generation; /* counts what makes pending changes obsolete */
};

enum etcd_kept_state {
	ETCD_KEPT_HELD, /* the lease is renewed */
	ETCD_KEPT_LOST, /* the lease is to be granted anew */
	ETCD_KEPT_BARE, /* there is a lease, and the key is to be put back */
};

struct etcd_kept {
	struct etcd_kept *next;
	struct etcd_store *store;
	struct etcd_exchange exchange;
	enum etcd_kept_state state;
	char *key, *value;
	unsigned int ttl_s;
	int64_t lease;
	uint64_t due_ms;
};

struct etcd_store {
	struct store base;
	struct etcd_url url;
	struct etcd_tls tls;
	size_t endpoint; /* the one that is asked first */
	bool is_away;
	char away_reason[256];
	struct etcd_header seen; /* the latest that etcd was at */
	bool has_missed;	 /* the watcher is to be told that it has */
	struct etcd_exchange call;
	CURLM *call_multi; /* of that alone */
	struct etcd_loop loop;
	struct etcd_probe probe;
	struct etcd_watch watch;
	struct etcd_kept *kept;
};

/* Reads an answer into @out; -EPROTO and a sentence when it is none. */
typedef int etcd_parse_fn(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err);

/*
 * Sends s->call.body to one endpoint after the other until one answers, and parses the answer.
 * With @may_repeat also after one that may have done what was asked for. Returns -EHOSTDOWN when
 * none answers, when the store is away, and when it is not known whether it was done; -EMSGSIZE
 * when the answer has over @answer_max_bytes; -ESTALE when the revision that was asked for is
 * compacted; another error for what etcd refuses. Each sentence names the endpoints.
 */
int etcd_call(struct etcd_store *s, const char *path, bool may_repeat, size_t answer_max_bytes,
	etcd_parse_fn *parse, void *out, struct err *err);

/* The parse functions of etcd_json.h in that form. */
int etcd_parse_header(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err);
int etcd_parse_txn(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err);
int etcd_parse_lease(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err);

/* Where etcd is now, by an answer to a question that was asked when it was at @before. */
void etcd_note_header(
	struct etcd_store *s, const struct etcd_header *before, const struct etcd_header *now);

void etcd_go_away(struct etcd_store *s, const char *endpoint, const char *reason);
int etcd_away_error(const struct etcd_store *s, struct err *err);

int etcd_probe_init(struct etcd_store *s);
void etcd_probe_run(struct etcd_store *s, uint64_t now_ms);
/* At the next occasion: something went wrong. */
void etcd_probe_soon(struct etcd_store *s);

int etcd_watch_init(struct etcd_store *s);
/* Tells of what comes after @revision. */
void etcd_watch_begin(struct etcd_store *s, int64_t revision);
void etcd_watch_end(struct etcd_store *s);
/* Asks for the stream anew, at the endpoint of now. */
void etcd_watch_restart(struct etcd_store *s);
void etcd_watch_run(struct etcd_store *s, uint64_t now_ms);
uint64_t etcd_watch_due_ms(const struct etcd_store *s);

int etcd_lease_keep(struct etcd_store *s, const char *key, const char *value, unsigned int ttl_s,
	struct err *err);
/* Renews every lease at the next occasion: etcd was away. */
void etcd_lease_renew(struct etcd_store *s);
void etcd_lease_run(struct etcd_store *s, uint64_t now_ms);
uint64_t etcd_lease_due_ms(const struct etcd_store *s);
void etcd_lease_clear(struct etcd_store *s);

/* Lets the descriptor be readable when the next thing is due. */
void etcd_arm(struct etcd_store *s);
