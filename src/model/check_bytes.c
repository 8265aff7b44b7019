/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two forms of a UDP check's bytes; see check_bytes.h. What is printed is text only where a
 * person can read it in one line, so that a binary payload never reaches a terminal as it is.
 */
#include "model/check_bytes.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/config_memory.h"

#define HEX_PREFIX "hex:"

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_hex(const char *text, uint8_t **out, size_t *len_bytes, const char **bad)
{
	uint8_t *data _free_ = calloc(1, strlen(text) / 2 + 1);
	size_t digits = 0;

	if (!data)
		abort();
	*bad = NULL;
	for (; *text; text++) {
		int digit = digit_of(*text);

		/* A space parts bytes, not the digits of one. */
		if (*text == ' ' && digits % 2 == 0)
			continue;
		if (digit < 0) {
			*bad = text;
			return -EINVAL;
		}
		data[digits / 2] = (uint8_t)(data[digits / 2] << 4 | digit);
		digits++;
	}
	if (digits == 0 || digits % 2)
		return -ENODATA;
	*out = take_ptr(data);
	*len_bytes = digits / 2;
	return 0;
}

int check_bytes_parse(const char *text, uint8_t **out, size_t *len_bytes, const char **bad)
{
	if (!strncmp(text, HEX_PREFIX, strlen(HEX_PREFIX)))
		return parse_hex(text + strlen(HEX_PREFIX), out, len_bytes, bad);
	*out = (uint8_t *)text_copy(text);
	*len_bytes = strlen(text);
	return 0;
}

static bool is_text(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] < ' ' || data[i] > '~')
			return false;
	return len > 0 &&
	       (len < strlen(HEX_PREFIX) || memcmp(data, HEX_PREFIX, strlen(HEX_PREFIX)) != 0);
}

char *check_bytes_format(const uint8_t *data, size_t len_bytes)
{
	struct buf text = {};

	if (is_text(data, len_bytes)) {
		buf_add(&text, data, len_bytes);
		return buf_take(&text);
	}
	buf_adds(&text, HEX_PREFIX);
	for (size_t i = 0; i < len_bytes; i++)
		buf_addf(&text, "%02x", data[i]);
	return buf_take(&text);
}
