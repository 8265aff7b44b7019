/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends one UDP datagram, or a piece of one, with an IP header of its own making: foreign sources,
 * fragments in a wrong order, pieces that never make a whole.
 *
 *   rawudp [--offset N] [--length N] [--id N] A:P B:Q SIZE
 *     the datagram from A:P to B:Q has SIZE bytes of payload; sent are --length bytes (all) of its
 *     UDP header and payload from --offset (0) on, both multiples of 8 but for the last piece
 */
#include "udp.h"

#include <getopt.h>
#include <netinet/ip.h>

static uint16_t checksum(const struct iphdr *ip, const unsigned char *udp, size_t len)
{
	uint32_t sum = IPPROTO_UDP + (uint32_t)len;
	const uint16_t addrs[4] = {(uint16_t)ip->saddr, (uint16_t)(ip->saddr >> 16),
		(uint16_t)ip->daddr, (uint16_t)(ip->daddr >> 16)};

	for (size_t i = 0; i < 4; i++)
		sum += ntohs(addrs[i]);
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? udp[i] : (uint32_t)udp[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"offset", required_argument, NULL, 'o'},
		{"length", required_argument, NULL, 'l'}, {"id", required_argument, NULL, 'i'}, {}};
	static unsigned char datagram[UDP_LARGEST + 8], packet[65536];
	size_t offset = 0, length = 0, id = 0x7e57, size;
	struct sockaddr_in from, to;
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
	struct udphdr udp = {};
	int c, fd;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == 'o')
			offset = parse_number(optarg, UDP_LARGEST);
		else if (c == 'l')
			length = parse_number(optarg, UDP_LARGEST);
		else if (c == 'i')
			id = parse_number(optarg, 65535);
		else
			return 2;
	}
	if (argc - optind != 3)
		die("rawudp needs A:P B:Q SIZE");
	from = parse_endpoint(argv[optind]);
	to = parse_endpoint(argv[optind + 1]);
	size = parse_number(argv[optind + 2], UDP_LARGEST) + sizeof(udp);
	length = length ? length : size - offset;
	if (offset + length > size)
		die("there are only %zu bytes", size);
	ip.saddr = from.sin_addr.s_addr;
	ip.daddr = to.sin_addr.s_addr;
	ip.id = htons((uint16_t)id);
	ip.tot_len = htons((uint16_t)(sizeof(ip) + length));
	ip.frag_off = htons((uint16_t)(offset / 8 | (offset + length < size ? 0x2000 : 0)));
	udp.uh_sport = from.sin_port;
	udp.uh_dport = to.sin_port;
	udp.uh_ulen = htons((uint16_t)(size));
	memset(datagram, 'r', size);
	memcpy(datagram, &udp, sizeof(udp));
	udp.uh_sum = checksum(&ip, datagram, size);
	memcpy(datagram, &udp, sizeof(udp));
	memcpy(packet, &ip, sizeof(ip));
	memcpy(packet + sizeof(ip), datagram + offset, length);
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (fd < 0 ||
		sendto(fd, packet, sizeof(ip) + length, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("send: %s", strerror(errno));
	return 0;
}
