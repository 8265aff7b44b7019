/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines whose program runs in a root directory of the host under wherry-init. The functions are
 * those of machine.h for this kind.
 */
#pragma once

struct err;
struct machine_run;
struct machine_spec;

int process_start(const struct machine_spec *spec, struct machine_run *out, struct err *err);
int process_inspect(const struct machine_spec *spec, struct machine_run *out, struct err *err);
int process_remove(const struct machine_spec *spec, struct err *err);
