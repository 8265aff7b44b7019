/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that live as long as this process: each on a lease of its own, renewed at a third of its
 * time. A lease that ran out while etcd was away (or that a restored etcd does not know) is granted
 * anew and the key put back. Closing the store leaves the leases to run out: a daemon that restarts
 * is not a host that died.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/etcd_body.h"
#include "store/etcd_impl.h"

#define REQUEST_LIMIT_MS 1500
#define TRY_AGAIN_MS	 500
#define ANSWER_MAX_BYTES ((size_t)64 << 10)

static void renewed(struct etcd_kept *kept)
{
	kept->state = ETCD_KEPT_HELD;
	kept->due_ms = clock_now_ms() + (uint64_t)kept->ttl_s * 1000 / 3;
}

static int take_answer(struct etcd_kept *kept)
{
	const struct buf *text = &kept->exchange.answer;
	struct etcd_lease_answer lease = {};
	struct etcd_txn_answer txn = {};
	int r;

	if (kept->state == ETCD_KEPT_BARE) {
		r = etcd_json_txn(text->data, text->len, &txn, NULL);
		if (r == 0)
			renewed(kept);
		return r;
	}
	r = etcd_json_lease(text->data, text->len, &lease, NULL);
	if (r < 0)
		return r;
	if (kept->state == ETCD_KEPT_LOST) {
		if (!lease.id)
			return -EPROTO;
		kept->lease = lease.id;
		kept->state = ETCD_KEPT_BARE;
	} else if (lease.ttl_s > 0) {
		renewed(kept);
	} else {
		kept->state = ETCD_KEPT_LOST;
	}
	return 0;
}

static void on_done(struct etcd_exchange *exchange, CURLcode code)
{
	struct etcd_kept *kept = exchange->owner;
	struct etcd_failure failure;

	kept->due_ms = clock_now_ms(); /* what follows, follows at once */
	switch (etcd_exchange_outcome(exchange, code, &failure)) {
	case ETCD_ANSWERED:
		if (take_answer(kept) == 0)
			return;
		break;
	case ETCD_REFUSED: /* to put under a lease that is gone by now */
		kept->state = ETCD_KEPT_LOST;
		break;
	case ETCD_UNREACHED:
	case ETCD_UNKNOWN:
		break;
	}
	kept->due_ms = clock_now_ms() + TRY_AGAIN_MS;
}

static void start(struct etcd_store *s, struct etcd_kept *kept)
{
	struct store_op op = {STORE_PUT, kept->key, kept->value};
	struct buf *body = &kept->exchange.body;
	const char *path = "lease/keepalive";

	body->len = 0;
	if (kept->state == ETCD_KEPT_HELD) {
		etcd_body_keepalive(body, kept->lease);
	} else if (kept->state == ETCD_KEPT_LOST) {
		etcd_body_grant(body, kept->ttl_s);
		path = "lease/grant";
	} else {
		etcd_body_txn(body, s->url.prefix, NULL, 0, &op, 1, kept->lease);
		path = "kv/txn";
	}
	kept->due_ms = clock_now_ms() + TRY_AGAIN_MS;
	etcd_exchange_set(&kept->exchange, s->url.is_tls, s->url.endpoints[s->endpoint], path,
		REQUEST_LIMIT_MS);
	etcd_loop_add(&s->loop, &kept->exchange);
}

void etcd_lease_run(struct etcd_store *s, uint64_t now_ms)
{
	if (s->is_away)
		return;
	for (struct etcd_kept *kept = s->kept; kept; kept = kept->next)
		if (!kept->exchange.is_running && now_ms >= kept->due_ms)
			start(s, kept);
}

uint64_t etcd_lease_due_ms(const struct etcd_store *s)
{
	uint64_t due_ms = ETCD_NEVER;

	for (const struct etcd_kept *kept = s->kept; kept && !s->is_away; kept = kept->next)
		if (!kept->exchange.is_running && kept->due_ms < due_ms)
			due_ms = kept->due_ms;
	return due_ms;
}

void etcd_lease_renew(struct etcd_store *s)
{
	for (struct etcd_kept *kept = s->kept; kept; kept = kept->next)
		kept->due_ms = clock_now_ms();
}

static void kept_free(struct etcd_kept *kept)
{
	if (kept->exchange.is_running)
		etcd_loop_remove(&kept->store->loop, &kept->exchange);
	etcd_exchange_clear(&kept->exchange);
	free(kept->key);
	free(kept->value);
	free(kept);
}
DEFINE_CLEANUP(struct etcd_kept *, kept_free)

void etcd_lease_clear(struct etcd_store *s)
{
	while (s->kept) {
		struct etcd_kept *kept = s->kept;

		s->kept = kept->next;
		kept_free(kept);
	}
}

static int kept_new(struct etcd_kept **out, struct etcd_store *s, const char *key)
{
	_cleanup_(kept_freep) struct etcd_kept *kept = calloc(1, sizeof(*kept));

	if (!kept)
		return -ENOMEM;
	kept->store = s;
	kept->key = strdup(key);
	if (!kept->key || etcd_exchange_init(&kept->exchange, &s->tls) < 0)
		return -ENOMEM;
	kept->exchange.owner = kept;
	kept->exchange.done = on_done;
	kept->exchange.answer_max_bytes = ANSWER_MAX_BYTES;
	*out = take_ptr(kept);
	return 0;
}

static int grant(struct etcd_store *s, unsigned int ttl_s, int64_t *out, struct err *err)
{
	struct etcd_lease_answer answer = {};
	int r;

	s->call.body.len = 0;
	etcd_body_grant(&s->call.body, ttl_s);
	/* One that is granted twice runs out unused. */
	r = etcd_call(s, "lease/grant", true, ANSWER_MAX_BYTES, etcd_parse_lease, &answer, err);
	if (r == 0 && !answer.id)
		return err_set(err, -EPROTO, "etcd at %s granted no lease", s->url.names);
	*out = answer.id;
	return r;
}

/* The same key and value twice are as good as once. */
static int put(
	struct etcd_store *s, const char *key, const char *value, int64_t lease, struct err *err)
{
	struct store_op op = {STORE_PUT, key, value};
	struct etcd_header before = s->seen;
	struct etcd_txn_answer answer = {};
	int r;

	s->call.body.len = 0;
	etcd_body_txn(&s->call.body, s->url.prefix, NULL, 0, &op, 1, lease);
	r = etcd_call(s, "kv/txn", true, ANSWER_MAX_BYTES, etcd_parse_txn, &answer, err);
	if (r == 0)
		etcd_note_header(s, &before, &answer.header);
	return r;
}

int etcd_lease_keep(struct etcd_store *s, const char *key, const char *value, unsigned int ttl_s,
	struct err *err)
{
	_cleanup_(kept_freep) struct etcd_kept *fresh = NULL;
	struct etcd_kept *kept = s->kept;
	int64_t lease = 0;
	char *copy;
	int r;

	while (kept && strcmp(kept->key, key) != 0)
		kept = kept->next;
	if (!kept && kept_new(&fresh, s, key) < 0)
		return err_errno(err, -ENOMEM, "cannot keep %s alive", key);
	/* A lease of its own each time: nobody can know here whether the old one still is. */
	r = grant(s, ttl_s, &lease, err);
	if (r == 0)
		r = put(s, key, value, lease, err);
	if (r < 0)
		return r;
	copy = strdup(value);
	if (!copy)
		return err_errno(err, -ENOMEM, "cannot keep %s alive", key);
	if (!kept) {
		kept = take_ptr(fresh);
		kept->next = s->kept;
		s->kept = kept;
	}
	etcd_loop_remove(&s->loop, &kept->exchange); /* it spoke of the former lease */
	free(kept->value);
	kept->value = copy;
	kept->ttl_s = ttl_s;
	kept->lease = lease;
	renewed(kept);
	return 0;
}
