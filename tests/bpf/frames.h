/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet frames to give to programs, and checks of frames that come back. All checksums are
 * worked out from scratch on both ways, never incrementally: that is what is being tested.
 * Addresses and ports are in host byte order here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/if_ether.h>

#define FRAME_MAX 2048

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

/*
 * Views of a frame's bytes. Not linux/ip.h's: without the attribute the compiler takes a store by
 * such a view for one that cannot change the frame, and leaves it out of a copy.
 */
struct ip_view {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint8_t ihl : 4, version : 4;
#else
	uint8_t version : 4, ihl : 4;
#endif
	uint8_t tos;
	uint16_t tot_len, id, frag_off;
	uint8_t ttl, protocol;
	uint16_t check;
	uint32_t saddr, daddr;
} __attribute__((may_alias));

struct udp_view {
	uint16_t source, dest, len, check;
} __attribute__((may_alias));

struct frame {
	size_t len;
	uint8_t align[2]; /* puts the IP header on a word's border */
	uint8_t bytes[FRAME_MAX];
};

/* A datagram or a piece of one. */
struct datagram {
	uint32_t from, to;
	uint16_t sport, dport;
	size_t payload_len;
	unsigned int ihl; /* in words; 0: 5. More is filled with no-operation options */
	uint16_t id;
	bool no_check;	      /* a UDP checksum of zero */
	bool more_fragments;  /* this is the first or a middle one */
	unsigned int offset8; /* of the fragment, in units of 8 bytes; not 0: no UDP header */
};

struct frame frame_udp(const struct datagram *datagram);

/* An ICMP error from @from to @to about @quoted, of which @quote_len bytes from its IP header on
 * are quoted (at most what is there). */
struct frame frame_icmp_error(uint32_t from, uint32_t to, uint8_t type, uint8_t code,
	const struct frame *quoted, size_t quote_len);

struct frame frame_ipv6(const char *from, const char *to, uint8_t next_header);

/* Any IPv4 packet of another protocol with a few bytes in it. */
struct frame frame_ipv4(uint32_t from, uint32_t to, uint8_t protocol);

/* Puts the right sum into the IP header after a change of it. */
void frame_fix_ip(struct frame *frame);

/* @inside as encapsulated by RFC 2004 and by RFC 2003, padding left out. */
struct frame frame_minimal(const struct frame *inside, uint32_t from, uint32_t to);
struct frame frame_ipip(const struct frame *inside, uint32_t from, uint32_t to);

/* A copy with another source, destination (0: as it is), with all checksums made anew. */
struct frame frame_readdressed(const struct frame *frame, uint32_t from, uint32_t to);

struct ip_view *frame_ip(const struct frame *frame);
struct udp_view *frame_l4(const struct frame *frame);
uint32_t frame_from(const struct frame *frame);
uint32_t frame_to(const struct frame *frame);

/* The IP header inside an ICMP error. */
struct ip_view *frame_quoted(const struct frame *frame);

/* True when every checksum of the frame is right: of IP, of a whole UDP datagram (or zero), of ICMP
 * and of the IP header quoted in it. */
bool frame_sums_are_right(const struct frame *frame);
