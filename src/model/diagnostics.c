/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a file, problem by problem. Messages quote what stands in the file, which may
 * be anything; they end up on terminals and in JSON, so what could do harm there is replaced.
 */
#include "model/diagnostics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "model/config_memory.h"

/* Returns the length of the UTF-8 sequence at @text, NUL-terminated; 0: it is not one. */
static size_t utf8_len(const unsigned char *text)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t len;

	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	len = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	code = text[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < smallest[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return len;
}

static bool is_control(const unsigned char *text)
{
	return text[0] < 0x20 || text[0] == 0x7f || (text[0] == 0xc2 && text[1] < 0xa0);
}

static char *clean(const char *message)
{
	const unsigned char *at = (const unsigned char *)message;
	struct buf out = {};

	while (*at) {
		size_t len = utf8_len(at);

		if (len == 0 || is_control(at))
			buf_adds(&out, "?");
		else
			buf_add(&out, at, len);
		at += len ? len : 1;
	}
	return buf_take(&out);
}

void diagnostics_add(struct diagnostics *diags, enum severity severity, unsigned int line,
	unsigned int column, const char *message)
{
	struct diagnostic *added = array_add(diags->items, diags->count);

	added->severity = severity;
	added->line = line;
	added->column = column;
	added->message = clean(message);
}

static int compare_places(const void *a, const void *b)
{
	const struct diagnostic *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	if (x->severity != y->severity)
		return x->severity > y->severity ? -1 : 1;
	return strcmp(x->message, y->message);
}

/* One problem may be found by two ways to it. */
static void drop_repeated(struct diagnostics *diags)
{
	size_t kept = 0;

	for (size_t i = 0; i < diags->count; i++) {
		if (kept && !compare_places(&diags->items[i], &diags->items[kept - 1]))
			free(diags->items[i].message);
		else
			diags->items[kept++] = diags->items[i];
	}
	diags->count = kept;
}

static void drop_from(struct diagnostics *diags, size_t first)
{
	for (size_t i = first; i < diags->count; i++)
		free(diags->items[i].message);
	diags->count = first;
}

/* An error that is dropped must leave one behind: who reads the list counts them. */
static void shorten(struct diagnostics *diags)
{
	size_t dropped = diags->count - DIAGNOSTICS_MAX;
	enum severity worst = SEVERITY_WARNING;
	struct buf text _cleanup_(buf_clear) = {};

	for (size_t i = DIAGNOSTICS_MAX; i < diags->count; i++) {
		if (diags->items[i].severity == SEVERITY_ERROR)
			worst = SEVERITY_ERROR;
	}
	drop_from(diags, DIAGNOSTICS_MAX);
	buf_addf(&text, "and %zu more problems", dropped);
	diagnostics_add(diags, worst, 0, 0, text.data);
}

void diagnostics_finish(struct diagnostics *diags)
{
	if (diags->count == 0)
		return;
	qsort(diags->items, diags->count, sizeof(diags->items[0]), compare_places);
	drop_repeated(diags);
	if (diags->count > DIAGNOSTICS_MAX)
		shorten(diags);
}

void diagnostics_clear(struct diagnostics *diags)
{
	drop_from(diags, 0);
	free(diags->items);
	free(diags->file_name);
	*diags = (struct diagnostics){};
}

unsigned int diagnostics_count(const struct diagnostics *diags, enum severity severity)
{
	unsigned int count = 0;

	for (size_t i = 0; i < diags->count; i++)
		count += diags->items[i].severity == severity;
	return count;
}

char *diagnostics_format(const struct diagnostics *diags)
{
	struct buf out = {};

	for (size_t i = 0; i < diags->count; i++) {
		const struct diagnostic *diag = &diags->items[i];

		buf_adds(&out, diags->file_name ? diags->file_name : "fly.toml");
		if (diag->line)
			buf_addf(&out, ":%u:%u", diag->line, diag->column);
		buf_addf(&out, ": %s: %s\n", diag->severity == SEVERITY_ERROR ? "error" : "warning",
			diag->message);
	}
	return buf_take(&out);
}
