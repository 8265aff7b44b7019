/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines as fly.toml's [processes] has them, split into words as a shell does: blanks,
 * quotes and backslashes, and nothing else. Variables and operators are for a shell that the
 * command itself names (sh -c '...').
 */
#include "model/command.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <stdbool.h>

void strings_clear(struct strings *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct strings){};
}

static int add_word(struct strings *words, struct buf *word)
{
	char **items = realloc(words->items, (words->count + 1) * sizeof(*items));

	if (!items)
		return -ENOMEM;
	words->items = items;
	items[words->count++] = buf_take(word);
	return 0;
}

int command_split(const char *text, struct strings *out)
{
	_cleanup_(strings_clear) struct strings words = {};
	_cleanup_(buf_clear) struct buf word = {};
	bool in_word = false;
	char quote = 0;

	for (const char *c = text;; c++) {
		const bool is_space = *c == ' ' || *c == '\t' || *c == '\n';

		if (!*c && quote)
			return -EINVAL;
		if (!quote && (!*c || is_space)) {
			if (in_word && add_word(&words, &word) < 0)
				return -ENOMEM;
			in_word = false;
			if (!*c)
				break;
			continue;
		}
		in_word = true;
		if (quote && *c == quote)
			quote = 0;
		else if (!quote && (*c == '\'' || *c == '"'))
			quote = *c;
		else if (*c == '\\' && quote != '\'' && c[1])
			buf_add(&word, ++c, 1);
		else
			buf_add(&word, c, 1);
	}
	*out = words;
	words = (struct strings){};
	return 0;
}
