/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing machine logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "machine/log_writer.h"
#include "machine/logs.h"

#define T "2026-11-22T17:00:00.123456789+00:00 "

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/wherry-logs-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return file_remove_all(dir, NULL);
}

static void append(const char *name, const char *text)
{
	char path[128];
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* As if nothing had been written for ten seconds. */
static void age(const char *name)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {}};
	char path[128];

	clock_gettime(CLOCK_REALTIME, &times[1]);
	times[1].tv_sec -= 10;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void collect(void *arg, const struct log_line *line)
{
	buf_addf(arg, "%c|%s;", line->stream[3], line->message);
}

static void expect(struct logs_cursor *cursor, const char *text)
{
	_cleanup_(buf_clear) struct buf buf = {};

	buf_adds(&buf, "");
	assert_int_equal(logs_read(dir, cursor, collect, &buf), 0);
	assert_string_equal(buf.data, text);
}

static void no_file_is_no_lines(void **state)
{
	struct logs_cursor cursor = {};

	(void)state;
	expect(&cursor, "");
	assert_int_equal(logs_seek_tail(dir, 10, &cursor), 0);
	expect(&cursor, "");
}

static void each_line_is_given_once_as_the_file_grows(void **state)
{
	struct logs_cursor cursor = {};

	(void)state;
	append("log", T "stdout F one\n" T "stderr F two\n" T "stdout F thr");
	expect(&cursor, "o|one;e|two;");
	expect(&cursor, "");
	append("log", "ee\n");
	expect(&cursor, "o|three;");
	expect(&cursor, "");
}

static void the_pieces_of_a_line_are_joined_and_do_not_hold_up_the_other_stream(void **state)
{
	struct logs_cursor cursor = {};

	(void)state;
	append("log", T "stdout P be\n" T "stderr F other\n");
	expect(&cursor, "e|other;");
	append("log", T "stdout P gin\n" T "stderr F more\n");
	expect(&cursor, "e|more;");
	append("log", T "stdout F ning\n");
	expect(&cursor, "o|beginning;");
	expect(&cursor, "");
}

static void an_unfinished_line_is_given_when_its_end_does_not_come(void **state)
{
	struct logs_cursor cursor = {};

	(void)state;
	append("log", T "stdout P prompt> \n");
	expect(&cursor, "");
	age("log");
	expect(&cursor, "o|prompt> ;");
	expect(&cursor, "");
	append("log", T "stdout F answer\n");
	expect(&cursor, "o|answer;");
}

static void a_rotation_loses_no_line(void **state)
{
	struct logs_cursor cursor = {};
	char from[128], to[128];

	(void)state;
	append("log", T "stdout F one\n");
	expect(&cursor, "o|one;");
	append("log", T "stdout F two\n");
	snprintf(from, sizeof(from), "%s/log", dir);
	snprintf(to, sizeof(to), "%s/log.1", dir);
	assert_int_equal(rename(from, to), 0);
	append("log", T "stdout F three\n");
	expect(&cursor, "o|two;o|three;");
	cursor = (struct logs_cursor){};
	expect(&cursor, "o|one;o|two;o|three;");
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
	struct logs_cursor cursor = {};

	(void)state;
	append("log", T "stdout F gr\xc3\xbc\xc3\x9f \xff\xc0\x80 \xed\xa0\x80 \xe2\x82\n");
	expect(&cursor, "o|gr\xc3\xbc\xc3\x9f \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
			"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd;");
}

static void lines_of_no_known_form_are_skipped(void **state)
{
	struct logs_cursor cursor = {};

	(void)state;
	append("log", "\nrubbish\n" T "stdout\n" T "stdout X no\n" T "stdout F yes\n" T
		      "stdout F\n" T "stdout F \n");
	expect(&cursor, "o|yes;o|;o|;");
}

static void the_tail_begins_so_many_lines_before_the_end(void **state)
{
	struct logs_cursor cursor = {};

	(void)state;
	append("log.1", T "stdout F one\n" T "stdout F two\n");
	append("log", T "stdout F three\n" T "stdout F four\n");
	assert_int_equal(logs_seek_tail(dir, 0, &cursor), 0);
	expect(&cursor, "");
	assert_int_equal(logs_seek_tail(dir, 1, &cursor), 0);
	expect(&cursor, "o|four;");
	assert_int_equal(logs_seek_tail(dir, 2, &cursor), 0);
	expect(&cursor, "o|three;o|four;");
	assert_int_equal(logs_seek_tail(dir, 3, &cursor), 0);
	expect(&cursor, "o|two;o|three;o|four;");
	assert_int_equal(logs_seek_tail(dir, 100, &cursor), 0);
	expect(&cursor, "o|one;o|two;o|three;o|four;");
}

static void what_is_written_is_read_back(void **state)
{
	struct logs_cursor cursor = {};
	_cleanup_(buf_clear) struct buf want = {};
	struct log_writer *writer;
	char line[20001];

	(void)state;
	assert_int_equal(log_writer_open(&writer, dir, LOGS_MAX_BYTES, NULL), 0);
	log_writer_add(writer, LOG_STREAM_STDOUT, "first\nsec", 9);
	log_writer_add(writer, LOG_STREAM_STDERR, "wrong\n", 6);
	log_writer_add(writer, LOG_STREAM_STDOUT, "ond\n\nla", 7);
	expect(&cursor, "o|first;e|wrong;o|second;o|;");
	assert_true(log_writer_is_waiting(writer));
	log_writer_flush(writer);
	assert_false(log_writer_is_waiting(writer));
	log_writer_add(writer, LOG_STREAM_STDOUT, "st\n", 3);
	expect(&cursor, "o|last;");
	memset(line, 'x', sizeof(line) - 1);
	line[20000] = '\0';
	log_writer_add(writer, LOG_STREAM_STDOUT, line, 20000);
	log_writer_close(writer);
	buf_addf(&want, "o|%s;", line);
	expect(&cursor, want.data);
}

static void the_log_is_bounded_and_rotated_between_records(void **state)
{
	struct logs_cursor cursor = {};
	_cleanup_(buf_clear) struct buf buf = {};
	struct log_writer *writer;
	struct stat st;
	char path[128], text[32];

	(void)state;
	assert_int_equal(log_writer_open(&writer, dir, 4096, NULL), 0);
	for (int i = 0; i < 1000; i++) {
		int len = snprintf(text, sizeof(text), "line %d\n", i);

		log_writer_add(writer, LOG_STREAM_STDOUT, text, (size_t)len);
	}
	log_writer_close(writer);
	snprintf(path, sizeof(path), "%s/log", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, 4096);
	snprintf(path, sizeof(path), "%s/log.1", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 3900, 4096);
	assert_int_equal(logs_read(dir, &cursor, collect, &buf), 0);
	assert_non_null(strstr(buf.data, "o|line 998;o|line 999;"));
	assert_null(strstr(buf.data, "o|line 1;"));
	/* The first line that is left is a whole one. */
	assert_int_equal(strncmp(buf.data, "o|line 9", 8), 0);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(no_file_is_no_lines),
		LOG_TEST(each_line_is_given_once_as_the_file_grows),
		LOG_TEST(the_pieces_of_a_line_are_joined_and_do_not_hold_up_the_other_stream),
		LOG_TEST(an_unfinished_line_is_given_when_its_end_does_not_come),
		LOG_TEST(a_rotation_loses_no_line),
		LOG_TEST(bytes_that_are_not_utf8_are_replaced),
		LOG_TEST(lines_of_no_known_form_are_skipped),
		LOG_TEST(the_tail_begins_so_many_lines_before_the_end),
		LOG_TEST(what_is_written_is_read_back),
		LOG_TEST(the_log_is_bounded_and_rotated_between_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
