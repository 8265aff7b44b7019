/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a UDP check sends and expects, as fly.toml writes it: text, or "hex:" and the bytes in
 * hexadecimal, between which spaces may stand. Text that begins with "hex:" is written as hex.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CHECK_BYTES_MAX 1200

/*
 * Parses @text. Returns 0 with the bytes, which the caller frees; -EINVAL for a character that is
 * no hexadecimal digit, with *bad pointing at it; -ENODATA for "hex:" without digits or with one
 * digit too few, with *bad NULL.
 */
int check_bytes_parse(const char *text, uint8_t **out, size_t *len_bytes, const char **bad);

/* Returns the form that parses to the same bytes, which the caller frees: printable ASCII. */
char *check_bytes_format(const uint8_t *data, size_t len_bytes);
