/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store does in the background: exchanges that run at the same time behind one descriptor
 * that never changes, and one timer. Callbacks come from etcd_loop_run() alone.
 */
#pragma once

#include <curl/curl.h>
#include <stdint.h>

#define ETCD_NEVER UINT64_MAX

struct etcd_exchange;

struct etcd_loop {
	CURLM *multi;
	int epoll_fd, timer_fd;
	uint64_t curl_due_ms; /* when libcurl wants to be called; ETCD_NEVER */
};

int etcd_loop_init(struct etcd_loop *loop);
void etcd_loop_clear(struct etcd_loop *loop);

/*
 * Begins an exchange that is set; it ends by its done(), or by etcd_loop_remove(). For want of
 * memory it does not begin, and is not running: its owner tries again in its time.
 */
void etcd_loop_add(struct etcd_loop *loop, struct etcd_exchange *exchange);
void etcd_loop_remove(struct etcd_loop *loop, struct etcd_exchange *exchange);

/* Does what can be done without waiting. */
void etcd_loop_run(struct etcd_loop *loop);

/* Lets the descriptor become readable at @due_ms at the latest. */
void etcd_loop_arm(struct etcd_loop *loop, uint64_t due_ms);
