/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edit distance with transpositions ("optimal string alignment"), because "sttaus" is the most
 * common way to mistype "status". A word is close enough when at most a third of what was typed
 * would have to change (at least one letter may), or when what was typed begins it.
 */
#include "cli/suggest.h"

#include "model/suggest.h"

#include <string.h>

struct suggestion suggestion_for(const char *typed, size_t len)
{
	return (struct suggestion){.typed = typed, .typed_len = len, .distance = SUGGEST_WORD_MAX};
}

void suggestion_try(struct suggestion *suggestion, const char *word)
{
	size_t typed_len = suggestion->typed_len, len = strlen(word);
	unsigned int distance, limit = typed_len >= 6 ? (unsigned int)typed_len / 3 : 1;

	if (typed_len == 0 || typed_len > SUGGEST_WORD_MAX || len > SUGGEST_WORD_MAX)
		return;
	distance = suggest_distance(suggestion->typed, typed_len, word, len);
	if (typed_len >= 2 && strncmp(suggestion->typed, word, typed_len) == 0)
		distance = 1;
	if (distance > limit || distance >= suggestion->distance)
		return;
	suggestion->distance = distance;
	suggestion->text = word;
}
