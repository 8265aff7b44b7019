/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 both ways; see base64.h. Values of megabytes pass here, so it goes by table. */
#include "store/base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

void base64_add(struct buf *out, const void *data, size_t len)
{
	const unsigned char *in = data;
	char chunk[1024];
	size_t used = 0;

	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t bits = (uint32_t)in[i] << 16;

		if (left > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			bits |= in[i + 2];
		chunk[used++] = digits[bits >> 18];
		chunk[used++] = digits[bits >> 12 & 63];
		chunk[used++] = left > 1 ? digits[bits >> 6 & 63] : '=';
		chunk[used++] = left > 2 ? digits[bits & 63] : '=';
		if (used == sizeof(chunk)) {
			buf_add(out, chunk, used);
			used = 0;
		}
	}
	buf_add(out, chunk, used);
}

int base64_decode(const char *text, size_t len, char **out, size_t *out_len)
{
	size_t pad = 0, written = 0;
	char *data;

	if (len % 4)
		return -EINVAL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	data = malloc(len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += 4) {
		size_t given = i + 4 == len ? 4 - pad : 4;
		uint32_t bits = 0;

		for (size_t k = 0; k < 4; k++) {
			int v = k < given ? value_of((unsigned char)text[i + k]) : 0;

			if (v < 0) {
				free(data);
				return -EINVAL;
			}
			bits = bits << 6 | (uint32_t)v;
		}
		data[written] = (char)(bits >> 16);
		if (given > 2)
			data[written + 1] = (char)(bits >> 8);
		if (given > 3)
			data[written + 2] = (char)bits;
		written += given - 1;
	}
	data[written] = '\0';
	*out = data;
	*out_len = written;
	return 0;
}
