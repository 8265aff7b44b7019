/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UDP check: one datagram to where clients' datagrams go, that is the service address, and the
 * primary one where no socket is bound to that. The socket is connected, so only what comes from
 * that address is an answer, and a port without a socket is told at once (ICMP). An answer that
 * does not hold what is expected may be followed by one that does, until the timeout.
 */
#include "health/look.h"
#include "health/socket.h"

#include "base/mem.h"
#include "model/check_bytes.h"

#include <errno.h>
#include <string.h>

#define MAX_DATAGRAM_BYTES 65535
#define MAX_AT_ONCE	   8
#define MAX_ANSWERS	   64 /* a machine that answers without end does not keep the daemon busy */

static bool is_expected(const struct check *check, const void *answer, size_t len)
{
	return !check->expect || memmem(answer, len, check->expect, check->expect_len_bytes);
}

static void end_unexpected(struct look *look)
{
	const struct check *check = look->check;
	char *text _free_ = check_bytes_format(check->expect, check->expect_len_bytes);

	look_end(look, LOOK_FAILED, "the answer did not contain \"%.80s%s\"", text,
		strlen(text) > 80 ? "..." : "");
}

/* Whether the machine has @addr: a socket that is connected to itself comes from it. */
static bool is_own(int fd, const struct addr *addr)
{
	struct sockaddr_storage own, wanted;
	socklen_t len = sizeof(own), wanted_len = health_sockaddr(addr, 0, &wanted);

	if (getsockname(fd, (struct sockaddr *)&own, &len) < 0 || len != wanted_len)
		return false;
	((struct sockaddr_in *)&own)->sin_port = 0; /* where sin6_port is, too */
	return memcmp(&own, &wanted, len) == 0;
}

/* Returns 0 or a negative errno. */
static int send_to(struct look *look, const struct addr *addr)
{
	const struct check *check = look->check;
	struct sockaddr_storage to;
	socklen_t len = health_sockaddr(addr, look->port, &to);

	look->to = addr;
	if (connect(look->fd, (struct sockaddr *)&to, len) < 0)
		return -errno;
	if (addr == &look->target->service && !is_own(look->fd, addr))
		return -EADDRNOTAVAIL;
	if (send(look->fd, check->payload, check->payload_len_bytes, 0) < 0)
		return -errno;
	return 0;
}

static void end_failed(struct look *look, int error)
{
	if (error == -ECONNREFUSED)
		look_end(look, LOOK_FAILED, "no socket is bound to UDP port %u", look->port);
	else
		look_end_errno(look, "send", -error);
}

/* The failure of one address is that of the check when there is no other one to try. */
static int send_again(struct look *look, int error)
{
	static const struct sockaddr none = {.sa_family = AF_UNSPEC};

	if (look->to != &look->target->service ||
		(error != -ECONNREFUSED && error != -EADDRNOTAVAIL))
		return error;
	/* Without this the socket would keep its former source. */
	connect(look->fd, &none, sizeof(none));
	return send_to(look, &look->target->primary);
}

static void receive(struct look *look)
{
	uint8_t answer[MAX_DATAGRAM_BYTES];

	for (int i = 0; i < MAX_AT_ONCE; i++) {
		ssize_t len = recv(look->fd, answer, sizeof(answer), 0);
		int r;

		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (len < 0) {
			r = send_again(look, -errno);
			if (r == 0)
				return;
			end_failed(look, r);
			return;
		}
		if (is_expected(look->check, answer, (size_t)len)) {
			look_end(look, LOOK_PASSED, "answered %zd bytes", len);
			return;
		}
		if (++look->answer_count == MAX_ANSWERS) {
			end_unexpected(look);
			return;
		}
	}
}

static void begin(struct look *look)
{
	const struct health_target *target = look->target;
	bool has_service = target->service.family == target->primary.family;
	int r;

	look->answer_count = 0;
	if (!look_socket(look, target->primary.family, SOCK_DGRAM))
		return;
	r = send_to(look, has_service ? &target->service : &target->primary);
	if (r < 0)
		r = send_again(look, r);
	if (r < 0)
		end_failed(look, r);
	else
		look_watch(look, UV_READABLE, receive);
}

static void late(struct look *look)
{
	if (look->answer_count > 0)
		end_unexpected(look);
	else
		look_end_late(look, "no answer");
}

const struct look_kind look_udp = {.type = "udp", .begin = begin, .late = late};
