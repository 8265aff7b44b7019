/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of a fleet, on etcd v3 by its JSON gateway; see store.h for the promise and
 * etcd_impl.h for the parts. A large prefix is read a page at a time, all pages of one revision.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/etcd_body.h"
#include "store/etcd_impl.h"

/* A page is to be of about this size; the first is small, for nobody knows the values yet. */
#define PAGE_AIM_BYTES	 ((size_t)4 << 20)
#define PAGE_MAX_BYTES	 ((size_t)16 << 20)
#define PAGE_FIRST_KEYS	 64
#define PAGE_MAX_KEYS	 16384 /* etcd counts all that follow, for each page */
#define PAGE_SLOW_MS	 500
#define RANGE_TRIES	 3
#define ANSWER_MAX_BYTES ((size_t)16 << 20)
#define BODY_MAX_BYTES	 ((size_t)64 << 20)

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void etcd_arm(struct etcd_store *s)
{
	uint64_t due_ms = s->probe.exchange.is_running ? ETCD_NEVER : s->probe.due_ms;

	due_ms = sooner(due_ms, etcd_watch_due_ms(s));
	etcd_loop_arm(&s->loop, sooner(due_ms, etcd_lease_due_ms(s)));
}

static int parse_range(
	const struct etcd_store *s, const char *text, size_t len, void *out, struct err *err)
{
	return etcd_json_range(text, len, s->url.prefix, out, err);
}

static int etcd_get(struct store *store, const char *key, struct store_entry *out, struct err *err)
{
	struct etcd_store *s = (struct etcd_store *)store;
	_cleanup_(etcd_range_answer_clear) struct etcd_range_answer answer = {};
	struct etcd_header before = s->seen;
	int r;

	s->call.body.len = 0;
	etcd_body_get(&s->call.body, s->url.prefix, key);
	r = etcd_call(s, "kv/range", true, ANSWER_MAX_BYTES, parse_range, &answer, err);
	if (r < 0)
		return r;
	etcd_note_header(s, &before, &answer.header);
	etcd_arm(s);
	if (!answer.entries.count)
		return 1;
	*out = answer.entries.items[0];
	answer.entries.items[0] = (struct store_entry){};
	return 0;
}

/* One page more; less is asked for when the answer would be too large. */
static int read_page(struct etcd_store *s, const char *prefix, size_t *limit, int64_t revision,
	struct etcd_range_answer *answer, struct err *err)
{
	int r;

	do {
		size_t before = answer->entries.count, got, slower = *limit / 2;
		uint64_t start_ms = clock_now_ms();

		s->call.body.len = 0;
		/* A last key is followed by a NUL, and is the first key after it with that. */
		etcd_body_range(&s->call.body, s->url.prefix, prefix, answer->last_key,
			answer->last_key_len + 1, *limit, revision);
		r = etcd_call(s, "kv/range", true, PAGE_MAX_BYTES, parse_range, answer, err);
		got = answer->entries.count - before;
		if (r == 0 && got)
			*limit = PAGE_AIM_BYTES / (s->call.answer.len / got + 1);
		else if (r == -EMSGSIZE && *limit > 1)
			*limit /= 8;
		else
			break;
		/* An etcd that is slow gets shorter questions: each is to be answered in time. */
		if (clock_now_ms() - start_ms > PAGE_SLOW_MS && *limit > slower)
			*limit = slower;
		if (*limit < 1)
			*limit = 1;
		if (*limit > PAGE_MAX_KEYS)
			*limit = PAGE_MAX_KEYS;
	} while (r == -EMSGSIZE);
	return r;
}

/* -ESTALE: the revision was compacted between two pages. */
static int read_pages(struct etcd_store *s, const char *prefix, struct etcd_range_answer *answer,
	int64_t *revision, struct err *err)
{
	struct etcd_header before = s->seen;
	size_t limit = PAGE_FIRST_KEYS;
	int r = read_page(s, prefix, &limit, 0, answer, err);

	if (r < 0)
		return r;
	etcd_note_header(s, &before, &answer->header);
	*revision = answer->header.revision;
	while (r == 0 && answer->last_key)
		r = read_page(s, prefix, &limit, *revision, answer, err);
	return r;
}

static int etcd_range(struct store *store, const char *prefix, struct store_entries *out,
	int64_t *revision, struct err *err)
{
	struct etcd_store *s = (struct etcd_store *)store;
	int64_t seen = 0;
	int r = -ESTALE;

	for (int i = 0; r == -ESTALE && i < RANGE_TRIES; i++) {
		_cleanup_(etcd_range_answer_clear) struct etcd_range_answer answer = {};

		r = read_pages(s, prefix, &answer, &seen, err);
		if (r < 0)
			continue;
		*out = answer.entries;
		answer.entries = (struct store_entries){};
		if (revision)
			*revision = seen;
	}
	buf_clear(&s->call.answer);
	etcd_arm(s);
	return r;
}

static int etcd_txn(struct store *store, const struct store_compare *compares, size_t compare_count,
	const struct store_op *ops, size_t op_count, int64_t *revision, struct err *err)
{
	struct etcd_store *s = (struct etcd_store *)store;
	struct etcd_header before = s->seen;
	struct etcd_txn_answer answer = {};
	size_t bytes = 0;
	int r;

	for (size_t i = 0; i < op_count; i++)
		bytes += ops[i].type == STORE_PUT ? strlen(ops[i].value) : 0;
	if (bytes > BODY_MAX_BYTES)
		return err_set(err, -E2BIG,
			"a change of %zu bytes is too large for etcd; %zu at a time are allowed",
			bytes, BODY_MAX_BYTES);
	s->call.body.len = 0;
	etcd_body_txn(&s->call.body, s->url.prefix, compares, compare_count, ops, op_count, 0);
	r = etcd_call(s, "kv/txn", false, ANSWER_MAX_BYTES, etcd_parse_txn, &answer, err);
	if (s->call.body.size > PAGE_AIM_BYTES)
		buf_clear(&s->call.body);
	if (r < 0)
		return r;
	etcd_note_header(s, &before, &answer.header);
	etcd_arm(s);
	if (!answer.has_succeeded)
		return 1;
	*revision = answer.header.revision;
	return 0;
}

static int etcd_keep_alive(struct store *store, const char *key, const char *value,
	unsigned int ttl_s, struct err *err)
{
	struct etcd_store *s = (struct etcd_store *)store;
	int r = etcd_lease_keep(s, key, value, ttl_s, err);

	etcd_arm(s);
	return r;
}

static int etcd_is_away(struct store *store, struct err *err)
{
	struct etcd_store *s = (struct etcd_store *)store;

	return s->is_away ? etcd_away_error(s, err) : 0;
}

static int ask_revision(struct etcd_store *s, struct err *err)
{
	struct etcd_header before = s->seen, header = {};
	int r;

	s->call.body.len = 0;
	etcd_body_get(&s->call.body, s->url.prefix, "");
	r = etcd_call(s, "kv/range", true, ANSWER_MAX_BYTES, etcd_parse_header, &header, err);
	if (r == 0)
		etcd_note_header(s, &before, &header);
	return r;
}

static void etcd_set_watch(struct store *store, int64_t revision)
{
	struct etcd_store *s = (struct etcd_store *)store;

	if (!store->watch_fn) {
		etcd_watch_end(s);
	} else {
		/* Should etcd not answer, "now" is when it last did: a little too much is told. */
		if (revision == 0)
			ask_revision(s, NULL);
		etcd_watch_begin(s, revision ? revision : s->seen.revision);
	}
	etcd_arm(s);
}

static int etcd_watch_fd(struct store *store)
{
	return ((struct etcd_store *)store)->loop.epoll_fd;
}

/* That etcd is away is no failure of this: store_is_away() says it. */
static int etcd_dispatch(struct store *store, struct err *err)
{
	struct etcd_store *s = (struct etcd_store *)store;

	(void)err;
	etcd_loop_run(&s->loop);
	etcd_probe_run(s, clock_now_ms());
	etcd_watch_run(s, clock_now_ms());
	etcd_lease_run(s, clock_now_ms());
	etcd_arm(s);
	return 0;
}

static void etcd_close(struct store *store)
{
	struct etcd_store *s = (struct etcd_store *)store;

	etcd_lease_clear(s);
	etcd_loop_remove(&s->loop, &s->watch.exchange);
	etcd_loop_remove(&s->loop, &s->probe.exchange);
	etcd_exchange_clear(&s->watch.exchange);
	etcd_exchange_clear(&s->probe.exchange);
	etcd_exchange_clear(&s->call);
	if (s->call_multi)
		curl_multi_cleanup(s->call_multi);
	etcd_loop_clear(&s->loop);
	free(s->tls.ca_file);
	free(s->tls.cert_file);
	free(s->tls.key_file);
	free(s);
}

static const struct store_ops ops_of_etcd = {
	.close = etcd_close,
	.get = etcd_get,
	.range = etcd_range,
	.txn = etcd_txn,
	.keep_alive = etcd_keep_alive,
	.is_away = etcd_is_away,
	.watch = etcd_set_watch,
	.watch_fd = etcd_watch_fd,
	.dispatch = etcd_dispatch,
};

static int copy_file_name(char **out, const char *path, const char *what, struct err *err)
{
	if (!path)
		return 0;
	if (access(path, R_OK) < 0)
		return err_set(err, -EINVAL, "cannot read %s for etcd, %s: %s", what, path,
			strerror(errno));
	*out = strdup(path);
	return *out ? 0 : err_errno(err, -ENOMEM, "cannot open the catalog");
}

static int set_options(
	struct etcd_store *s, const struct store_etcd_options *options, struct err *err)
{
	bool has_file = options->ca_file || options->cert_file || options->key_file;
	int r = etcd_url_parse(options->url, &s->url, err);

	if (r < 0)
		return r;
	if (has_file && !s->url.is_tls)
		return err_set(err, -EINVAL,
			"certificates are given for %s, which is without TLS; write etcds://",
			options->url);
	if (!options->cert_file != !options->key_file)
		return err_set(err, -EINVAL,
			"a client's certificate and its key go together; %s is missing for %s",
			options->cert_file ? "the key" : "the certificate", options->url);
	r = copy_file_name(&s->tls.ca_file, options->ca_file, "the authority's certificate", err);
	if (r == 0)
		r = copy_file_name(&s->tls.cert_file, options->cert_file, "the certificate", err);
	if (r == 0)
		r = copy_file_name(&s->tls.key_file, options->key_file, "the key", err);
	return r;
}

int store_open_etcd(struct store **out, const struct store_etcd_options *options, struct err *err)
{
	struct etcd_store *s = calloc(1, sizeof(*s));
	_cleanup_(store_closep) struct store *store = NULL;
	int r;

	if (!s)
		return err_errno(err, -ENOMEM, "cannot open the catalog");
	s->base.ops = &ops_of_etcd;
	s->loop = (struct etcd_loop){.epoll_fd = -1, .timer_fd = -1};
	store = &s->base;
	r = set_options(s, options, err);
	if (r < 0)
		return r;
	r = etcd_loop_init(&s->loop);
	if (r == 0)
		r = etcd_exchange_init(&s->call, &s->tls);
	if (r == 0) {
		s->call_multi = curl_multi_init();
		r = s->call_multi ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = etcd_probe_init(s);
	if (r == 0)
		r = etcd_watch_init(s);
	if (r < 0)
		return err_errno(err, r, "cannot open the catalog on etcd at %s", s->url.names);
	r = ask_revision(s, err);
	if (r < 0)
		return r;
	etcd_arm(s);
	*out = take_ptr(store);
	return 0;
}
