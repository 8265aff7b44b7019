/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What "wg show DEVICE dump" prints: a line of the device, then one of each peer, fields between
 * tabs (wg(8)). Read strictly: a text that is not wholly understood is refused, since peers that
 * are not recognised would be made anew and their sessions end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "mesh/mesh.h"

struct err;

struct wg_peer {
	char public_key[MESH_KEY_LEN];
	bool has_preshared_key;
	struct addr endpoint_addr; /* family 0: none */
	uint16_t endpoint_port;
	struct prefix *allowed;
	size_t allowed_count;
	int64_t handshake_s; /* wall clock, seconds since 1970; 0: never */
	uint64_t received_bytes, sent_bytes;
	unsigned int keepalive_s; /* 0: off */
};

struct wg_device {
	char public_key[MESH_KEY_LEN]; /* "" without a key; the private one is not kept */
	uint16_t port;
	struct wg_peer *peers;
	size_t peer_count;
};

/* Whether @text is 32 bytes in base64, as keys are written. */
bool wg_is_key(const char *text);

/* -EBADMSG with the line that is not understood; @out is left alone. */
int wg_dump_parse(const char *text, struct wg_device *out, struct err *err);

/* Runs "wg show @device dump". The caller clears @out. */
int wg_dump_read(const char *device, struct wg_device *out, struct err *err);

/* NULL when there is no such peer. */
const struct wg_peer *wg_dump_find(const struct wg_device *device, const char *public_key);

void wg_device_clear(struct wg_device *device);
