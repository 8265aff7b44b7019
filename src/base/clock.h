/* SPDX-License-Identifier: Apache-2.0 */
/* Time: a monotonic clock for intervals, the wall clock for what people read. */
#pragma once

#include <stdint.h>

/* "2026-11-22T17:00:00.123Z" (RFC 3339, UTC) and its terminating NUL. */
#define CLOCK_STAMP_LEN 25

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t clock_now_ms(void);

/* Writes the wall-clock time. Returns @stamp. */
char *clock_stamp(char stamp[static CLOCK_STAMP_LEN]);
