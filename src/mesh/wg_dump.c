/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing of wg(8)'s dump; see wg_dump.h. The text holds the private key: the copies
 * that are made here are wiped.
 */
#include "mesh/wg_dump.h"

#include "base/err.h"
#include "base/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS	  10000
#define DEVICE_FIELDS	  4
#define PEER_FIELDS	  8
#define MAX_FIELDS	  PEER_FIELDS
#define ENDPOINT_TEXT_LEN (ADDR_TEXT_LEN + 32) /* with brackets, scope and port */
#define MAX_KEEPALIVE_S	  65535
#define NONE		  "(none)"
#define KEY_TEXT_LEN	  (MESH_KEY_LEN - 1)

static bool is_base64(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '+' || c == '/';
}

bool wg_is_key(const char *text)
{
	/* 32 bytes leave four bits in the last digit before the '=': its two low ones are zero. */
	static const char last[] = "AEIMQUYcgkosw048";

	if (strlen(text) != KEY_TEXT_LEN || text[KEY_TEXT_LEN - 1] != '=')
		return false;
	for (size_t i = 0; i < KEY_TEXT_LEN - 1; i++)
		if (!is_base64(text[i]))
			return false;
	return strchr(last, text[KEY_TEXT_LEN - 2]) != NULL;
}

static int read_key(const char *text, char out[static MESH_KEY_LEN])
{
	if (!wg_is_key(text))
		return -EBADMSG;
	memcpy(out, text, MESH_KEY_LEN);
	return 0;
}

static int read_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EBADMSG;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno || *end || *out > max ? -EBADMSG : 0;
}

/* "192.0.2.1:51820", "[2001:db8::1]:51820", "[fe80::1%eth0]:51820" */
static int read_endpoint(const char *text, struct wg_peer *peer)
{
	char copy[ENDPOINT_TEXT_LEN], *colon, *host = copy;
	uint64_t port;
	bool is_v6 = text[0] == '[';

	if (strcmp(text, NONE) == 0)
		return 0;
	if (strlen(text) >= sizeof(copy))
		return -EBADMSG;
	strcpy(copy, text);
	colon = strrchr(copy, ':');
	if (!colon || read_number(colon + 1, UINT16_MAX, &port) < 0)
		return -EBADMSG;
	*colon = '\0';
	if (is_v6) {
		if (colon < copy + 2 || colon[-1] != ']')
			return -EBADMSG;
		colon[-1] = '\0';
		host = copy + 1;
		host[strcspn(host, "%")] = '\0';
	}
	if (addr_parse(host, &peer->endpoint_addr) < 0 ||
		peer->endpoint_addr.family != (is_v6 ? AF_INET6 : AF_INET))
		return -EBADMSG;
	peer->endpoint_port = (uint16_t)port;
	return 0;
}

static size_t count_char(const char *text, char c)
{
	size_t count = 0;

	for (; *text; text++)
		count += *text == c;
	return count;
}

static int read_allowed(char *text, struct wg_peer *peer)
{
	char *item;

	if (strcmp(text, NONE) == 0)
		return 0;
	peer->allowed = calloc(count_char(text, ',') + 1, sizeof(*peer->allowed));
	if (!peer->allowed)
		return -ENOMEM;
	while ((item = strsep(&text, ","))) {
		if (!strchr(item, '/') || prefix_parse(item, &peer->allowed[peer->allowed_count]))
			return -EBADMSG;
		peer->allowed_count++;
	}
	return 0;
}

/* Splits @line at its tabs. Returns whether there are exactly @count fields. */
static bool split(char *line, char *fields[MAX_FIELDS], size_t count)
{
	size_t found = 0;
	char *field;

	while ((field = strsep(&line, "\t"))) {
		if (found == count)
			return false;
		fields[found++] = field;
	}
	return found == count;
}

static int read_device(char *line, struct wg_device *device)
{
	char *fields[MAX_FIELDS];
	uint64_t port;

	if (!split(line, fields, DEVICE_FIELDS) || read_number(fields[2], UINT16_MAX, &port) < 0)
		return -EBADMSG;
	if (strcmp(fields[1], NONE) != 0 && read_key(fields[1], device->public_key) < 0)
		return -EBADMSG;
	device->port = (uint16_t)port;
	return 0;
}

static int read_peer(char *line, struct wg_peer *peer)
{
	char *fields[MAX_FIELDS];
	uint64_t handshake, keepalive = 0;

	if (!split(line, fields, PEER_FIELDS) || read_key(fields[0], peer->public_key) < 0)
		return -EBADMSG;
	peer->has_preshared_key = strcmp(fields[1], NONE) != 0;
	if (read_endpoint(fields[2], peer) < 0 || read_number(fields[4], INT64_MAX, &handshake) < 0)
		return -EBADMSG;
	if (read_number(fields[5], UINT64_MAX, &peer->received_bytes) < 0 ||
		read_number(fields[6], UINT64_MAX, &peer->sent_bytes) < 0)
		return -EBADMSG;
	if (strcmp(fields[7], "off") != 0 &&
		read_number(fields[7], MAX_KEEPALIVE_S, &keepalive) < 0)
		return -EBADMSG;
	peer->handshake_s = (int64_t)handshake;
	peer->keepalive_s = (unsigned int)keepalive;
	return read_allowed(fields[3], peer);
}

static int parse(char *text, struct wg_device *device, unsigned int *line_number)
{
	char *line, *rest = text;
	int r;

	for (*line_number = 1; (line = strsep(&rest, "\n")); ++*line_number) {
		if (!rest) /* what follows the last newline */
			return line[0] || *line_number == 1 ? -EBADMSG : 0;
		r = *line_number == 1 ? read_device(line, device)
				      : read_peer(line, &device->peers[device->peer_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

int wg_dump_parse(const char *text, struct wg_device *out, struct err *err)
{
	_cleanup_(wg_device_clear) struct wg_device device = {};
	_free_ char *copy = strdup(text);
	unsigned int line = 0;
	int r;

	device.peers = calloc(count_char(text, '\n') + 1, sizeof(*device.peers));
	if (!copy || !device.peers) {
		if (copy)
			explicit_bzero(copy, strlen(text));
		return err_errno(err, -ENOMEM, "cannot read what wg prints");
	}
	r = parse(copy, &device, &line);
	explicit_bzero(copy, strlen(text));
	if (r == -EBADMSG)
		return err_set(
			err, r, "line %u of what \"wg show DEVICE dump\" prints is unknown", line);
	if (r < 0)
		return err_errno(err, r, "cannot read what wg prints");
	*out = device;
	device = (struct wg_device){};
	return 0;
}

int wg_dump_read(const char *device, struct wg_device *out, struct err *err)
{
	const char *const argv[] = {"wg", "show", device, "dump", NULL};
	_free_ char *text = NULL;
	int r = run_checked(argv, NULL, TIMEOUT_MS, &text, err);

	if (r < 0)
		return r;
	r = wg_dump_parse(text, out, err);
	explicit_bzero(text, strlen(text));
	return r;
}

const struct wg_peer *wg_dump_find(const struct wg_device *device, const char *public_key)
{
	for (size_t i = 0; i < device->peer_count; i++)
		if (strcmp(device->peers[i].public_key, public_key) == 0)
			return &device->peers[i];
	return NULL;
}

void wg_device_clear(struct wg_device *device)
{
	for (size_t i = 0; device->peers && i < device->peer_count; i++)
		free(device->peers[i].allowed);
	free(device->peers);
	*device = (struct wg_device){};
}
