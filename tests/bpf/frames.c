/* SPDX-License-Identifier: Apache-2.0 */
/* Frames for the tests; see frames.h. */
#include "frames.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#define ICMP_LEN 8

static uint32_t add_words(uint32_t sum, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (len & 1)
		sum += (uint32_t)bytes[len - 1] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Of a UDP datagram as it stands, its checksum field included. */
static uint16_t udp_sum(const struct ip_view *ip, const uint8_t *udp, size_t len)
{
	uint32_t sum = add_words(0, (const uint8_t *)&ip->saddr, 8);

	return fold(add_words(sum + IPPROTO_UDP + (uint32_t)len, udp, len));
}

struct ip_view *frame_ip(const struct frame *frame)
{
	return (struct ip_view *)(uintptr_t)(frame->bytes + ETH_HLEN);
}

struct udp_view *frame_l4(const struct frame *frame)
{
	return (struct udp_view *)((uint8_t *)frame_ip(frame) + frame_ip(frame)->ihl * 4);
}

uint32_t frame_from(const struct frame *frame)
{
	return ntohl(frame_ip(frame)->saddr);
}

uint32_t frame_to(const struct frame *frame)
{
	return ntohl(frame_ip(frame)->daddr);
}

struct ip_view *frame_quoted(const struct frame *frame)
{
	return (struct ip_view *)((uint8_t *)frame_l4(frame) + ICMP_LEN);
}

void frame_fix_ip(struct frame *frame)
{
	struct ip_view *ip = frame_ip(frame);

	ip->check = 0;
	ip->check = htons((uint16_t)~fold(add_words(0, (uint8_t *)ip, ip->ihl * 4)));
}

/* Ethernet and IP headers, options included; the caller fills what follows. */
static struct frame start_ip(
	uint32_t from, uint32_t to, uint8_t protocol, unsigned int ihl, size_t l4_len)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	struct frame frame = {.len = ETH_HLEN + ihl * 4 + l4_len};
	struct ip_view *ip = frame_ip(&frame);

	assert(frame.len <= FRAME_MAX);
	memcpy(frame.bytes, macs, sizeof(macs));
	frame.bytes[12] = ETH_P_IP >> 8;
	frame.bytes[13] = ETH_P_IP & 0xff;
	ip->version = 4;
	ip->ihl = ihl & 0xf;
	ip->ttl = 64;
	ip->protocol = protocol;
	ip->tot_len = htons((uint16_t)(ihl * 4 + l4_len));
	ip->saddr = htonl(from);
	ip->daddr = htonl(to);
	memset(ip + 1, 1, ihl * 4 - sizeof(*ip));
	return frame;
}

struct frame frame_udp(const struct datagram *d)
{
	size_t header_len = d->offset8 ? 0 : sizeof(struct udp_view);
	size_t len = header_len + d->payload_len;
	struct frame frame = start_ip(d->from, d->to, IPPROTO_UDP, d->ihl ? d->ihl : 5, len);
	struct ip_view *ip = frame_ip(&frame);
	struct udp_view *udp = frame_l4(&frame);
	uint8_t *payload = (uint8_t *)udp + header_len;

	ip->id = htons(d->id);
	ip->frag_off = htons((uint16_t)(d->offset8 | (d->more_fragments ? 0x2000 : 0)));
	for (size_t i = 0; i < d->payload_len; i++)
		payload[i] = (uint8_t)(i * 7 + d->offset8);
	frame_fix_ip(&frame);
	if (d->offset8)
		return frame;
	udp->source = htons(d->sport);
	udp->dest = htons(d->dport);
	udp->len = htons((uint16_t)len);
	if (!d->no_check) {
		uint16_t check = (uint16_t)~udp_sum(ip, (uint8_t *)udp, len);

		udp->check = htons(check ? check : 0xffff);
	}
	return frame;
}

struct frame frame_icmp_error(uint32_t from, uint32_t to, uint8_t type, uint8_t code,
	const struct frame *quoted, size_t quote_len)
{
	size_t there = quoted->len - ETH_HLEN, len = quote_len < there ? quote_len : there;
	struct frame frame = start_ip(from, to, IPPROTO_ICMP, 5, ICMP_LEN + len);
	uint8_t *icmp = (uint8_t *)frame_l4(&frame);
	uint16_t check;

	icmp[0] = type;
	icmp[1] = code;
	memcpy(icmp + ICMP_LEN, frame_ip(quoted), len);
	check = htons((uint16_t)~fold(add_words(0, icmp, ICMP_LEN + len)));
	memcpy(icmp + 2, &check, sizeof(check));
	frame_fix_ip(&frame);
	return frame;
}

static struct frame make_room(const struct frame *inside, size_t offset, size_t len)
{
	struct frame frame = *inside;

	frame.len = ETH_HLEN + ntohs(frame_ip(inside)->tot_len) + len;
	assert(frame.len <= FRAME_MAX);
	memcpy(frame.bytes + offset + len, inside->bytes + offset, frame.len - offset - len);
	return frame;
}

struct frame frame_minimal(const struct frame *inside, uint32_t from, uint32_t to)
{
	struct frame frame = make_room(inside, ETH_HLEN + 20, 12);
	struct ip_view *ip = frame_ip(&frame);
	uint8_t *minimal = (uint8_t *)(ip + 1);
	uint16_t check;

	assert(ip->ihl == 5);
	minimal[0] = ip->protocol;
	minimal[1] = 0x80;
	minimal[2] = minimal[3] = 0;
	memcpy(minimal + 4, &ip->daddr, 4);
	memcpy(minimal + 8, &ip->saddr, 4);
	check = htons((uint16_t)~fold(add_words(0, minimal, 12)));
	memcpy(minimal + 2, &check, sizeof(check));
	ip->protocol = 55;
	ip->tot_len = htons((uint16_t)(ntohs(ip->tot_len) + 12));
	ip->saddr = htonl(from);
	ip->daddr = htonl(to);
	frame_fix_ip(&frame);
	return frame;
}

struct frame frame_ipip(const struct frame *inside, uint32_t from, uint32_t to)
{
	struct frame frame = make_room(inside, ETH_HLEN, 20);
	struct ip_view *ip = frame_ip(&frame);

	ip->ihl = 5;
	ip->protocol = IPPROTO_IPIP;
	ip->ttl = 64;
	ip->frag_off = htons(0x4000);
	ip->tot_len = htons((uint16_t)(ntohs(ip->tot_len) + 20));
	ip->saddr = htonl(from);
	ip->daddr = htonl(to);
	frame_fix_ip(&frame);
	return frame;
}

struct frame frame_readdressed(const struct frame *source, uint32_t from, uint32_t to)
{
	struct frame frame = *source;
	struct ip_view *ip = frame_ip(&frame);
	struct udp_view *udp = frame_l4(&frame);
	size_t len = ntohs(ip->tot_len) - ip->ihl * 4u;

	if (from)
		ip->saddr = htonl(from);
	if (to)
		ip->daddr = htonl(to);
	frame_fix_ip(&frame);
	if (ip->protocol == IPPROTO_UDP && !(ip->frag_off & htons(0x3fff)) && udp->check) {
		udp->check = 0;
		udp->check = htons((uint16_t)~udp_sum(ip, (uint8_t *)udp, len));
	}
	return frame;
}

struct frame frame_ipv4(uint32_t from, uint32_t to, uint8_t protocol)
{
	struct frame frame = start_ip(from, to, protocol, 5, 24);

	frame_fix_ip(&frame);
	return frame;
}

struct frame frame_ipv6(const char *from, const char *to, uint8_t next_header)
{
	struct frame frame = {.len = ETH_HLEN + 40 + 8};
	uint8_t *ip = frame.bytes + ETH_HLEN;

	frame.bytes[12] = ETH_P_IPV6 >> 8;
	frame.bytes[13] = ETH_P_IPV6 & 0xff;
	ip[0] = 0x60;
	ip[5] = 8;
	ip[6] = next_header;
	ip[7] = 255;
	assert(inet_pton(AF_INET6, from, ip + 8) == 1 && inet_pton(AF_INET6, to, ip + 24) == 1);
	return frame;
}

bool frame_sums_are_right(const struct frame *frame)
{
	const struct ip_view *ip = frame_ip(frame), *quoted;
	const struct udp_view *udp = frame_l4(frame);
	size_t len = ntohs(ip->tot_len) - ip->ihl * 4u;

	if (fold(add_words(0, (const uint8_t *)ip, ip->ihl * 4)) != 0xffff)
		return false;
	if (ip->frag_off & htons(0x3fff))
		return true; /* the sum is over the whole datagram; the test looks at the field */
	if (ip->protocol == IPPROTO_UDP)
		return udp->check == 0 || udp_sum(ip, (const uint8_t *)udp, len) == 0xffff;
	if (ip->protocol != IPPROTO_ICMP)
		return true;
	if (fold(add_words(0, (const uint8_t *)udp, len)) != 0xffff)
		return false;
	quoted = frame_quoted(frame);
	if (len < ICMP_LEN + sizeof(*quoted) || len < ICMP_LEN + quoted->ihl * 4u)
		return true;
	return fold(add_words(0, (const uint8_t *)quoted, quoted->ihl * 4)) == 0xffff;
}
