/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines; see log.h. One write(2) a line, so that lines of several threads do not mix.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
	threshold = level;
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
	char line[2048];
	va_list ap;
	int len, more = 0;

	if (level < threshold)
		return;
	len = snprintf(line, sizeof(line), "level=%s event=%s", level_names[level], event);
	if (format && len > 0 && (size_t)len < sizeof(line) - 2) {
		line[len++] = ' ';
		va_start(ap, format);
		more = vsnprintf(line + len, sizeof(line) - (size_t)len - 1, format, ap);
		va_end(ap);
	}
	if (more > 0)
		len += more;
	if ((size_t)len > sizeof(line) - 2)
		len = (int)sizeof(line) - 2;
	for (int i = 0; i < len; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		return; /* nobody is left to tell */
}
