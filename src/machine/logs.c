/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading machine logs; see logs.h. A record is one line of the file: time, stream, P or F, text.
 * A line of the program is all P records of its stream up to the next F. The two streams mix, so
 * a line of one may end between the pieces of the other: the cursor stays at the oldest unfinished
 * piece, and remembers in done how far whole lines were given already.
 */
#include "machine/logs.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BLOCK_BYTES	  (64 * 1024)
#define UNFINISHED_AGE_MS 1000
#define REREAD_MAX_BYTES  (1024 * 1024)

struct pending {
	const char *stream;
	struct buf text;
	char timestamp[48];
	int64_t begin; /* where its first record stands; -1: nothing is pending */
};

struct reader {
	logs_fn *fn;
	void *arg;
	struct pending streams[2];
	int64_t done;
};

static void reader_clear(struct reader *reader)
{
	for (size_t i = 0; i < ARRAY_LEN(reader->streams); i++)
		buf_clear(&reader->streams[i].text);
}

char *logs_path(const char *state_dir)
{
	char *path = NULL;

	return asprintf(&path, "%s/log", state_dir) < 0 ? NULL : path;
}

/* Length of the UTF-8 sequence at @p, or 0 when it is none (RFC 3629). */
static size_t sequence_len(const unsigned char *p, size_t left)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (len == 0 || p[0] > 0xf4 || p[0] == 0 || len > left)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static void add_clean(struct buf *to, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;

	buf_adds(to, "");
	while (len) {
		size_t good = 0, step;

		while (good < len && (step = sequence_len(p + good, len - good)))
			good += step;
		buf_add(to, p, good);
		p += good;
		len -= good;
		if (len) {
			buf_adds(to, "\xef\xbf\xbd");
			p++;
			len--;
		}
	}
}

/* Gives what is pending of the stream, if its end at @end was not given before. */
static void give(struct reader *reader, struct pending *pending, int64_t end)
{
	_cleanup_(buf_clear) struct buf clean = {};

	if (end > reader->done) {
		struct log_line line = {.timestamp = pending->timestamp, .stream = pending->stream};

		add_clean(&clean, pending->text.data, pending->text.len);
		line.message = clean.data ? clean.data : "";
		reader->fn(reader->arg, &line);
		reader->done = end;
	}
	buf_clear(&pending->text);
	pending->begin = -1;
}

/* One record, without its newline; records of no known form are skipped. */
static void take_record(struct reader *reader, const char *record, size_t len, int64_t begin)
{
	const char *end = record + len, *stream, *flag, *text;
	struct pending *pending;

	stream = memchr(record, ' ', len);
	if (!stream || (size_t)(stream - record) >= sizeof(pending->timestamp))
		return;
	stream++;
	if (end - stream < 8 ||
		(memcmp(stream, "stdout ", 7) != 0 && memcmp(stream, "stderr ", 7) != 0))
		return;
	flag = stream + 7;
	if (*flag != 'P' && *flag != 'F')
		return;
	text = flag + 1 < end ? flag + 2 : end;
	pending = &reader->streams[memcmp(stream, "stderr", 6) == 0];
	if (pending->begin < 0) {
		pending->begin = begin;
		snprintf(pending->timestamp, sizeof(pending->timestamp), "%.*s",
			(int)(stream - 1 - record), record);
	}
	buf_add(&pending->text, text, (size_t)(end - text));
	if (*flag == 'F' || pending->text.len >= LOGS_LINE_MAX_BYTES)
		give(reader, pending, begin + (int64_t)len + 1);
}

/* Takes whole records of @fd from *@offset on and moves it behind the last of them. */
static int take_records(struct reader *reader, int fd, int64_t *offset)
{
	_cleanup_(buf_clear) struct buf buf = {};
	_free_ char *block = malloc(BLOCK_BYTES);

	if (!block)
		return -ENOMEM;
	for (;;) {
		ssize_t got = pread(fd, block, BLOCK_BYTES, *offset + (int64_t)buf.len);
		char *begin, *newline;

		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		buf_add(&buf, block, (size_t)got);
		begin = buf.data;
		while ((newline = memchr(begin, '\n', buf.len - (size_t)(begin - buf.data)))) {
			take_record(reader, begin, (size_t)(newline - begin),
				*offset + (begin - buf.data));
			begin = newline + 1;
		}
		*offset += begin - buf.data;
		buf.len -= (size_t)(begin - buf.data);
		memmove(buf.data, begin, buf.len);
	}
}

static bool is_quiet(int fd)
{
	struct timespec now;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &now);
	return fstat(fd, &st) == 0 &&
	       (now.tv_sec - st.st_mtim.tv_sec) * 1000 +
			       (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000 >=
		       UNFINISHED_AGE_MS;
}

/* Reads one file from the cursor to its end; @is_last: nothing newer follows. */
static int read_file(struct logs_cursor *cursor, int fd, bool is_last, logs_fn *fn, void *arg)
{
	_cleanup_(reader_clear) struct reader reader = {
		.fn = fn,
		.arg = arg,
		.streams = {{.stream = "stdout", .begin = -1}, {.stream = "stderr", .begin = -1}},
		.done = cursor->done,
	};
	struct pending *first = &reader.streams[0], *second = &reader.streams[1];
	int64_t end = cursor->offset;
	int r = take_records(&reader, fd, &end);

	if (r < 0)
		return r;
	if (second->begin >= 0 && (first->begin < 0 || second->begin < first->begin)) {
		first = &reader.streams[1];
		second = &reader.streams[0];
	}
	if (!is_last || is_quiet(fd) ||
		(first->begin >= 0 && end - first->begin > REREAD_MAX_BYTES)) {
		for (int i = 0; i < 2; i++) {
			/* What is pending was never given, wherever the given lines end. */
			reader.done = -1;
			if ((i ? second : first)->begin >= 0)
				give(&reader, i ? second : first, end);
		}
	}
	cursor->offset = first->begin >= 0 ? first->begin : end;
	cursor->done = end;
	return 0;
}

static int open_log(const char *state_dir, const char *name, uint64_t *inode)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	*inode = 0;
	snprintf(path, sizeof(path), "%s/%s", state_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0)
		*inode = st.st_ino;
	return fd;
}

int logs_read(const char *state_dir, struct logs_cursor *cursor, logs_fn *fn, void *arg)
{
	uint64_t inode, older_inode;
	_close_ int fd = open_log(state_dir, "log", &inode);
	_close_ int older = -1;
	struct stat st;
	int r;

	if (fd < 0 && fd != -ENOENT)
		return fd;
	if (cursor->inode != inode || fd < 0) {
		/* Opened after the newer one: at worst a rotation in between is read twice. */
		older = open_log(state_dir, "log.1", &older_inode);
		if (older >= 0 && (cursor->inode == 0 || cursor->inode == older_inode)) {
			cursor->inode = older_inode;
			r = read_file(cursor, older, fd < 0, fn, arg);
			if (r < 0)
				return r;
		}
		if (fd < 0)
			return 0;
		*cursor = (struct logs_cursor){.inode = inode};
	}
	/* Shorter than where we stood: another file that got the same inode. */
	if (fstat(fd, &st) == 0 && st.st_size < cursor->offset)
		*cursor = (struct logs_cursor){.inode = inode};
	return read_file(cursor, fd, true, fn, arg);
}

/*
 * Walks back over *@lines whole lines (F records). Returns the offset to read from, 0 with *@lines
 * still above 0 when the file is shorter than that.
 */
static int64_t seek_back(int fd, unsigned int *lines)
{
	_free_ char *block = malloc(BLOCK_BYTES);
	struct stat st;
	int64_t at;

	if (!block || fstat(fd, &st) < 0)
		return 0;
	at = st.st_size;
	while (at > 0) {
		int64_t len = at < BLOCK_BYTES ? at : BLOCK_BYTES;

		if (pread(fd, block, (size_t)len, at - len) != len)
			return 0;
		for (int64_t i = len - 1; i >= 0; i--)
			/* The newline that ends the file ends the last line, begins none. */
			if (block[i] == '\n' && at - len + i + 1 < st.st_size && --*lines == 0)
				return at - len + i + 1;
		at -= len;
	}
	--*lines;
	return 0;
}

int logs_seek_tail(const char *state_dir, unsigned int lines, struct logs_cursor *cursor)
{
	uint64_t inode, older_inode;
	_close_ int fd = open_log(state_dir, "log", &inode);
	_close_ int older = -1;
	struct stat st;

	*cursor = (struct logs_cursor){};
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	cursor->inode = inode;
	if (fstat(fd, &st) < 0)
		return -errno;
	cursor->offset = st.st_size;
	if (lines == 0)
		return 0;
	cursor->offset = st.st_size ? seek_back(fd, &lines) : 0;
	if (lines == 0)
		return 0;
	older = open_log(state_dir, "log.1", &older_inode);
	if (older >= 0)
		*cursor = (struct logs_cursor){
			.inode = older_inode, .offset = seek_back(older, &lines)};
	return 0;
}
