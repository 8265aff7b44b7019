/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of health checks share: a machine's namespace with real servers in it, a config
 * made of fly.toml text, and a loop that runs until something is so. Include after cmocka.h.
 */
#pragma once

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "health/health.h"
#include "health/socket.h"
#include "base/netns.h"
#include "model/config.h"

#define PRIMARY "172.16.7.2"
#define SERVICE "172.16.7.3"

#define UDP_SERVICE "[[services]]\nprotocol = \"udp\"\nports = [{port = 5000}]\n"
#define TCP_SERVICE                                                                                \
	"[[services]]\nprotocol = \"tcp\"\ninternal_port = 8080\nports = [{port = 80}]\n"

static char netns_name[32], netns_path[64];

struct fixture {
	uv_loop_t loop;
	struct app_config *config;
	struct health_target target;
	struct health *health;
	const struct health_result *results;
	size_t count;
	unsigned int tell_count;
	bool stops_when_told;
};

/* A thread that answers on one socket until it is stopped. */
struct server {
	int fd, wake[2]; /* the end of wake[1] stops it */
	pthread_t thread;
	const char *text; /* what it answers */
	size_t len;
	unsigned int delay_ms;
	unsigned int count; /* how many times it was asked; atomic */
	char request[512];  /* the last one; read it after server_stop() */
};

static inline int fixture_begin(void **state)
{
	static const char *const commands[] = {"link set lo up", "addr add " PRIMARY "/29 dev lo",
		"addr add " SERVICE "/29 dev lo"};
	struct err err;
	char command[128];

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "skipped: needs root\n");
		exit(77);
	}
	snprintf(netns_name, sizeof(netns_name), "wherry-health-%d", (int)getpid());
	snprintf(netns_path, sizeof(netns_path), "%s/%s", NETNS_DIR, netns_name);
	if (netns_create(netns_name, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		snprintf(command, sizeof(command), "ip -n %s %s", netns_name, commands[i]);
		if (system(command) != 0)
			return -1;
	}
	return 0;
}

static inline int fixture_end(void **state)
{
	(void)state;
	return netns_remove(netns_name, NULL);
}

static inline void told(void *arg)
{
	struct fixture *f = arg;

	f->tell_count++;
	if (f->stops_when_told)
		health_stop(take_ptr(f->health));
}

static inline void each_check(struct app_config *config, unsigned int interval_ms,
	unsigned int timeout_ms, unsigned int grace_ms)
{
	for (size_t i = 0; i < config->service_count; i++)
		for (size_t k = 0; k < config->services[i].check_count; k++) {
			config->services[i].checks[k].interval_ms = interval_ms;
			config->services[i].checks[k].timeout_ms = timeout_ms;
			config->services[i].checks[k].grace_period_ms = grace_ms;
		}
	for (size_t i = 0; i < config->check_count; i++) {
		config->checks[i].interval_ms = interval_ms;
		config->checks[i].timeout_ms = timeout_ms;
		config->checks[i].grace_period_ms = grace_ms;
	}
}

static inline void prepare(struct fixture *f, const char *text)
{
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};

	memset(f, 0, sizeof(*f));
	if (config_parse(text, strlen(text), "fly.toml", &f->config, &diags) < 0)
		fail_msg("%s", diagnostics_format(&diags));
	uv_loop_init(&f->loop);
	f->target.netns_path = netns_path;
	assert_int_equal(addr_parse(PRIMARY, &f->target.primary), 0);
	assert_int_equal(addr_parse(SERVICE, &f->target.service), 0);
	each_check(f->config, 50, 300, 0);
}

static inline void start(struct fixture *f)
{
	struct err err = {};

	if (health_start(&f->health, &f->loop, f->config, "app", &f->target, told, f, &err) < 0)
		fail_msg("%s", err.text);
	f->results = health_results(f->health, &f->count);
}

/* Stops and waits for the loop to be empty: a handle that is left over hangs the test here. */
static inline void finish(struct fixture *f)
{
	health_stop(take_ptr(f->health));
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	config_free(f->config);
}

static inline void wake_up(uv_timer_t *timer)
{
	(void)timer;
}

static inline void run_for(struct fixture *f, unsigned int ms)
{
	uint64_t end = clock_now_ms() + ms;
	uv_timer_t timer;

	uv_timer_init(&f->loop, &timer);
	uv_timer_start(&timer, wake_up, 5, 5);
	while (clock_now_ms() < end)
		uv_run(&f->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Runs until the first check has @status; fails after 20 s. */
static inline void run_until(struct fixture *f, enum health_status status)
{
	uint64_t end = clock_now_ms() + 20000;

	while (f->results[0].status != status) {
		if (clock_now_ms() > end)
			fail_msg("status %d with \"%s\"", f->results[0].status,
				f->results[0].output);
		run_for(f, 5);
	}
}

static inline void expect_result(struct fixture *f, enum health_status status, const char *output)
{
	run_until(f, status);
	assert_string_equal(f->results[0].output, output);
	assert_int_equal(health_is_healthy(f->health), status != HEALTH_CRITICAL);
}

/* A socket of the machine, bound to @addr. */
static inline int machine_bound(int type, const char *text, uint16_t port)
{
	struct sockaddr_storage at;
	struct addr addr;
	struct err err;
	socklen_t len;
	int on = 1, fd;

	assert_int_equal(addr_parse(text, &addr), 0);
	fd = health_socket(netns_path, addr.family, type, 0, &err);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	len = health_sockaddr(&addr, port, &at);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	return fd;
}

/* False: the server is to stop. */
static inline bool server_wait(struct server *server, int fd, int timeout_ms)
{
	struct pollfd fds[] = {
		{.fd = server->wake[0], .events = POLLIN}, {.fd = fd, .events = POLLIN}};

	poll(fds, fd >= 0 ? 2 : 1, timeout_ms);
	return fds[0].revents == 0;
}

static inline void server_start(
	struct server *server, int fd, void *(*serve)(void *arg), const char *text)
{
	server->fd = fd;
	server->text = text;
	server->len = server->len ? server->len : strlen(text);
	assert_int_equal(pipe(server->wake), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static inline void server_stop(struct server *server)
{
	close(server->wake[1]);
	pthread_join(server->thread, NULL);
	close(server->wake[0]);
	close(server->fd);
}

static inline unsigned int server_count(struct server *server)
{
	return __atomic_load_n(&server->count, __ATOMIC_RELAXED);
}
