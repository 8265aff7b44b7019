/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed values out of a TOML table. Each reader takes the value under a key, accepts every form
 * that fly.toml knows for that type, and reports what it cannot take at the value's place. It
 * returns true when it stored a value; false, with *out untouched, when the key is not there or
 * its value was reported.
 */
#pragma once

#include "base/buf.h"
#include "model/config.h"
#include "model/toml.h"

/*
 * The tables under a key that holds one table or an array of them. An item of another type was
 * reported; its reader skips it.
 */
struct tables {
	const struct toml_node *items;
	size_t count;
};

enum duration_unit {
	BARE_MILLISECONDS,
	BARE_SECONDS,
};

/* "PATH MESSAGE" at the node's place; the path of the root is empty. */
void report_error(struct diagnostics *diags, const struct toml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void report_warning(struct diagnostics *diags, const struct toml_node *node, const char *format,
	...) __attribute__((format(printf, 3, 4)));

/* The same at the node's key: its name is what is wrong. */
void report_name_error(struct diagnostics *diags, const struct toml_node *node, const char *format,
	...) __attribute__((format(printf, 3, 4)));

/* "PATH is VALUE; MESSAGE": MESSAGE says what is allowed. */
void report_value(struct diagnostics *diags, enum severity severity, const struct toml_node *node,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Warns of the keys of @table that are not in @known, with what was probably meant. */
void warn_unknown_keys(struct diagnostics *diags, const struct toml_node *table,
	const char *const *known, size_t count);

/* Adds "services[0].ports" to @out: nothing for the root. */
void node_path(const struct toml_node *node, struct buf *out);

/* Adds "; did you mean "WORD"?" to @out when a known word is near. */
void add_suggestion(struct buf *out, const char *word, const char *const *known, size_t count);

/* Adds "\"a\", \"b\" and \"c\"" to @out; of many words the first. */
void add_choices(struct buf *out, const char *const *words, size_t count);

/* Returns a scalar as text, which the caller frees; NULL for an array or a table. */
char *scalar_text(const struct toml_node *node);

/* An empty string counts as none, and *out may hold an earlier value, which is freed. */
bool read_string(
	struct diagnostics *diags, const struct toml_node *table, const char *key, char **out);
bool read_bool(
	struct diagnostics *diags, const struct toml_node *table, const char *key, bool *out);
bool read_count(struct diagnostics *diags, const struct toml_node *table, const char *key,
	unsigned int *out);

/* 1 to 65535, as an integer, a float or a decimal string. */
bool read_port(
	struct diagnostics *diags, const struct toml_node *table, const char *key, uint16_t *out);

/* A number in @unit or a Go duration; not negative. An empty string counts as none. */
bool read_duration_ms(struct diagnostics *diags, const struct toml_node *table, const char *key,
	enum duration_unit unit, int64_t *out);

void read_strings(struct diagnostics *diags, const struct toml_node *table, const char *key,
	struct strings *out);
struct tables read_tables(
	struct diagnostics *diags, const struct toml_node *table, const char *key);

/* The table under @key; NULL when there is none. */
const struct toml_node *read_table(
	struct diagnostics *diags, const struct toml_node *table, const char *key);

/* The value as a string; NULL, reported, when it is none. */
const char *expect_string(struct diagnostics *diags, const struct toml_node *node);

/* Appends the scalars of @table, as text, under their names. */
void read_pairs(struct diagnostics *diags, const struct toml_node *table, struct env_var **out,
	size_t *count);

void strings_add(struct strings *strings, const char *text);
bool strings_contain(const struct strings *strings, const char *text);
