/* SPDX-License-Identifier: Apache-2.0 */
/* Growable text; see buf.h. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct buf *buf, size_t more)
{
	size_t need = buf->len + more + 1;

	if (need <= buf->size)
		return;
	buf->size = need < 64 ? 64 : need * 2;
	buf->data = realloc(buf->data, buf->size);
	if (!buf->data)
		abort();
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
	reserve(buf, len);
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_adds(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_addf(struct buf *buf, const char *format, ...)
{
	va_list ap, again;
	int len;

	va_start(ap, format);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (len >= 0) {
		reserve(buf, (size_t)len);
		vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
		buf->len += (size_t)len;
	}
	va_end(again);
}

void buf_clear(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){};
}

char *buf_take(struct buf *buf)
{
	char *data;

	reserve(buf, 0);
	buf->data[buf->len] = '\0';
	data = buf->data;
	*buf = (struct buf){};
	return data;
}
