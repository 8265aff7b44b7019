/* SPDX-License-Identifier: Apache-2.0 */
/* How many columns of a terminal UTF-8 text takes; wide and combining characters included. */
#pragma once

#include <stddef.h>

struct buf;

size_t width_of(const char *text);

/*
 * Appends @text, made at most @columns wide with an ellipsis where it had to be cut. Bytes that
 * would move the cursor are replaced by "?": names come from other people.
 */
void width_add(struct buf *buf, const char *text, size_t columns);

/*
 * Appends the words of @text and a newline; they begin at column @indent, and so do further lines,
 * which are begun where the words would go beyond @columns (0: no bound).
 */
void width_wrap(struct buf *buf, const char *text, size_t indent, size_t columns);
