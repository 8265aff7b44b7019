/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resizer by itself: packets go out of the host's ends as BPF programs send them, with any
 * addresses, and what comes back is looked at byte by byte. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>

#include "../../lib/mesh.h"
#include "mesh/resizer.h"
#include "wherry/abi.h"

#define WHOLE_MTU  1428
#define PIECES_MTU 1420
#define CLIENT	   "198.51.100.7"
#define APP	   "203.0.113.5"
#define GSO_UDP_L4 5 /* VIRTIO_NET_HDR_GSO_UDP_L4, which Debian's headers lack */

static struct resizer resizer;

/* So that what follows an Ethernet header is aligned. */
static uint8_t frame_buffer[65664] __attribute__((aligned(8)));
static uint8_t *const frame = frame_buffer + 2;
static uint8_t packet[65600] __attribute__((aligned(8)));

static struct resizer setup_ok(unsigned int whole, unsigned int pieces)
{
	struct resizer out = {};
	struct err err = {};

	check(resizer_setup(whole, pieces, &out, &err), &err);
	return out;
}

static int set_up(void **state)
{
	(void)state;
	resizer = setup_ok(WHOLE_MTU, PIECES_MTU);
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	return resizer_remove(NULL);
}

static char *netns_name(void)
{
	static char name[64];
	struct stat st;

	assert_int_equal(stat("/proc/thread-self/ns/net", &st), 0);
	snprintf(name, sizeof(name), RESIZER_NETNS "-%lx", (unsigned long)st.st_ino);
	return name;
}

static char *output_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *output_of(const char *format, ...)
{
	static char text[65536];
	char command[512];
	struct reading reading = {command, text, sizeof(text)};
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	read_output(&reading);
	return text;
}

static uint32_t sum_of(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t pseudo_sum(const struct ip *ip, size_t len)
{
	return sum_of(&ip->ip_src, 8, ip->ip_p + (uint32_t)len);
}

/* An Ethernet frame with a UDP datagram of @len payload bytes, each a function of its place. */
static size_t make_frame(uint8_t *out, const char *from, const char *to, size_t len, bool is_df)
{
	static const uint8_t mac[6] = RESIZER_MAC;
	struct ether_header *eth = (void *)out;
	struct ip *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	uint8_t *payload = (void *)(udp + 1);

	memset(out, 0, sizeof(*eth) + sizeof(*ip) + sizeof(*udp));
	memcpy(eth->ether_dhost, mac, 6);
	memcpy(eth->ether_shost, (uint8_t[6]){2, 1, 2, 3, 4, 5}, 6);
	eth->ether_type = htons(ETH_P_IP);
	ip->ip_v = 4;
	ip->ip_hl = 5;
	ip->ip_ttl = 64;
	ip->ip_p = IPPROTO_UDP;
	ip->ip_id = htons(4711);
	ip->ip_off = htons(is_df ? IP_DF : 0);
	ip->ip_len = htons((uint16_t)(sizeof(*ip) + sizeof(*udp) + len));
	ip->ip_src.s_addr = inet_addr(from);
	ip->ip_dst.s_addr = inet_addr(to);
	ip->ip_sum = htons((uint16_t)~sum_of(ip, sizeof(*ip), 0));
	udp->uh_sport = htons(40001);
	udp->uh_dport = htons(5000);
	udp->uh_ulen = htons((uint16_t)(sizeof(*udp) + len));
	for (size_t i = 0; i < len; i++)
		payload[i] = (uint8_t)(i * 7 + i / 251);
	udp->uh_sum = htons(
		(uint16_t)~sum_of(udp, sizeof(*udp) + len, pseudo_sum(ip, sizeof(*udp) + len)));
	return sizeof(*eth) + sizeof(*ip) + sizeof(*udp) + len;
}

static int open_link(unsigned int ifindex, bool has_vnet_header)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = (int)ifindex};
	int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	if (has_vnet_header)
		assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	return fd;
}

/* The next IP packet that comes in, in packet; returns its length, or 0 after @timeout_ms. */
static size_t next_packet(int fd, int timeout_ms)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		struct sockaddr_ll from;
		socklen_t from_len = sizeof(from);
		uint8_t got[65600];
		ssize_t len;

		if (poll(&poll_fd, 1, timeout_ms) <= 0)
			return 0;
		len = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &from_len);
		if (len <= (ssize_t)sizeof(struct ether_header) ||
			from.sll_pkttype == PACKET_OUTGOING)
			continue;
		/* The host could take it up: it is addressed to this very end. */
		assert_int_equal(from.sll_pkttype, PACKET_HOST);
		len -= (ssize_t)sizeof(struct ether_header);
		assert_true((size_t)len <= sizeof(packet));
		memcpy(packet, got + sizeof(struct ether_header), (size_t)len);
		return (size_t)len;
	}
}

static void send_frame(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, 0), len);
}

static const struct ip *expect_ip(size_t len)
{
	const struct ip *ip = (const void *)packet;

	assert_true(len >= sizeof(*ip));
	assert_int_equal(sum_of(ip, sizeof(*ip), 0), 0xffff);
	assert_int_equal(ntohs(ip->ip_len), len);
	return ip;
}

static void expect_checksum(const struct ip *ip)
{
	size_t len = ntohs(ip->ip_len) - sizeof(*ip);

	assert_int_equal(sum_of(ip + 1, len, pseudo_sum(ip, len)), 0xffff);
}

static void expect_too_big(size_t len, const char *to, unsigned int mtu)
{
	const struct ip *ip = expect_ip(len), *quoted;
	const struct icmphdr *icmp = (const void *)(ip + 1);
	uint32_t addr = addr_v4_be(&resizer.addr);

	assert_int_equal(ip->ip_p, IPPROTO_ICMP);
	assert_int_equal(icmp->type, ICMP_DEST_UNREACH);
	assert_int_equal(icmp->code, ICMP_FRAG_NEEDED);
	assert_int_equal(ntohs(icmp->un.frag.mtu), mtu);
	assert_int_equal(sum_of(icmp, len - sizeof(*ip), 0), 0xffff);
	assert_int_equal(ip->ip_src.s_addr, addr);
	assert_int_equal(ip->ip_dst.s_addr, inet_addr(to));
	/* Addresses, id and ports of what was sent, and enough of it. */
	quoted = (const void *)(icmp + 1);
	assert_memory_equal(&quoted->ip_src, frame + 14 + 12, 8);
	assert_int_equal(quoted->ip_id, htons(4711));
	assert_memory_equal(quoted + 1, frame + 14 + 20, 8);
}

static void a_packet_with_df_that_is_too_large_is_refused_with_the_mtu(void **state)
{
	_close_ int whole = open_link(resizer.whole_ifindex, false);
	size_t len;

	(void)state;
	/* 1500 bytes, then one byte too many, from one machine to another and back. */
	send_frame(whole, frame, make_frame(frame, CLIENT, APP, 1472, true));
	len = next_packet(whole, 1000);
	expect_too_big(len, CLIENT, WHOLE_MTU);
	send_frame(whole, frame, make_frame(frame, APP, CLIENT, WHOLE_MTU - 28 + 1, true));
	len = next_packet(whole, 1000);
	expect_too_big(len, APP, WHOLE_MTU);
}

static void what_fits_comes_back_as_it_was(void **state)
{
	_close_ int whole = open_link(resizer.whole_ifindex, false);
	size_t len, sent;

	(void)state;
	sent = make_frame(frame, CLIENT, APP, WHOLE_MTU - 28, true) - 14;
	send_frame(whole, frame, sent + 14);
	len = next_packet(whole, 1000);
	assert_int_equal(len, WHOLE_MTU);
	expect_checksum(expect_ip(len));
	assert_int_equal(packet[8], 63); /* it was forwarded once */
	assert_memory_equal(packet + 12, frame + 14 + 12, sent - 12);
}

static void every_large_packet_with_df_is_refused(void **state)
{
	_close_ int whole = open_link(resizer.whole_ifindex, false);

	(void)state;
	/* The kernel's limits of ICMP errors would let six of these pass, and then one a second. */
	for (int i = 0; i < 200; i++) {
		size_t len;

		send_frame(whole, frame, make_frame(frame, CLIENT, APP, 1472, true));
		len = next_packet(whole, 1000);
		expect_too_big(len, CLIENT, WHOLE_MTU);
	}
}

static void learning_a_smaller_mtu_is_not_possible_from_outside(void **state)
{
	_close_ int whole = open_link(resizer.whole_ifindex, false);
	struct ip *ip = (void *)(frame + 14);
	struct icmphdr *icmp = (void *)(ip + 1);
	size_t len;

	(void)state;
	/* To the namespace's own address: "what you sent to the client was larger than 600". */
	memset(frame, 0, 200);
	len = make_frame(frame, APP, "198.51.100.7", 100, true);
	memmove(icmp + 1, ip, 28);
	ip->ip_p = IPPROTO_ICMP;
	ip->ip_src.s_addr = inet_addr(CLIENT);
	ip->ip_dst.s_addr = addr_v4_be(&resizer.addr);
	ip->ip_len = htons(20 + 8 + 28);
	ip->ip_sum = 0;
	ip->ip_sum = htons((uint16_t)~sum_of(ip, 20, 0));
	memset(icmp, 0, sizeof(*icmp));
	icmp->type = ICMP_DEST_UNREACH;
	icmp->code = ICMP_FRAG_NEEDED;
	icmp->un.frag.mtu = htons(600);
	icmp->checksum = htons((uint16_t)~sum_of(icmp, 36, 0));
	send_frame(whole, frame, 14 + 56);
	len = make_frame(frame, APP, CLIENT, 1300, true);
	send_frame(whole, frame, len);
	assert_int_equal(next_packet(whole, 1000), 1328);
}

/* Puts fragments together; returns the length of the datagram's payload of IP. */
static size_t reassemble(int fd, uint8_t *datagram, size_t expected)
{
	size_t total = 0, have = 0;

	memset(datagram, 0, expected);
	while (!total || have < total) {
		size_t len = next_packet(fd, 1000), offset;
		const struct ip *ip;

		if (!len)
			fail_msg("%zu of %zu bytes came back", have, expected);
		ip = expect_ip(len);
		assert_true(len <= PIECES_MTU);
		assert_int_equal(ip->ip_p, IPPROTO_UDP);
		assert_int_equal(ip->ip_id, htons(4711));
		assert_int_equal(ip->ip_src.s_addr, inet_addr(CLIENT));
		offset = (size_t)(ntohs(ip->ip_off) & IP_OFFMASK) * 8;
		assert_true(offset + len - 20 <= expected);
		memcpy(datagram + offset, packet + 20, len - 20);
		have += len - 20;
		if (!(ntohs(ip->ip_off) & IP_MF))
			total = offset + len - 20;
	}
	return total;
}

static void without_df_every_size_comes_back_in_fragments_that_fit(void **state)
{
	static const size_t sizes[] = {1392, 1393, 1472, 1473, 2000, 9000, 32000, 65507};
	_close_ int pieces = open_link(resizer.pieces_ifindex, false);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		static uint8_t datagram[65600];
		size_t len = make_frame(frame, CLIENT, APP, sizes[i], false);

		send_frame(pieces, frame, len);
		assert_int_equal(reassemble(pieces, datagram, sizes[i] + 8), sizes[i] + 8);
		assert_memory_equal(datagram, frame + 34, sizes[i] + 8);
	}
}

static void fragments_that_are_too_large_become_smaller_ones(void **state)
{
	_close_ int pieces = open_link(resizer.pieces_ifindex, false);
	static uint8_t first_buffer[1600] __attribute__((aligned(8))), datagram[65600];
	uint8_t *first = first_buffer + 2;
	struct ip *ip = (void *)(first + 14);

	(void)state;
	/* A datagram of 2,008 bytes as two fragments, 1480 and 528, the later one first. */
	make_frame(frame, CLIENT, APP, 2000, false);
	memcpy(first, frame, 34);
	memcpy(first + 34, frame + 34 + 1480, 528);
	ip->ip_off = htons(1480 / 8);
	ip->ip_len = htons(20 + 528);
	ip->ip_sum = 0;
	ip->ip_sum = htons((uint16_t)~sum_of(ip, 20, 0));
	send_frame(pieces, first, 34 + 528);
	memcpy(first + 34, frame + 34, 1480);
	ip->ip_off = htons(IP_MF);
	ip->ip_len = htons(20 + 1480);
	ip->ip_sum = 0;
	ip->ip_sum = htons((uint16_t)~sum_of(ip, 20, 0));
	send_frame(pieces, first, 34 + 1480);
	assert_int_equal(reassemble(pieces, datagram, 2008), 2008);
	assert_memory_equal(datagram, frame + 34, 2008);
}

/* Sends one skb of @count datagrams of @size bytes of payload each, as UDP_SEGMENT makes them. */
static int send_gso(int fd, const char *from, size_t size, size_t count)
{
	static uint8_t buffer[65700] __attribute__((aligned(8)));
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = GSO_UDP_L4,
		.hdr_len = 14 + 20 + 8,
		.gso_size = (uint16_t)size,
		.csum_start = 14 + 20,
		.csum_offset = 6,
	};
	uint8_t *gso = buffer + sizeof(header);
	size_t len = make_frame(gso, from, APP, size * count, true);
	struct udphdr *udp = (void *)(gso + 34);

	udp->uh_sum = htons((uint16_t)pseudo_sum((void *)(gso + 14), 8 + size * count));
	memcpy(buffer, &header, sizeof(header));
	return send(fd, buffer, sizeof(header) + len, 0) < 0 ? -errno : 0;
}

static void a_gso_packet_comes_back_as_datagrams_with_checksums(void **state)
{
	_close_ int whole = open_link(resizer.whole_ifindex, false);
	_close_ int sender = open_link(resizer.whole_ifindex, true);
	size_t total = 0;

	(void)state;
	if (send_gso(sender, CLIENT, 1200, 10) == -EINVAL)
		skip(); /* packet sockets know UDP segmentation since Linux 6.2 */
	for (int i = 0; i < 10; i++) {
		size_t len = next_packet(whole, 1000);
		const struct ip *ip = expect_ip(len);

		assert_int_equal(len, 1228);
		expect_checksum(ip);
		for (size_t j = 0; j < 1200; j++, total++)
			if (packet[28 + j] != (uint8_t)(total * 7 + total / 251))
				fail_msg("byte %zu is another one", total);
	}
	assert_int_equal(next_packet(whole, 100), 0);
}

static void a_gso_packet_with_df_of_too_large_datagrams_is_refused(void **state)
{
	_close_ int whole = open_link(resizer.whole_ifindex, false);
	_close_ int sender = open_link(resizer.whole_ifindex, true);
	size_t len;

	(void)state;
	if (send_gso(sender, CLIENT, 1450, 3) == -EINVAL)
		skip();
	len = next_packet(whole, 1000);
	assert_int_equal(((struct ip *)packet)->ip_p, IPPROTO_ICMP);
	assert_int_equal(ntohs(((struct icmphdr *)(packet + 20))->un.frag.mtu), WHOLE_MTU);
	assert_true(len > 28);
}

static void a_checksum_left_to_the_device_is_written(void **state)
{
	_close_ int pieces = open_link(resizer.pieces_ifindex, false);
	_close_ int sender = open_link(resizer.pieces_ifindex, true);
	static uint8_t buffer[2200] __attribute__((aligned(8)));
	uint8_t datagram[2200];
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 14 + 20, .csum_offset = 6};
	uint8_t *partial = buffer + sizeof(header);
	struct udphdr *udp = (void *)(partial + 34);
	size_t sizes[] = {100, 2000};

	(void)state;
	for (int i = 0; i < 2; i++) {
		size_t len = make_frame(partial, CLIENT, APP, sizes[i], false);
		uint16_t wanted = udp->uh_sum;

		memcpy(buffer, &header, sizeof(header));
		udp->uh_sum = htons((uint16_t)pseudo_sum((void *)(partial + 14), 8 + sizes[i]));
		send_frame(sender, buffer, sizeof(header) + len);
		if (i == 0) {
			assert_int_equal(next_packet(pieces, 1000), 128);
			expect_checksum(expect_ip(128));
			continue;
		}
		assert_int_equal(reassemble(pieces, datagram, 2008), 2008);
		assert_memory_equal(datagram + 6, &wanted, 2);
	}
}

static void any_addresses_pass_also_the_hosts_own_and_the_namespaces_peers(void **state)
{
	static const struct {
		const char *from, *to;
	} pairs[] = {
		{APP, APP},
		{"10.64.0.1", "10.64.0.2"},
		{"172.16.0.10", "198.51.100.7"},
		{"169.254.1.1", "192.168.1.1"},
		{"100.64.0.1", "203.0.113.255"},
	};
	_close_ int whole = open_link(resizer.whole_ifindex, false);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		size_t len = make_frame(frame, pairs[i].from, pairs[i].to, 100, true);

		send_frame(whole, frame, len);
		if (next_packet(whole, 1000) != 128)
			fail_msg("%s to %s is lost", pairs[i].from, pairs[i].to);
	}
}

static void a_second_setup_keeps_the_links_and_takes_new_sizes(void **state)
{
	struct resizer again = setup_ok(1400, 1392);
	_close_ int whole = open_link(resizer.whole_ifindex, false);
	size_t len;

	(void)state;
	assert_int_equal(again.whole_ifindex, resizer.whole_ifindex);
	assert_int_equal(again.pieces_ifindex, resizer.pieces_ifindex);
	assert_true(addr_equal(&again.addr, &resizer.addr));
	assert_string_equal(
		output_of("ip -n %s rule show | grep -c 'iif pieces'", netns_name()), "1\n");
	send_frame(whole, frame, make_frame(frame, CLIENT, APP, 1373, true));
	len = next_packet(whole, 1000);
	expect_too_big(len, CLIENT, 1400);
	setup_ok(WHOLE_MTU, PIECES_MTU);
}

static void what_is_broken_is_made_whole_again(void **state)
{
	static const char *const damages[] = {
		"ip link del " RESIZER_WHOLE,
		"ip link del " RESIZER_PIECES,
		"ip link set " RESIZER_PIECES " down",
		"ip netns del %s",
		"ip -n %s route flush table main",
		"ip -n %s rule del iif pieces",
		"ip -n %s link set whole arp on down",
		"ip -n %s link set pieces address 02:00:00:00:00:09",
		"ip netns exec %s sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		_close_ int whole = -1, pieces = -1;
		uint8_t datagram[1480];
		char command[256];
		size_t len;

		snprintf(command, sizeof(command), damages[i], netns_name());
		assert_int_equal(system(command), 0);
		resizer = setup_ok(WHOLE_MTU, PIECES_MTU);
		whole = open_link(resizer.whole_ifindex, false);
		pieces = open_link(resizer.pieces_ifindex, false);
		send_frame(whole, frame, make_frame(frame, CLIENT, APP, 1472, true));
		len = next_packet(whole, 1000);
		if (!len)
			fail_msg("nothing comes back after: %s", command);
		expect_too_big(len, CLIENT, WHOLE_MTU);
		send_frame(pieces, frame, make_frame(frame, CLIENT, APP, 1472, false));
		assert_int_equal(reassemble(pieces, datagram, 1480), 1480);
	}
}

static int setup_there(void *arg)
{
	struct resizer out;

	(void)arg;
	return resizer_setup(WHOLE_MTU, PIECES_MTU, &out, NULL);
}

static int remove_there(void *arg)
{
	(void)arg;
	return resizer_remove(NULL);
}

static void hosts_that_share_the_directory_have_one_each(void **state)
{
	struct node node;
	_close_ int whole = open_link(resizer.whole_ifindex, false);

	(void)state;
	node_new(&node, 1);
	assert_int_equal(netns_call(node.netns, setup_there, NULL), 0);
	assert_int_equal(netns_call(node.netns, remove_there, NULL), 0);
	send_frame(whole, frame, make_frame(frame, CLIENT, APP, 100, true));
	assert_int_equal(next_packet(whole, 1000), 128);
	node_free(&node);
}

static bool is_bound(unsigned long inode)
{
	char path[128];

	snprintf(path, sizeof(path), NETNS_DIR "/" RESIZER_NETNS "-%lx", inode);
	return access(path, F_OK) == 0;
}

static void those_of_hosts_that_are_gone_are_removed_and_no_others(void **state)
{
	struct node nodes[2];
	unsigned long inodes[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		node_new(&nodes[i], i + 1);
		inodes[i] = netns_inode(nodes[i].netns);
		assert_int_equal(netns_call(nodes[i].netns, setup_there, NULL), 0);
		assert_true(is_bound(inodes[i]));
	}
	node_free(&nodes[0]);
	/* The kernel takes the dead host's links away in its own time. */
	for (int i = 0; i < 200 && is_bound(inodes[0]); i++) {
		setup_ok(WHOLE_MTU, PIECES_MTU);
		usleep(20000);
	}
	assert_false(is_bound(inodes[0]));
	assert_true(is_bound(inodes[1]));
	assert_int_equal(netns_call(nodes[1].netns, remove_there, NULL), 0);
	assert_false(is_bound(inodes[1]));
	node_free(&nodes[1]);
}

static void *setup_in_node(void *arg)
{
	struct node *node = arg;
	int r = 0;

	for (int i = 0; i < 5 && r == 0; i++)
		r = netns_call(node->netns, setup_there, NULL);
	return r < 0 ? arg : NULL;
}

static void hosts_that_start_at_once_do_not_disturb_each_other(void **state)
{
	struct node nodes[4];
	pthread_t threads[4];
	void *failed;

	(void)state;
	for (int i = 0; i < 4; i++) {
		node_new(&nodes[i], i + 1);
		assert_int_equal(pthread_create(&threads[i], NULL, setup_in_node, &nodes[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
		assert_int_equal(netns_call(nodes[i].netns, remove_there, NULL), 0);
	}
	for (int i = 0; i < 4; i++)
		node_free(&nodes[i]);
}

static void sizes_that_no_packet_has_are_refused(void **state)
{
	struct resizer out;
	struct err err = {};

	(void)state;
	assert_int_equal(resizer_setup(0, 1400, &out, &err), -EINVAL);
	assert_int_equal(resizer_setup(1400, 70000, &out, &err), -EINVAL);
	assert_non_null(strstr(err.text, "70000"));
}

static void removal_leaves_nothing_and_may_be_repeated(void **state)
{
	(void)state;
	assert_int_equal(resizer_remove(NULL), 0);
	assert_int_equal(resizer_remove(NULL), 0);
	assert_int_equal(if_nametoindex(RESIZER_WHOLE), 0);
	assert_null(strstr(output_of("ls /run/netns"), netns_name()));
	resizer = setup_ok(WHOLE_MTU, PIECES_MTU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_with_df_that_is_too_large_is_refused_with_the_mtu),
		cmocka_unit_test(what_fits_comes_back_as_it_was),
		cmocka_unit_test(every_large_packet_with_df_is_refused),
		cmocka_unit_test(learning_a_smaller_mtu_is_not_possible_from_outside),
		cmocka_unit_test(without_df_every_size_comes_back_in_fragments_that_fit),
		cmocka_unit_test(fragments_that_are_too_large_become_smaller_ones),
		cmocka_unit_test(a_gso_packet_comes_back_as_datagrams_with_checksums),
		cmocka_unit_test(a_gso_packet_with_df_of_too_large_datagrams_is_refused),
		cmocka_unit_test(a_checksum_left_to_the_device_is_written),
		cmocka_unit_test(any_addresses_pass_also_the_hosts_own_and_the_namespaces_peers),
		cmocka_unit_test(a_second_setup_keeps_the_links_and_takes_new_sizes),
		cmocka_unit_test(what_is_broken_is_made_whole_again),
		cmocka_unit_test(hosts_that_share_the_directory_have_one_each),
		cmocka_unit_test(those_of_hosts_that_are_gone_are_removed_and_no_others),
		cmocka_unit_test(hosts_that_start_at_once_do_not_disturb_each_other),
		cmocka_unit_test(sizes_that_no_packet_has_are_refused),
		cmocka_unit_test(removal_leaves_nothing_and_may_be_repeated),
	};

	mesh_fixture_begin("resizer");
	return mesh_fixture_end(cmocka_run_group_tests(tests, set_up, clean_up));
}
