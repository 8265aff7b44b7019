/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab's commands, one file each. All return 0 or a negative errno with a sentence in @err;
 * lab_command() prints the sentence and turns the errno into an exit status.
 */
#pragma once

#include "lab/args.h"

struct err;

int lab_up(const struct lab_args *args, struct err *err);
int lab_down(const struct lab_args *args, struct err *err);

/*
 * Becomes the command. Returns only on failure: -ENOEXEC when the program is there but cannot be
 * run (exit status 126), -ENOTSUP when there is no such program (127), else as the others.
 */
int lab_exec(const struct lab_args *args, struct err *err);
int lab_status(const struct lab_args *args, struct err *err);

/* kill, pause, resume and start */
int lab_control(const struct lab_args *args, struct err *err);

int lab_route(const struct lab_args *args, struct err *err);

/* Removes every trace of the lab, whatever state it is in. Needs no lock and no lab.json. */
int lab_remove(const char *name, struct err *err);

/* Prints the JSON that `lab status -j` prints for this lab. */
int lab_print_json(const char *name, struct err *err);
