/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable text buffer. Running out of memory aborts: the project's buffers are small and
 * bounded by their writers. data is always NUL-terminated once anything was added.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t size;
};

void buf_add(struct buf *buf, const void *data, size_t len);
void buf_adds(struct buf *buf, const char *text);
void buf_addf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Frees the data and makes the buffer empty again; usable with _cleanup_. */
void buf_clear(struct buf *buf);

/* Hands the text to the caller, who frees it; never NULL. */
char *buf_take(struct buf *buf);
