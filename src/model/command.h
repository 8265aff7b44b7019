/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines; see command.c. */
#pragma once

#include "model/config.h"

/* @out is the caller's, to be cleared. -EINVAL: a quote is not closed. */
int command_split(const char *text, struct strings *out);
void strings_clear(struct strings *strings);
