/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image from the podman of one host to that of another, over one TCP connection of the mesh. The
 * asking side sends one line,
 *
 *	WHERRY-IMAGE 1 IDENTITY sha256:HEX
 *
 * with its own identity, which all hosts know from the catalog and nobody else does: its machines
 * come by the same address when they connect to a host. It
 * and is answered by lines until the last one decides:
 *
 *	WHERRY-IMAGE 1 wait         podman is at work, ask nothing, go on reading
 *	WHERRY-IMAGE 1 busy         ask again later
 *	WHERRY-IMAGE 1 error TEXT   the sentence
 *	WHERRY-IMAGE 1 ok           the archive follows, to the end of the stream
 *
 * The archive is podman's docker-archive: it keeps the image's configuration byte by byte and with
 * it the ID, which the digests of all layers are part of. So the ID that comes out at the other end
 * proves that all of it came, and nothing else is trusted.
 *
 * Functions that block say so; they may be called from any thread, and SIGPIPE is ignored.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "machine/image_store.h"
#include "model/records.h"

struct err;

#define IMAGE_TRANSFER_PORT	   7116
#define IMAGE_TRANSFER_REQUEST_MAX 128 /* longer than any request, with its newline */

struct image_request {
	char identity[HOST_IDENTITY_LEN]; /* of the host that asks */
	char id[IMAGE_ID_LEN];
};

/*
 * Reads the request in @data. Returns 0; 1 when its line has not ended yet; -EBADMSG when it is
 * none. *@out is complete or untouched.
 */
int image_transfer_parse(const char *data, size_t len, struct image_request *out);

/* Answers what is not served, without blocking; @sentence NULL: busy. The caller closes @fd. */
void image_transfer_refuse(int fd, const char *sentence);

/*
 * Serves the image on the connected @fd, which the caller closes after it. Blocks until the last
 * byte was taken over by the kernel. On failure the other side finds the stream broken. @dir: as in
 * struct image_want.
 */
int image_transfer_send(int fd, const char *id, const char *dir, struct err *err);

struct image_source {
	char *host; /* its name, for people */
	struct addr addr;
};

#define IMAGE_SOURCES_MAX 4

struct image_want {
	char id[IMAGE_ID_LEN];
	char identity[HOST_IDENTITY_LEN]; /* this host's */
	char *name;			  /* for people, and to name it by */
	char *host;			  /* this host's name */
	char *dir;	       /* podman's temporary files go below it, an image's size and more */
	struct addr from;      /* this host's address on the mesh; family 0: the kernel chooses */
	uint16_t port;	       /* 0: IMAGE_TRANSFER_PORT */
	unsigned int stall_ms; /* the longest silence; 0: 30 s */
	struct image_source sources[IMAGE_SOURCES_MAX]; /* asked in this order */
	size_t source_count;
};

void image_want_clear(struct image_want *want);

/*
 * Makes that the image is here: 0 when it was, 1 when it was fetched. Blocks, for minutes when it
 * is big.
 */
int image_transfer_fetch(const struct image_want *want, struct err *err);
