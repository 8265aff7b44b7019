/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses and prefixes as values. Bytes are in network order; an IPv4 address fills the first
 * four. Text forms are those of inet_pton(3) and RFC 5952.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define ADDR_TEXT_LEN	INET6_ADDRSTRLEN       /* with the NUL */
#define PREFIX_TEXT_LEN (INET6_ADDRSTRLEN + 4) /* with "/128" */

struct addr {
	uint8_t family; /* AF_INET, AF_INET6, or 0: none */
	uint8_t bytes[16];
};

struct prefix {
	struct addr addr; /* host bits are zero */
	uint8_t len_bits;
};

/* Returns 0, or -EINVAL when @text is not one address of either family. */
int addr_parse(const char *text, struct addr *out);

/* Returns @text, which is "" for an address of no family. */
char *addr_format(const struct addr *addr, char text[static ADDR_TEXT_LEN]);

bool addr_equal(const struct addr *a, const struct addr *b);

/* Total order: IPv4 before IPv6, then by value. */
int addr_compare(const struct addr *a, const struct addr *b);

struct addr addr_from_v4(uint32_t be);
uint32_t addr_v4_be(const struct addr *addr);

/* The address @offset after @addr; wraps inside the family's width. */
struct addr addr_add(const struct addr *addr, uint64_t offset);

/* "203.0.113.0/24"; a bare address is a host prefix. -EINVAL also when host bits are set. */
int prefix_parse(const char *text, struct prefix *out);
char *prefix_format(const struct prefix *prefix, char text[static PREFIX_TEXT_LEN]);
bool prefix_contains(const struct prefix *prefix, const struct addr *addr);
