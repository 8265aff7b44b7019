/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the looks of all types share; see look.h. One timer does for both states: while a look is
 * under way it is the deadline, else it is the next beginning. The watch is closed at the end of
 * each look; libuv closes handles before it runs timers again, so it is free by the next one.
 */
#include "health/look.h"

#include "base/err.h"
#include "health/socket.h"
#include "model/duration.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void handle_closed(uv_handle_t *handle)
{
	struct look *look = handle->data;

	health_release(look->health);
}

static void close_socket(struct look *look)
{
	if (look->ready)
		uv_close((uv_handle_t *)&look->watch, handle_closed);
	look->ready = NULL;
	if (look->fd >= 0)
		close(look->fd);
	look->fd = -1;
}

static void clear(struct look *look)
{
	close_socket(look);
	if (look->kind->close)
		look->kind->close(look);
	look->is_under_way = false;
}

static void timer_fired(uv_timer_t *timer)
{
	struct look *look = timer->data;

	if (look->is_under_way) {
		look->kind->late(look);
		return;
	}
	look->is_under_way = true;
	look->began_ms = uv_now(timer->loop);
	uv_timer_start(timer, timer_fired, look->check->timeout_ms, 0);
	look->kind->begin(look);
}

/* What libcurl says may hold bytes that a machine sent. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

void look_end(struct look *look, enum look_outcome outcome, const char *format, ...)
{
	char output[LOOK_OUTPUT_LEN];
	va_list ap;

	clear(look);
	va_start(ap, format);
	vsnprintf(output, sizeof(output), format, ap);
	va_end(ap);
	make_printable(output);
	uv_timer_start(&look->timer, timer_fired, health_judge(look, outcome, output), 0);
	/* Last, as whoever is told may stop the health. */
	health_tell(look->health);
}

void look_end_late(struct look *look, const char *what)
{
	char within[DURATION_TEXT_LEN];

	look_end(look, LOOK_FAILED, "%s within %s", what,
		duration_format_ms(look->check->timeout_ms, within));
}

void look_end_errno(struct look *look, const char *what, int error)
{
	look_end(look, LOOK_FAILED, "%s: %s", what, strerror(error));
}

bool look_socket(struct look *look, int family, int type)
{
	struct err err;
	int fd = health_socket(look->target->netns_path, family, type, 0, &err);

	if (fd >= 0) {
		look->fd = fd;
		return true;
	}
	look_end(look, fd == -ENOENT || fd == -EINVAL ? LOOK_FAILED : LOOK_IMPOSSIBLE, "%s",
		err.text);
	return false;
}

static void on_event(uv_poll_t *watch, int status, int events)
{
	struct look *look = watch->data;

	(void)events;
	/* What went wrong is in the socket and comes with the next call; libuv has stopped here. */
	if (status < 0)
		uv_poll_start(watch, look->events, on_event);
	look->ready(look);
}

bool look_watch(struct look *look, int events, void (*ready)(struct look *look))
{
	int r = uv_poll_init(look->timer.loop, &look->watch, look->fd);

	if (r == 0) {
		health_hold(look->health);
		look->watch.data = look;
		look->ready = ready;
		look->events = events;
		r = uv_poll_start(&look->watch, events, on_event);
	}
	if (r < 0)
		look_end(look, LOOK_IMPOSSIBLE, "cannot watch a socket: %s", uv_strerror(r));
	return r == 0;
}

void look_start(struct look *look, uv_loop_t *loop, uint64_t delay_ms)
{
	look->fd = -1;
	uv_timer_init(loop, &look->timer);
	look->timer.data = look;
	health_hold(look->health);
	uv_timer_start(&look->timer, timer_fired, delay_ms, 0);
}

void look_stop(struct look *look)
{
	clear(look);
	uv_close((uv_handle_t *)&look->timer, handle_closed);
}
