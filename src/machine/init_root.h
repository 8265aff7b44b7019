/* SPDX-License-Identifier: Apache-2.0 */
/* The root directory that a machine of kind rootfs sees. */
#pragma once

struct err;
struct init_spec;

/*
 * Makes the calling process (alone in new mount and PID namespaces, in the machine's network
 * namespace) see the machine's root: own /proc and /sys, its /etc/hosts and /etc/resolv.conf.
 * Ends in the root with working directory /.
 */
int init_root_enter(const struct init_spec *spec, struct err *err);
