/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trips to other hosts; see probe.h. One thread, one raw socket, one timer: at each tick a
 * request goes to every target. A target keeps a ring of its last requests. Its state follows from
 * these alone: the requests after the newest answered one, how many and how old.
 *
 * A target is judged by what was asked and not answered, never by the clock alone. When this thread
 * itself was away (not scheduled, stopped), answers wait in the socket and are read before anything
 * is judged, and what has no answer by then counts for nothing: it was sent before the gap, and
 * nobody knows what happened meanwhile.
 *
 * An answer counts when it comes from the target's address and repeats id, sequence number and a
 * random nonce of a request that still waits. All that is shared with callers is under the mutex;
 * the socket, the timer and the gap are the thread's own.
 */
#include "mesh/probe.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <linux/icmp.h>
#include <netinet/ip.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

#define US_A_MS	       1000ULL
#define LOST_US	       (PROBE_LOST_MS * US_A_MS)
#define GAP_US	       (500 * US_A_MS) /* later than this by itself: the thread was away */
#define LOST_COUNT_MIN 3	       /* unanswered requests before silence means anything */
#define RECENT_COUNT   (PROBE_LOST_MS / PROBE_INTERVAL_MS)
#define RING_SIZE      (PROBE_WINDOW + RECENT_COUNT + 1)
#define RECEIVE_BYTES  (256 * 1024) /* the answers of some hundred hosts while we are away */
#define PACKET_MAX     256
#define SRTT_SHIFT     3 /* SRTT is kept times eight, its gain is 1/8 (RFC 6298, 2) */

enum outcome {
	OUTCOME_NONE,	  /* never sent */
	OUTCOME_WAITING,  /* lost, when it is older than PROBE_LOST_MS */
	OUTCOME_ANSWERED, /* rtt_us may be 0: answered, but when is not known */
	OUTCOME_VOID,	  /* sent before a gap of ours */
};

struct request {
	uint64_t sent_us;
	uint64_t nonce;
	uint32_t rtt_us;
	enum outcome outcome;
};

struct target {
	struct addr addr;
	uint32_t addr_be;
	enum probe_state state;
	uint32_t srtt_times_8;
	uint64_t changed_ms;
	uint32_t sent_count;   /* also the number of the next request */
	uint32_t silent_from;  /* the first request after the newest answered one, or after a gap */
	uint32_t answered_row; /* requests in a row that were answered, up to that one */
	struct request ring[RING_SIZE];
};

struct echo {
	struct icmphdr header;
	uint64_t nonce;
};
_Static_assert(sizeof(struct echo) == 16, "no padding on the wire");

struct probes {
	pthread_t thread;
	int socket, timer, stop, epoll;
	uint16_t id;
	uint64_t woken_us;
	void (*fn)(void *arg);
	void *arg;

	pthread_mutex_t mutex;
	struct target **targets; /* sorted by address */
	size_t target_count;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct request *request_of(struct target *target, uint32_t number)
{
	return &target->ring[number % RING_SIZE];
}

static int compare_addr(const void *key, const void *item)
{
	uint32_t one = *(const uint32_t *)key, other = (*(struct target *const *)item)->addr_be;

	return one < other ? -1 : one > other;
}

static struct target *find(struct target **targets, size_t count, uint32_t addr_be)
{
	struct target **found =
		count ? bsearch(&addr_be, targets, count, sizeof(*targets), compare_addr) : NULL;

	return found ? *found : NULL;
}

/* RFC 1071. */
static uint16_t checksum(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)bytes[i] << 8 | (i + 1 < len ? bytes[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* A request that cannot be sent is one that is not answered: there is no way to the host. */
static void send_request(struct probes *probes, struct target *target)
{
	struct request *request = request_of(target, target->sent_count);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = target->addr_be};
	struct echo echo = {.header = {.type = ICMP_ECHO}};

	*request = (struct request){.outcome = OUTCOME_WAITING};
	/* Never fails for so few bytes once the kernel's generator is ready. */
	if (getrandom(&request->nonce, sizeof(request->nonce), 0) != sizeof(request->nonce))
		request->outcome = OUTCOME_VOID;
	echo.header.un.echo.id = htons(probes->id);
	echo.header.un.echo.sequence = htons((uint16_t)target->sent_count);
	echo.nonce = request->nonce;
	echo.header.checksum = checksum(&echo, sizeof(echo));
	target->sent_count++;
	request->sent_us = now_us();
	sendto(probes->socket, &echo, sizeof(echo), MSG_DONTWAIT | MSG_NOSIGNAL,
		(const struct sockaddr *)&to, sizeof(to));
}

/* RFC 6298, 2.2 and 2.3; the variance is for timeouts, of which there are none here. */
static void take_sample(struct target *target, uint32_t rtt_us)
{
	if (target->srtt_times_8 == 0)
		target->srtt_times_8 = rtt_us << SRTT_SHIFT;
	else
		target->srtt_times_8 += rtt_us - (target->srtt_times_8 >> SRTT_SHIFT);
}

static void take_answer(struct target *target, uint32_t number, uint64_t now, bool is_after_gap)
{
	struct request *request = request_of(target, number);
	uint64_t age_us = now - request->sent_us;

	if (age_us >= LOST_US && !is_after_gap)
		return; /* late: it was counted as lost */
	request->outcome = OUTCOME_ANSWERED;
	if (!is_after_gap) {
		request->rtt_us = age_us ? (uint32_t)age_us : 1;
		take_sample(target, request->rtt_us);
	}
	/* One that was overtaken says nothing about what came after it. */
	if ((int32_t)(number - target->silent_from) < 0)
		return;
	target->answered_row = number == target->silent_from ? target->answered_row + 1 : 1;
	target->silent_from = number + 1;
}

/* The number of the request that @sequence is of; false when none of the ring. */
static bool number_of(const struct target *target, uint16_t sequence, uint32_t *number)
{
	uint16_t back = (uint16_t)((uint16_t)target->sent_count - sequence);

	*number = target->sent_count - back;
	return back > 0 && back <= RING_SIZE && back <= target->sent_count;
}

/* @packet begins with the IP header, as raw sockets show it. */
static void receive_packet(
	struct probes *probes, const uint8_t *packet, size_t len, uint64_t now, bool is_after_gap)
{
	struct iphdr ip;
	struct echo echo;
	struct target *target;
	struct request *request;
	uint32_t number;

	if (len < sizeof(ip))
		return;
	memcpy(&ip, packet, sizeof(ip));
	if (ip.ihl * 4u < sizeof(ip) || len != ip.ihl * 4u + sizeof(echo))
		return;
	memcpy(&echo, packet + ip.ihl * 4u, sizeof(echo));
	if (echo.header.type != ICMP_ECHOREPLY || echo.header.code != 0 ||
		ntohs(echo.header.un.echo.id) != probes->id)
		return;
	target = find(probes->targets, probes->target_count, ip.saddr);
	if (!target || !number_of(target, ntohs(echo.header.un.echo.sequence), &number))
		return;
	request = request_of(target, number);
	/* The nonce covers the checksum, too, which nobody verifies for raw sockets. */
	if (request->outcome == OUTCOME_WAITING && request->nonce == echo.nonce)
		take_answer(target, number, now, is_after_gap);
}

static void receive_all(struct probes *probes, bool is_after_gap)
{
	uint8_t packet[PACKET_MAX];
	ssize_t len;

	/* Bounded by the socket's buffer: what comes meanwhile is for the next round. */
	for (int i = 0; i < 4096; i++) {
		len = recv(probes->socket, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
		if (len < 0 && errno != EINTR)
			return; /* also errors that the network reports: they answer nothing */
		if (len > 0 && (size_t)len <= sizeof(packet))
			receive_packet(probes, packet, (size_t)len, now_us(), is_after_gap);
	}
}

static void forget_unanswered(struct target *target)
{
	for (size_t i = 0; i < RING_SIZE; i++)
		if (target->ring[i].outcome == OUTCOME_WAITING)
			target->ring[i].outcome = OUTCOME_VOID;
	target->silent_from = target->sent_count;
}

static bool is_silent(struct target *target, uint64_t now)
{
	uint32_t waiting = target->sent_count - target->silent_from;

	/* Beyond the ring there is only what is old. */
	if (waiting >= RING_SIZE)
		return true;
	return waiting >= LOST_COUNT_MIN &&
	       now - request_of(target, target->silent_from)->sent_us >= LOST_US;
}

/* Returns whether the state is another one. */
static bool judge(struct target *target, uint64_t now)
{
	enum probe_state state = target->state;

	if (is_silent(target, now)) {
		target->answered_row = 0;
		state = PROBE_UNREACHABLE;
	} else if (state == PROBE_UNKNOWN && target->answered_row > 0) {
		state = PROBE_REACHABLE;
	} else if (state == PROBE_UNREACHABLE && target->answered_row >= PROBE_BACK_COUNT) {
		state = PROBE_REACHABLE;
	}
	if (state == target->state)
		return false;
	target->state = state;
	target->changed_ms = clock_now_ms();
	return true;
}

static uint64_t consume(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* Answers first, then judgement, then the next requests. */
static void run_once(struct probes *probes)
{
	uint64_t now = now_us();
	bool is_after_gap = now - probes->woken_us > PROBE_INTERVAL_MS * US_A_MS + GAP_US;
	bool is_tick = consume(probes->timer) > 0, is_changed = false;

	probes->woken_us = now;
	pthread_mutex_lock(&probes->mutex);
	receive_all(probes, is_after_gap);
	now = now_us();
	for (size_t i = 0; i < probes->target_count; i++) {
		if (is_after_gap)
			forget_unanswered(probes->targets[i]);
		is_changed |= judge(probes->targets[i], now);
		if (is_tick)
			send_request(probes, probes->targets[i]);
	}
	pthread_mutex_unlock(&probes->mutex);
	if (is_changed)
		probes->fn(probes->arg);
}

static void *probe_thread(void *arg)
{
	struct probes *probes = arg;
	struct epoll_event events[3];

	pthread_setname_np(pthread_self(), "probes");
	probes->woken_us = now_us();
	for (;;) {
		int count = epoll_wait(probes->epoll, events, 3, -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.fd == probes->stop)
				return NULL;
		run_once(probes);
	}
}

static int open_socket(struct probes *probes, struct err *err)
{
	struct icmp_filter only_answers = {.data = ~(1u << ICMP_ECHOREPLY)};
	int size = RECEIVE_BYTES;

	probes->socket = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
	if (probes->socket < 0)
		return err_errno(err, -errno, "cannot open a socket for probes of other hosts");
	if (setsockopt(probes->socket, SOL_RAW, ICMP_FILTER, &only_answers, sizeof(only_answers)))
		return err_errno(err, -errno, "cannot filter the socket for probes");
	/* With less, only a daemon that was away for long loses answers. */
	setsockopt(probes->socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

static int watch(struct probes *probes, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(probes->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_loop(struct probes *probes, struct err *err)
{
	static const struct itimerspec every = {
		.it_interval = {.tv_nsec = PROBE_INTERVAL_MS * 1000000L},
		.it_value = {.tv_nsec = 1}};
	int r;

	probes->epoll = epoll_create1(EPOLL_CLOEXEC);
	probes->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	probes->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (probes->epoll < 0 || probes->stop < 0 || probes->timer < 0 ||
		timerfd_settime(probes->timer, 0, &every, NULL) < 0)
		return err_errno(err, -errno, "cannot start the probes of other hosts");
	r = watch(probes, probes->stop);
	if (r == 0)
		r = watch(probes, probes->timer);
	if (r == 0)
		r = watch(probes, probes->socket);
	return r < 0 ? err_errno(err, r, "cannot start the probes of other hosts") : 0;
}

static void free_probes(struct probes *probes)
{
	int fds[] = {probes->socket, probes->timer, probes->stop, probes->epoll};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (size_t i = 0; i < probes->target_count; i++)
		free(probes->targets[i]);
	free(probes->targets);
	pthread_mutex_destroy(&probes->mutex);
	free(probes);
}
DEFINE_CLEANUP(struct probes *, free_probes)

/* Signals are for the program's own threads. */
static int start_thread(struct probes *probes)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&probes->thread, NULL, probe_thread, probes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int probes_start(struct probes **out, void (*fn)(void *arg), void *arg, struct err *err)
{
	_cleanup_(free_probesp) struct probes *probes = calloc(1, sizeof(*probes));
	int r;

	if (!probes)
		return err_errno(err, -ENOMEM, "cannot start the probes of other hosts");
	probes->socket = probes->timer = probes->stop = probes->epoll = -1;
	probes->fn = fn;
	probes->arg = arg;
	pthread_mutex_init(&probes->mutex, NULL);
	if (getrandom(&probes->id, sizeof(probes->id), 0) != sizeof(probes->id))
		return err_errno(err, -errno, "cannot start the probes of other hosts");
	r = open_socket(probes, err);
	if (r == 0)
		r = open_loop(probes, err);
	if (r < 0)
		return r;
	r = start_thread(probes);
	if (r < 0)
		return err_errno(err, r, "cannot start the thread that probes other hosts");
	*out = take_ptr(probes);
	return 0;
}

void probes_stop(struct probes *probes)
{
	if (!probes)
		return;
	eventfd_write(probes->stop, 1);
	pthread_join(probes->thread, NULL);
	free_probes(probes);
}

static struct target *new_target(uint32_t addr_be)
{
	struct target *target = calloc(1, sizeof(*target));

	if (!target)
		return NULL;
	target->addr = addr_from_v4(addr_be);
	target->addr_be = addr_be;
	target->changed_ms = clock_now_ms();
	return target;
}

static int compare_v4(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

	return one < other ? -1 : one > other;
}

/* Frees those of @targets that are not in @kept, which is sorted. */
static void free_others(
	struct target **targets, size_t count, struct target **kept, size_t kept_count)
{
	for (size_t i = 0; i < count; i++)
		if (find(kept, kept_count, targets[i]->addr_be) != targets[i])
			free(targets[i]);
	free(targets);
}

/* @addrs_be are sorted. What is new is made before anything that was is let go. */
static int set_locked(struct probes *probes, const uint32_t *addrs_be, size_t count)
{
	struct target **targets = calloc(count + 1, sizeof(*targets));
	size_t used = 0;

	for (size_t i = 0; targets && i < count; i++) {
		struct target *target;

		if (used && targets[used - 1]->addr_be == addrs_be[i])
			continue;
		target = find(probes->targets, probes->target_count, addrs_be[i]);
		if (!target)
			target = new_target(addrs_be[i]);
		if (!target) {
			free_others(targets, used, probes->targets, probes->target_count);
			return -ENOMEM;
		}
		targets[used++] = target;
	}
	if (!targets)
		return -ENOMEM;
	free_others(probes->targets, probes->target_count, targets, used);
	probes->targets = targets;
	probes->target_count = used;
	return 0;
}

int probes_set(struct probes *probes, const struct addr *addrs, size_t count)
{
	_free_ uint32_t *addrs_be = calloc(count + 1, sizeof(*addrs_be));
	int r;

	if (!addrs_be)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (addrs[i].family != AF_INET)
			return -EINVAL;
		addrs_be[i] = addr_v4_be(&addrs[i]);
	}
	qsort(addrs_be, count, sizeof(*addrs_be), compare_v4);
	pthread_mutex_lock(&probes->mutex);
	r = set_locked(probes, addrs_be, count);
	pthread_mutex_unlock(&probes->mutex);
	return r;
}

/* Loss and extremes of the last PROBE_WINDOW requests that had PROBE_LOST_MS for their answer. */
static void sum_up(struct target *target, struct probe *out)
{
	uint64_t now = now_us();
	uint32_t lost = 0, answered = 0;
	uint32_t first = target->sent_count > RING_SIZE ? target->sent_count - RING_SIZE : 0;

	for (uint32_t i = target->sent_count; i-- > first && lost + answered < PROBE_WINDOW;) {
		const struct request *request = request_of(target, i);

		if (request->outcome == OUTCOME_ANSWERED && request->rtt_us) {
			if (!out->rtt_min_us || request->rtt_us < out->rtt_min_us)
				out->rtt_min_us = request->rtt_us;
			if (request->rtt_us > out->rtt_max_us)
				out->rtt_max_us = request->rtt_us;
		}
		if (now - request->sent_us < LOST_US)
			continue;
		lost += request->outcome == OUTCOME_WAITING;
		answered += request->outcome == OUTCOME_ANSWERED;
	}
	if (lost)
		out->loss_permille = lost * 1000 / (lost + answered);
}

bool probes_get(struct probes *probes, const struct addr *addr, struct probe *out)
{
	struct target *target = NULL;

	pthread_mutex_lock(&probes->mutex);
	if (addr->family == AF_INET)
		target = find(probes->targets, probes->target_count, addr_v4_be(addr));
	if (target) {
		*out = (struct probe){
			.addr = target->addr,
			.state = target->state,
			.rtt_us = target->srtt_times_8 >> SRTT_SHIFT,
			.changed_ms = target->changed_ms,
		};
		sum_up(target, out);
	}
	pthread_mutex_unlock(&probes->mutex);
	return target != NULL;
}
