/* SPDX-License-Identifier: Apache-2.0 */
/* The fly.toml that launch writes for a directory that has none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum launch_protocol {
	LAUNCH_UDP,
	LAUNCH_TCP,
	LAUNCH_HTTP,
};

struct launch_port {
	uint16_t port;
	enum launch_protocol protocol;
};

#define LAUNCH_MAX_PORTS 16

struct launch_plan {
	const char *app;
	const char *image; /* NULL: there is a Dockerfile */
	struct launch_port ports[LAUNCH_MAX_PORTS];
	size_t port_count;
};

/* Makes a name for an app of any text: lower-case letters, digits, single dashes. */
void launch_app_name(const char *text, char name[static 64]);

/*
 * Takes the ports of a Dockerfile's EXPOSE lines ("EXPOSE 5000/udp 5000"). A TCP port of an app
 * that has no UDP is taken for HTTP, and only the first of them, as flyctl does.
 */
void launch_read_exposed(const char *dockerfile, struct launch_plan *plan);

/* Adds the text of fly.toml. */
void launch_format(const struct launch_plan *plan, struct buf *out);
