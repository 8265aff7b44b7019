/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DNS server (RFC 1035) as people run it: UDP on fly-global-services, TCP on every address, both
 * on port 53. It answers A questions with 192.0.2.53 and TXT questions with 3 KB of text, which
 * over UDP it gives to those who can take it (RFC 6891); others are told to come by TCP. It prints
 * whom it hears. An argument, ADDR:PORT, is
 * where to listen for UDP instead. Nothing in it knows of Wherry.
 */
#include "udp.h"

#include <signal.h>

#define TXT_STRINGS 12
#define TXT_BYTES   250

struct answer {
	unsigned char data[4096];
	size_t len;
};

static void put(struct answer *answer, const void *data, size_t len)
{
	memcpy(answer->data + answer->len, data, len);
	answer->len += len;
}

static void put16(struct answer *answer, unsigned int value)
{
	const unsigned char bytes[2] = {(unsigned char)(value >> 8), (unsigned char)value};

	put(answer, bytes, 2);
}

static unsigned int get16(const unsigned char *data)
{
	return (unsigned int)data[0] << 8 | data[1];
}

/* Where the first question ends, or 0. */
static size_t question_end(const unsigned char *query, size_t len)
{
	size_t at = 12;

	if (len < 12 || get16(query + 4) != 1)
		return 0;
	while (at < len && query[at])
		at += query[at] + 1u;
	return at + 5 <= len ? at + 5 : 0;
}

static void put_records(struct answer *answer, unsigned int type)
{
	unsigned char text[TXT_BYTES];

	put16(answer, 0xc00c); /* the question's name */
	put16(answer, type);
	put16(answer, 1);
	put16(answer, 0);
	put16(answer, 60);
	if (type == 1) {
		put16(answer, 4);
		put(answer, "\xc0\x00\x02\x35", 4);
		return;
	}
	put16(answer, TXT_STRINGS * (TXT_BYTES + 1));
	for (int i = 0; i < TXT_STRINGS; i++) {
		unsigned char len = TXT_BYTES;

		memset(text, 'a' + i, sizeof(text));
		put(answer, &len, 1);
		put(answer, text, sizeof(text));
	}
}

static void answer_query(
	const unsigned char *query, size_t len, size_t limit, struct answer *answer)
{
	size_t end = question_end(query, len);
	unsigned int type;

	answer->len = 0;
	if (!end)
		return;
	/* An OPT record behind the question: its class is the size that the client takes. */
	if (limit == 512 && get16(query + 10) && end + 5 <= len && get16(query + end + 1) == 41)
		limit = get16(query + end + 3);
	type = get16(query + end - 4);
	put(answer, query, 2);
	put16(answer, 0x8400);
	put16(answer, 1);
	put16(answer, type == 1 || type == 16);
	put16(answer, 0);
	put16(answer, 0);
	put(answer, query + 12, end - 12);
	if (type == 1 || type == 16)
		put_records(answer, type);
	if (answer->len > limit) {
		answer->data[2] |= 0x02; /* TC */
		answer->data[7] = 0;
		answer->len = end;
	}
}

static int listen_on(const char *endpoint, int type)
{
	struct sockaddr_in local = parse_endpoint(endpoint);
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		die("socket: %s", strerror(errno));
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 ||
		(type == SOCK_STREAM && listen(fd, 16) < 0))
		die("%s: %s", endpoint, strerror(errno));
	return fd;
}

static void serve_udp(int fd)
{
	unsigned char query[4096];
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);
	char text[ENDPOINT_LEN];
	struct answer answer;
	ssize_t len = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&peer, &peer_len);

	if (len < 0)
		return;
	printf("udp: query from %s\n", format_endpoint(&peer, text));
	answer_query(query, (size_t)len, 512, &answer);
	if (answer.len &&
		sendto(fd, answer.data, answer.len, 0, (struct sockaddr *)&peer, peer_len) < 0)
		printf("send: %s\n", strerror(errno));
}

static void serve_tcp(int listener)
{
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);
	int fd = accept(listener, (struct sockaddr *)&peer, &peer_len);
	unsigned char query[4096], prefix[2];
	char text[ENDPOINT_LEN];
	struct answer answer;
	ssize_t len;

	if (fd < 0)
		return;
	set_option(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
	if (recv(fd, prefix, 2, MSG_WAITALL) == 2 && get16(prefix) <= sizeof(query)) {
		len = recv(fd, query, get16(prefix), MSG_WAITALL);
		printf("tcp: query from %s\n", format_endpoint(&peer, text));
		answer_query(query, len > 0 ? (size_t)len : 0, 65535, &answer);
		prefix[0] = (unsigned char)(answer.len >> 8);
		prefix[1] = (unsigned char)answer.len;
		if (send(fd, prefix, 2, MSG_MORE) < 0 || send(fd, answer.data, answer.len, 0) < 0)
			printf("send: %s\n", strerror(errno));
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct pollfd fds[] = {
		{.fd = listen_on(argc > 1 ? argv[1] : "fly-global-services:53", SOCK_DGRAM),
			.events = POLLIN},
		{.fd = listen_on("0.0.0.0:53", SOCK_STREAM), .events = POLLIN},
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	printf("listening\n");
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			return 1;
		if (fds[0].revents)
			serve_udp(fds[0].fd);
		if (fds[1].revents)
			serve_tcp(fds[1].fd);
	}
}
