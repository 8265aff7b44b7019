/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of the catalog with bytes of any kind (libFuzzer, AFL++):
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc tests/fuzz/records.c \
 *     src/model/{records,app_record,host_records}.c src/base/{addr,clock,err}.c -ljansson
 * The first byte chooses the kind of record. Whatever is read can be written, and is then read
 * again as the same.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "model/records.h"

/* Each reads @json; returns what it would write, or NULL when it refused. */

#define READER(kind)                                                                               \
	static json_t *read_##kind(const json_t *json)                                             \
	{                                                                                          \
		struct kind##_record *record = NULL;                                               \
		struct err err = {};                                                               \
		json_t *written;                                                                   \
                                                                                                   \
		if (kind##_record_from_json(json, &record, &err) < 0) {                            \
			if (record || !err.text[0])                                                \
				abort();                                                           \
			return NULL;                                                               \
		}                                                                                  \
		written = kind##_record_to_json(record);                                           \
		kind##_record_free(record);                                                        \
		if (!written)                                                                      \
			abort();                                                                   \
		return written;                                                                    \
	}

READER(app)
READER(ip)
READER(release)
READER(machine)
READER(host)

static json_t *read_alive(const json_t *json)
{
	struct host_alive alive = {};
	struct err err = {};
	json_t *written;

	if (host_alive_from_json(json, &alive, &err) < 0)
		return NULL;
	written = host_alive_to_json(&alive);
	host_alive_clear(&alive);
	return written;
}

static json_t *read_fleet(const json_t *json)
{
	struct fleet_record fleet = {};
	struct err err = {};

	return fleet_record_from_json(json, &fleet, &err) < 0 ? NULL : fleet_record_to_json(&fleet);
}

static json_t *read_state(const json_t *json)
{
	struct machine_state_record state = {};
	struct err err = {};
	json_t *written;

	if (machine_state_from_json(json, &state, &err) < 0)
		return NULL;
	written = machine_state_to_json(&state);
	machine_state_clear(&state);
	return written;
}

static json_t *(*const readers[])(const json_t *json) = {
	read_app,
	read_ip,
	read_release,
	read_machine,
	read_host,
	read_alive,
	read_fleet,
	read_state,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const size_t count = sizeof(readers) / sizeof(readers[0]);
	json_t *json, *once, *twice = NULL;

	if (!len)
		return 0;
	json = json_loadb((const char *)data + 1, len - 1, JSON_DECODE_ANY, NULL);
	if (!json)
		return 0;
	once = readers[data[0] % count](json);
	if (once)
		twice = readers[data[0] % count](once);
	if (once && !json_equal(once, twice))
		abort();
	json_decref(json);
	json_decref(once);
	json_decref(twice);
	return 0;
}
