/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane of one host: brings the host to what the catalog says and serves the API. It
 * owns nothing that packets need: machines, links, maps and programs go on without it.
 */
#pragma once

#include <uv.h>

#include "base/mem.h"

struct err;
struct control;

struct control_options {
	const char *config_path; /* wherryd.toml; an absent one is all defaults */
	const char *state_dir, *run_dir, *bpf_dir;
	const char *store; /* instead of the file's `store`; NULL: what the file says */
};

/*
 * Opens everything and starts to look at what is there. @ready is called from the loop once the
 * data plane is up to date.
 */
int control_new(struct control **out, uv_loop_t *loop, const struct control_options *options,
	void (*ready)(void *arg), void *arg, struct err *err);

/* Closes the handles; the loop must run until they are closed before it is freed. */
void control_close(struct control *control);
void control_free(struct control *control);
DEFINE_CLEANUP(struct control *, control_free)

/*
 * Takes the data plane and the host's network settings down: nothing is forwarded any more. For
 * people who remove Wherry from a host.
 */
int control_teardown(const struct control_options *options, struct err *err);
