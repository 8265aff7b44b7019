/* SPDX-License-Identifier: Apache-2.0 */
/* Tables; see table.h. */
#include "cli/table.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/term.h"
#include "cli/width.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#define GAP	   2
#define SHRUNK_MIN 4

void table_init(struct table *table, const struct table_column *columns)
{
	*table = (struct table){.columns = columns};
	while (columns[table->column_count].title)
		table->column_count++;
	assert(table->column_count <= TABLE_MAX_COLUMNS);
}

void table_clear(struct table *table)
{
	for (size_t i = 0; i < table->row_count * table->column_count; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){};
}

void table_row(struct table *table, const char *const cells[])
{
	size_t used = table->row_count * table->column_count;

	table->cells =
		realloc(table->cells, (used + table->column_count) * sizeof(table->cells[0]));
	if (!table->cells)
		abort();
	for (size_t i = 0; i < table->column_count; i++) {
		table->cells[used + i] = strdup(cells[i] ? cells[i] : "");
		if (!table->cells[used + i])
			abort();
	}
	table->row_count++;
}

static size_t widest(const struct table *table, size_t column)
{
	size_t width = width_of(table->columns[column].title);

	for (size_t row = 0; row < table->row_count; row++) {
		size_t cell = width_of(table->cells[row * table->column_count + column]);

		if (cell > width)
			width = cell;
	}
	return width;
}

/* Takes columns from the widest that may shrink, one by one, until the table fits. */
static void shrink(const struct table *table, size_t widths[], size_t limit)
{
	for (;;) {
		size_t total = 0, most = table->column_count;

		for (size_t i = 0; i < table->column_count; i++) {
			total += widths[i] + (i ? GAP : 0);
			if (table->columns[i].shrinks && widths[i] > SHRUNK_MIN &&
				(most == table->column_count || widths[i] > widths[most]))
				most = i;
		}
		if (total <= limit || most == table->column_count)
			return;
		widths[most]--;
	}
}

static void add_cell(struct buf *buf, const char *text, size_t width, bool is_right, bool is_last)
{
	size_t own = width_of(text), pad = own < width ? width - own : 0;

	if (is_right)
		buf_addf(buf, "%*s", (int)pad, "");
	width_add(buf, text, width);
	if (!is_right && !is_last)
		buf_addf(buf, "%*s", (int)pad, "");
	buf_adds(buf, is_last ? "\n" : "  ");
}

char *table_format(const struct table *table, size_t width, bool is_bold)
{
	_cleanup_(buf_clear) struct buf buf = {};
	size_t widths[TABLE_MAX_COLUMNS], count = table->column_count;

	for (size_t i = 0; i < count; i++)
		widths[i] = widest(table, i);
	if (width)
		shrink(table, widths, width);
	if (is_bold)
		buf_adds(&buf, "\033[1m");
	for (size_t i = 0; i < count; i++) {
		char title[64];
		size_t len = 0;

		for (const char *c = table->columns[i].title; *c && len + 1 < sizeof(title); c++)
			title[len++] = (char)toupper((unsigned char)*c);
		title[len] = '\0';
		add_cell(&buf, title, widths[i], table->columns[i].is_right, i + 1 == count);
	}
	if (is_bold) {
		buf.data[--buf.len] = '\0';
		buf_adds(&buf, "\033[0m\n");
	}
	for (size_t i = 0; i < table->row_count * count; i++)
		add_cell(&buf, table->cells[i], widths[i % count],
			table->columns[i % count].is_right, i % count + 1 == count);
	return buf_take(&buf);
}

void table_print(const struct table *table)
{
	_free_ char *text = table_format(table, term_width(stdout), term_has_colour(stdout));

	fputs(text, stdout);
}

void table_print_fields(const struct table_field fields[])
{
	size_t longest = 0;

	for (const struct table_field *f = fields; f->name; f++)
		if (strlen(f->name) > longest)
			longest = strlen(f->name);
	for (const struct table_field *f = fields; f->name; f++) {
		_cleanup_(buf_clear) struct buf value = {};

		width_add(&value, f->value ? f->value : "", (size_t)-1);
		printf("  %-*s = %s\n", (int)longest, f->name, value.data);
	}
}
