/* SPDX-License-Identifier: Apache-2.0 */
/* The API's times (RFC 3339, UTC) as tables show them. */
#pragma once

#include <stdint.h>
#include <time.h>

#define TIMES_TEXT_LEN 40

/* Seconds since the epoch, or -1 when @text is no time. */
int64_t times_parse(const char *text);

/* "2026-11-22T17:00:00Z": without the fraction. What is no time stays as it is. */
char *times_whole(const char *text, char out[static TIMES_TEXT_LEN]);

/* "just now", "42s ago", "5m ago", "3h ago", "12d ago" at the time @now. */
char *times_ago(const char *text, time_t now, char out[static TIMES_TEXT_LEN]);
