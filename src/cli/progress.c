/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress; see progress.h. A thread of its own draws, because the work that is waited for blocks
 * the caller's. One standard error, so one state: everything below is under the lock. The thread
 * lives from the first progress_begin() on and sleeps while nothing is waited for.
 */
#include "cli/progress.h"

#include "base/clock.h"
#include "cli/term.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* What is done sooner than this needs no progress. */
#define SILENT_TERMINAL_MS 300
#define SILENT_FILE_MS	   1000
#define FRAME_MS	   120

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool has_thread, is_quiet;
	bool is_waiting;
	bool is_drawn; /* terminal: the line is on the screen; else: it was printed */
	uint64_t since_ms;
	unsigned int frame;
	char text[160];
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void erase(void)
{
	if (progress.is_drawn && term_is_terminal(stderr))
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

static void draw(bool is_terminal, uint64_t waited_ms)
{
	static const char *const frames[] = {"|", "/", "-", "\\"};

	if (is_terminal) {
		size_t width = term_width(stderr);
		int room = width > 16 ? (int)width - 16 : 0;

		fprintf(stderr, "\r%s%s%s %.*s (%llus)\033[K", term_colour(stderr, TERM_GREEN),
			frames[progress.frame++ % 4], term_colour(stderr, TERM_PLAIN), room,
			progress.text, (unsigned long long)(waited_ms / 1000));
		progress.is_drawn = true;
	} else if (!progress.is_drawn) {
		fprintf(stderr, "%s\n", progress.text);
		progress.is_drawn = true;
	}
	fflush(stderr);
}

static void wait_frame(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += FRAME_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&progress.changed, &progress.lock, &until);
}

static void *draw_thread(void *arg)
{
	bool is_terminal = term_is_terminal(stderr);
	uint64_t silent_ms = is_terminal ? SILENT_TERMINAL_MS : SILENT_FILE_MS;

	(void)arg;
	pthread_mutex_lock(&progress.lock);
	for (;;) {
		uint64_t waited_ms;

		if (!progress.is_waiting) {
			pthread_cond_wait(&progress.changed, &progress.lock);
			continue;
		}
		waited_ms = clock_now_ms() - progress.since_ms;
		if (waited_ms >= silent_ms)
			draw(is_terminal, waited_ms);
		wait_frame();
	}
	return NULL;
}

static void start_thread(void)
{
	sigset_t all, before;
	pthread_t thread;

	if (progress.has_thread)
		return;
	/* Signals stay the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	progress.has_thread = pthread_create(&thread, NULL, draw_thread, NULL) == 0;
	if (progress.has_thread)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void progress_set_quiet(bool is_quiet)
{
	progress.is_quiet = is_quiet;
}

void progress_begin(const char *format, ...)
{
	va_list ap;

	if (progress.is_quiet)
		return;
	pthread_mutex_lock(&progress.lock);
	start_thread();
	erase();
	va_start(ap, format);
	vsnprintf(progress.text, sizeof(progress.text), format, ap);
	va_end(ap);
	progress.is_waiting = true;
	progress.is_drawn = false;
	progress.since_ms = clock_now_ms();
	pthread_cond_signal(&progress.changed);
	pthread_mutex_unlock(&progress.lock);
}

void progress_end(void)
{
	pthread_mutex_lock(&progress.lock);
	if (progress.is_waiting)
		erase();
	progress.is_waiting = false;
	progress.is_drawn = false;
	pthread_mutex_unlock(&progress.lock);
}

static void print_line(const char *before, const char *format, va_list ap)
{
	bool is_terminal = term_is_terminal(stderr);

	pthread_mutex_lock(&progress.lock);
	if (progress.is_waiting)
		erase();
	fputs(before, stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	fflush(stderr);
	/* A line is a sign of life: without a terminal, nothing more needs to be said. */
	progress.is_drawn = !is_terminal;
	pthread_mutex_unlock(&progress.lock);
}

void progress_line(const char *format, ...)
{
	va_list ap;

	if (progress.is_quiet)
		return;
	va_start(ap, format);
	print_line("", format, ap);
	va_end(ap);
}

void progress_warn(const char *format, ...)
{
	char before[32];
	va_list ap;

	snprintf(before, sizeof(before), "%sWarning:%s ", term_colour(stderr, TERM_YELLOW),
		term_colour(stderr, TERM_PLAIN));
	va_start(ap, format);
	print_line(before, format, ap);
	va_end(ap);
}
