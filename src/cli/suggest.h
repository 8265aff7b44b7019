/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the closest of the words that are allowed, when it is close enough. */
#pragma once

#include <stddef.h>

struct suggestion {
	const char *text; /* the closest word tried so far; NULL: none is close enough */
	const char *typed;
	size_t typed_len;
	unsigned int distance;
};

/* @typed is borrowed. */
struct suggestion suggestion_for(const char *typed, size_t len);

/* Keeps @word (borrowed) when it is closer than what was tried before. */
void suggestion_try(struct suggestion *suggestion, const char *word);
