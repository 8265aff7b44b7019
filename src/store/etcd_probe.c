/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether etcd is there: once a second the endpoint in use is asked a question that needs the
 * cluster's majority. One that fails hands over to the next at once; when all have failed in a row
 * the store is away until one answers, sought with a back-off. The answer also tells a store that
 * was restored from an older copy, by its revision, or exchanged for another, by its cluster.
 */
#include <errno.h>

#include "base/clock.h"
#include "store/etcd_body.h"
#include "store/etcd_impl.h"

#define PROBE_EVERY_MS	 1000
#define PROBE_LIMIT_MS	 1500
#define BACK_OFF_MIN_MS	 200
#define BACK_OFF_MAX_MS	 2000
#define ANSWER_MAX_BYTES ((size_t)2 << 20) /* there may be a value under the prefix itself */

/* What is of etcd's side of a connection is not trusted to have outlived its absence. */
static void come_back(struct etcd_store *s)
{
	s->is_away = false;
	etcd_watch_restart(s);
	etcd_lease_renew(s);
}

static void answered(struct etcd_store *s, const struct etcd_header *now)
{
	struct etcd_probe *probe = &s->probe;

	etcd_note_header(s, &probe->seen_before, now);
	probe->failures = 0;
	probe->back_off_ms = BACK_OFF_MIN_MS;
	probe->due_ms = clock_now_ms() + PROBE_EVERY_MS;
	if (s->is_away)
		come_back(s);
}

static void failed(struct etcd_store *s, const char *reason)
{
	struct etcd_probe *probe = &s->probe;
	const char *endpoint = probe->exchange.endpoint;

	probe->failures++;
	probe->due_ms = clock_now_ms();
	if (endpoint == s->url.endpoints[s->endpoint]) /* a call may have moved on already */
		s->endpoint = (s->endpoint + 1) % s->url.count;
	if (probe->failures % s->url.count != 0)
		return;
	etcd_go_away(s, endpoint, reason);
	probe->due_ms = clock_now_ms() + probe->back_off_ms;
	probe->back_off_ms *= 2;
	if (probe->back_off_ms > BACK_OFF_MAX_MS)
		probe->back_off_ms = BACK_OFF_MAX_MS;
}

static void on_done(struct etcd_exchange *exchange, CURLcode code)
{
	struct etcd_store *s = exchange->owner;
	struct etcd_header header;
	struct etcd_failure failure;
	enum etcd_outcome outcome = etcd_exchange_outcome(exchange, code, &failure);

	/* One that refuses answers: calls will say what it refuses. */
	if (outcome == ETCD_REFUSED)
		answered(s, &s->seen);
	else if (outcome != ETCD_ANSWERED)
		failed(s, failure.message);
	else if (etcd_parse_header(s, exchange->answer.data, exchange->answer.len, &header, NULL) <
		 0)
		failed(s, "what answers there is not etcd");
	else
		answered(s, &header);
}

int etcd_probe_init(struct etcd_store *s)
{
	struct etcd_probe *probe = &s->probe;
	int r = etcd_exchange_init(&probe->exchange, &s->tls);

	if (r < 0)
		return r;
	probe->exchange.owner = s;
	probe->exchange.done = on_done;
	probe->exchange.answer_max_bytes = ANSWER_MAX_BYTES;
	etcd_body_get(&probe->exchange.body, s->url.prefix, "");
	probe->back_off_ms = BACK_OFF_MIN_MS;
	probe->due_ms = clock_now_ms() + PROBE_EVERY_MS;
	return 0;
}

void etcd_probe_soon(struct etcd_store *s)
{
	s->probe.due_ms = clock_now_ms();
	etcd_arm(s);
}

void etcd_probe_run(struct etcd_store *s, uint64_t now_ms)
{
	struct etcd_probe *probe = &s->probe;

	if (probe->exchange.is_running || now_ms < probe->due_ms)
		return;
	probe->due_ms = now_ms + PROBE_EVERY_MS;
	probe->seen_before = s->seen;
	etcd_exchange_set(&probe->exchange, s->url.is_tls, s->url.endpoints[s->endpoint],
		"kv/range", PROBE_LIMIT_MS);
	etcd_loop_add(&s->loop, &probe->exchange);
}
