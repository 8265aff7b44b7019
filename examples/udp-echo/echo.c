/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The echo app of the guide: UDP on fly-global-services, TCP on every address, both on port 5000.
 * Plain sockets; it logs whom it hears. Nothing in it knows of Wherry.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT "5000"

static int listen_on(const char *host, int type)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = type, .ai_flags = AI_PASSIVE};
	struct addrinfo *info;
	int one = 1, fd, r = getaddrinfo(host, PORT, &hints, &info);

	if (r) {
		fprintf(stderr, "cannot resolve %s: %s\n", host ? host : "*", gai_strerror(r));
		exit(1);
	}
	fd = socket(info->ai_family, info->ai_socktype, info->ai_protocol);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, info->ai_addr, info->ai_addrlen) < 0 ||
		(type == SOCK_STREAM && listen(fd, 128) < 0)) {
		perror(host ? host : "*");
		exit(1);
	}
	freeaddrinfo(info);
	return fd;
}

static void report(const char *protocol, const struct sockaddr_in *peer, ssize_t len)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &peer->sin_addr, text, sizeof(text));
	printf("%s: %zd bytes from %s:%u\n", protocol, len, text, ntohs(peer->sin_port));
}

static void echo_datagram(int fd)
{
	static char data[65536];
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);
	ssize_t len = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&peer, &peer_len);

	if (len < 0) {
		perror("recvfrom");
		return;
	}
	report("udp", &peer, len);
	if (sendto(fd, data, (size_t)len, 0, (struct sockaddr *)&peer, peer_len) < 0)
		perror("sendto");
}

static void echo_connection(int listener)
{
	char data[4096];
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);
	int fd = accept(listener, (struct sockaddr *)&peer, &peer_len);
	ssize_t len;

	if (fd < 0)
		return;
	if (fork() == 0) {
		while ((len = read(fd, data, sizeof(data))) > 0) {
			report("tcp", &peer, len);
			if (write(fd, data, (size_t)len) < 0)
				break;
		}
		_exit(0);
	}
	close(fd);
}

int main(void)
{
	struct pollfd fds[] = {
		{.fd = listen_on("fly-global-services", SOCK_DGRAM), .events = POLLIN},
		{.fd = listen_on(NULL, SOCK_STREAM), .events = POLLIN},
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("listening on udp and tcp port %s\n", PORT);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			return 1;
		if (fds[0].revents)
			echo_datagram(fds[0].fd);
		if (fds[1].revents)
			echo_connection(fds[1].fd);
	}
}
