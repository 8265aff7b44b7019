/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test programs on UDP share: end programs with plain sockets and nothing of the project
 * in them, so that they see what any app or client would. On a failure of their own they say so
 * and exit with 2; what the network does is told by other exit statuses.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UDP_LARGEST 65507 /* 65535 less the headers of IP and UDP */

__attribute__((format(printf, 1, 2), noreturn)) static inline void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static inline void set_option(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) < 0)
		die("setsockopt %d, %d: %s", level, name, strerror(errno));
}

static inline unsigned long parse_number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value > max)
		die("%s is not a number in 0..%lu", text, max);
	return value;
}

/* "ADDR:PORT"; ADDR may be a name of /etc/hosts. */
static inline struct sockaddr_in parse_endpoint(const char *text)
{
	const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM};
	const char *colon = strrchr(text, ':');
	struct addrinfo *info;
	struct sockaddr_in out;
	char host[256];
	int r;

	if (!colon || colon == text || (size_t)(colon - text) >= sizeof(host))
		die("%s is not ADDR:PORT", text);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	r = getaddrinfo(host, NULL, &hints, &info);
	if (r)
		die("cannot resolve %s: %s", host, gai_strerror(r));
	memcpy(&out, info->ai_addr, sizeof(out));
	freeaddrinfo(info);
	out.sin_port = htons((uint16_t)parse_number(colon + 1, 65535));
	return out;
}

#define ENDPOINT_LEN (INET_ADDRSTRLEN + 6)

static inline const char *format_endpoint(
	const struct sockaddr_in *endpoint, char text[static ENDPOINT_LEN])
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &endpoint->sin_addr, addr, sizeof(addr));
	snprintf(text, ENDPOINT_LEN, "%s:%u", addr, ntohs(endpoint->sin_port));
	return text;
}

static inline bool same_endpoint(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
	return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

static inline uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
