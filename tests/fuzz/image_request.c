/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for images with bytes of any kind (libFuzzer, AFL++):
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc -Ibuild
 *     tests/fuzz/image_request.c build/libwherry.a
 * What is taken for a request is the one line that it is allowed to be, and no part of it is taken
 * for another one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/image_transfer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char line[IMAGE_TRANSFER_REQUEST_MAX];
	struct image_request request = {};
	char *copy = malloc(len ? len : 1); /* reading past its end is seen */

	if (!copy)
		return 0;
	memcpy(copy, data, len);
	if (image_transfer_parse(copy, len, &request) == 0) {
		snprintf(line, sizeof(line), "WHERRY-IMAGE 1 %s sha256:%s\n", request.identity,
			request.id);
		if (!image_id_is_valid(request.id) || len != strlen(line) ||
			memcmp(copy, line, len) != 0)
			abort();
		for (size_t part = 0; part < len; part++)
			if (image_transfer_parse(copy, part, &request) != 1)
				abort();
	} else if (request.id[0]) {
		abort();
	}
	free(copy);
	return 0;
}
