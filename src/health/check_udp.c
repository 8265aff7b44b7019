/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UDP check: one datagram to where clients' datagrams go, that is the service address, and the
 * primary one where no socket is bound to that. A socket that is bound to all addresses answers
 * from the primary one whichever was asked, so both are taken, and ours is not connected. An answer
 * that does not hold what is expected may be followed by one that does, until the timeout.
 */
#include "health/look.h"
#include "health/socket.h"

#include "base/mem.h"
#include "model/check_bytes.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define MAX_DATAGRAM_BYTES 65535
#define MAX_AT_ONCE	   8
#define MAX_DATAGRAMS	   64 /* more would let a machine keep the daemon busy */

static bool is_expected(const struct check *check, const void *answer, size_t len)
{
	return !check->expect || memmem(answer, len, check->expect, check->expect_len_bytes);
}

static void end_unexpected(struct look *look)
{
	const struct check *check = look->check;
	char *text _free_ = NULL;

	if (!look->was_answered) {
		look_end(look, LOOK_FAILED, "answered from other addresses and ports only");
		return;
	}
	text = check_bytes_format(check->expect, check->expect_len_bytes);
	look_end(look, LOOK_FAILED, "the answer did not contain \"%.80s%s\"", text,
		strlen(text) > 80 ? "..." : "");
}

/*
 * Without this only a connected socket is told that nothing is bound to a port; and one cannot be
 * connected, see above.
 */
static int ask_for_errors(int fd, int family)
{
	int on = 1;
	int r = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on))
				   : setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));

	return r < 0 ? -errno : 0;
}

/* Whether the machine has its service address, which the socket then sends from. */
static bool bind_service(const struct look *look)
{
	const struct addr *service = &look->target->service;
	struct sockaddr_storage from;
	socklen_t len = health_sockaddr(service, 0, &from);

	return service->family == look->target->primary.family &&
	       bind(look->fd, (struct sockaddr *)&from, len) == 0;
}

/* Returns 0 or a negative errno. */
static int send_to(struct look *look, const struct addr *addr)
{
	const struct check *check = look->check;
	struct sockaddr_storage to;
	socklen_t len = health_sockaddr(addr, look->port, &to);

	look->to = addr;
	if (sendto(look->fd, check->payload, check->payload_len_bytes, 0, (struct sockaddr *)&to,
		    len) < 0)
		return -errno;
	return 0;
}

/* What comes from elsewhere is not the answer of the port that was asked. */
static bool is_answer(const struct look *look, const struct sockaddr_storage *from)
{
	const struct health_target *target = look->target;
	struct sockaddr_storage service, primary;
	socklen_t len = health_sockaddr(&target->primary, look->port, &primary);

	health_sockaddr(&target->service, look->port, &service);
	return memcmp(from, &primary, len) == 0 || memcmp(from, &service, len) == 0;
}

/* An error is told by a call and stays in a queue, too, which would wake us for ever. */
static void drain_errors(int fd)
{
	char bytes[256];

	while (recv(fd, bytes, sizeof(bytes), MSG_ERRQUEUE) >= 0)
		;
}

/* The failure of the service address is that of the check only when the primary one fails, too. */
static void handle_error(struct look *look, int error)
{
	if (error == -ECONNREFUSED && look->to == &look->target->service) {
		error = send_to(look, &look->target->primary);
		if (error == 0)
			return;
	}
	if (error == -ECONNREFUSED)
		look_end(look, LOOK_FAILED, "no socket is bound to UDP port %u", look->port);
	else
		look_end_errno(look, "send", -error);
}

static void receive(struct look *look)
{
	uint8_t answer[MAX_DATAGRAM_BYTES];

	for (int i = 0; i < MAX_AT_ONCE; i++) {
		struct sockaddr_storage from = {};
		socklen_t from_len = sizeof(from);
		ssize_t len = recvfrom(
			look->fd, answer, sizeof(answer), 0, (struct sockaddr *)&from, &from_len);

		if (len < 0) {
			int error = errno;

			drain_errors(look->fd);
			if (error != EAGAIN && error != EINTR)
				handle_error(look, -error);
			return;
		}
		if (++look->datagram_count > MAX_DATAGRAMS) {
			end_unexpected(look);
			return;
		}
		if (!is_answer(look, &from))
			continue;
		if (is_expected(look->check, answer, (size_t)len)) {
			look_end(look, LOOK_PASSED, "answered %zd bytes", len);
			return;
		}
		look->was_answered = true;
	}
}

static void begin(struct look *look)
{
	const struct health_target *target = look->target;
	int r;

	look->datagram_count = 0;
	look->was_answered = false;
	if (!look_socket(look, target->primary.family, SOCK_DGRAM))
		return;
	r = ask_for_errors(look->fd, target->primary.family);
	if (r < 0) {
		look_end(look, LOOK_IMPOSSIBLE, "cannot look: %s", strerror(-r));
		return;
	}
	if (!look_watch(look, UV_READABLE, receive))
		return;
	r = send_to(look, bind_service(look) ? &target->service : &target->primary);
	if (r < 0)
		handle_error(look, r);
}

static void late(struct look *look)
{
	if (look->datagram_count > 0)
		end_unexpected(look);
	else
		look_end_late(look, "no answer");
}

const struct look_kind look_udp = {.type = "udp", .begin = begin, .late = late};
