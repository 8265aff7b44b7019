/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side. flood: as many datagrams as the sender's CPU gets out. rr: a closed loop of
 * round trips, a fixed number in flight on each flow, so that nothing can be lost by overload.
 * paced: an open loop at a given rate, every datagram numbered, to see what a restart costs.
 *
 * All sockets are connected: an answer from another address or port than the one asked is dropped
 * by the client's kernel and shows as lost.
 */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* A round trip that took longer is lost; an answer that comes later still is "late". */
#define LOST_AFTER_NS 500000000ull
#define SCAN_EVERY_NS 100000000ull
#define FLOOD_BATCH   32

static void *zalloc(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		load_die("out of memory");
	return p;
}

static void sleep_until(uint64_t ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* What the socket took of the batch. An ICMP error of an earlier datagram is no refusal of this. */
static unsigned int send_batch(int fd, struct mmsghdr *messages, unsigned int n, uint64_t *errors)
{
	int rc = sendmmsg(fd, messages, n, MSG_DONTWAIT);

	if (rc >= 0)
		return (unsigned int)rc;
	if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		(*errors)++;
	return 0;
}

int udp_flood(const struct load_options *o)
{
	unsigned char *data = zalloc(1, LOAD_MAX_SIZE);
	struct iovec part = {.iov_base = data, .iov_len = o->size_bytes};
	struct mmsghdr messages[FLOOD_BATCH] = {0};
	uint64_t start_ns, end_ns, now_ns, busy_ns, sent = 0, errors = 0;
	int *fds = zalloc(o->flows, sizeof(*fds));
	unsigned int i, batch = o->rate ? 8 : FLOOD_BATCH;

	for (i = 0; i < FLOOD_BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &part;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (i = 0; i < o->flows; i++)
		fds[i] = load_connect(o);
	busy_ns = load_busy_ns();
	start_ns = now_ns = load_now_ns();
	end_ns = start_ns + (uint64_t)(o->seconds * 1e9);
	for (i = 0; now_ns < end_ns && !load_stopped; i = (i + 1) % o->flows) {
		sent += send_batch(fds[i], messages, batch, &errors);
		if (o->rate)
			sleep_until(start_ns + sent * 1000000000ull / o->rate);
		now_ns = load_now_ns();
	}
	busy_ns = load_busy_ns() - busy_ns;
	printf("{\"tool\": \"flood\", \"sent\": %llu, \"seconds\": %.6f, \"pps\": %.0f, "
	       "\"errors\": %llu, \"busy_ns\": %llu}\n",
		(unsigned long long)sent, (double)(now_ns - start_ns) / 1e9,
		(double)sent * 1e9 / (double)(now_ns - start_ns), (unsigned long long)errors,
		(unsigned long long)busy_ns);
	return 0;
}

struct slot {
	uint64_t sequence;
	uint64_t sent_ns; /* 0: nothing in flight */
};

struct rr {
	const struct load_options *o;
	int epoll;
	int *fds;
	struct slot *slots; /* flows * inflight */
	uint64_t sequence;
	uint64_t round_trips, lost, late, strange, errors;
	struct histogram latency;
	bool is_draining; /* the time is over: answers are awaited, nothing new is sent */
	/* One batch in, one batch out. */
	struct mmsghdr in[LOAD_MAX_INFLIGHT], out[LOAD_MAX_INFLIGHT];
	struct iovec in_parts[LOAD_MAX_INFLIGHT], out_parts[LOAD_MAX_INFLIGHT];
	unsigned char in_data[LOAD_MAX_INFLIGHT][2048], out_data[LOAD_MAX_INFLIGHT][2048];
};

static struct slot *rr_slot(struct rr *rr, unsigned int flow, unsigned int slot)
{
	return &rr->slots[(size_t)flow * rr->o->inflight + slot];
}

static void rr_init(struct rr *rr, const struct load_options *o)
{
	unsigned int i;

	if (o->size_bytes < sizeof(struct load_header) || o->size_bytes > sizeof(rr->in_data[0]))
		load_die("round trips need --size 24..2048");
	rr->o = o;
	rr->epoll = epoll_create1(EPOLL_CLOEXEC);
	rr->fds = zalloc(o->flows, sizeof(*rr->fds));
	rr->slots = zalloc((size_t)o->flows * o->inflight, sizeof(*rr->slots));
	for (i = 0; i < LOAD_MAX_INFLIGHT; i++) {
		rr->in_parts[i] = (struct iovec){rr->in_data[i], sizeof(rr->in_data[i])};
		rr->out_parts[i] = (struct iovec){rr->out_data[i], o->size_bytes};
		rr->in[i].msg_hdr.msg_iov = &rr->in_parts[i];
		rr->in[i].msg_hdr.msg_iovlen = 1;
		rr->out[i].msg_hdr.msg_iov = &rr->out_parts[i];
		rr->out[i].msg_hdr.msg_iovlen = 1;
	}
	for (i = 0; i < o->flows; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

		rr->fds[i] = load_connect(o);
		epoll_ctl(rr->epoll, EPOLL_CTL_ADD, rr->fds[i], &event);
	}
}

/* Sends on every free slot of a flow. What the socket does not take now goes with the next scan. */
static void rr_fill(struct rr *rr, unsigned int flow, uint64_t now_ns)
{
	unsigned int slots[LOAD_MAX_INFLIGHT], i, n = 0, sent;

	for (i = 0; i < rr->o->inflight; i++) {
		struct load_header header = {.magic = LOAD_MAGIC,
			.flow = (uint16_t)flow,
			.slot = (uint16_t)i,
			.sent_ns = now_ns};

		if (rr_slot(rr, flow, i)->sent_ns != 0)
			continue;
		header.sequence = ++rr->sequence;
		rr_slot(rr, flow, i)->sequence = header.sequence;
		memcpy(rr->out_data[n], &header, sizeof(header));
		slots[n++] = i;
	}
	sent = n ? send_batch(rr->fds[flow], rr->out, n, &rr->errors) : 0;
	for (i = 0; i < sent; i++)
		rr_slot(rr, flow, slots[i])->sent_ns = now_ns;
}

static void rr_take(
	struct rr *rr, unsigned int flow, const unsigned char *data, size_t len, uint64_t now_ns)
{
	struct load_header header;
	struct slot *slot;

	memcpy(&header, data, sizeof(header));
	if (len != rr->o->size_bytes || header.magic != LOAD_MAGIC || header.flow != flow ||
		header.slot >= rr->o->inflight) {
		rr->strange++;
		return;
	}
	slot = rr_slot(rr, flow, header.slot);
	if (slot->sent_ns == 0 || slot->sequence != header.sequence) {
		rr->late++;
		return;
	}
	histogram_add(&rr->latency, now_ns - slot->sent_ns);
	slot->sent_ns = 0;
	if (!rr->is_draining)
		rr->round_trips++;
}

static void rr_read(struct rr *rr, unsigned int flow)
{
	int i, n = recvmmsg(rr->fds[flow], rr->in, LOAD_MAX_INFLIGHT, MSG_DONTWAIT, NULL);
	uint64_t now_ns = load_now_ns();

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		rr->errors++;
	for (i = 0; i < n; i++)
		rr_take(rr, flow, rr->in_data[i], rr->in[i].msg_len, now_ns);
	if (!rr->is_draining)
		rr_fill(rr, flow, now_ns);
}

/* Gives lost round trips up. Returns how many are still in flight. */
static unsigned int rr_scan(struct rr *rr, uint64_t now_ns)
{
	unsigned int flow, i, waiting = 0;

	for (flow = 0; flow < rr->o->flows; flow++) {
		for (i = 0; i < rr->o->inflight; i++) {
			struct slot *slot = rr_slot(rr, flow, i);

			if (slot->sent_ns && now_ns - slot->sent_ns > LOST_AFTER_NS) {
				rr->lost++;
				slot->sent_ns = 0;
			}
			waiting += slot->sent_ns != 0;
		}
		if (!rr->is_draining)
			rr_fill(rr, flow, now_ns);
	}
	return waiting;
}

/* Until end_ns, or with is_draining until nothing is in flight. */
static uint64_t rr_loop(struct rr *rr, uint64_t end_ns)
{
	uint64_t now_ns = load_now_ns(), scan_ns = now_ns;
	struct epoll_event events[LOAD_BATCH];

	while (!load_stopped && (rr->is_draining || now_ns < end_ns)) {
		int i, n = epoll_wait(rr->epoll, events, LOAD_BATCH, 20);

		for (i = 0; i < n; i++)
			rr_read(rr, events[i].data.u32);
		now_ns = load_now_ns();
		if (!rr->is_draining && now_ns < scan_ns)
			continue;
		scan_ns = now_ns + SCAN_EVERY_NS;
		if (rr_scan(rr, now_ns) == 0 && rr->is_draining)
			break;
	}
	return now_ns;
}

int udp_rr(const struct load_options *o)
{
	struct rr *rr = zalloc(1, sizeof(*rr));
	uint64_t start_ns, end_ns, busy_ns;
	double seconds;

	rr_init(rr, o);
	busy_ns = load_busy_ns();
	start_ns = load_now_ns();
	end_ns = rr_loop(rr, start_ns + (uint64_t)(o->seconds * 1e9));
	busy_ns = load_busy_ns() - busy_ns;
	rr->is_draining = true;
	rr_loop(rr, 0);
	seconds = (double)(end_ns - start_ns) / 1e9;
	printf("{\"tool\": \"rr\", \"round_trips\": %llu, \"seconds\": %.6f, \"rps\": %.0f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"lost\": %llu, "
	       "\"late\": %llu, \"strange\": %llu, \"errors\": %llu, \"busy_ns\": %llu}\n",
		(unsigned long long)rr->round_trips, seconds, (double)rr->round_trips / seconds,
		histogram_us(&rr->latency, 0.5), histogram_us(&rr->latency, 0.99),
		(double)rr->latency.max_ns / 1000, (unsigned long long)rr->lost,
		(unsigned long long)rr->late, (unsigned long long)rr->strange,
		(unsigned long long)rr->errors, (unsigned long long)busy_ns);
	return rr->round_trips > 0 ? 0 : 1;
}

struct paced {
	unsigned char *seen; /* by number */
	uint64_t received, duplicates, reordered, strange, errors;
	uint64_t highest, last_ns, longest_gap_ns;
	struct histogram latency;
};

static void paced_take(
	struct paced *p, const struct load_options *o, const unsigned char *data, size_t len)
{
	uint64_t now_ns = load_now_ns();
	struct load_header header;

	memcpy(&header, data, sizeof(header));
	if (len != o->size_bytes || header.magic != LOAD_MAGIC || header.sequence >= o->count) {
		p->strange++;
		return;
	}
	if (p->seen[header.sequence]) {
		p->duplicates++;
		return;
	}
	p->seen[header.sequence] = 1;
	p->received++;
	if (header.sequence < p->highest)
		p->reordered++;
	else
		p->highest = header.sequence;
	if (p->last_ns && now_ns - p->last_ns > p->longest_gap_ns)
		p->longest_gap_ns = now_ns - p->last_ns;
	p->last_ns = now_ns;
	histogram_add(&p->latency, now_ns - header.sent_ns);
}

/* Takes answers until until_ns; with an end in sight (all of them back) not longer than that. */
static void paced_receive(struct paced *p, const struct load_options *o, int fd, uint64_t until_ns)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	static unsigned char data[2048];

	while (!load_stopped && p->received < o->count) {
		ssize_t len = recv(fd, data, sizeof(data), MSG_DONTWAIT);
		uint64_t now_ns;
		struct timespec left;

		if (len >= 0) {
			paced_take(p, o, data, (size_t)len);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			p->errors++;
		now_ns = load_now_ns();
		if (now_ns >= until_ns)
			return;
		left.tv_sec = (time_t)((until_ns - now_ns) / 1000000000u);
		left.tv_nsec = (long)((until_ns - now_ns) % 1000000000u);
		ppoll(&wait, 1, &left, NULL);
	}
}

int udp_paced(const struct load_options *o)
{
	struct paced *p = zalloc(1, sizeof(*p));
	unsigned int rate = o->rate ? o->rate : 1000;
	unsigned char data[2048] = {0};
	uint64_t start_ns, i;
	int fd = load_connect(o);

	if (o->size_bytes < sizeof(struct load_header) || o->size_bytes > sizeof(data))
		load_die("numbered datagrams need --size 24..2048");
	p->seen = zalloc(o->count, 1);
	start_ns = load_now_ns();
	for (i = 0; i < o->count && !load_stopped; i++) {
		struct load_header header = {.magic = LOAD_MAGIC, .sequence = i};

		header.sent_ns = load_now_ns();
		memcpy(data, &header, sizeof(header));
		/* The first attempt may get an ICMP error that waited; this datagram did not go. */
		if (send(fd, data, o->size_bytes, 0) < 0) {
			p->errors++;
			send(fd, data, o->size_bytes, 0);
		}
		paced_receive(p, o, fd, start_ns + (i + 1) * 1000000000ull / rate);
	}
	paced_receive(p, o, fd, load_now_ns() + 1000000000ull);
	printf("{\"tool\": \"paced\", \"sent\": %llu, \"received\": %llu, \"lost\": %llu, "
	       "\"duplicates\": %llu, \"reordered\": %llu, \"strange\": %llu, \"errors\": %llu, "
	       "\"longest_gap_ms\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
		(unsigned long long)i, (unsigned long long)p->received,
		(unsigned long long)(i - p->received), (unsigned long long)p->duplicates,
		(unsigned long long)p->reordered, (unsigned long long)p->strange,
		(unsigned long long)p->errors, (double)p->longest_gap_ns / 1e6,
		histogram_us(&p->latency, 0.5), histogram_us(&p->latency, 0.99),
		(double)p->latency.max_ns / 1000);
	return p->received == i ? 0 : 1;
}
