/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writing side of struct diagnostics, whose reading side is in config.h: the parts of the
 * parser add in whatever order they work, diagnostics_finish() puts all into the order of the file.
 */
#pragma once

#include "model/config.h"

/* No report is longer; what is dropped is counted in a last line. */
#define DIAGNOSTICS_MAX 1000

/* Adds a copy of @message, with what is not printable UTF-8 replaced. */
void diagnostics_add(struct diagnostics *diags, enum severity severity, unsigned int line,
	unsigned int column, const char *message);

void diagnostics_finish(struct diagnostics *diags);
