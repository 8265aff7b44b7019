/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that block: one question, put to one endpoint after the other within two seconds. What
 * changes something goes to a second endpoint only when the first has certainly not had it: whether
 * a change that was sent and never answered has happened cannot be known (etcd may still have it in
 * its log), and doing it twice would be told from having been done by another.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/etcd_impl.h"

/* Less than this is not worth trying. */
#define ATTEMPT_MIN_MS 100

#define WAIT_TICK_MS 50

int etcd_parse_header(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err)
{
	struct etcd_range_answer answer = {};
	int r = etcd_json_range(text, len, s->url.prefix, &answer, err);

	if (r == 0)
		*(struct etcd_header *)out = answer.header;
	etcd_range_answer_clear(&answer);
	return r;
}

int etcd_parse_txn(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err)
{
	(void)s;
	return etcd_json_txn(text, len, out, err);
}

int etcd_parse_lease(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err)
{
	(void)s;
	return etcd_json_lease(text, len, out, err);
}

void etcd_note_header(
	struct etcd_store *s, const struct etcd_header *before, const struct etcd_header *now)
{
	bool is_other = s->seen.cluster_id && now->cluster_id != s->seen.cluster_id;

	if (is_other || now->revision < before->revision) {
		s->seen = *now;
		s->has_missed = true;
	} else if (now->revision > s->seen.revision) {
		s->seen = *now;
	}
}

int etcd_away_error(const struct etcd_store *s, struct err *err)
{
	return err_set(err, -EHOSTDOWN,
		"etcd at %s does not answer (%s); what runs goes on, and changes wait until it is "
		"back",
		s->url.names, s->away_reason);
}

void etcd_go_away(struct etcd_store *s, const char *endpoint, const char *reason)
{
	snprintf(s->away_reason, sizeof(s->away_reason), "%.80s: %.160s", endpoint, reason);
	if (s->is_away)
		return;
	s->is_away = true;
	etcd_probe_soon(s);
}

static int refused(const struct etcd_store *s, const struct etcd_failure *failure, struct err *err)
{
	const char *says = failure->message;

	if (strstr(says, "too many operations"))
		return err_set(err, -E2BIG,
			"the change is of more parts than etcd at %s takes at once; start it with "
			"a "
			"higher --max-txn-ops (it is 128 when not set)",
			s->url.names);
	if (strstr(says, "request is too large") || strstr(says, "larger than max"))
		return err_set(err, -E2BIG,
			"the change is larger than etcd at %s takes at once; start it with a "
			"higher "
			"--max-request-bytes (it is 1572864 when not set)",
			s->url.names);
	if (strstr(says, "space exceeded"))
		return err_set(err, -ENOSPC,
			"the database of etcd at %s is full; compact and defragment it or raise "
			"its "
			"--quota-backend-bytes, then clear the alarm (etcdctl alarm disarm)",
			s->url.names);
	if (strstr(says, "has been compacted"))
		return err_set(
			err, -ESTALE, "etcd at %s has compacted that revision", s->url.names);
	if (strstr(says, "too many requests"))
		return err_set(err, -EBUSY, "etcd at %s is overloaded; try again in a moment",
			s->url.names);
	if (failure->code == 7 || failure->code == 16 || strstr(says, "user name is empty"))
		return err_set(err, -EACCES,
			"etcd at %s does not allow it (%s); give the client's certificate a user "
			"that may read and write %s",
			s->url.names, says, s->url.prefix);
	return err_set(err, -EIO, "etcd at %s refused: %s", s->url.names, says);
}

static int not_known(struct etcd_store *s, const char *reason, struct err *err)
{
	return err_set(err, -EHOSTDOWN,
		"etcd at %s did not say whether the change was made (%s: %s); it may have been: "
		"look before trying again",
		s->url.names, s->call.endpoint, reason);
}

/*
 * An attempt leaves time for those that may have to follow: all of it when it may be repeated, and
 * the connecting when not.
 */
static long limit_attempt(struct etcd_store *s, bool may_repeat, uint64_t left_ms, size_t attempt)
{
	long share_ms = (long)(left_ms / (s->url.count - attempt));

	s->call.connect_limit_ms = share_ms < 1000 ? share_ms : 1000;
	return may_repeat ? share_ms : (long)left_ms;
}

/* As curl_easy_perform(), but for who has something else to do meanwhile. */
static CURLcode perform(struct etcd_store *s)
{
	CURLcode code = CURLE_FAILED_INIT;
	int running = 1, left;
	CURLMsg *message;

	if (curl_multi_add_handle(s->call_multi, s->call.curl) != CURLM_OK)
		return code;
	while (curl_multi_perform(s->call_multi, &running) == CURLM_OK && running) {
		if (curl_multi_poll(s->call_multi, NULL, 0, WAIT_TICK_MS, NULL) != CURLM_OK)
			break;
		if (s->base.wait_fn)
			s->base.wait_fn(s->base.wait_arg);
	}
	while ((message = curl_multi_info_read(s->call_multi, &left)))
		if (message->msg == CURLMSG_DONE)
			code = message->data.result;
	curl_multi_remove_handle(s->call_multi, s->call.curl);
	return code;
}

/* One attempt; on failure, the reason in words. */
static enum etcd_outcome attempt_call(struct etcd_store *s, const char *path, long limit_ms,
	etcd_parse_fn *parse, void *out, struct etcd_failure *failure)
{
	struct etcd_exchange *x = &s->call;
	enum etcd_outcome outcome;
	struct err wrong = {};

	etcd_exchange_set(x, s->url.is_tls, s->url.endpoints[s->endpoint], path, limit_ms);
	outcome = etcd_exchange_outcome(x, perform(s), failure);
	if (outcome == ETCD_ANSWERED && parse(s, x->answer.data, x->answer.len, out, &wrong) < 0) {
		snprintf(failure->message, sizeof(failure->message), "%.255s", wrong.text);
		return ETCD_UNKNOWN;
	}
	return outcome;
}

int etcd_call(struct etcd_store *s, const char *path, bool may_repeat, size_t answer_max_bytes,
	etcd_parse_fn *parse, void *out, struct err *err)
{
	uint64_t end_ms = clock_now_ms() + ETCD_CALL_LIMIT_MS;
	struct etcd_failure failure;

	if (s->is_away)
		return etcd_away_error(s, err);
	s->call.answer_max_bytes = answer_max_bytes;
	for (size_t i = 0; i < s->url.count; i++) {
		uint64_t now_ms = clock_now_ms();
		enum etcd_outcome outcome;

		if (i && now_ms + ATTEMPT_MIN_MS > end_ms)
			break;
		outcome = attempt_call(s, path, limit_attempt(s, may_repeat, end_ms - now_ms, i),
			parse, out, &failure);
		if (outcome == ETCD_ANSWERED)
			return 0;
		if (outcome == ETCD_REFUSED)
			return refused(s, &failure, err);
		if (s->call.is_too_large && may_repeat)
			return err_set(err, -EMSGSIZE, "the answer of etcd at %s is too large",
				s->url.names);
		etcd_probe_soon(s);
		s->endpoint = (s->endpoint + 1) % s->url.count;
		if (outcome == ETCD_UNKNOWN && !may_repeat) {
			if (s->url.count == 1)
				etcd_go_away(s, s->call.endpoint, failure.message);
			return not_known(s, failure.message, err);
		}
	}
	etcd_go_away(s, s->call.endpoint, failure.message);
	return etcd_away_error(s, err);
}
