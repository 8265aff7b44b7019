/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client for end-to-end tests: asks at a steady pace and reports what was answered, by whom.
 *   udp_probe ADDRESS PORT ask TEXT
 *   udp_probe ADDRESS PORT COUNT INTERVAL_MS [new]
 * The first sends TEXT and prints the answer, if one comes within a second (else it exits with 1).
 * With "new" each probe has a port, and so a flow, of its own; otherwise all have one.
 * The answer's first word is who answered (see udp_app.c). Prints one line at the end:
 *   sent=200 lost=0 by=v1:120,v2:80 changes=1 slowest_ms=0.4
 * and exits with 1 when a probe was lost. SIGTERM ends the asking early, not the report.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 1000 /* for answers after the last probe */
#define NAMES_MAX   16
#define PORT_FIRST  10000
#define PORT_COUNT  20000
#define FLOWS_MAX   512 /* sockets that wait for an answer */

static struct {
	char name[32];
	int count;
} names[NAMES_MAX];

static struct sockaddr_in server = {.sin_family = AF_INET};
static volatile sig_atomic_t is_ended;
static int changes, answered, refused;
static double slowest_ms;

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void ended(int signo)
{
	(void)signo;
	is_ended = 1;
}

/* @port 0: any. */
static int open_flow(int port)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 ||
		connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0) {
		perror("socket");
		exit(2);
	}
	return fd;
}

static void count_answer(const char *answer)
{
	static char last[32];
	double sent_ms;
	char name[32];
	int i = 0;

	if (sscanf(answer, "%31s %*s probe %lf", name, &sent_ms) != 2)
		return;
	if (*last && strcmp(last, name) != 0)
		changes++;
	memcpy(last, name, sizeof(last));
	while (i < NAMES_MAX - 1 && names[i].count && strcmp(names[i].name, name) != 0)
		i++;
	memcpy(names[i].name, name, sizeof(name));
	names[i].count++;
	answered++;
	if (now_ms() - sent_ms > slowest_ms)
		slowest_ms = now_ms() - sent_ms;
}

/* Whether something was answered; the flow's errors are answers of a kind too. */
static bool receive(int fd)
{
	char answer[4096];
	ssize_t len = recv(fd, answer, sizeof(answer) - 1, 0);

	if (len < 0) {
		refused += errno == ECONNREFUSED;
		return false;
	}
	answer[len] = '\0';
	count_answer(answer);
	return true;
}

static void receive_until(struct pollfd *fds, int count, double end_ms, bool is_new, int total)
{
	double left_ms;

	while ((left_ms = end_ms - now_ms()) > 0 && answered < total) {
		struct timespec patience = {.tv_sec = (time_t)(left_ms / 1e3)};

		patience.tv_nsec = (long)((left_ms - (double)patience.tv_sec * 1e3) * 1e6);
		if (ppoll(fds, (nfds_t)count, &patience, NULL) <= 0)
			continue;
		for (int i = 0; i < count; i++) {
			if (!fds[i].revents || !receive(fds[i].fd) || !is_new)
				continue;
			close(fds[i].fd);
			fds[i].fd = -1;
		}
	}
}

static int ask(const char *text)
{
	struct pollfd flow = {.fd = open_flow(0), .events = POLLIN};
	char answer[4096];
	ssize_t len = -1;

	send(flow.fd, text, strlen(text), 0);
	if (poll(&flow, 1, PATIENCE_MS) > 0)
		len = recv(flow.fd, answer, sizeof(answer), 0);
	if (len < 0)
		return 1;
	fwrite(answer, 1, (size_t)len, stdout);
	return 0;
}

static int report(int sent)
{
	printf("sent=%d lost=%d refused=%d by=", sent, sent - answered, refused);
	for (int i = 0; i < NAMES_MAX && names[i].count; i++)
		printf("%s%s:%d", i ? "," : "", names[i].name, names[i].count);
	printf(" changes=%d slowest_ms=%.1f\n", changes, slowest_ms);
	return sent == answered ? 0 : 1;
}

/* Returns how many were sent. */
static int ask_steadily(int count, double interval_ms, bool is_new)
{
	static struct pollfd fds[FLOWS_MAX];
	int flow_count = is_new ? FLOWS_MAX : 1, sent = 0;
	double start_ms = now_ms();
	char probe[64];

	for (int i = 0; i < flow_count; i++)
		fds[i] = (struct pollfd){.fd = is_new ? -1 : open_flow(0), .events = POLLIN};
	for (; sent < count && !is_ended; sent++) {
		struct pollfd *at = &fds[sent % flow_count];

		receive_until(fds, flow_count, start_ms + sent * interval_ms, is_new, count);
		if (is_new) {
			if (at->fd >= 0)
				close(at->fd); /* not answered for a long time: lost */
			/* In order: a port that came again would be the flow of before. */
			at->fd = open_flow(PORT_FIRST + sent % PORT_COUNT);
		}
		snprintf(probe, sizeof(probe), "probe %.3f", now_ms());
		if (send(at->fd, probe, strlen(probe), 0) < 0 && errno == ECONNREFUSED) {
			refused++; /* the error of an earlier one: this one was not sent */
			send(at->fd, probe, strlen(probe), 0);
		}
	}
	receive_until(fds, flow_count, now_ms() + PATIENCE_MS, is_new, sent);
	return sent;
}

int main(int argc, char **argv)
{
	if (argc < 5 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) {
		fputs("udp_probe ADDRESS PORT ask TEXT | COUNT INTERVAL_MS [new]\n", stderr);
		return 2;
	}
	server.sin_port = htons((in_port_t)atoi(argv[2]));
	signal(SIGTERM, ended);
	if (strcmp(argv[3], "ask") == 0)
		return ask(argv[4]);
	return report(ask_steadily(
		atoi(argv[3]), atof(argv[4]), argc > 5 && strcmp(argv[5], "new") == 0));
}
