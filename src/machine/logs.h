/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine logs: one bounded file a machine in the format that both conmon (k8s-file) and
 * wherry-init write:  2026-11-22T17:00:00.123456789+00:00 stdout F message
 * ("P" instead of "F": the line goes on in the next record).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A log file is rotated at this size; one older file is kept beside it. */
#define LOGS_MAX_BYTES (10 * 1024 * 1024)

/* Path of a machine's log file inside its state directory; the caller frees. */
char *logs_path(const char *state_dir);

struct log_line {
	const char *timestamp; /* RFC 3339, as written */
	const char *stream;    /* "stdout" or "stderr" */
	const char *message;   /* without the newline; bytes that are not UTF-8 were replaced */
};

typedef void logs_fn(void *arg, const struct log_line *line);

/* Where a reader stands; {} is the beginning of what is there. */
struct logs_cursor {
	uint64_t inode;
	int64_t offset;
	int64_t done; /* lines that end before this offset were given, even if after @offset */
};

/* A line is given in pieces of about this size when it is longer. */
#define LOGS_LINE_MAX_BYTES (64 * 1024)

/*
 * Calls @fn for each complete line from @cursor on and moves the cursor. Follows a rotation (what
 * conmon rotates away is gone, wherry-init keeps one older file). A missing file is no lines. A
 * line whose end does not come within a second is given as far as it goes: a prompt, or the last
 * words of a program that died. Returns 0 or a negative errno.
 */
int logs_read(const char *state_dir, struct logs_cursor *cursor, logs_fn *fn, void *arg);

/* Sets @cursor so that about the last @lines lines are still to be read. */
int logs_seek_tail(const char *state_dir, unsigned int lines, struct logs_cursor *cursor);
