/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What podman has to be told on this host so that it works. On Debian 12 under systemd: nothing.
 * Whoever runs podman (machines, builds) passes these options, so that all agree.
 */
#pragma once

#include "machine/argv.h"

/* Appends "podman" and the global options, those in front of the subcommand. */
void podman_host_command(struct argv *argv);

/* Appends the options of `podman run` that the host needs. */
void podman_host_run_options(struct argv *argv);

/* The init program for containers, or NULL when catatonit is not installed. */
const char *podman_host_init_path(void);
