/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error sentences; see err.h. Truncation is silent: a sentence that does not fit was too long to
 * be read anyway.
 */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *format, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, format);
	vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	return code;
}

int err_errno(struct err *err, int code, const char *format, ...)
{
	va_list ap;
	int len;

	if (!err)
		return code;
	va_start(ap, format);
	len = vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < sizeof(err->text))
		snprintf(err->text + len, sizeof(err->text) - (size_t)len, ": %s", strerror(-code));
	return code;
}

int err_wrap(struct err *err, int code, const char *format, ...)
{
	char inner[sizeof(err->text)];
	va_list ap;
	int len;

	if (!err)
		return code;
	memcpy(inner, err->text, sizeof(inner));
	va_start(ap, format);
	len = vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < sizeof(err->text) - 2)
		snprintf(err->text + len, sizeof(err->text) - (size_t)len, ": %.*s",
			(int)(sizeof(err->text) - (size_t)len - 3), inner);
	return code;
}
