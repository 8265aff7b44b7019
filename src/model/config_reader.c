/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers. Which forms a value may have is decided here once for all sections, so a form that
 * one section takes, every section takes.
 */
#include "model/config_reader.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config_memory.h"
#include "model/duration.h"

/* Whole numbers without an exponent, as people write them; else the shortest exact form. */
static char *float_text(double value)
{
	char text[64];

	if (value == floor(value) && fabs(value) < 1e15) {
		snprintf(text, sizeof(text), "%.0f", value);
		return text_copy(text);
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	return text_copy(text);
}

char *scalar_text(const struct toml_node *node)
{
	char text[32];

	switch (node->type) {
	case TOML_STRING:
	case TOML_DATE:
		return text_copy(node->string);
	case TOML_INTEGER:
		snprintf(text, sizeof(text), "%" PRId64, node->integer);
		return text_copy(text);
	case TOML_FLOAT:
		return float_text(node->real);
	case TOML_BOOLEAN:
		return text_copy(node->boolean ? "true" : "false");
	default:
		return NULL;
	}
}

const char *expect_string(struct diagnostics *diags, const struct toml_node *node)
{
	if (node->type == TOML_STRING)
		return node->string;
	report_value(diags, SEVERITY_ERROR, node, "it must be a string in quotes");
	return NULL;
}

bool read_string(
	struct diagnostics *diags, const struct toml_node *table, const char *key, char **out)
{
	const struct toml_node *node = toml_get(table, key);
	const char *text = node ? expect_string(diags, node) : NULL;

	if (!text || !*text)
		return false;
	free(*out);
	*out = text_copy(text);
	return true;
}

bool read_bool(struct diagnostics *diags, const struct toml_node *table, const char *key, bool *out)
{
	const struct toml_node *node = toml_get(table, key);

	if (!node)
		return false;
	if (node->type != TOML_BOOLEAN) {
		report_value(diags, SEVERITY_ERROR, node, "it must be true or false");
		return false;
	}
	*out = node->boolean;
	return true;
}

bool read_count(struct diagnostics *diags, const struct toml_node *table, const char *key,
	unsigned int *out)
{
	const struct toml_node *node = toml_get(table, key);

	if (!node)
		return false;
	if (node->type != TOML_INTEGER || node->integer < 0 || node->integer > INT_MAX) {
		report_value(diags, SEVERITY_ERROR, node, "it must be a whole number from 0 to %d",
			INT_MAX);
		return false;
	}
	*out = (unsigned int)node->integer;
	return true;
}

static bool parse_decimal(const char *text, int64_t *out)
{
	size_t len = strlen(text);

	/* Longer ones are out of every range that is asked for, and strtoll() would clamp. */
	if (len == 0 || len > 18 || strspn(text, "0123456789") != len)
		return false;
	*out = strtoll(text, NULL, 10);
	return true;
}

/* False: not a number at all. A number that int64_t cannot hold comes out as -1. */
static bool number_of(const struct toml_node *node, int64_t *out)
{
	switch (node->type) {
	case TOML_INTEGER:
		*out = node->integer;
		return true;
	case TOML_FLOAT:
		*out = node->real >= 0 && node->real < 1e15 ? (int64_t)node->real : -1;
		return true;
	case TOML_STRING:
		return parse_decimal(node->string, out);
	default:
		return false;
	}
}

bool read_port(
	struct diagnostics *diags, const struct toml_node *table, const char *key, uint16_t *out)
{
	const struct toml_node *node = toml_get(table, key);
	int64_t port;

	if (!node)
		return false;
	if (!number_of(node, &port) || port < 1 || port > UINT16_MAX) {
		report_value(diags, SEVERITY_ERROR, node, "a port is a number from 1 to 65535");
		return false;
	}
	if (node->type == TOML_FLOAT && node->real != floor(node->real))
		report_value(diags, SEVERITY_WARNING, node, "%" PRId64 " is used", port);
	*out = (uint16_t)port;
	return true;
}

static bool duration_of(const struct toml_node *node, enum duration_unit unit, int64_t *ms)
{
	int64_t factor = unit == BARE_SECONDS ? 1000 : 1;

	switch (node->type) {
	case TOML_STRING:
		return duration_parse_ms(node->string, ms);
	case TOML_INTEGER:
		return !__builtin_mul_overflow(node->integer, factor, ms);
	case TOML_FLOAT:
		if (!(fabs(node->real) < 1e15))
			return false;
		*ms = (int64_t)(node->real * (double)factor);
		return true;
	default:
		return false;
	}
}

bool read_duration_ms(struct diagnostics *diags, const struct toml_node *table, const char *key,
	enum duration_unit unit, int64_t *out)
{
	const struct toml_node *node = toml_get(table, key);
	int64_t ms;

	if (!node || (node->type == TOML_STRING && !*node->string))
		return false;
	if (!duration_of(node, unit, &ms)) {
		report_value(diags, SEVERITY_ERROR, node,
			"a duration is a number of %s or a string such as \"15s\", \"500ms\" or "
			"\"1m30s\"",
			unit == BARE_SECONDS ? "seconds" : "milliseconds");
		return false;
	}
	if (ms < 0) {
		report_value(diags, SEVERITY_ERROR, node, "a duration cannot be negative");
		return false;
	}
	*out = ms;
	return true;
}

void strings_add(struct strings *strings, const char *text)
{
	*array_add(strings->items, strings->count) = text_copy(text);
}

bool strings_contain(const struct strings *strings, const char *text)
{
	for (size_t i = 0; i < strings->count; i++) {
		if (!strcmp(strings->items[i], text))
			return true;
	}
	return false;
}

void read_strings(struct diagnostics *diags, const struct toml_node *table, const char *key,
	struct strings *out)
{
	const struct toml_node *node = toml_get(table, key);

	if (!node)
		return;
	if (node->type != TOML_ARRAY) {
		report_value(diags, SEVERITY_ERROR, node,
			"it must be an array of strings, such as [\"one\", \"two\"]");
		return;
	}
	for (size_t i = 0; i < node->child_count; i++) {
		const char *text = expect_string(diags, &node->children[i]);

		if (text)
			strings_add(out, text);
	}
}

struct tables read_tables(struct diagnostics *diags, const struct toml_node *table, const char *key)
{
	const struct toml_node *node = toml_get(table, key);

	if (!node)
		return (struct tables){};
	if (node->type == TOML_TABLE)
		return (struct tables){node, 1};
	if (node->type != TOML_ARRAY) {
		report_value(diags, SEVERITY_ERROR, node,
			"it must be a table or an array of tables, written [[%s]]", key);
		return (struct tables){};
	}
	for (size_t i = 0; i < node->child_count; i++) {
		if (node->children[i].type != TOML_TABLE)
			report_value(diags, SEVERITY_ERROR, &node->children[i],
				"it must be a table, as written under [[%s]]", key);
	}
	return (struct tables){node->children, node->child_count};
}

const struct toml_node *read_table(
	struct diagnostics *diags, const struct toml_node *table, const char *key)
{
	const struct toml_node *node = toml_get(table, key);

	if (node && node->type != TOML_TABLE) {
		report_value(diags, SEVERITY_ERROR, node, "it must be a table");
		return NULL;
	}
	return node;
}

void read_pairs(struct diagnostics *diags, const struct toml_node *table, struct env_var **out,
	size_t *count)
{
	for (size_t i = 0; i < table->child_count; i++) {
		const struct toml_node *node = &table->children[i];
		char *value _free_ = scalar_text(node);
		struct env_var *pair;

		if (!value) {
			report_value(diags, SEVERITY_ERROR, node,
				"it must be a string, a number or true or false");
			continue;
		}
		pair = array_add(*out, *count);
		pair->name = text_copy(node->key);
		pair->value = take_ptr(value);
	}
}
