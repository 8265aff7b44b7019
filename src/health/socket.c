/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The namespace is opened anew for each socket: a descriptor that is kept would keep the namespace
 * of a machine that is gone, and would not find the one that has taken its name.
 */
#include "health/socket.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/netns.h"

#include <errno.h>
#include <string.h>

struct request {
	int family, type, protocol, fd;
};

static int make(void *arg)
{
	struct request *request = arg;

	request->fd = socket(
		request->family, request->type | SOCK_NONBLOCK | SOCK_CLOEXEC, request->protocol);
	return request->fd < 0 ? -errno : 0;
}

int health_socket(const char *netns_path, int family, int type, int protocol, struct err *err)
{
	struct request request = {family, type, protocol, -1};
	_close_ int netns = netns_open(netns_path, err);
	int r;

	if (netns < 0)
		return netns;
	r = netns_call(netns, make, &request);
	if (r < 0)
		return err_errno(err, r, "cannot make a socket in %s", netns_path);
	return request.fd;
}

socklen_t health_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	out->ss_family = addr->family;
	if (addr->family == AF_INET6) {
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, addr->bytes, sizeof(v6->sin6_addr));
		return sizeof(*v6);
	}
	v4->sin_port = htons(port);
	v4->sin_addr.s_addr = addr_v4_be(addr);
	return sizeof(*v4);
}
