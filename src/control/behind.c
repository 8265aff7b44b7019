/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that gets packets for a machine which it has no more tells the edge that sent them: a
 * datagram over the mesh, from daemon to daemon. The edge may have missed a change that everybody
 * else has; it reads the catalog again. Nothing depends on it: packets are passed on meanwhile.
 */
#include "control/control_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

#define BEHIND_PORT    7117
#define BEHIND_WORD    "WHERRY-BEHIND 1\n"
#define READ_AGAIN_MS  1000 /* a flood of such words costs one look at the catalog a second */
#define DATAGRAM_BYTES 64

static bool is_host(const struct control *control, const struct sockaddr *from)
{
	struct addr addr;

	if (from->sa_family != AF_INET)
		return false;
	addr = addr_from_v4(((const struct sockaddr_in *)from)->sin_addr.s_addr);
	for (size_t i = 0; i < control->host_count; i++)
		if (control->hosts[i]->record &&
			addr_equal(&control->hosts[i]->record->mesh_v4, &addr))
			return true;
	return false;
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	static char room[DATAGRAM_BYTES];

	(void)handle;
	(void)suggested;
	*out = uv_buf_init(room, sizeof(room));
}

static void heard(uv_udp_t *socket, ssize_t len, const uv_buf_t *data, const struct sockaddr *from,
	unsigned int flags)
{
	struct control *control = socket->data;
	const uint64_t now_ms = clock_now_ms();

	(void)flags;
	if (len != (ssize_t)strlen(BEHIND_WORD) ||
		memcmp(data->base, BEHIND_WORD, (size_t)len) != 0 || !from ||
		!is_host(control, from) || now_ms - control->behind_ms < READ_AGAIN_MS)
		return;
	control->behind_ms = now_ms;
	log_info("behind", "a host says that this one missed a change; reading the catalog again");
	catalog_read_again(control);
}

static void tell(void *arg, const struct addr *edge, const struct addr *service)
{
	struct control *control = arg;
	const struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(BEHIND_PORT),
		.sin_addr.s_addr = addr_v4_be(edge),
	};
	uv_buf_t word = uv_buf_init((char *)BEHIND_WORD, sizeof(BEHIND_WORD) - 1);
	char edge_text[ADDR_TEXT_LEN], service_text[ADDR_TEXT_LEN];

	log_info("edge-behind", "edge=%s service=%s", addr_format(edge, edge_text),
		addr_format(service, service_text));
	uv_udp_try_send(&control->behind_socket, &word, 1, (const struct sockaddr *)&to);
}

void behind_tick(struct control *control)
{
	if (control->behind_socket.data)
		fabric_stale_take(control->fabric, tell, control, NULL);
}

int behind_open(struct control *control, const struct addr *mesh_addr, struct err *err)
{
	const struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(BEHIND_PORT),
		.sin_addr.s_addr = addr_v4_be(mesh_addr),
	};
	int r = uv_udp_init(control->loop, &control->behind_socket);

	if (r < 0)
		return err_set(err, r, "cannot listen to other hosts: %s", uv_strerror(r));
	control->behind_socket.data = control;
	r = uv_udp_bind(&control->behind_socket, (const struct sockaddr *)&at, UV_UDP_REUSEADDR);
	if (r == 0)
		r = uv_udp_recv_start(&control->behind_socket, give_room, heard);
	return r < 0 ? err_set(err, r, "cannot listen to other hosts at UDP port %d: %s",
			       BEHIND_PORT, uv_strerror(r))
		     : 0;
}

void behind_close(struct control *control)
{
	if (!control->behind_socket.data)
		return;
	uv_close((uv_handle_t *)&control->behind_socket, NULL);
	control->behind_socket.data = NULL;
}
