/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An app for end-to-end tests, static so that an image FROM scratch can hold it. It answers each
 * datagram with its name, the client's address and what it heard: "v1 198.51.100.10:4000 hello".
 *   udp_app [NAME [PORT [HOST]]]     (app, 5000, fly-global-services)
 * What it hears can be an order:
 *   exit CODE     prints its last words to standard error and exits
 *   say TEXT      prints TEXT to standard output
 *   fill KIB      prints so many KiB of lines
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int bind_udp(const char *host, const char *port)
{
	struct addrinfo hints = {
		.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *info;
	int fd, r = getaddrinfo(host, port, &hints, &info);

	if (r) {
		fprintf(stderr, "cannot resolve %s: %s\n", host, gai_strerror(r));
		exit(1);
	}
	fd = socket(info->ai_family, info->ai_socktype, info->ai_protocol);
	if (fd < 0 || bind(fd, info->ai_addr, info->ai_addrlen) < 0) {
		perror(host);
		exit(1);
	}
	freeaddrinfo(info);
	return fd;
}

static void fill(int kib)
{
	char line[65];

	memset(line, 'x', 63);
	memcpy(line + 63, "\n", 2);
	for (int i = 0; i < kib * 16; i++)
		fputs(line, stdout);
}

static void obey(const char *order)
{
	if (strncmp(order, "exit ", 5) == 0) {
		fprintf(stderr, "last words: %s\n", order);
		exit(atoi(order + 5));
	}
	if (strncmp(order, "say ", 4) == 0)
		puts(order + 4);
	if (strncmp(order, "fill ", 5) == 0)
		fill(atoi(order + 5));
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "app", *port = argc > 2 ? argv[2] : "5000";
	int fd = bind_udp(argc > 3 ? argv[3] : "fly-global-services", port);
	char heard[2048], answer[2200], text[INET_ADDRSTRLEN];

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s listens on UDP port %s\n", name, port);
	for (;;) {
		struct sockaddr_in peer;
		socklen_t peer_len = sizeof(peer);
		ssize_t len = recvfrom(
			fd, heard, sizeof(heard) - 1, 0, (struct sockaddr *)&peer, &peer_len);

		if (len < 0)
			continue;
		heard[len] = '\0';
		heard[strcspn(heard, "\n")] = '\0';
		inet_ntop(AF_INET, &peer.sin_addr, text, sizeof(text));
		len = snprintf(answer, sizeof(answer), "%s %s:%u %s\n", name, text,
			ntohs(peer.sin_port), heard);
		sendto(fd, answer, (size_t)len, 0, (struct sockaddr *)&peer, peer_len);
		obey(heard);
	}
}
