/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes config_parse(). Beyond not crashing: a refused text has an error to show and an accepted
 * one has none; reports are in file order and are printable UTF-8; and what config_to_json() says,
 * written as TOML, parses to the same again.
 *
 * Needs clang's libFuzzer:
 *
 *	SANITIZERS=fuzzer,address,undefined
 *	for c in src/model/*.c src/base/buf.c tests/fuzz/config.c; do
 *		clang -std=gnu17 -D_GNU_SOURCE -g -O1 -Isrc -fsanitize=$SANITIZERS -c $c ...
 *	clang++ -std=c++17 -g -O1 -Isrc -fsanitize=$SANITIZERS src/model/toml.cpp *.o -ljansson
 *	./config-fuzzer -max_len=4096 tests/fuzz/corpus/config
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "model/config.h"
#include "../json_to_toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_reports(const struct diagnostics *diags)
{
	char *text _free_ = diagnostics_format(diags);
	json_t *json = json_string(text);

	require(json != NULL);
	json_decref(json);
	for (size_t i = 1; i < diags->count; i++) {
		const struct diagnostic *a = &diags->items[i - 1], *b = &diags->items[i];

		require(b->line == 0 || a->line < b->line ||
			(a->line == b->line && a->column <= b->column));
	}
}

static void check_json(const struct app_config *config)
{
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};
	struct app_config *again _cleanup_(config_freep) = NULL;
	json_t *json = config_to_json(config), *json_again;
	char *toml _free_ = json_to_toml(json);

	require(config_parse(toml, strlen(toml), "again", &again, &diags) == 0);
	json_again = config_to_json(again);
	require(json_equal(json, json_again));
	json_decref(json);
	json_decref(json_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};
	struct app_config *config _cleanup_(config_freep) = NULL;
	int error = config_parse((const char *)data, size, "fly.toml", &config, &diags);

	require((error == 0) == (diagnostics_count(&diags, SEVERITY_ERROR) == 0));
	require((error == 0) == (config != NULL));
	check_reports(&diags);
	if (config)
		check_json(config);
	return 0;
}
