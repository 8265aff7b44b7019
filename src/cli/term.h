/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal, if there is one: its width, whether it wants colour, and asking the person. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

struct cli;

bool term_is_terminal(FILE *stream);

/* Columns of the terminal behind @stream; 0 when it is none. */
size_t term_width(FILE *stream);

/* A terminal that can, and no NO_COLOR (https://no-color.org) and no TERM=dumb. */
bool term_has_colour(FILE *stream);

enum term_colour {
	TERM_PLAIN,
	TERM_BOLD,
	TERM_DIM,
	TERM_RED,
	TERM_GREEN,
	TERM_YELLOW,
};

/* The sequence that switches to @colour, or "". */
const char *term_colour(FILE *stream, enum term_colour colour);

/* Whether there is a person to ask: a terminal to ask on and to read from. */
bool term_can_ask(void);

/*
 * Asks a yes/no question on standard error. --yes answers yes; without a terminal the answer is
 * no. @assumed is what Enter means.
 */
bool term_confirm(const struct cli *cli, bool assumed, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Asks for a line; an empty one is @assumed. The caller frees. */
char *term_ask(const char *assumed, const char *format, ...) __attribute__((format(printf, 2, 3)));
