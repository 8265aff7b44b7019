/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edit distance with transpositions ("optimal string alignment"), because "sttaus" is the most
 * common way to mistype "status". A word is close enough when at most a third of what was typed
 * would have to change (at least one letter may), or when what was typed begins it.
 */
#include "cli/suggest.h"

#include <string.h>

#define WORD_MAX 32

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	a = a < b ? a : b;
	return a < c ? a : c;
}

static unsigned int edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned int d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= a_len; i++)
		d[i][0] = (unsigned int)i;
	for (size_t j = 0; j <= b_len; j++)
		d[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= a_len; i++) {
		for (size_t j = 1; j <= b_len; j++) {
			unsigned int cost = a[i - 1] != b[j - 1];

			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	return d[a_len][b_len];
}

struct suggestion suggestion_for(const char *typed, size_t len)
{
	return (struct suggestion){.typed = typed, .typed_len = len, .distance = WORD_MAX};
}

void suggestion_try(struct suggestion *suggestion, const char *word)
{
	size_t typed_len = suggestion->typed_len, len = strlen(word);
	unsigned int distance, limit = typed_len >= 6 ? (unsigned int)typed_len / 3 : 1;

	if (typed_len == 0 || typed_len > WORD_MAX || len > WORD_MAX)
		return;
	distance = edit_distance(suggestion->typed, typed_len, word, len);
	if (typed_len >= 2 && strncmp(suggestion->typed, word, typed_len) == 0)
		distance = 1;
	if (distance > limit || distance >= suggestion->distance)
		return;
	suggestion->distance = distance;
	suggestion->text = word;
}
