/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the log file of logs.h for one machine: splits what a program prints into records and
 * rotates the file. One writer a file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct log_writer;

enum log_stream {
	LOG_STREAM_STDOUT,
	LOG_STREAM_STDERR,
};

/* Opens (and appends to) STATE_DIR/log, which is rotated to log.1 at @max_bytes. */
int log_writer_open(
	struct log_writer **out, const char *state_dir, int64_t max_bytes, struct err *err);

/*
 * Takes what the program printed. Whole lines are written, an unfinished one waits for its end
 * unless it is long. What a full disk refuses is lost: the program must not wait for its log.
 */
void log_writer_add(
	struct log_writer *writer, enum log_stream stream, const char *data, size_t len);

/* Whether an unfinished line waits; log_writer_flush() writes it as far as it goes. */
bool log_writer_is_waiting(const struct log_writer *writer);
void log_writer_flush(struct log_writer *writer);

/* Writes what waits, and closes. */
void log_writer_close(struct log_writer *writer);
