/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes; see addr.h. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned int width_bits(const struct addr *addr)
{
	return addr->family == AF_INET ? 32 : 128;
}

int addr_parse(const char *text, struct addr *out)
{
	struct addr addr = {};

	if (inet_pton(AF_INET, text, addr.bytes) == 1)
		addr.family = AF_INET;
	else if (inet_pton(AF_INET6, text, addr.bytes) == 1)
		addr.family = AF_INET6;
	else
		return -EINVAL;
	*out = addr;
	return 0;
}

char *addr_format(const struct addr *addr, char text[static ADDR_TEXT_LEN])
{
	if (!addr->family || !inet_ntop(addr->family, addr->bytes, text, ADDR_TEXT_LEN))
		text[0] = '\0';
	return text;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_compare(a, b) == 0;
}

struct addr addr_from_v4(uint32_t be)
{
	struct addr addr = {.family = AF_INET};

	memcpy(addr.bytes, &be, sizeof(be));
	return addr;
}

uint32_t addr_v4_be(const struct addr *addr)
{
	uint32_t be;

	memcpy(&be, addr->bytes, sizeof(be));
	return be;
}

struct addr addr_add(const struct addr *addr, uint64_t offset)
{
	struct addr sum = *addr;
	uint64_t carry = offset;

	for (int i = (int)width_bits(addr) / 8 - 1; i >= 0 && carry; i--) {
		carry += sum.bytes[i];
		sum.bytes[i] = (uint8_t)carry;
		carry >>= 8;
	}
	return sum;
}

static struct addr mask_host_bits(const struct addr *addr, unsigned int len_bits)
{
	struct addr masked = *addr;

	for (unsigned int bit = len_bits; bit < width_bits(addr); bit++)
		masked.bytes[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
	return masked;
}

int prefix_parse(const char *text, struct prefix *out)
{
	char copy[PREFIX_TEXT_LEN];
	struct prefix prefix = {};
	struct addr masked;
	unsigned long len;
	char *slash, *end;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	if (addr_parse(copy, &prefix.addr) < 0)
		return -EINVAL;
	len = width_bits(&prefix.addr);
	if (slash) {
		if (slash[1] < '0' || slash[1] > '9')
			return -EINVAL;
		len = strtoul(slash + 1, &end, 10);
		if (*end || len > width_bits(&prefix.addr))
			return -EINVAL;
	}
	prefix.len_bits = (uint8_t)len;
	masked = mask_host_bits(&prefix.addr, prefix.len_bits);
	if (!addr_equal(&masked, &prefix.addr))
		return -EINVAL;
	*out = prefix;
	return 0;
}

char *prefix_format(const struct prefix *prefix, char text[static PREFIX_TEXT_LEN])
{
	char addr[ADDR_TEXT_LEN];

	snprintf(
		text, PREFIX_TEXT_LEN, "%s/%u", addr_format(&prefix->addr, addr), prefix->len_bits);
	return text;
}

bool prefix_contains(const struct prefix *prefix, const struct addr *addr)
{
	struct addr masked;

	if (prefix->addr.family != addr->family)
		return false;
	masked = mask_host_bits(addr, prefix->len_bits);
	return addr_equal(&masked, &prefix->addr);
}
