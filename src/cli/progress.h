/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress on standard error. On a terminal: a line that shows what is waited for and for how
 * long. Elsewhere: what is waited for, once, when it takes over a second. Nothing with --quiet.
 */
#pragma once

#include <stdbool.h>

void progress_set_quiet(bool is_quiet);

/* Says what is waited for from now on; replaces what was said before. */
void progress_begin(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Nothing is waited for any more; the terminal's line is clean. */
void progress_end(void);

/* Prints a line that stays, above what is waited for. */
void progress_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Like progress_line(), marked as a warning, and with --quiet too. */
void progress_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
