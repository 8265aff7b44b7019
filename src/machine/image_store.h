/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in this host's podman by their ID, which is the digest of what they are: a name may mean
 * another image on each host and at each time. An image that came from another host carries a
 * name of ours, IMAGE_STORE_FETCHED, by which it is known again; those that were built or pulled
 * here do not, and are never removed.
 *
 * Everything here runs podman and blocks.
 */
#pragma once

#include <stdbool.h>

struct err;

#define IMAGE_ID_LEN	    65 /* 64 hexadecimal digits, podman's {{.Id}}, and the NUL */
#define IMAGE_STORE_FETCHED "localhost/wherry-fetched"

bool image_id_is_valid(const char *id);

/* The ID of what @name means here now. 1: no image has it. */
int image_store_find(const char *name, char id[static IMAGE_ID_LEN], struct err *err);

/* Whether the image is here: 0 yes, 1 no. */
int image_store_has(const char *id, struct err *err);

/*
 * Names an image that was fetched: as ours, and @name (may be NULL), as it is called elsewhere,
 * where no other image is called that.
 */
int image_store_keep(const char *id, const char *name, struct err *err);

/* Removes it if it was fetched. 1: it was not, or is not here. */
int image_store_forget(const char *id, const char *name, struct err *err);
