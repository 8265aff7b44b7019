/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nearness is the edit distance that counts insertions, removals, replacements and swaps of two
 * neighbours as one each. A word may differ in one letter, and in one more for each three of its
 * length: more than that is another word.
 */
#include "model/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int ab = a < b ? a : b;

	return ab < c ? ab : c;
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

unsigned int suggest_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned int rows[3][SUGGEST_WORD_MAX + 1];
	unsigned int *before = rows[0], *last = rows[1], *now = rows[2], *oldest;

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (unsigned int)j;
	memcpy(before, last, sizeof(rows[0]));
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = min3(last[j] + 1, now[j - 1] + 1,
				last[j - 1] + !same_letter(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
				same_letter(a[i - 2], b[j - 1]) && before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
		oldest = before;
		before = last;
		last = now;
		now = oldest;
	}
	return last[b_len];
}

const char *suggest(const char *word, const char *const *known, size_t count)
{
	size_t len = strnlen(word, SUGGEST_WORD_MAX + 1);
	unsigned int best = 2 + (unsigned int)len / 3; /* exclusive */
	const char *found = NULL;

	if (len == 0 || len > SUGGEST_WORD_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t known_len = strnlen(known[i], SUGGEST_WORD_MAX + 1);
		unsigned int d;

		if (known_len > SUGGEST_WORD_MAX)
			continue;
		d = suggest_distance(word, len, known[i], known_len);
		/* A short word that shares no letter with a known one is not near it. */
		if (d < best && d < len && d < known_len) {
			best = d;
			found = known[i];
		}
	}
	return found;
}
