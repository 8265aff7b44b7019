/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links that come and go. A pinned BPF link does not follow an interface that is made anew, so the
 * daemon wants to hear of it at once.
 */
#include "control/host_net.h"

#include "base/mem.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

/* As large as the kernel's own dump buffers: no message is cut. */
#define BUFFER_BYTES 32768

int host_net_watch_fd(void)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return take_fd(fd);
}

static int keep_name(const struct nlattr *attr, void *arg)
{
	const char **name = arg;

	if (mnl_attr_get_type(attr) == IFLA_IFNAME &&
		mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
		*name = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static void handle(const struct nlmsghdr *message, host_net_watch_fn *fn, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	const char *name = "";

	if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK)
		return;
	/* Of a bridge's family, RTM_DELLINK says that the link left the bridge. */
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return;
	mnl_attr_parse(message, sizeof(*info), keep_name, &name);
	fn(arg, (unsigned int)info->ifi_index, name, message->nlmsg_type == RTM_DELLINK);
}

int host_net_watch_read(int fd, host_net_watch_fn *fn, void *arg)
{
	_free_ char *buffer = malloc(BUFFER_BYTES);
	int outcome = 0;

	if (!buffer)
		return -ENOMEM;
	for (;;) {
		struct sockaddr_nl from = {};
		socklen_t from_len = sizeof(from);
		ssize_t got =
			recvfrom(fd, buffer, BUFFER_BYTES, 0, (struct sockaddr *)&from, &from_len);
		int left = (int)got;

		if (got < 0 && errno == EAGAIN)
			return outcome;
		if (got < 0 && errno == ENOBUFS)
			outcome = 1;
		else if (got < 0 && errno != EINTR)
			return -errno;
		/* Any process may send to us; the kernel is port 0. */
		if (got <= 0 || from.nl_pid != 0)
			continue;
		for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
			mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			handle(message, fn, arg);
	}
}
