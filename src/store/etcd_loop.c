/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's multi interface on an epoll descriptor that another loop can poll; see etcd_loop.h.
 * The descriptor holds libcurl's sockets and a timer, and is readable while any of them is.
 */
#include "store/etcd_loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/etcd_http.h"

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct etcd_loop *loop = arg;
	struct epoll_event event = {.data.fd = fd};

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	epoll_ctl(loop->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
	curl_multi_assign(loop->multi, fd, loop);
	return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct etcd_loop *loop = arg;

	(void)multi;
	loop->curl_due_ms = timeout_ms < 0 ? ETCD_NEVER : clock_now_ms() + (uint64_t)timeout_ms;
	return 0;
}

int etcd_loop_init(struct etcd_loop *loop)
{
	struct epoll_event event = {.events = EPOLLIN};

	*loop = (struct etcd_loop){.epoll_fd = -1, .timer_fd = -1, .curl_due_ms = ETCD_NEVER};
	loop->multi = curl_multi_init();
	if (!loop->multi)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (loop->timer_fd < 0)
		return -errno;
	event.data.fd = loop->timer_fd;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->timer_fd, &event) < 0)
		return -errno;
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	return 0;
}

void etcd_loop_clear(struct etcd_loop *loop)
{
	if (loop->multi)
		curl_multi_cleanup(loop->multi);
	if (loop->timer_fd >= 0)
		close(loop->timer_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
}

void etcd_loop_add(struct etcd_loop *loop, struct etcd_exchange *exchange)
{
	exchange->is_running = curl_multi_add_handle(loop->multi, exchange->curl) == CURLM_OK;
}

void etcd_loop_remove(struct etcd_loop *loop, struct etcd_exchange *exchange)
{
	if (exchange->is_running)
		curl_multi_remove_handle(loop->multi, exchange->curl);
	exchange->is_running = false;
}

static void finish_exchanges(struct etcd_loop *loop)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(loop->multi, &left))) {
		CURLcode code = message->data.result;
		char *private = NULL;
		struct etcd_exchange *exchange;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		exchange = (struct etcd_exchange *)(void *)private;
		etcd_loop_remove(loop, exchange);
		exchange->done(exchange, code);
	}
}

void etcd_loop_run(struct etcd_loop *loop)
{
	struct epoll_event events[16];
	int count = epoll_wait(loop->epoll_fd, events, 16, 0), running;
	uint64_t fired;

	for (int i = 0; i < count; i++) {
		int what = 0;

		if (events[i].data.fd == loop->timer_fd)
			continue;
		if (events[i].events & (EPOLLIN | EPOLLHUP))
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & EPOLLERR)
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(loop->multi, events[i].data.fd, what, &running);
	}
	while (read(loop->timer_fd, &fired, sizeof(fired)) > 0)
		;
	if (clock_now_ms() >= loop->curl_due_ms) {
		loop->curl_due_ms = ETCD_NEVER;
		curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	finish_exchanges(loop);
}

void etcd_loop_arm(struct etcd_loop *loop, uint64_t due_ms)
{
	struct itimerspec when = {};
	uint64_t due = due_ms < loop->curl_due_ms ? due_ms : loop->curl_due_ms;

	if (due != ETCD_NEVER) {
		when.it_value.tv_sec = (time_t)(due / 1000);
		when.it_value.tv_nsec = (long)(due % 1000) * 1000000 + 1; /* 0 would disarm */
	}
	timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}
