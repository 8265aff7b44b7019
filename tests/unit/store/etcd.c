/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on etcd, beyond what every store promises: several clients, leases, an etcd that stops,
 * dies, forgets, compacts or wants certificates. A real etcd each time; etcd_fake.c has those that
 * misbehave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/store.h"
#include "../../lib/etcd_server.h"

static struct etcd_server etcd; /* with the default --max-txn-ops */

struct heard {
	struct store *store;
	int count, missed;
	int64_t revision;
	char last[128]; /* "key=value" or "-key" */
};

static void on_change(void *arg, int64_t revision, const struct store_event *events, size_t count)
{
	struct heard *heard = arg;

	heard->revision = revision;
	heard->count += (int)count;
	if (!events)
		heard->missed++;
	for (size_t i = 0; i < count; i++)
		snprintf(heard->last, sizeof(heard->last), events[i].value ? "%s=%.40s" : "-%s",
			events[i].key, events[i].value);
}

static int open_prefix(struct store **out, const char *prefix, struct err *err)
{
	char url[96];

	snprintf(url, sizeof(url), "etcd://127.0.0.1:%d/%s", etcd.port, prefix);
	return store_open_etcd(out, &(struct store_etcd_options){.url = url}, err);
}

static struct store *open_store(const char *prefix)
{
	struct store *store = NULL;
	struct err err = {};

	if (open_prefix(&store, prefix, &err) < 0)
		fail_msg("%s", err.text);
	return store;
}

static int put(struct store *store, const char *key, const char *value, struct err *err)
{
	struct store_op op = {STORE_PUT, key, value};

	return store_txn(store, NULL, 0, &op, 1, NULL, err);
}

static bool has(struct store *store, const char *key)
{
	struct store_entry entry = {};
	int r = store_get(store, key, &entry, NULL);

	store_entry_clear(&entry);
	return r == 0;
}

/* Serves the store's descriptor until the last event is @last ("missed": a NULL), or in vain. */
static void serve_until(struct heard *heard, const char *last, unsigned int limit_ms)
{
	uint64_t end = clock_now_ms() + limit_ms;
	struct pollfd p = {.fd = store_watch_fd(heard->store), .events = POLLIN};

	for (;;) {
		if (strcmp(last, "missed") == 0 ? heard->missed : strcmp(heard->last, last) == 0)
			return;
		if (clock_now_ms() >= end)
			fail_msg("%s was not told in time, but %s", last, heard->last);
		poll(&p, 1, 50);
		assert_int_equal(store_dispatch(heard->store, NULL), 0);
	}
}

static void serve(struct store *store, unsigned int for_ms)
{
	uint64_t end = clock_now_ms() + for_ms;
	struct pollfd p = {.fd = store_watch_fd(store), .events = POLLIN};

	while (clock_now_ms() < end) {
		poll(&p, 1, 50);
		store_dispatch(store, NULL);
	}
}

/* Returns after how many ms the store was away, or not any more. */
static uint64_t serve_until_away(struct store *store, bool is_away)
{
	uint64_t start = clock_now_ms();
	struct pollfd p = {.fd = store_watch_fd(store), .events = POLLIN};

	while ((store_is_away(store, NULL) < 0) != is_away) {
		assert_true(clock_now_ms() - start < 8000);
		poll(&p, 1, 50);
		store_dispatch(store, NULL);
	}
	return clock_now_ms() - start;
}

static void restart(void)
{
	etcd_server_kill(&etcd);
	assert_true(etcd_server_start(&etcd));
}

static void one_clients_change_is_told_to_another(void **state)
{
	struct store *a = open_store("two"), *b = open_store("two");
	struct heard heard = {.store = b};

	(void)state;
	store_watch(b, 0, on_change, &heard);
	put(a, "k", "1", NULL);
	serve_until(&heard, "k=1", 2000);
	store_txn(a, NULL, 0, &(struct store_op){STORE_DELETE, "k", NULL}, 1, NULL, NULL);
	serve_until(&heard, "-k", 2000);
	assert_int_equal(heard.count, 2);
	store_close(a);
	store_close(b);
}

static void a_client_that_comes_late_hears_from_its_revision_on(void **state)
{
	struct store *a = open_store("late"), *b = open_store("late");
	struct heard heard = {.store = b};
	struct store_op op = {STORE_PUT, "k", "1"};
	int64_t revision = 0;

	(void)state;
	put(a, "k", "0", NULL);
	store_txn(a, NULL, 0, &op, 1, &revision, NULL);
	put(a, "k", "2", NULL);
	put(a, "k", "3", NULL);
	store_watch(b, revision, on_change, &heard);
	serve_until(&heard, "k=3", 2000);
	assert_int_equal(heard.count, 2);
	assert_int_equal(heard.revision, revision + 2);
	store_close(a);
	store_close(b);
}

static void what_is_not_below_the_prefix_is_left_alone(void **state)
{
	struct store *store = open_store("mine"), *beside = open_store("mine-too"),
		     *above = open_store("mine/below");
	struct store_op all = {STORE_DELETE_PREFIX, "", NULL};
	struct heard heard = {.store = store};
	struct store_entries entries = {};

	(void)state;
	put(beside, "k", "1", NULL);
	store_watch(store, 0, on_change, &heard);
	put(beside, "k", "2", NULL);
	put(store, "k", "3", NULL);
	put(above, "deep", "4", NULL);
	assert_int_equal(store_range(store, "", &entries, NULL, NULL), 0);
	assert_int_equal(entries.count, 2);
	assert_string_equal(entries.items[0].key, "below/deep");
	store_entries_clear(&entries);
	serve_until(&heard, "below/deep=4", 2000);
	assert_int_equal(heard.count, 2);
	assert_int_equal(store_txn(store, NULL, 0, &all, 1, NULL, NULL), 0);
	assert_true(has(beside, "k"));
	assert_false(has(above, "deep"));
	store_close(store);
	store_close(beside);
	store_close(above);
}

static void an_idle_store_lets_its_loop_sleep(void **state)
{
	struct store *store = open_store("idle");
	struct heard heard = {.store = store};
	uint64_t end = clock_now_ms() + 3000;
	struct pollfd p = {.fd = store_watch_fd(store), .events = POLLIN};
	int wakeups = 0;

	(void)state;
	store_watch(store, 0, on_change, &heard);
	while (clock_now_ms() < end) {
		wakeups += poll(&p, 1, 3000);
		store_dispatch(store, NULL);
	}
	print_message("           %d wakeups in 3 s\n", wakeups);
	assert_true(wakeups < 40);
	assert_int_equal(store_watch_fd(store), p.fd);
	store_close(store);
}

static void calls_fail_at_once_while_etcd_is_away(void **state)
{
	struct store *store = open_store("away");
	struct store_entry entry;
	char endpoint[32];
	struct err err = {};
	uint64_t start;

	(void)state;
	snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", etcd.port);
	etcd_server_kill(&etcd);
	start = clock_now_ms();
	assert_int_equal(put(store, "k", "v", &err), -EHOSTDOWN);
	assert_int_equal(store_is_away(store, &err), -EHOSTDOWN);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(store_get(store, "k", &entry, &err), -EHOSTDOWN);
		assert_int_equal(put(store, "k", "v", &err), -EHOSTDOWN);
	}
	assert_true(clock_now_ms() - start < 500);
	assert_non_null(strstr(err.text, endpoint));
	assert_true(etcd_server_start(&etcd));
	assert_int_equal(store_get(store, "k", &entry, &err), -EHOSTDOWN);
	assert_true(serve_until_away(store, false) < 2500);
	assert_int_equal(put(store, "k", "v", &err), 0);
	store_close(store);
}

static void opening_fails_when_no_endpoint_answers(void **state)
{
	struct store *store = NULL;
	struct err err = {};
	uint64_t start = clock_now_ms();

	(void)state;
	assert_int_equal(
		store_open_etcd(&store,
			&(struct store_etcd_options){.url = "etcd://127.0.0.1:1,127.0.0.1:2/x"},
			&err),
		-EHOSTDOWN);
	assert_true(clock_now_ms() - start < 2200);
	assert_null(store);
	assert_non_null(strstr(err.text, "127.0.0.1:1, 127.0.0.1:2"));
}

static void an_etcd_that_hangs_is_away_and_comes_back(void **state)
{
	struct store *store = open_store("hangs"), *other = open_store("hangs");
	struct heard heard = {.store = store};
	struct err err = {};
	uint64_t start;

	(void)state;
	store_watch(store, 0, on_change, &heard);
	put(store, "k", "1", NULL);
	serve_until(&heard, "k=1", 2000);
	kill(etcd.pid, SIGSTOP);
	assert_true(serve_until_away(store, true) < 4000);
	start = clock_now_ms();
	assert_int_equal(put(store, "k", "no", &err), -EHOSTDOWN);
	assert_true(clock_now_ms() - start < 50);
	start = clock_now_ms();
	assert_int_equal(put(other, "k", "perhaps", &err), -EHOSTDOWN);
	assert_true(clock_now_ms() - start < 2200);
	assert_non_null(strstr(err.text, "may have been"));
	kill(etcd.pid, SIGCONT);
	serve_until_away(store, false);
	assert_int_equal(put(store, "k", "2", &err), 0);
	serve_until(&heard, "k=2", 3000);
	assert_int_equal(heard.missed, 0);
	store_close(store);
	store_close(other);
}

static void what_changed_while_the_connection_was_gone_is_told(void **state)
{
	struct store *store = open_store("gone"), *other;
	struct heard heard = {.store = store};

	(void)state;
	store_watch(store, 0, on_change, &heard);
	put(store, "k", "1", NULL);
	serve_until(&heard, "k=1", 2000);
	restart();
	other = open_store("gone");
	put(other, "k", "2", NULL);
	put(other, "l", "3", NULL);
	serve_until(&heard, "l=3", 6000);
	assert_int_equal(heard.count, 3);
	assert_int_equal(heard.missed, 0);
	store_close(store);
	store_close(other);
}

static void a_second_endpoint_takes_over(void **state)
{
	struct store *store = NULL;
	struct heard heard = {};
	struct err err = {};
	char url[96];

	(void)state;
	snprintf(url, sizeof(url), "etcd://127.0.0.1:1,127.0.0.1:%d/second", etcd.port);
	if (store_open_etcd(&store, &(struct store_etcd_options){.url = url}, &err) < 0)
		fail_msg("%s", err.text);
	heard.store = store;
	store_watch(store, 0, on_change, &heard);
	assert_int_equal(put(store, "k", "v", &err), 0);
	serve_until(&heard, "k=v", 2000);
	assert_int_equal(store_is_away(store, NULL), 0);
	store_close(store);
}

static void compact(int64_t revision)
{
	char body[64];

	snprintf(body, sizeof(body), "{\"revision\":\"%lld\"}", (long long)revision);
	assert_int_equal(etcd_server_post(&etcd, "/v3/kv/compaction", body), 200);
}

static void a_watcher_of_what_is_compacted_is_to_read_all(void **state)
{
	struct store *store = open_store("compacted");
	struct heard heard = {.store = store};
	struct store_op op = {STORE_PUT, "k", "1"};
	int64_t first = 0, revision = 0;

	(void)state;
	store_txn(store, NULL, 0, &op, 1, &first, NULL);
	store_txn(store, NULL, 0, &op, 1, NULL, NULL);
	store_txn(store, NULL, 0, &op, 1, &revision, NULL);
	compact(revision);
	store_watch(store, first, on_change, &heard);
	serve_until(&heard, "missed", 3000);
	assert_true(heard.revision >= revision);
	assert_int_equal(heard.count, 0);
	put(store, "k", "4", NULL);
	serve_until(&heard, "k=4", 3000);
	assert_int_equal(heard.missed, 1);
	store_close(store);
}

static void an_etcd_that_was_restored_is_to_be_read_again(void **state)
{
	struct store *store = open_store("restored");
	struct heard heard = {.store = store};

	(void)state;
	for (int i = 0; i < 5; i++)
		put(store, "k", "1", NULL);
	store_watch(store, 0, on_change, &heard);
	put(store, "k", "2", NULL);
	serve_until(&heard, "k=2", 2000);
	etcd_server_kill(&etcd);
	etcd_server_forget(&etcd);
	assert_true(etcd_server_start(&etcd));
	serve_until(&heard, "missed", 6000);
	assert_false(has(store, "k"));
	assert_int_equal(put(store, "k", "3", NULL), 0);
	serve_until(&heard, "k=3", 3000);
	assert_int_equal(heard.missed, 1);
	store_close(store);
}

static void a_key_goes_when_its_process_dies(void **state)
{
	struct store *store = open_store("dies");
	struct heard heard = {.store = store};
	pid_t child;

	(void)state;
	store_watch(store, 0, on_change, &heard);
	child = fork();
	if (child == 0) {
		struct store *own = NULL;

		if (open_prefix(&own, "dies", NULL) < 0 ||
			store_keep_alive(own, "hosts/1", "{}", 2, NULL) < 0)
			_exit(1);
		for (;;)
			serve(own, 1000);
	}
	serve_until(&heard, "hosts/1={}", 3000);
	serve(store, 4500);
	assert_true(has(store, "hosts/1"));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	serve_until(&heard, "-hosts/1", 5000);
	store_close(store);
}

static void a_key_comes_back_after_its_lease_ran_out(void **state)
{
	struct store *store = open_store("back"), *other = open_store("back");
	struct heard heard = {.store = other};

	(void)state;
	assert_int_equal(store_keep_alive(store, "hosts/1", "{}", 2, NULL), 0);
	assert_int_equal(store_keep_alive(store, "hosts/2", "{}", 60, NULL), 0);
	store_watch(other, 0, on_change, &heard);
	serve_until(&heard, "-hosts/1", 6000); /* nobody serves the store that keeps it */
	serve(store, 1500);
	assert_true(has(other, "hosts/1"));
	assert_true(has(other, "hosts/2"));
	store_close(store);
	assert_true(has(other, "hosts/1"));
	store_close(other);
}

static void kept_keys_come_back_to_an_etcd_that_has_forgotten(void **state)
{
	struct store *store = open_store("forgot");

	(void)state;
	assert_int_equal(store_keep_alive(store, "hosts/1", "{}", 30, NULL), 0);
	assert_int_equal(store_keep_alive(store, "hosts/2", "{}", 30, NULL), 0);
	etcd_server_kill(&etcd);
	serve_until_away(store, true);
	etcd_server_forget(&etcd);
	assert_true(etcd_server_start(&etcd));
	serve_until_away(store, false);
	serve(store, 1000);
	assert_true(has(store, "hosts/1"));
	assert_true(has(store, "hosts/2"));
	store_close(store);
}

static void a_transaction_over_etcds_limit_is_refused_in_words(void **state)
{
	struct store *store = open_store("limit");
	_free_ struct store_op *ops = calloc(129, sizeof(*ops));
	_free_ char(*keys)[16] = calloc(129, sizeof(*keys));
	struct err err = {};

	(void)state;
	for (int i = 0; i < 129; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%d", i);
		ops[i] = (struct store_op){STORE_PUT, keys[i], ""};
	}
	assert_int_equal(store_txn(store, NULL, 0, ops, 129, NULL, &err), -E2BIG);
	assert_non_null(strstr(err.text, "--max-txn-ops"));
	assert_false(has(store, "0"));
	assert_int_equal(store_is_away(store, NULL), 0);
	assert_int_equal(store_txn(store, NULL, 0, ops, 128, NULL, &err), 0);
	store_close(store);
}

static void large_values_are_read_a_page_at_a_time(void **state)
{
	struct store *store = open_store("pages");
	_free_ char *value = malloc((1 << 20) + 1);
	struct store_entries entries = {};
	char key[32];

	(void)state;
	memset(value, 'v', 1 << 20);
	value[1 << 20] = '\0';
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "m/%02d", i);
		assert_int_equal(put(store, key, value, NULL), 0);
	}
	assert_int_equal(store_range(store, "m/", &entries, NULL, NULL), 0);
	assert_int_equal(entries.count, 40);
	for (size_t i = 0; i < entries.count; i++) {
		snprintf(key, sizeof(key), "m/%02zu", i);
		assert_string_equal(entries.items[i].key, key);
		assert_int_equal(entries.items[i].value_len, 1 << 20);
	}
	store_entries_clear(&entries);
	store_close(store);
}

static void make_certificates(const char *dir)
{
	static const char script[] =
		"cd %s && exec >/dev/null 2>&1 &&"
		"new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
		"$1.key -subj /CN=$1 -out $1.csr && "
		"printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' "
		">$1.ext && openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial "
		"-days 2 -extfile $1.ext -out $1.pem; } &&"
		"for ca in ca other; do openssl req -x509 -newkey ec -pkeyopt "
		"ec_paramgen_curve:P-256 -nodes -keyout $ca.key -subj /CN=$ca -days 2 -out "
		"$ca.pem || exit 1; done && new server ca && new client ca && new stranger other";
	_free_ char *command = NULL;

	assert_true(asprintf(&command, script, dir) > 0);
	assert_int_equal(system(command), 0);
}

static int open_tls(const struct etcd_server *server, const char *ca, const char *client,
	struct store **out, struct err *err)
{
	char url[64], ca_file[96], cert[96], key[96];

	snprintf(url, sizeof(url), "etcds://127.0.0.1:%d/tls", server->port);
	snprintf(ca_file, sizeof(ca_file), "%s/%s.pem", server->tls_dir, ca);
	snprintf(cert, sizeof(cert), "%s/%s.pem", server->tls_dir, client ? client : "");
	snprintf(key, sizeof(key), "%s/%s.key", server->tls_dir, client ? client : "");
	return store_open_etcd(out,
		&(struct store_etcd_options){
			.url = url,
			.ca_file = ca_file,
			.cert_file = client ? cert : NULL,
			.key_file = client ? key : NULL,
		},
		err);
}

static void tls_takes_the_right_certificates_only(void **state)
{
	char dir[] = "/tmp/wherry-test-XXXXXX";
	struct etcd_server server = {.tls_dir = dir};
	struct store *store = NULL;
	struct heard heard = {};
	struct err err = {};

	(void)state;
	assert_non_null(mkdtemp(dir));
	make_certificates(dir);
	assert_true(etcd_server_start(&server));
	assert_int_equal(open_tls(&server, "ca", NULL, &store, &err), -EHOSTDOWN);
	assert_int_equal(open_tls(&server, "ca", "stranger", &store, &err), -EHOSTDOWN);
	assert_int_equal(open_tls(&server, "other", "client", &store, &err), -EHOSTDOWN);
	assert_non_null(strstr(err.text, "certificate"));
	assert_int_equal(open_tls(&server, "ca", "missing", &store, &err), -EINVAL);
	assert_non_null(strstr(err.text, "missing.pem"));
	for (int i = 0; i < 50 && !store; i++) {
		if (open_tls(&server, "ca", "client", &store, &err) < 0)
			usleep(100000);
	}
	if (!store)
		fail_msg("%s", err.text);
	heard.store = store;
	store_watch(store, 0, on_change, &heard);
	assert_int_equal(store_keep_alive(store, "hosts/1", "{}", 5, &err), 0);
	assert_int_equal(put(store, "k", "v", &err), 0);
	serve_until(&heard, "k=v", 2000);
	store_close(store);
	etcd_server_remove(&server);
	file_remove_all(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_clients_change_is_told_to_another),
		cmocka_unit_test(a_client_that_comes_late_hears_from_its_revision_on),
		cmocka_unit_test(what_is_not_below_the_prefix_is_left_alone),
		cmocka_unit_test(an_idle_store_lets_its_loop_sleep),
		cmocka_unit_test(calls_fail_at_once_while_etcd_is_away),
		cmocka_unit_test(opening_fails_when_no_endpoint_answers),
		cmocka_unit_test(an_etcd_that_hangs_is_away_and_comes_back),
		cmocka_unit_test(what_changed_while_the_connection_was_gone_is_told),
		cmocka_unit_test(a_second_endpoint_takes_over),
		cmocka_unit_test(a_watcher_of_what_is_compacted_is_to_read_all),
		cmocka_unit_test(an_etcd_that_was_restored_is_to_be_read_again),
		cmocka_unit_test(a_key_goes_when_its_process_dies),
		cmocka_unit_test(a_key_comes_back_after_its_lease_ran_out),
		cmocka_unit_test(kept_keys_come_back_to_an_etcd_that_has_forgotten),
		cmocka_unit_test(a_transaction_over_etcds_limit_is_refused_in_words),
		cmocka_unit_test(large_values_are_read_a_page_at_a_time),
		cmocka_unit_test(tls_takes_the_right_certificates_only),
	};
	int failures;

	if (!etcd_server_start(&etcd)) {
		fprintf(stderr, "no etcd here (Debian's etcd-server)\n");
		return 77;
	}
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	etcd_server_remove(&etcd);
	return failures;
}
