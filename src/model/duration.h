/* SPDX-License-Identifier: Apache-2.0 */
/* Durations as Go writes them: "1m21s", "15s", "1.5s", "500ms". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DURATION_TEXT_LEN 24

/*
 * Parses @text into milliseconds, a part of one counting as a whole one. False when it is not a
 * duration or has no place in 64 bits of nanoseconds. Negative durations are parsed.
 */
bool duration_parse_ms(const char *text, int64_t *ms);

/* "15s" or "1500ms". Returns @text. */
char *duration_format_ms(uint64_t ms, char text[static DURATION_TEXT_LEN]);
