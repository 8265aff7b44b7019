/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app of the end-to-end tests: answers datagrams in one of the ways in which real servers do,
 * and prints a line for each. SIGUSR1 makes it close its socket and bind to the next address.
 *
 *   udpapp --port P [--bind ADDR[,ADDR..]] [--also ADDR] [OPTION..]
 *     --bind     an IPv4 address or name, "::" (dual stack) or "none" (closed); default 0.0.0.0
 *     --also     a second socket, on another address and the same port
 *     --to-port  more sockets on the first address, up to this port
 *     --connect  answer from a socket that is connected to the client, as iperf3 does
 *     --id TEXT  answer TEXT, not what came; "peer": the address that the datagram came from
 *     --segment  send the answer in segments of N bytes (UDP_SEGMENT)
 *     --df       send the answer with DF; --fragment: without, whatever the path MTU
 *     --errors   hear of ICMP errors without being connected (IP_RECVERR)
 *     --deaf     answer nothing
 */
#include "udp.h"

#include <getopt.h>
#include <signal.h>

#define MAX_SOCKETS 256

static struct {
	const char *id;
	char *binds[8];
	unsigned int bind_count, port, last_port, segment_bytes;
	bool connects, has_df, fragments, wants_errors, is_deaf;
} options;

/* [0]: the main one, [1]: --also, then those that were connected. -1: none. */
static struct pollfd sockets[MAX_SOCKETS];
static unsigned int socket_count = 2;
static volatile sig_atomic_t rebind;

static void on_signal(int signo)
{
	(void)signo;
	rebind = 1;
}

static int open_socket(const char *host, unsigned int port)
{
	bool is_v6 = strcmp(host, "::") == 0;
	int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	char text[300];
	int r;

	if (fd < 0)
		die("socket: %s", strerror(errno));
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20);
	if (options.has_df || options.fragments)
		set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER,
			options.has_df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT);
	if (options.wants_errors)
		set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
	if (is_v6) {
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
		any.sin6_port = htons((uint16_t)port);
		r = bind(fd, (struct sockaddr *)&any, sizeof(any));
	} else {
		struct sockaddr_in local;

		snprintf(text, sizeof(text), "%s:%u", host, port);
		local = parse_endpoint(text);
		r = bind(fd, (struct sockaddr *)&local, sizeof(local));
	}
	if (r < 0)
		die("bind %s:%u: %s", host, port, strerror(errno));
	return fd;
}

static void bind_next(void)
{
	static unsigned int next;
	const char *host = options.binds[next++ % options.bind_count];

	if (sockets[0].fd >= 0)
		close(sockets[0].fd);
	sockets[0].fd = strcmp(host, "none") == 0 ? -1 : open_socket(host, options.port);
	printf("bound to %s\n", host);
}

static struct sockaddr_in to_v4(const struct sockaddr_storage *from)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
	struct sockaddr_in out;

	if (from->ss_family == AF_INET)
		return *(const struct sockaddr_in *)from;
	out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = v6->sin6_port};
	memcpy(&out.sin_addr, &v6->sin6_addr.s6_addr[12], 4);
	return out;
}

static void send_answer(int fd, const void *data, size_t len, const struct sockaddr_storage *to)
{
	struct iovec part = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	char control[CMSG_SPACE(sizeof(uint16_t))] = {};
	uint16_t segment = (uint16_t)options.segment_bytes;

	if (to) {
		message.msg_name = (void *)to;
		message.msg_namelen = to->ss_family == AF_INET ? sizeof(struct sockaddr_in)
							       : sizeof(struct sockaddr_in6);
	}
	if (segment && len > segment) {
		struct cmsghdr *head = (struct cmsghdr *)control;

		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		head->cmsg_level = SOL_UDP;
		head->cmsg_type = UDP_SEGMENT;
		head->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(head), &segment, sizeof(segment));
	}
	if (sendmsg(fd, &message, 0) < 0)
		printf("send of %zu bytes: %s\n", len, strerror(errno));
}

/* iperf3's way: the socket that heard the client is its own from then on. */
static int adopt(struct pollfd *heard, const struct sockaddr_storage *peer)
{
	int fd = heard->fd;

	if (socket_count == MAX_SOCKETS)
		die("more than %d clients", MAX_SOCKETS);
	if (connect(fd, (const struct sockaddr *)peer, sizeof(*peer)) < 0)
		die("connect: %s", strerror(errno));
	sockets[socket_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
	heard->fd = open_socket(options.binds[0], options.port);
	return fd;
}

static void print_error(int fd, const char *what)
{
	char control[512];
	struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};

	printf("%s: %s\n", what, strerror(errno));
	while (options.wants_errors && recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		message.msg_controllen = sizeof(control);
}

static void serve(struct pollfd *heard)
{
	static char data[UDP_LARGEST + 1];
	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer);
	struct sockaddr_in from;
	char text[ENDPOINT_LEN];
	const char *answer = data;
	ssize_t len;
	int fd = heard->fd;
	bool is_connected = options.connects && heard - sockets >= 2;

	len = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&peer, &peer_len);
	if (len < 0) {
		if (errno != EAGAIN)
			print_error(fd, "recv");
		return;
	}
	from = to_v4(&peer);
	format_endpoint(&from, text);
	printf("udp: %zd bytes from %s\n", len, text);
	if (options.connects && !is_connected) {
		fd = adopt(heard, &peer);
		is_connected = true;
	}
	if (options.id) {
		answer = strcmp(options.id, "peer") == 0 ? text : options.id;
		len = (ssize_t)strlen(answer);
	}
	if (!options.is_deaf)
		send_answer(fd, answer, (size_t)len, is_connected ? NULL : &peer);
}

static void parse_options(int argc, char **argv)
{
	static const struct option long_options[] = {{"port", required_argument, NULL, 'p'},
		{"bind", required_argument, NULL, 'b'}, {"also", required_argument, NULL, 'a'},
		{"connect", no_argument, NULL, 'c'}, {"id", required_argument, NULL, 'i'},
		{"segment", required_argument, NULL, 's'}, {"df", no_argument, NULL, 'd'},
		{"fragment", no_argument, NULL, 'f'}, {"errors", no_argument, NULL, 'e'},
		{"deaf", no_argument, NULL, 'x'}, {"to-port", required_argument, NULL, 't'}, {}};
	static char any[] = "0.0.0.0";
	const char *also = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'p':
			options.port = (unsigned int)parse_number(optarg, 65535);
			break;
		case 'b':
			for (char *host = strtok(optarg, ","); host; host = strtok(NULL, ","))
				options.binds[options.bind_count++ % 8] = host;
			break;
		case 'a':
			also = optarg;
			break;
		case 'c':
			options.connects = true;
			break;
		case 'i':
			options.id = optarg;
			break;
		case 's':
			options.segment_bytes = (unsigned int)parse_number(optarg, 65535);
			break;
		case 'd':
			options.has_df = true;
			break;
		case 'f':
			options.fragments = true;
			break;
		case 'e':
			options.wants_errors = true;
			break;
		case 't':
			options.last_port = (unsigned int)parse_number(optarg, 65535);
			break;
		case 'x':
			options.is_deaf = true;
			break;
		default:
			exit(2);
		}
	}
	if (!options.port || optind != argc)
		die("udpapp needs --port, and no arguments");
	if (!options.bind_count)
		options.binds[options.bind_count++] = any;
	for (unsigned int port = options.port + 1; port <= options.last_port; port++)
		sockets[socket_count++].fd = open_socket(options.binds[0], port);
	if (also)
		sockets[1].fd = open_socket(also, options.port);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t at_work, waiting;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned int i = 0; i < MAX_SOCKETS; i++)
		sockets[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	/* The signal comes only while ppoll() waits: one that came just before it would be slept over. */
	sigemptyset(&at_work);
	sigaddset(&at_work, SIGUSR1);
	sigprocmask(SIG_BLOCK, &at_work, &waiting);
	sigdelset(&waiting, SIGUSR1);
	sigaction(SIGUSR1, &action, NULL);
	parse_options(argc, argv);
	bind_next();
	for (;;) {
		int n = ppoll(sockets, socket_count, NULL, &waiting);

		if (rebind) {
			rebind = 0;
			bind_next();
			continue;
		}
		for (unsigned int i = 0, count = socket_count; n > 0 && i < count; i++)
			if (sockets[i].revents)
				serve(&sockets[i]);
	}
}
