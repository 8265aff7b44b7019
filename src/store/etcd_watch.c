/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of changes: one request whose answer never ends, a line of JSON at a time. When it
 * breaks it is asked for again from the first revision that was not told; etcd sends a revision
 * whole, in one line. (It could send large ones in parts, but takes quadratic time to cut them.)
 * What cannot be had any more (compacted, or the store is another one), or is so much that reading
 * everything is less, is told as "missed".
 *
 * Lines are collected inside libcurl and told outside of it: the watcher may use the store.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/etcd_body.h"
#include "store/etcd_impl.h"

#define CONFIRM_LIMIT_MS 2000
#define BACK_OFF_MIN_MS	 200
#define BACK_OFF_MAX_MS	 2000
#define LINE_MAX_BYTES	 ((size_t)16 << 20)

static void stop(struct etcd_store *s)
{
	etcd_loop_remove(&s->loop, &s->watch.exchange);
	s->watch.exchange.answer.len = 0;
	s->watch.scanned = 0;
	s->watch.is_created = false;
	s->watch.generation++;
}

/* Tries again in a while; the probe finds out whether it is the endpoint. */
static void broke(struct etcd_store *s)
{
	struct etcd_watch *watch = &s->watch;

	stop(s);
	watch->due_ms = clock_now_ms() + watch->back_off_ms;
	watch->back_off_ms *= 2;
	if (watch->back_off_ms > BACK_OFF_MAX_MS)
		watch->back_off_ms = BACK_OFF_MAX_MS;
	if (!s->is_away)
		etcd_probe_soon(s);
}

static void on_done(struct etcd_exchange *exchange, CURLcode code)
{
	/* What came before the end is told first, by etcd_watch_run(), which sees the end. */
	(void)exchange;
	(void)code;
}

int etcd_watch_init(struct etcd_store *s)
{
	struct etcd_watch *watch = &s->watch;
	int r = etcd_exchange_init(&watch->exchange, &s->tls);

	watch->exchange.owner = s;
	watch->exchange.done = on_done;
	watch->exchange.answer_max_bytes = LINE_MAX_BYTES;
	return r;
}

void etcd_watch_begin(struct etcd_store *s, int64_t revision)
{
	stop(s);
	s->watch.is_wanted = true;
	s->watch.next = revision + 1;
	s->watch.back_off_ms = BACK_OFF_MIN_MS;
	s->watch.due_ms = clock_now_ms();
}

void etcd_watch_end(struct etcd_store *s)
{
	stop(s);
	s->watch.is_wanted = false;
}

void etcd_watch_restart(struct etcd_store *s)
{
	if (!s->watch.is_wanted)
		return;
	stop(s);
	s->watch.back_off_ms = BACK_OFF_MIN_MS;
	s->watch.due_ms = clock_now_ms();
}

/* Has the watcher read everything; it does so at @now or later. */
static void tell_missed(struct etcd_store *s, int64_t now)
{
	stop(s);
	s->watch.next = now + 1;
	s->watch.due_ms = clock_now_ms();
	store_tell(&s->base, now, NULL, 0);
}

/* Returns whether to go on: the watcher may have ended or moved the watch. */
static bool tell_changes(struct etcd_store *s, const struct etcd_watch_answer *answer)
{
	unsigned int generation = s->watch.generation;
	_free_ struct store_event *events = calloc(answer->count + 1, sizeof(*events));

	if (!events)
		abort();
	for (size_t i = 0, first = 0; i < answer->count; i++) {
		int64_t revision = answer->changes[i].revision;
		bool is_last = i + 1 == answer->count;

		events[i] = answer->changes[i].event;
		if (!is_last && answer->changes[i + 1].revision == revision)
			continue;
		if (revision >= s->watch.next) {
			s->watch.next = revision + 1;
			if (revision > s->seen.revision)
				s->seen.revision = revision;
			store_tell(&s->base, revision, events + first, i + 1 - first);
		}
		if (s->watch.generation != generation)
			return false;
		first = i + 1;
	}
	return true;
}

static bool take_answer(struct etcd_store *s, const struct etcd_watch_answer *answer)
{
	struct etcd_watch *watch = &s->watch;

	/* By another cluster than the one that was read: not these changes, then. */
	if (answer->header.cluster_id != s->seen.cluster_id) {
		broke(s);
		return false;
	}
	if (answer->compact_revision) {
		int64_t now = s->seen.revision;

		if (now < answer->compact_revision)
			now = answer->compact_revision;
		tell_missed(s, now);
		return false;
	}
	if (answer->is_canceled) {
		broke(s);
		return false;
	}
	if (answer->is_created) {
		watch->is_created = true;
		watch->back_off_ms = BACK_OFF_MIN_MS;
		return true;
	}
	/* Nothing but a revision: all up to it has been told, and it may be compacted. */
	if (!answer->count && answer->header.revision >= watch->next)
		watch->next = answer->header.revision + 1;
	return tell_changes(s, answer);
}

/* Returns whether to go on. */
static bool take_line(struct etcd_store *s, const char *line, size_t len)
{
	_cleanup_(etcd_watch_answer_clear) struct etcd_watch_answer answer = {};

	if (!len)
		return true;
	if (etcd_json_watch(line, len, s->url.prefix, &answer, NULL) < 0) {
		broke(s);
		return false;
	}
	return take_answer(s, &answer);
}

/* Takes the lines that are complete out of the exchange first: telling may begin a new one. */
static void take_lines(struct etcd_store *s)
{
	struct buf *answer = &s->watch.exchange.answer;
	_cleanup_(buf_clear) struct buf whole = {};
	struct buf rest = {};
	size_t fresh = answer->len - s->watch.scanned, taken, at = 0;
	const char *end = fresh ? memrchr(answer->data + s->watch.scanned, '\n', fresh) : NULL;

	s->watch.scanned = answer->len;
	if (!end)
		return;
	taken = (size_t)(end - answer->data) + 1;
	buf_add(&rest, end + 1, answer->len - taken);
	whole = *answer; /* what was there becomes ours, the rest is the exchange's */
	*answer = rest;
	s->watch.scanned = rest.len;
	while (at < taken) {
		const char *newline = memchr(whole.data + at, '\n', taken - at);
		size_t len = (size_t)(newline - (whole.data + at));

		if (!take_line(s, whole.data + at, len))
			return;
		at += len + 1;
	}
}

static void start(struct etcd_store *s, uint64_t now_ms)
{
	struct etcd_watch *watch = &s->watch;

	watch->exchange.body.len = 0;
	etcd_body_watch(&watch->exchange.body, s->url.prefix, watch->next);
	etcd_exchange_set(
		&watch->exchange, s->url.is_tls, s->url.endpoints[s->endpoint], "watch", 0);
	watch->due_ms = ETCD_NEVER;
	watch->confirm_ms = now_ms + CONFIRM_LIMIT_MS;
	etcd_loop_add(&s->loop, &watch->exchange);
	if (!watch->exchange.is_running)
		broke(s);
}

void etcd_watch_run(struct etcd_store *s, uint64_t now_ms)
{
	struct etcd_watch *watch = &s->watch;
	unsigned int generation;

	if (s->has_missed) {
		s->has_missed = false;
		if (watch->is_wanted)
			tell_missed(s, s->seen.revision);
	}
	if (!watch->is_wanted)
		return;
	generation = watch->generation;
	take_lines(s);
	if (watch->generation != generation || !watch->is_wanted)
		return;
	/* The probe sees to one endpoint: the stream has to come from that one. */
	if (watch->exchange.is_running && watch->exchange.endpoint != s->url.endpoints[s->endpoint])
		etcd_watch_restart(s);
	if (watch->is_created && watch->exchange.is_too_large) {
		tell_missed(s, s->seen.revision);
		watch->due_ms = clock_now_ms() + BACK_OFF_MIN_MS;
	} else if (watch->due_ms == ETCD_NEVER &&
		   (!watch->exchange.is_running ||
			   (!watch->is_created && now_ms >= watch->confirm_ms))) {
		broke(s);
	} else if (!s->is_away && now_ms >= watch->due_ms) {
		start(s, now_ms);
	}
}

uint64_t etcd_watch_due_ms(const struct etcd_store *s)
{
	const struct etcd_watch *watch = &s->watch;

	if (s->has_missed)
		return 0;
	if (!watch->is_wanted)
		return ETCD_NEVER;
	if (watch->due_ms != ETCD_NEVER)
		return s->is_away ? ETCD_NEVER : watch->due_ms;
	if (!watch->exchange.is_running)
		return 0;
	return watch->is_created ? ETCD_NEVER : watch->confirm_ms;
}
