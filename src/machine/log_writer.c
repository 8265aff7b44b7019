/* SPDX-License-Identifier: Apache-2.0 */
/* Writing machine logs; see log_writer.h. Each record is one write(2) to a file in append mode. */
#include "machine/log_writer.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A longer line is written in pieces (P records). */
#define PIECE_BYTES 8192

struct log_writer {
	char path[PATH_MAX], older[PATH_MAX];
	int fd;
	int64_t size, max_bytes;
	struct buf waiting[2];
};

static int open_file(struct log_writer *writer)
{
	struct stat st;

	writer->fd = open(writer->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (writer->fd < 0)
		return -errno;
	writer->size = fstat(writer->fd, &st) < 0 ? 0 : st.st_size;
	return 0;
}

int log_writer_open(
	struct log_writer **out, const char *state_dir, int64_t max_bytes, struct err *err)
{
	_free_ struct log_writer *writer = calloc(1, sizeof(*writer));
	int r;

	if (!writer)
		return err_errno(err, -ENOMEM, "cannot open the log in %s", state_dir);
	snprintf(writer->path, sizeof(writer->path), "%s/log", state_dir);
	snprintf(writer->older, sizeof(writer->older), "%s/log.1", state_dir);
	writer->max_bytes = max_bytes;
	r = open_file(writer);
	if (r < 0)
		return err_errno(err, r, "cannot open the log %s", writer->path);
	*out = take_ptr(writer);
	return 0;
}

static void rotate(struct log_writer *writer)
{
	int before = writer->fd;

	if (rename(writer->path, writer->older) < 0)
		return;
	/* Without a new file the old one, now log.1, goes on. */
	if (open_file(writer) < 0)
		writer->fd = before;
	else
		close(before);
}

static void write_record(struct log_writer *writer, enum log_stream stream, bool is_whole,
	const char *text, size_t len)
{
	_cleanup_(buf_clear) struct buf record = {};
	struct timespec now;
	struct tm tm;
	char stamp[32];
	ssize_t put;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(&record, "%s.%09ld+00:00 %s %c ", stamp, now.tv_nsec,
		stream == LOG_STREAM_STDOUT ? "stdout" : "stderr", is_whole ? 'F' : 'P');
	buf_add(&record, text, len);
	buf_adds(&record, "\n");
	/* The limit is reached between lines where that is possible, never inside a record. */
	if (writer->size && writer->size + (int64_t)record.len > writer->max_bytes)
		rotate(writer);
	put = write(writer->fd, record.data, record.len);
	if (put > 0)
		writer->size += put;
}

void log_writer_add(struct log_writer *writer, enum log_stream stream, const char *data, size_t len)
{
	struct buf *waiting = &writer->waiting[stream];

	while (len) {
		const char *newline = memchr(data, '\n', len);
		size_t part = newline ? (size_t)(newline - data) : len;

		if (part > PIECE_BYTES - waiting->len) {
			part = PIECE_BYTES - waiting->len;
			newline = NULL;
		}
		buf_add(waiting, data, part);
		data += part + (newline ? 1 : 0);
		len -= part + (newline ? 1 : 0);
		if (newline || waiting->len == PIECE_BYTES) {
			write_record(writer, stream, newline != NULL, waiting->data, waiting->len);
			waiting->len = 0;
		}
	}
}

bool log_writer_is_waiting(const struct log_writer *writer)
{
	return writer->waiting[0].len || writer->waiting[1].len;
}

static void write_waiting(struct log_writer *writer, bool is_whole)
{
	for (int i = 0; i < 2; i++) {
		struct buf *waiting = &writer->waiting[i];

		if (waiting->len)
			write_record(
				writer, (enum log_stream)i, is_whole, waiting->data, waiting->len);
		waiting->len = 0;
	}
}

void log_writer_flush(struct log_writer *writer)
{
	write_waiting(writer, false);
}

void log_writer_close(struct log_writer *writer)
{
	if (!writer)
		return;
	write_waiting(writer, true);
	buf_clear(&writer->waiting[0]);
	buf_clear(&writer->waiting[1]);
	close(writer->fd);
	free(writer);
}
