/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How problems are worded: the path of the node, what is wrong, what is allowed. Quoted names and
 * values are cut, so that no report is much larger than the file it is about.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/config_reader.h"
#include "model/diagnostics.h"
#include "model/suggest.h"

#define MAX_QUOTED_LEN 40
#define MAX_LISTED     10

/* Adds @text, cut between two characters and marked with "..." when it is long. */
static void add_cut(struct buf *out, const char *text)
{
	size_t len = strlen(text);

	if (len <= MAX_QUOTED_LEN) {
		buf_adds(out, text);
		return;
	}
	for (len = MAX_QUOTED_LEN; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
		;
	buf_add(out, text, len);
	buf_adds(out, "...");
}

void node_path(const struct toml_node *node, struct buf *out)
{
	const struct toml_node *parent = node->parent;

	if (!parent)
		return;
	node_path(parent, out);
	if (node->key) {
		buf_adds(out, parent->parent ? "." : "");
		add_cut(out, node->key);
	} else {
		buf_addf(out, "[%zu]", (size_t)(node - parent->children));
	}
}

static void add_value(struct buf *out, const struct toml_node *node)
{
	char *text _free_ = scalar_text(node);

	if (node->type == TOML_ARRAY)
		buf_adds(out, node->child_count ? "an array" : "an empty array");
	else if (node->type == TOML_TABLE)
		buf_adds(out, "a table");
	else
		buf_adds(out, node->type == TOML_STRING ? "\"" : "");
	if (text)
		add_cut(out, text);
	if (node->type == TOML_STRING)
		buf_adds(out, "\"");
}

static void addv(struct buf *out, const char *format, va_list ap)
{
	char *text _free_ = NULL;

	if (vasprintf(&text, format, ap) < 0)
		abort();
	buf_adds(out, text);
}

static void reportv(struct diagnostics *diags, enum severity severity, const struct toml_node *node,
	bool at_key, const char *format, va_list ap)
{
	struct buf text _cleanup_(buf_clear) = {};

	node_path(node, &text);
	if (text.len)
		buf_adds(&text, " ");
	addv(&text, format, ap);
	if (at_key && node->key)
		diagnostics_add(diags, severity, node->key_line, node->key_column, text.data);
	else
		diagnostics_add(diags, severity, node->line, node->column, text.data);
}

void report_name_error(
	struct diagnostics *diags, const struct toml_node *node, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	reportv(diags, SEVERITY_ERROR, node, true, format, ap);
	va_end(ap);
}

void report_error(struct diagnostics *diags, const struct toml_node *node, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	reportv(diags, SEVERITY_ERROR, node, false, format, ap);
	va_end(ap);
}

void report_warning(
	struct diagnostics *diags, const struct toml_node *node, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	reportv(diags, SEVERITY_WARNING, node, false, format, ap);
	va_end(ap);
}

void report_value(struct diagnostics *diags, enum severity severity, const struct toml_node *node,
	const char *format, ...)
{
	struct buf text _cleanup_(buf_clear) = {};
	va_list ap;

	node_path(node, &text);
	buf_adds(&text, " is ");
	add_value(&text, node);
	buf_adds(&text, "; ");
	va_start(ap, format);
	addv(&text, format, ap);
	va_end(ap);
	diagnostics_add(diags, severity, node->line, node->column, text.data);
}

void add_suggestion(struct buf *out, const char *word, const char *const *known, size_t count)
{
	const char *meant = suggest(word, known, count);

	if (meant)
		buf_addf(out, "; did you mean \"%s\"?", meant);
}

void add_choices(struct buf *out, const char *const *words, size_t count)
{
	/* "and 1 others" would be no shorter than the word itself. */
	size_t listed = count > MAX_LISTED + 1 ? MAX_LISTED : count;

	for (size_t i = 0; i < listed; i++) {
		const char *joint = i == 0 ? "" : i + 1 < count ? ", " : " and ";

		buf_addf(out, "%s\"", joint);
		add_cut(out, words[i]);
		buf_adds(out, "\"");
	}
	if (listed < count)
		buf_addf(out, " and %zu others", count - listed);
}

static void warn_unknown_key(struct diagnostics *diags, const struct toml_node *node,
	const char *const *known, size_t count)
{
	struct buf text _cleanup_(buf_clear) = {};
	size_t plain_len;

	node_path(node, &text);
	buf_adds(&text, " is not known and is ignored");
	plain_len = text.len;
	add_suggestion(&text, node->key, known, count);
	if (text.len == plain_len) {
		buf_adds(&text, "; known here are ");
		add_choices(&text, known, count);
	}
	diagnostics_add(diags, SEVERITY_WARNING, node->key_line, node->key_column, text.data);
}

void warn_unknown_keys(struct diagnostics *diags, const struct toml_node *table,
	const char *const *known, size_t count)
{
	for (size_t i = 0; i < table->child_count; i++) {
		size_t k = 0;

		while (k < count && strcmp(table->children[i].key, known[k]) != 0)
			k++;
		if (k == count)
			warn_unknown_key(diags, &table->children[i], known, count);
	}
}
