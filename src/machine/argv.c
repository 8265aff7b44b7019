/* SPDX-License-Identifier: Apache-2.0 */
/* Argument vectors; see argv.h. */
#include "machine/argv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void take(struct argv *argv, char *item)
{
	char **items = realloc(argv->items, (argv->count + 2) * sizeof(*items));

	if (!items || !item)
		abort();
	items[argv->count++] = item;
	items[argv->count] = NULL;
	argv->items = items;
}

void argv_add(struct argv *argv, const char *text)
{
	take(argv, strdup(text));
}

void argv_addf(struct argv *argv, const char *format, ...)
{
	char *item = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&item, format, ap) < 0)
		item = NULL;
	va_end(ap);
	take(argv, item);
}

void argv_clear(struct argv *argv)
{
	for (size_t i = 0; i < argv->count; i++)
		free(argv->items[i]);
	free(argv->items);
	*argv = (struct argv){};
}
