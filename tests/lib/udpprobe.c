/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of the end-to-end tests: sends datagrams to an app that echoes and compares every
 * byte of what comes back, and where it comes from.
 *
 *   udpprobe [OPTION..] ADDR:PORT SIZE..
 *     --df            send with DF; --fragment: without, whatever the path MTU
 *     --no-checksum   UDP checksum zero (SO_NO_CHECK)
 *     --segment N     one send of SIZE bytes that leaves as datagrams of N (UDP_SEGMENT)
 *     --segments-back N  SIZE bytes are sent as one and come back as datagrams of N
 *     --options KIND  IP options: nop, record-route, timestamp
 *     --burst N       N datagrams of each size at once
 *     --from A:P      the source
 *     --text TEXT     send TEXT and print the answer, which may be anything; no sizes
 *     --any-answer    the answer's content is not compared
 *     --timeout MS    2000
 *   udpprobe --flows N ADDR:PORT
 *     N sockets; for each line on standard input a datagram from each of them, and the answers on
 *     one line, "-" for none
 *
 * Exit status: 0 all came back; 2 misuse; 3 connection refused; 4 no answer; 5 message too long;
 * 6 a wrong answer, or one from a wrong place; 7 another error.
 */
#include "udp.h"

#include <fcntl.h>
#include <getopt.h>

static struct {
	struct sockaddr_in to, from;
	unsigned int segment_bytes, back_bytes, burst, flows, timeout_ms;
	const char *ip_options, *text;
	bool has_df, fragments, has_no_checksum, takes_any;
} options = {.burst = 1, .timeout_ms = 2000};

static unsigned int next_number;

/* The number first, where there is room for it, then bytes that follow from it and the place. */
static void fill(unsigned char *data, size_t len, unsigned int number)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)(number * 31 + i * 7 + (i >> 8));
	if (len >= sizeof(number))
		memcpy(data, &number, sizeof(number));
}

static int exit_status(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return 3;
	case EMSGSIZE:
		return 5;
	default:
		return 7;
	}
}

static void set_ip_options(int fd)
{
	static const struct {
		const char *name;
		unsigned char bytes[12];
	} kinds[] = {
		{"nop", {IPOPT_NOP, IPOPT_NOP, IPOPT_NOP, IPOPT_EOL}},
		{"record-route", {IPOPT_NOP, IPOPT_RR, 11, IPOPT_MINOFF}},
		{"timestamp", {IPOPT_TIMESTAMP, 12, 5, IPOPT_TS_TSONLY}},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, options.ip_options) == 0) {
			socklen_t len = i == 0 ? 4 : 12;

			if (setsockopt(fd, IPPROTO_IP, IP_OPTIONS, kinds[i].bytes, len) < 0)
				die("IP_OPTIONS: %s", strerror(errno));
			return;
		}
	die("no IP options %s", options.ip_options);
}

/*
 * Not connected, so that an answer from a wrong place is seen; IP_RECVERR tells of ICMP errors all
 * the same.
 */
static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket: %s", strerror(errno));
	set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20);
	set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20);
	set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
	if (options.has_df || options.fragments)
		set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER,
			options.has_df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT);
	if (options.has_no_checksum)
		set_option(fd, SOL_SOCKET, SO_NO_CHECK, 1);
	if (options.segment_bytes)
		set_option(fd, SOL_UDP, UDP_SEGMENT, (int)options.segment_bytes);
	if (options.ip_options)
		set_ip_options(fd);
	if (options.from.sin_family &&
		bind(fd, (struct sockaddr *)&options.from, sizeof(options.from)) < 0)
		die("bind: %s", strerror(errno));
	return fd;
}

static int send_one(int fd, const void *data, size_t len)
{
	if (sendto(fd, data, len, 0, (struct sockaddr *)&options.to, sizeof(options.to)) >= 0)
		return 0;
	fprintf(stderr, "send of %zu bytes: %s\n", len, strerror(errno));
	return exit_status(errno);
}

/* Returns the length, or an exit status as a negative number. */
static ssize_t receive(int fd, void *data, size_t size, uint64_t end_ms)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);
	char text[ENDPOINT_LEN];
	uint64_t now = now_ms();
	ssize_t len;

	if (poll(&wait, 1, now < end_ms ? (int)(end_ms - now) : 0) == 0)
		return -4;
	len = recvfrom(fd, data, size, 0, (struct sockaddr *)&peer, &peer_len);
	if (len < 0) {
		fprintf(stderr, "receive: %s\n", strerror(errno));
		return -exit_status(errno);
	}
	if (!same_endpoint(&peer, &options.to)) {
		fprintf(stderr, "an answer from %s\n", format_endpoint(&peer, text));
		return -6;
	}
	return len;
}

/* Which of the @count datagrams from @first on this is; @count when it is none of them. */
static unsigned int recognise(const unsigned char *data, size_t len, size_t wanted,
	unsigned int first, unsigned int count, const bool *seen)
{
	static unsigned char expected[UDP_LARGEST];

	for (unsigned int i = 0; i < count; i++) {
		if (seen[i] || len != wanted)
			continue;
		fill(expected, wanted, first + i);
		if (options.takes_any || memcmp(expected, data, len) == 0)
			return i;
	}
	return count;
}

/* Sends @burst datagrams of @len bytes and takes their answers, in any order. */
static int echo(int fd, size_t len)
{
	unsigned int first = next_number, count = options.burst;
	uint64_t end_ms = now_ms() + options.timeout_ms;
	_Alignas(4) static unsigned char data[UDP_LARGEST + 1];
	bool *seen = calloc(count, sizeof(*seen));
	int r = 0;

	if (!seen)
		die("out of memory");
	next_number += count;
	for (unsigned int i = 0; r == 0 && i < count; i++) {
		fill(data, len, first + i);
		r = send_one(fd, data, len);
	}
	for (unsigned int left = count; r == 0 && left > 0; left--) {
		ssize_t got = receive(fd, data, sizeof(data), end_ms);
		unsigned int which;

		if (got < 0) {
			fprintf(stderr, "%zu bytes: %u of %u answers\n", len, count - left, count);
			r = (int)-got;
			break;
		}
		which = options.takes_any ? left - 1
					  : recognise(data, (size_t)got, len, first, count, seen);
		if (which == count) {
			fprintf(stderr, "%zu bytes: a wrong answer of %zd bytes\n", len, got);
			r = 6;
			break;
		}
		seen[which] = true;
	}
	free(seen);
	return r;
}

/* One send whose answer is several datagrams, whichever end cuts it. */
static int echo_segments(int fd, size_t len)
{
	static unsigned char data[UDP_LARGEST + 1], back[UDP_LARGEST + 1];
	size_t segment = options.segment_bytes ? options.segment_bytes : options.back_bytes;
	size_t count = (len + segment - 1) / segment;
	uint64_t end_ms = now_ms() + options.timeout_ms;
	int r;

	fill(data, len, next_number++);
	r = send_one(fd, data, len);
	if (r)
		return r;
	for (size_t i = 0; i < count; i++) {
		size_t at = i * segment, want = len - at < segment ? len - at : segment;
		ssize_t got = receive(fd, back, sizeof(back), end_ms);

		if (got < 0) {
			fprintf(stderr, "%zu of %zu segments came back\n", i, count);
			return (int)-got;
		}
		/* One path and one queue: they come in order. */
		if ((size_t)got != want || memcmp(data + at, back, want) != 0) {
			fprintf(stderr, "segment %zu: %zd bytes of another\n", i, got);
			return 6;
		}
	}
	return 0;
}

static int ask(void)
{
	char answer[UDP_LARGEST + 1];
	int fd = open_socket(), r = send_one(fd, options.text, strlen(options.text));
	ssize_t len;

	if (r)
		return r;
	len = receive(fd, answer, sizeof(answer), now_ms() + options.timeout_ms);
	if (len < 0)
		return (int)-len;
	printf("%.*s\n", (int)len, answer);
	return 0;
}

static void flow_round(const int *fds)
{
	uint64_t end_ms;
	char answer[64];

	for (unsigned int i = 0; i < options.flows; i++)
		send_one(fds[i], "flow", 4);
	end_ms = now_ms() + options.timeout_ms;
	for (unsigned int i = 0; i < options.flows; i++) {
		ssize_t len = receive(fds[i], answer, sizeof(answer), end_ms);

		printf("%s%.*s", i ? " " : "", len > 0 ? (int)len : 1, len > 0 ? answer : "-");
	}
	printf("\n");
	fflush(stdout);
}

static int flows(void)
{
	int *fds = calloc(options.flows, sizeof(*fds));
	char line[64];

	if (!fds)
		die("out of memory");
	for (unsigned int i = 0; i < options.flows; i++)
		fds[i] = open_socket();
	while (fgets(line, sizeof(line), stdin))
		flow_round(fds);
	free(fds);
	return 0;
}

static void parse_options(int argc, char **argv)
{
	static const struct option long_options[] = {{"df", no_argument, NULL, 'd'},
		{"fragment", no_argument, NULL, 'f'}, {"no-checksum", no_argument, NULL, 'n'},
		{"segment", required_argument, NULL, 's'},
		{"segments-back", required_argument, NULL, 'B'},
		{"options", required_argument, NULL, 'o'}, {"burst", required_argument, NULL, 'b'},
		{"from", required_argument, NULL, 'F'}, {"text", required_argument, NULL, 't'},
		{"any-answer", no_argument, NULL, 'a'}, {"timeout", required_argument, NULL, 'T'},
		{"flows", required_argument, NULL, 'N'}, {}};
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'd':
			options.has_df = true;
			break;
		case 'f':
			options.fragments = true;
			break;
		case 'n':
			options.has_no_checksum = true;
			break;
		case 's':
			options.segment_bytes = (unsigned int)parse_number(optarg, 65535);
			break;
		case 'B':
			options.back_bytes = (unsigned int)parse_number(optarg, 65535);
			break;
		case 'o':
			options.ip_options = optarg;
			break;
		case 'b':
			options.burst = (unsigned int)parse_number(optarg, 100000);
			break;
		case 'F':
			options.from = parse_endpoint(optarg);
			break;
		case 't':
			options.text = optarg;
			break;
		case 'a':
			options.takes_any = true;
			break;
		case 'T':
			options.timeout_ms = (unsigned int)parse_number(optarg, 60000);
			break;
		case 'N':
			options.flows = (unsigned int)parse_number(optarg, 1000);
			break;
		default:
			exit(2);
		}
	}
	if (optind == argc)
		die("udpprobe needs ADDR:PORT");
	options.to = parse_endpoint(argv[optind++]);
}

int main(int argc, char **argv)
{
	int fd, r = 0;

	parse_options(argc, argv);
	if (options.flows)
		return flows();
	if (options.text)
		return ask();
	fd = open_socket();
	for (int i = optind; r == 0 && i < argc; i++) {
		size_t len = parse_number(argv[i], UDP_LARGEST);

		r = options.segment_bytes || options.back_bytes ? echo_segments(fd, len)
								: echo(fd, len);
		if (r)
			fprintf(stderr, "%zu bytes: failed with %d\n", len, r);
	}
	close(fd);
	return r;
}
