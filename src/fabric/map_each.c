/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a hash map of the kernel. One entry a system call takes a tenth of a second for 100,000;
 * kernels from 5.6 on give many at once.
 */
#include "fabric/fabric_impl.h"

#include <bpf/bpf.h>
#include <errno.h>

#define BATCH 4096

static int each_one(int fd, void *keys, void *value, size_t key_size, map_entry_fn *fn, void *arg)
{
	void *key = keys, *next = (char *)keys + key_size, *last = NULL;

	while (bpf_map_get_next_key(fd, last, next) == 0) {
		void *taken = next;
		int r = 0;

		if (bpf_map_lookup_elem(fd, taken, value) == 0)
			r = fn(arg, taken, value);
		if (r != 0)
			return r;
		next = key;
		last = key = taken;
	}
	return 0;
}

int map_each(int fd, size_t key_size, size_t value_size, map_entry_fn *fn, void *arg)
{
	_free_ char *keys = calloc(BATCH, key_size), *values = calloc(BATCH, value_size);
	uint64_t from[4] = {}; /* a bucket's number, or a key */
	bool is_first = true;
	int r;

	if (!keys || !values || key_size > sizeof(from))
		return -ENOMEM;
	do {
		uint32_t count = BATCH;
		int called;

		r = bpf_map_lookup_batch(
			fd, is_first ? NULL : from, from, keys, values, &count, NULL);
		if (r < 0 && r != -ENOENT && is_first)
			return each_one(fd, keys, values, key_size, fn, arg);
		if (r < 0 && r != -ENOENT)
			return r;
		is_first = false;
		for (uint32_t i = 0; i < count; i++) {
			called = fn(arg, keys + i * key_size, values + i * value_size);
			if (called != 0)
				return called;
		}
	} while (r == 0);
	return 0;
}
