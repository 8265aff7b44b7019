/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every load tool of the bench needs: the command line, a socket for "ADDR:PORT", the clock,
 * the machine's busy time and a histogram. The tools are end programs on purpose: they use plain
 * sockets and nothing of the project, so that what they measure is what any app would see. On a
 * failure they say so and exit; there is nobody above them to recover.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#define LOAD_BATCH	  64
#define LOAD_MAX_FLOWS	  4096
#define LOAD_MAX_INFLIGHT 64
#define LOAD_MAX_SIZE	  65507

struct load_options {
	const char *bind; /* ADDR:PORT, points into argv */
	const char *to;
	unsigned int flows;
	unsigned int inflight;
	unsigned int size_bytes;
	double seconds;
	unsigned int rate; /* datagrams per second, 0: as fast as it goes */
	unsigned int count;
	int cpu; /* -1: wherever the scheduler likes */
	bool is_wildcard;
	bool reports_bursts;
};

/* In front of every numbered datagram; the rest is padding up to size_bytes. */
struct load_header {
	uint32_t magic;
	uint16_t flow;
	uint16_t slot;
	uint64_t sequence;
	uint64_t sent_ns;
};
_Static_assert(sizeof(struct load_header) == 24, "the README promises 24 bytes");

#define LOAD_MAGIC 0x77627564u

/* Latencies in 64 steps per power of two (1.6 %), 1 ns to 2^40 ns. */
struct histogram {
	uint64_t total;
	uint64_t max_ns;
	uint64_t count[41 * 64];
};

void histogram_add(struct histogram *h, uint64_t ns);
/* fraction in 0..1; in microseconds; 0 when nothing was added */
double histogram_us(const struct histogram *h, double fraction);

uint64_t load_now_ns(void);
/* Time that all CPUs together were not idle since boot, by /proc/stat (10 ms steps). */
uint64_t load_busy_ns(void);

/* Set by SIGINT, SIGTERM; system calls are interrupted by them. */
extern volatile bool load_stopped;
void load_catch_signals(void);

void load_pin(int cpu);
_Noreturn __attribute__((format(printf, 1, 2))) void load_die(const char *format, ...);

/* A UDP socket bound to o->bind (any address of the family with is_wildcard). */
int load_bind(const struct load_options *o);
/* A UDP socket connected to o->to, non-blocking. */
int load_connect(const struct load_options *o);

/* The subcommands. Each prints its result as one line of JSON. */
int udp_sink(const struct load_options *o);
int udp_echo(const struct load_options *o);
int udp_flood(const struct load_options *o);
int udp_rr(const struct load_options *o);
int udp_paced(const struct load_options *o);
