/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the signals that stop a machine. */
#pragma once

#include "base/buf.h"

/* Takes "SIGINT", "INT" and either in lower case. Returns -1 for a name that is not known. */
int signal_from_name(const char *name);

/* Returns "SIGINT"; "" for a number that signal_from_name() does not return. */
const char *signal_name(int number);

/* Adds "SIGHUP, SIGINT, ..." to @buf. */
void signal_names_add(struct buf *buf);
