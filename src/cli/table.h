/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables as flyctl prints them: titles in capitals, two spaces between columns. On a terminal a
 * table is never wider than it; columns that may shrink lose their ends. Elsewhere values are
 * whole, because a program reads them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TABLE_MAX_COLUMNS 12

struct table_column {
	const char *title; /* NULL ends the list */
	bool is_right;	   /* numbers */
	bool shrinks;
};

struct table {
	const struct table_column *columns;
	size_t column_count;
	char **cells; /* row by row */
	size_t row_count;
};

/* @columns is kept. */
void table_init(struct table *table, const struct table_column *columns);
void table_clear(struct table *table);

/* Adds a row of as many cells as there are columns; NULL is an empty cell. Copies them. */
void table_row(struct table *table, const char *const cells[]);

/* Text of the table, at most @width columns wide (0: no limit); the caller frees. */
char *table_format(const struct table *table, size_t width, bool is_bold);

/* Prints it to standard output. */
void table_print(const struct table *table);

/* Prints aligned "  NAME = value" lines, as flyctl shows one thing. Pairs end with {}. */
struct table_field {
	const char *name, *value;
};
void table_print_fields(const struct table_field fields[]);
