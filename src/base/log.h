/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines to stderr, logfmt: level=info event=machine-started machine=... . The format string
 * holds key=value pairs; free text goes through log_quote() or into a quoted %s by the caller.
 */
#pragma once

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR,
};

void log_set_level(enum log_level level);

/* Writes one line. @format may be NULL. Newlines in the values are replaced by spaces. */
void log_event(enum log_level level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_event(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_event(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_LEVEL_ERROR, event, __VA_ARGS__)
