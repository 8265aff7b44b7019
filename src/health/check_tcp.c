/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP check: the machine's kernel takes the connection, which is closed at once. Nothing is sent.
 */
#include "health/look.h"
#include "health/socket.h"

#include <errno.h>

static void connected(struct look *look)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(look->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		look_end_errno(look, "connect", error);
	else
		look_end(look, LOOK_PASSED, "connected");
}

static void begin(struct look *look)
{
	struct sockaddr_storage to;
	socklen_t len = health_sockaddr(&look->target->primary, look->port, &to);

	if (!look_socket(look, to.ss_family, SOCK_STREAM))
		return;
	if (connect(look->fd, (struct sockaddr *)&to, len) == 0)
		connected(look);
	else if (errno != EINPROGRESS)
		look_end_errno(look, "connect", errno);
	else
		look_watch(look, UV_WRITABLE, connected);
}

static void late(struct look *look)
{
	look_end_late(look, "no connection");
}

const struct look_kind look_tcp = {.type = "tcp", .begin = begin, .late = late};
