/* SPDX-License-Identifier: Apache-2.0 */
/* Did you mean: the known word that is nearest to one that is not known. */
#pragma once

#include <stddef.h>

/* Returns the nearest of @known, or NULL when none is near; letter case does not count. */
const char *suggest(const char *word, const char *const *known, size_t count);

/* Longer words are not compared. */
#define SUGGEST_WORD_MAX 40

/*
 * Letters to add, take, change or swap with their neighbour to get from one word to the other, in
 * either case of letters. Both are at most SUGGEST_WORD_MAX long.
 */
unsigned int suggest_distance(const char *a, size_t a_len, const char *b, size_t b_len);
