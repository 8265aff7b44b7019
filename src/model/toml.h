/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOML text as a plain tree. Every node knows where it stands, so that what is wrong with it can
 * be told with line and column. The tree owns everything in it and is never changed after
 * toml_parse(); parent pointers and child arrays stay valid until toml_free().
 *
 * This is the only door to the C++ library underneath; no exception passes it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

#ifdef __cplusplus
extern "C" {
#endif

enum toml_type {
	TOML_STRING,
	TOML_INTEGER,
	TOML_FLOAT,
	TOML_BOOLEAN,
	TOML_DATE, /* dates, times and both; as text in string */
	TOML_ARRAY,
	TOML_TABLE,
};

struct toml_node {
	enum toml_type type;
	unsigned int line, column; /* of the value, from 1; of the header of a [table] */
	char *key;		   /* NULL in arrays and at the root */
	unsigned int key_line, key_column;
	char *string; /* TOML_STRING, TOML_DATE: UTF-8 without NUL */
	int64_t integer;
	double real;
	bool boolean;
	const struct toml_node *parent;
	struct toml_node *children; /* TOML_ARRAY, TOML_TABLE; in the order of the file */
	size_t child_count;
};

struct toml_error {
	unsigned int line, column; /* 0: the text as a whole */
	char message[256];	   /* "the text ends too early, in an array"; any bytes */
};

/*
 * Parses @text (any bytes). Returns 0 with the tree, which the caller frees, or -EINVAL with
 * @error filled. Nesting is bounded, so that no text exhausts the stack.
 */
int toml_parse(const char *text, size_t len, struct toml_node **out, struct toml_error *error);

/* Accepts NULL and half-built trees. */
void toml_free(struct toml_node *node);

/* Returns the child of @table under @key, or NULL. */
const struct toml_node *toml_get(const struct toml_node *table, const char *key);

#ifdef __cplusplus
}
#endif

#ifndef __cplusplus
DEFINE_CLEANUP(struct toml_node *, toml_free)
#endif
