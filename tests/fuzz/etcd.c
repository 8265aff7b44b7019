/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what the store reads of etcd: the answers of its JSON gateway. The first byte chooses the
 * kind. Beyond not crashing: a refusal has a sentence, and what is accepted keeps its promises.
 *
 *	clang -std=gnu17 -D_GNU_SOURCE -g -O1 -Isrc -fsanitize=fuzzer,address,undefined \
 *		tests/fuzz/etcd.c src/store/etcd_json.c src/store/base64.c src/store/store.c \
 *		src/base/err.c src/base/buf.c -ljansson -o etcd-fuzzer
 *	./etcd-fuzzer -max_len=4096 tests/fuzz/corpus/etcd
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/etcd_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void require_entry(const char *key, const char *value, size_t value_len, int64_t revision)
{
	require(key && *key && revision > 0);
	require(!value || value[value_len] == '\0');
}

/* A page, and the same bytes as the next one: what was there before a spoiled page stays. */
static void read_range(const char *text, size_t len)
{
	struct etcd_range_answer answer = {};
	struct err err = {};

	for (int i = 0; i < 2; i++) {
		size_t before = answer.entries.count;

		if (etcd_json_range(text, len, "wherry/", &answer, &err) < 0)
			require(*err.text && answer.entries.count == before);
	}
	for (size_t i = 0; i < answer.entries.count; i++) {
		const struct store_entry *entry = &answer.entries.items[i];

		require(entry->value);
		require_entry(entry->key, entry->value, entry->value_len, entry->mod_revision);
	}
	etcd_range_answer_clear(&answer);
}

static void read_watch(const char *text, size_t len)
{
	struct etcd_watch_answer answer = {};
	struct err err = {};
	int64_t before = 0;

	if (etcd_json_watch(text, len, "wherry/", &answer, &err) < 0) {
		require(*err.text && !answer.changes);
		return;
	}
	for (size_t i = 0; i < answer.count; i++) {
		const struct etcd_change *change = &answer.changes[i];

		require_entry(change->event.key, change->event.value, change->event.value_len,
			change->revision);
		require(change->revision >= before);
		before = change->revision;
	}
	etcd_watch_answer_clear(&answer);
}

static void read_others(const char *text, size_t len)
{
	struct etcd_txn_answer txn = {};
	struct etcd_lease_answer lease = {};
	struct etcd_failure failure = {};

	if (etcd_json_txn(text, len, &txn, NULL) == 0)
		require(txn.header.cluster_id && txn.header.revision >= 0);
	if (etcd_json_lease(text, len, &lease, NULL) == 0)
		require(lease.id >= 0 && lease.ttl_s >= 0);
	if (etcd_json_failure(text, len, &failure) == 0)
		require(strlen(failure.message) < sizeof(failure.message) && failure.code >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of the exact size: reading past the end shows. */
	char *text = malloc(size + 1);

	if (size == 0) {
		free(text);
		return 0;
	}
	memcpy(text, data + 1, size - 1);
	text = realloc(text, size > 1 ? size - 1 : 1);
	if (data[0] % 3 == 0)
		read_range(text, size - 1);
	else if (data[0] % 3 == 1)
		read_watch(text, size - 1);
	else
		read_others(text, size - 1);
	free(text);
	return 0;
}
