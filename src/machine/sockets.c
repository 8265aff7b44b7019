/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock_diag(7) on a netlink socket that was made inside the namespace. Which sockets are asked for
 * is said by their state: an unconnected UDP socket is in TCP_CLOSE, a connected one in
 * TCP_ESTABLISHED.
 */
#include "machine/sockets.h"

#include "base/err.h"
#include "base/netns.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define BUFFER_BYTES 32768 /* what the kernel fills at most in one go of a dump */

struct machine_sockets {
	int fd;
	uint32_t sequence;
	char buffer[BUFFER_BYTES];
};

struct list {
	struct machine_socket *items;
	size_t count, size;
};

static int open_socket(void *arg)
{
	int *fd = arg;

	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	return *fd < 0 ? -errno : 0;
}

int machine_sockets_open(struct machine_sockets **out, const char *netns_path, struct err *err)
{
	_close_ int netns = netns_open(netns_path, err), fd = -1;
	struct machine_sockets *sockets;
	int r;

	if (netns < 0)
		return netns;
	r = netns_call(netns, open_socket, &fd);
	if (r < 0)
		return err_errno(err, r, "cannot look at the sockets of %s", netns_path);
	sockets = calloc(1, sizeof(*sockets));
	if (!sockets)
		return err_errno(err, -ENOMEM, "cannot look at the sockets of %s", netns_path);
	sockets->fd = take_fd(fd);
	*out = sockets;
	return 0;
}

void machine_sockets_close(struct machine_sockets *sockets)
{
	if (!sockets)
		return;
	close(sockets->fd);
	free(sockets);
}

static int request(struct machine_sockets *sockets, int family, enum protocol protocol)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} message = {
		.header =
			{
				.nlmsg_len = sizeof(message),
				.nlmsg_type = SOCK_DIAG_BY_FAMILY,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
				.nlmsg_seq = ++sockets->sequence,
			},
		.body =
			{
				.sdiag_family = (uint8_t)family,
				.sdiag_protocol = (uint8_t)protocol,
				.idiag_states = protocol == PROTOCOL_TCP
							? 1U << TCP_LISTEN
							: 1U << TCP_CLOSE | 1U << TCP_ESTABLISHED,
			},
	};

	return send(sockets->fd, &message, sizeof(message), 0) < 0 ? -errno : 0;
}

static int keep_v6only(const struct nlattr *attr, void *arg)
{
	bool *is_v6only = arg;

	if (mnl_attr_get_type(attr) == INET_DIAG_SKV6ONLY &&
		mnl_attr_get_payload_len(attr) >= sizeof(uint8_t))
		*is_v6only = mnl_attr_get_u8(attr) != 0;
	return MNL_CB_OK;
}

/* False for an address at which nothing arrives over IPv4. */
static bool read_addr(
	const struct nlmsghdr *message, const struct inet_diag_msg *body, struct addr *out)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const struct in6_addr *v6 = (const struct in6_addr *)body->id.idiag_src;
	bool is_v6only = false;

	if (body->idiag_family == AF_INET) {
		*out = addr_from_v4(body->id.idiag_src[0]);
		return true;
	}
	if (body->idiag_family != AF_INET6)
		return false;
	if (memcmp(v6, mapped, sizeof(mapped)) == 0) {
		*out = addr_from_v4(body->id.idiag_src[3]);
		return true;
	}
	*out = (struct addr){.family = AF_INET6};
	mnl_attr_parse(message, sizeof(*body), keep_v6only, &is_v6only);
	return IN6_IS_ADDR_UNSPECIFIED(v6) && !is_v6only;
}

static int add(struct list *list, const struct machine_socket *socket)
{
	if (list->count == list->size) {
		size_t size = list->size ? list->size * 2 : 16;
		void *items = reallocarray(list->items, size, sizeof(*socket));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->size = size;
	}
	list->items[list->count++] = *socket;
	return 0;
}

static int add_message(struct list *list, const struct nlmsghdr *message, enum protocol protocol)
{
	const struct inet_diag_msg *body = mnl_nlmsg_get_payload(message);
	struct machine_socket socket = {.protocol = protocol};

	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
		mnl_nlmsg_get_payload_len(message) < sizeof(*body))
		return 0;
	socket.port = ntohs(body->id.idiag_sport);
	socket.is_connected = protocol == PROTOCOL_UDP && body->idiag_state == TCP_ESTABLISHED;
	if (socket.port == 0 || !read_addr(message, body, &socket.addr))
		return 0;
	return add(list, &socket);
}

/* The end of a dump and an error both begin with 0 or a negative errno. */
static int outcome_of(const struct nlmsghdr *message)
{
	if (mnl_nlmsg_get_payload_len(message) < sizeof(int))
		return message->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	return *(const int *)mnl_nlmsg_get_payload(message);
}

/*
 * Reads the whole answer to the last request, also after a failure: a dump that is not read to its
 * end makes the kernel refuse the next one.
 */
static int receive(struct machine_sockets *sockets, struct list *list, enum protocol protocol)
{
	int failure = 0;

	for (;;) {
		ssize_t got = recv(sockets->fd, sockets->buffer, sizeof(sockets->buffer), 0);
		const struct nlmsghdr *message = (const struct nlmsghdr *)sockets->buffer;
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			if (message->nlmsg_seq != sockets->sequence)
				continue;
			if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)
				return failure ? failure : outcome_of(message);
			if (failure == 0)
				failure = add_message(list, message, protocol);
		}
	}
}

static int compare(const void *a, const void *b)
{
	const struct machine_socket *x = a, *y = b;

	if (x->protocol != y->protocol)
		return x->protocol < y->protocol ? -1 : 1;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (addr_compare(&x->addr, &y->addr))
		return addr_compare(&x->addr, &y->addr);
	return (int)x->is_connected - (int)y->is_connected;
}

static void sort_unique(struct list *list)
{
	size_t kept = 0;

	if (list->count)
		qsort(list->items, list->count, sizeof(*list->items), compare);
	for (size_t i = 0; i < list->count; i++)
		if (!kept || compare(&list->items[i], &list->items[kept - 1]) != 0)
			list->items[kept++] = list->items[i];
	list->count = kept;
}

int machine_sockets_list(struct machine_sockets *sockets, struct machine_socket **out,
	size_t *count, struct err *err)
{
	static const struct {
		int family;
		enum protocol protocol;
	} kinds[] = {
		{AF_INET, PROTOCOL_UDP},
		{AF_INET6, PROTOCOL_UDP},
		{AF_INET, PROTOCOL_TCP},
		{AF_INET6, PROTOCOL_TCP},
	};
	struct list list = {};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(kinds) && r == 0; i++) {
		r = request(sockets, kinds[i].family, kinds[i].protocol);
		if (r == 0)
			r = receive(sockets, &list, kinds[i].protocol);
		/* A kernel without IPv6, or one that cannot load udp_diag or tcp_diag. */
		if (r == -ENOENT && kinds[i].family == AF_INET6)
			r = 0;
	}
	if (r < 0) {
		free(list.items);
		return r == -ENOENT
			       ? err_set(err, r,
					 "this kernel does not list sockets (CONFIG_INET_DIAG, "
					 "CONFIG_INET_UDP_DIAG); modprobe udp_diag tcp_diag")
			       : err_errno(err, r, "cannot list a machine's sockets");
	}
	sort_unique(&list);
	*out = list.items;
	*count = list.count;
	return 0;
}

bool machine_sockets_serve(const struct machine_socket *list, size_t count,
	const struct addr *primary, const struct addr *service, uint16_t port)
{
	static const struct addr any_v4 = {.family = AF_INET}, any_v6 = {.family = AF_INET6};

	for (size_t i = 0; i < count; i++) {
		const struct machine_socket *socket = &list[i];

		if (socket->protocol != PROTOCOL_UDP || socket->port != port ||
			socket->is_connected)
			continue;
		if (addr_equal(&socket->addr, &any_v4) || addr_equal(&socket->addr, &any_v6) ||
			addr_equal(&socket->addr, primary) || addr_equal(&socket->addr, service))
			return true;
	}
	return false;
}
