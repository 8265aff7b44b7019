/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two files by which a program finds names: /etc/hosts with fly-global-services, and
 * /etc/resolv.conf. They are written into the machine's state directory and mounted over the
 * program's own.
 */
#pragma once

struct err;
struct machine_spec;

/* Text of either file; the caller frees. */
char *hosts_text(const struct machine_spec *spec);
char *hosts_resolv_text(const struct machine_spec *spec);

/* Writes both, as "hosts" and "resolv.conf", into the state directory. */
int hosts_write(const struct machine_spec *spec, struct err *err);
