/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, section 4): how JSON carries bytes of any kind. Padding is required. */
#pragma once

#include <stddef.h>

struct buf;

void base64_add(struct buf *out, const void *data, size_t len);

/*
 * Decodes @text into a buffer that the caller frees; a NUL follows the @out_len bytes. -EINVAL when
 * it is not base64, -ENOMEM.
 */
int base64_decode(const char *text, size_t len, char **out, size_t *out_len);
