/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of this host for the machines of others. It listens on the address of the mesh alone, and
 * on its device alone where that is WireGuard's. Who asks is a host of the catalog, by its address
 * and its identity, for an image that a release or machine of the catalog names, and no other of
 * this host's images. The request is read in the loop; the transfer itself has a worker, at most
 * SENDING_MAX of them.
 */
#include "control/control_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "machine/image_transfer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define SENDING_MAX	   4
#define ASKING_MAX	   32
#define REQUEST_TIMEOUT_MS 5000
#define BACKLOG		   64

struct asker {
	struct image_server *server;
	int fd;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned int open_handles;
	bool is_sending; /* its worker closes it */
	struct asker *next;
	unsigned int host; /* whose address it comes from */
	char request[IMAGE_TRANSFER_REQUEST_MAX];
	size_t len;
	struct image_request wanted;
	char *dir; /* see image_dir() */
	uv_work_t work;
	int result;
	struct err err;
	uint64_t since_ms;
};

struct image_server {
	struct control *control;
	int fd;
	uv_poll_t poll;
	struct asker *askers; /* whose request is not read yet */
	unsigned int asking, sending;
	bool is_closed; /* its askers hold it */
};

static void free_server(struct image_server *server)
{
	if (server->is_closed && !server->asking && !server->sending)
		free(server);
}

/* An asker's end: its handles close, then what is left of it goes. */

static void send_work(uv_work_t *work)
{
	struct asker *asker = work->data;

	asker->result = image_transfer_send(asker->fd, asker->wanted.id, asker->dir, &asker->err);
}

static void forget(struct asker *asker)
{
	mem_closep(&asker->fd);
	free(asker->dir);
	free(asker);
}

static void sent(uv_work_t *work, int status)
{
	struct asker *asker = work->data;
	struct image_server *server = asker->server;

	if (status == 0 && asker->result < 0)
		log_warn("image-not-sent", "id=%s to=%s reason=\"%s\"", asker->wanted.id,
			host_name(server->control, asker->host), asker->err.text);
	else if (status == 0)
		log_info("image-sent", "id=%s to=%s ms=%ju", asker->wanted.id,
			host_name(server->control, asker->host),
			(uintmax_t)(clock_now_ms() - asker->since_ms));
	server->sending--;
	forget(asker);
	free_server(server);
}

static void handle_closed(uv_handle_t *handle)
{
	struct asker *asker = handle->data;
	struct image_server *server = asker->server;

	if (--asker->open_handles)
		return;
	server->asking--;
	asker->work.data = asker;
	if (asker->is_sending && !server->is_closed &&
		uv_queue_work(server->control->loop, &asker->work, send_work, sent) == 0)
		return;
	server->sending -= asker->is_sending;
	forget(asker);
	free_server(server);
}

static void end_asking(struct asker *asker)
{
	struct asker **at = &asker->server->askers;

	while (*at != asker)
		at = &(*at)->next;
	*at = asker->next;
	uv_close((uv_handle_t *)&asker->poll, handle_closed);
	uv_close((uv_handle_t *)&asker->timer, handle_closed);
}

static void too_late(uv_timer_t *timer)
{
	end_asking(timer->data);
}

/* The request */

static bool is_same(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

static bool is_in_catalog(const struct control *control, const char *id)
{
	for (size_t i = 0; i < control->machine_count; i++)
		if (is_same(control->machines[i]->record->image_id, id))
			return true;
	for (size_t i = 0; i < control->app_count; i++)
		if (control->apps[i]->release && is_same(control->apps[i]->release->image_id, id))
			return true;
	return false;
}

static bool is_host(const struct control *control, const struct asker *asker)
{
	const struct host *host = host_find(control, asker->host);

	return host && host->record && strcmp(host->record->identity, asker->wanted.identity) == 0;
}

static void requested(struct asker *asker)
{
	struct image_server *server = asker->server;

	if (!is_host(server->control, asker)) {
		image_transfer_refuse(asker->fd, "only hosts of the fleet are given images");
	} else if (!is_in_catalog(server->control, asker->wanted.id)) {
		log_warn("image-refused", "id=%s to=%s reason=\"no release names it\"",
			asker->wanted.id, host_name(server->control, asker->host));
		image_transfer_refuse(asker->fd, "no release of the catalog names this image");
	} else if (server->sending >= SENDING_MAX) {
		image_transfer_refuse(asker->fd, NULL);
	} else {
		server->sending++;
		asker->is_sending = true;
		asker->since_ms = clock_now_ms();
	}
}

static void request_readable(uv_poll_t *poll, int status, int events)
{
	struct asker *asker = poll->data;
	ssize_t got = recv(asker->fd, asker->request + asker->len,
		sizeof(asker->request) - asker->len, MSG_DONTWAIT);
	int r;

	(void)status;
	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		asker->len += (size_t)got;
		r = image_transfer_parse(asker->request, asker->len, &asker->wanted);
		if (r == 1)
			return;
		if (r == 0)
			requested(asker);
		else
			image_transfer_refuse(asker->fd, "this is no request for an image");
	}
	end_asking(asker);
}

/* The id of another host that has the address; 0: none. */
static unsigned int host_at(const struct control *control, const struct addr *addr)
{
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host_record *record = control->hosts[i]->record;

		if (record && record->id != control->host_id && record->mesh_v4.family &&
			addr_equal(&record->mesh_v4, addr))
			return record->id;
	}
	return 0;
}

/* Takes @fd over. */
static void add_asker(struct image_server *server, int fd, unsigned int host)
{
	struct asker *asker = calloc(1, sizeof(*asker));

	if (asker)
		asker->dir = image_dir(server->control);
	if (!asker || !asker->dir || uv_poll_init(server->control->loop, &asker->poll, fd) < 0) {
		close(fd);
		if (asker)
			free(asker->dir);
		free(asker);
		return;
	}
	asker->server = server;
	asker->fd = fd;
	asker->host = host;
	uv_timer_init(server->control->loop, &asker->timer);
	asker->open_handles = 2;
	asker->poll.data = asker->timer.data = asker;
	asker->next = server->askers;
	server->askers = asker;
	server->asking++;
	uv_timer_start(&asker->timer, too_late, REQUEST_TIMEOUT_MS, 0);
	uv_poll_start(&asker->poll, UV_READABLE, request_readable);
}

static void connection_waits(uv_poll_t *poll, int status, int events)
{
	struct image_server *server = poll->data;
	struct sockaddr_in peer = {};
	socklen_t len = sizeof(peer);
	_close_ int fd =
		accept4(server->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct addr addr = addr_from_v4(peer.sin_addr.s_addr);
	unsigned int host;

	(void)status;
	(void)events;
	if (fd < 0)
		return;
	host = host_at(server->control, &addr);
	if (host && server->asking < ASKING_MAX)
		add_asker(server, take_fd(fd), host);
	else if (!host)
		image_transfer_refuse(fd, "this address is no host of the fleet");
	else
		image_transfer_refuse(fd, NULL);
}

/* The server */

static int listen_at(const struct control *control, const struct addr *addr, struct err *err)
{
	const struct sockaddr_in sin = {.sin_family = AF_INET,
		.sin_port = htons(IMAGE_TRANSFER_PORT),
		.sin_addr.s_addr = addr_v4_be(addr)};
	const char *device = control->mesh_device.name;
	char text[ADDR_TEXT_LEN];
	const int on = 1;
	_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
		(!control->config.is_plain &&
			setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device)) < 0) ||
		bind(fd, (const struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, BACKLOG) < 0)
		return err_errno(err, -errno,
			"cannot listen for requests for images on TCP port %d of the mesh address "
			"%s",
			IMAGE_TRANSFER_PORT, addr_format(addr, text));
	return take_fd(fd);
}

int image_server_open(struct control *control, struct err *err)
{
	const struct host_record *own = host_find(control, control->host_id)->record;
	struct image_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return err_errno(err, -ENOMEM, "cannot serve images");
	server->control = control;
	r = listen_at(control, &own->mesh_v4, err);
	server->fd = r;
	if (r >= 0 && uv_poll_init(control->loop, &server->poll, server->fd) < 0) {
		close(server->fd);
		r = err_set(err, -EIO, "cannot serve images");
	}
	if (r < 0) {
		free(server);
		return r;
	}
	server->poll.data = server;
	uv_poll_start(&server->poll, UV_READABLE, connection_waits);
	control->image_server = server;
	return 0;
}

static void server_closed(uv_handle_t *handle)
{
	struct image_server *server = handle->data;

	server->is_closed = true;
	free_server(server);
}

void image_server_close(struct control *control)
{
	struct image_server *server = take_ptr(control->image_server);

	if (!server)
		return;
	while (server->askers)
		end_asking(server->askers);
	uv_close((uv_handle_t *)&server->poll, server_closed);
	close(server->fd); /* at once: its successor takes the address */
}
