/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over rtnetlink; see netlink.h. */
#include "base/netlink.h"

#include "base/err.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct netlink {
	struct mnl_socket *socket;
	uint32_t seq;
	struct nlmsghdr *request;
	char reason[160]; /* the kernel's text of the last failure, or "" */
	char request_bytes[NETLINK_REQUEST_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	char answer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
};

int netlink_open(struct netlink **out, struct err *err)
{
	_cleanup_(netlink_closep) struct netlink *nl = calloc(1, sizeof(*nl));
	int on = 1;

	if (!nl)
		return err_errno(err, -ENOMEM, "cannot talk to the kernel's network layer");
	nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl->socket)
		return err_errno(err, -errno, "cannot talk to the kernel's network layer");
	/* Both only make failures readable: a kernel without them is fine. */
	mnl_socket_setsockopt(nl->socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	if (mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_errno(err, -errno, "cannot talk to the kernel's network layer");
	*out = take_ptr(nl);
	return 0;
}

void netlink_close(struct netlink *nl)
{
	if (!nl)
		return;
	if (nl->socket)
		mnl_socket_close(nl->socket);
	free(nl);
}

struct nlmsghdr *netlink_begin(
	struct netlink *nl, uint16_t type, uint16_t flags, void **extra, size_t extra_len)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(nl->request_bytes);

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	request->nlmsg_seq = ++nl->seq;
	*extra = mnl_nlmsg_put_extra_header(request, extra_len);
	nl->request = request;
	return request;
}

static int note_reason(const struct nlattr *attr, void *arg)
{
	struct netlink *nl = arg;

	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
		snprintf(nl->reason, sizeof(nl->reason), "%.*s",
			(int)mnl_attr_get_payload_len(attr), mnl_attr_get_str(attr));
	return MNL_CB_OK;
}

/* Returns the errno of an NLMSG_ERROR (0: an acknowledgement) and keeps the kernel's text. */
static int parse_error(struct netlink *nl, const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
	size_t skip = sizeof(*error);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*error))
		return -EBADMSG;
	/* Kernels that do not cap repeat the request's payload before the attributes. */
	if (!(message->nlmsg_flags & NLM_F_CAPPED) && error->msg.nlmsg_len >= sizeof(error->msg))
		skip += error->msg.nlmsg_len - sizeof(error->msg);
	if (message->nlmsg_flags & NLM_F_ACK_TLVS && skip <= mnl_nlmsg_get_payload_len(message))
		mnl_attr_parse(message, (unsigned int)skip, note_reason, nl);
	return error->error;
}

/* Handles one datagram of the answer. Returns 1 when more has to come, else the result. */
static int handle(struct netlink *nl, size_t len, netlink_fn *fn, void *arg)
{
	const struct nlmsghdr *message = (const void *)nl->answer;
	bool is_dump = nl->request->nlmsg_flags & NLM_F_DUMP;
	int left = (int)len, r;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_seq != nl->seq)
			continue;
		if (message->nlmsg_type == NLMSG_ERROR)
			return parse_error(nl, message);
		if (message->nlmsg_type == NLMSG_DONE)
			return 0;
		r = fn ? fn(message, arg) : 0;
		if (r < 0)
			return r;
		if (!is_dump && !(nl->request->nlmsg_flags & NLM_F_ACK))
			return 0;
	}
	return 1;
}

static int exchange(struct netlink *nl, netlink_fn *fn, void *arg)
{
	int r = 1;

	nl->reason[0] = '\0';
	if (mnl_socket_sendto(nl->socket, nl->request, nl->request->nlmsg_len) < 0)
		return -errno;
	while (r > 0) {
		ssize_t got = mnl_socket_recvfrom(nl->socket, nl->answer, sizeof(nl->answer));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		r = handle(nl, (size_t)got, fn, arg);
	}
	return r;
}

static int explain(struct netlink *nl, struct err *err, int r, const char *format, va_list ap)
{
	char what[512];

	vsnprintf(what, sizeof(what), format, ap);
	if (nl->reason[0])
		return err_set(err, r, "%s: %s (%s)", what, strerror(-r), nl->reason);
	return err_errno(err, r, "%s", what);
}

int netlink_ack(struct netlink *nl, struct err *err, const char *format, ...)
{
	va_list ap;
	int r;

	nl->request->nlmsg_flags |= NLM_F_ACK;
	r = exchange(nl, NULL, NULL);
	if (r < 0) {
		va_start(ap, format);
		explain(nl, err, r, format, ap);
		va_end(ap);
	}
	return r;
}

int netlink_query(
	struct netlink *nl, netlink_fn *fn, void *arg, struct err *err, const char *format, ...)
{
	va_list ap;
	int r = exchange(nl, fn, arg);

	if (r < 0) {
		va_start(ap, format);
		explain(nl, err, r, format, ap);
		va_end(ap);
	}
	return r;
}
