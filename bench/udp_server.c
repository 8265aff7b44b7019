/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app's side: a sink that counts and an echo. One socket, one thread, recvmmsg and sendmmsg
 * in batches: what a UDP app that cares does, and nothing a UDP app could not do. The clock is
 * read once a batch.
 */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* Silence that ends a burst. Longer than any stall that is still the same flood. */
#define BURST_GAP_MS 300

struct batch {
	struct mmsghdr messages[LOAD_BATCH];
	struct iovec parts[LOAD_BATCH];
	struct sockaddr_storage peers[LOAD_BATCH];
	unsigned char (*data)[LOAD_MAX_SIZE + 1];
};

static void batch_init(struct batch *b, int fd)
{
	/* A silent socket returns now and then, so that no signal can fall between two calls. */
	struct timeval gap = {.tv_usec = BURST_GAP_MS * 1000};
	unsigned int i;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &gap, sizeof(gap));
	memset(b, 0, sizeof(*b));
	b->data = calloc(LOAD_BATCH, sizeof(*b->data));
	if (!b->data)
		load_die("out of memory");
	for (i = 0; i < LOAD_BATCH; i++) {
		b->parts[i].iov_base = b->data[i];
		b->messages[i].msg_hdr.msg_iov = &b->parts[i];
		b->messages[i].msg_hdr.msg_iovlen = 1;
		b->messages[i].msg_hdr.msg_name = &b->peers[i];
	}
}

/* Number of datagrams, 0 when interrupted or timed out. */
static unsigned int batch_receive(struct batch *b, int fd)
{
	unsigned int i;
	int n;

	for (i = 0; i < LOAD_BATCH; i++) {
		b->parts[i].iov_len = LOAD_MAX_SIZE + 1;
		b->messages[i].msg_hdr.msg_namelen = sizeof(b->peers[i]);
	}
	/* MSG_WAITFORONE: wait for the first datagram, then take what is there. */
	n = recvmmsg(fd, b->messages, LOAD_BATCH, MSG_WAITFORONE, NULL);
	/* ECONNREFUSED and its kin are a peer's errors of the past; the socket goes on. */
	return n < 0 ? 0 : (unsigned int)n;
}

struct burst {
	uint64_t received, bytes;
	uint64_t first_ns, last_ns;
};

static void burst_print(const struct burst *b)
{
	double seconds = (double)(b->last_ns - b->first_ns) / 1e9;

	printf("{\"tool\": \"sink\", \"received\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
	       "\"pps\": %.0f}\n",
		(unsigned long long)b->received, (unsigned long long)b->bytes, seconds,
		seconds > 0 ? (double)b->received / seconds : 0.0);
	fflush(stdout);
}

int udp_sink(const struct load_options *o)
{
	struct burst burst = {0};
	struct batch batch;
	int fd = load_bind(o);

	batch_init(&batch, fd);
	while (!load_stopped) {
		unsigned int i, n = batch_receive(&batch, fd);

		if (n == 0 && o->reports_bursts && burst.received > 0) {
			burst_print(&burst);
			burst = (struct burst){0};
		}
		if (n == 0)
			continue;
		burst.last_ns = load_now_ns();
		if (burst.received == 0)
			burst.first_ns = burst.last_ns;
		burst.received += n;
		for (i = 0; i < n; i++)
			burst.bytes += batch.messages[i].msg_len;
	}
	if (!o->reports_bursts || burst.received > 0)
		burst_print(&burst);
	return 0;
}

/* Number of datagrams that the socket refused. A full device queue is waited for. */
static unsigned int batch_return(struct batch *b, int fd, unsigned int n)
{
	unsigned int i, sent = 0, refused = 0;

	for (i = 0; i < n; i++)
		b->parts[i].iov_len = b->messages[i].msg_len;
	while (sent < n) {
		int rc = sendmmsg(fd, b->messages + sent, n - sent, 0);

		if (rc > 0) {
			sent += (unsigned int)rc;
		} else if (errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED) {
			refused++;
			sent++;
		} else if (load_stopped) {
			break;
		}
	}
	return refused;
}

int udp_echo(const struct load_options *o)
{
	uint64_t received = 0, refused = 0;
	struct batch batch;
	int fd = load_bind(o);

	batch_init(&batch, fd);
	while (!load_stopped) {
		unsigned int n = batch_receive(&batch, fd);

		received += n;
		refused += batch_return(&batch, fd, n);
	}
	printf("{\"tool\": \"echo\", \"received\": %llu, \"refused\": %llu}\n",
		(unsigned long long)received, (unsigned long long)refused);
	return 0;
}
