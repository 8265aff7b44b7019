/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground under the load tools: sockets by "ADDR:PORT", clock, busy time, histogram. Socket
 * buffers are made large, because what is measured is the path and not the default buffer; that
 * is the only thing the sockets have that an app's would not.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_BUFFER_BYTES (8 << 20)

volatile bool load_stopped;

void load_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("udpload: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void on_stop(int signal_number)
{
	(void)signal_number;
	load_stopped = true;
}

void load_catch_signals(void)
{
	/* No SA_RESTART: a blocked receive has to return. */
	struct sigaction action = {.sa_handler = on_stop};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void load_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		load_die("cannot run on CPU %d: %s; leave --cpu out", cpu, strerror(errno));
}

uint64_t load_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t load_busy_ns(void)
{
	unsigned long long user, nice, system, idle, iowait, irq, softirq;
	FILE *stat = fopen("/proc/stat", "re");
	int fields;

	if (!stat)
		return 0;
	fields = fscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
		&idle, &iowait, &irq, &softirq);
	fclose(stat);
	if (fields != 7)
		return 0;
	return (user + nice + system + irq + softirq) *
	       (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static unsigned int histogram_slot(uint64_t ns)
{
	unsigned int power;

	if (ns < 64)
		return (unsigned int)ns;
	power = 63u - (unsigned int)__builtin_clzll(ns);
	if (power > 40)
		return 41 * 64 - 1;
	return (power - 5) * 64 + (unsigned int)((ns >> (power - 6)) & 63);
}

/* The lowest value that falls into a slot. */
static uint64_t histogram_floor(unsigned int slot)
{
	unsigned int power = slot / 64 + 5;

	if (slot < 64)
		return slot;
	return (64 + (uint64_t)(slot & 63)) << (power - 6);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	h->count[histogram_slot(ns)]++;
	h->total++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

double histogram_us(const struct histogram *h, double fraction)
{
	uint64_t wanted = (uint64_t)((double)h->total * fraction);
	uint64_t seen = 0;
	unsigned int i;

	for (i = 0; i < 41 * 64; i++) {
		seen += h->count[i];
		if (seen > wanted)
			return (double)histogram_floor(i) / 1000;
	}
	return (double)h->max_ns / 1000;
}

/* "192.0.2.1:53", "[2001:db8::1]:53" or "name:53". */
static struct addrinfo *resolve(const char *text)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	const char *colon = strrchr(text, ':');
	char host[256];
	size_t len;
	int rc;

	if (!colon || colon == text)
		load_die("\"%s\" is not ADDR:PORT, as in 192.0.2.1:9000 or [2001:db8::1]:9000",
			text);
	len = (size_t)(colon - text);
	if (text[0] == '[' && colon[-1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		load_die("the name in front of %s is too long", colon);
	memcpy(host, text, len);
	host[len] = 0;
	rc = getaddrinfo(host, colon + 1, &hints, &found);
	if (rc != 0)
		load_die("cannot resolve %s: %s", host, gai_strerror(rc));
	return found;
}

static int open_socket(int family)
{
	int bytes = SOCKET_BUFFER_BYTES;
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		load_die("cannot open a UDP socket: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return fd;
}

static void make_wildcard(struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_ANY);
	else
		((struct sockaddr_in6 *)address)->sin6_addr = in6addr_any;
}

int load_bind(const struct load_options *o)
{
	struct addrinfo *address = resolve(o->bind);
	int fd = open_socket(address->ai_family);

	if (o->is_wildcard)
		make_wildcard(address->ai_addr);
	if (bind(fd, address->ai_addr, address->ai_addrlen) < 0)
		load_die("cannot bind %s: %s", o->bind, strerror(errno));
	freeaddrinfo(address);
	return fd;
}

int load_connect(const struct load_options *o)
{
	struct addrinfo *address = resolve(o->to);
	int fd = open_socket(address->ai_family);

	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0)
		load_die("cannot connect to %s: %s", o->to, strerror(errno));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	freeaddrinfo(address);
	return fd;
}
