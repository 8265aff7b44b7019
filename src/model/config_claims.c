/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who takes which external port. Within an app a port of a protocol belongs to one entry of one
 * service: the address is the app's, whatever process group serves it.
 */
#include "model/config_memory.h"
#include "model/config_parts.h"

void config_add_claim(struct parser *parser, enum protocol protocol, struct port_range range,
	const struct toml_node *node)
{
	*array_add(parser->claims, parser->claim_count) = (struct claim){protocol, range, node};
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->protocol != y->protocol)
		return x->protocol < y->protocol ? -1 : 1;
	if (x->range.first != y->range.first)
		return x->range.first < y->range.first ? -1 : 1;
	if (x->node->line != y->node->line)
		return x->node->line < y->node->line ? -1 : 1;
	return x->node->column < y->node->column ? -1 : x->node->column > y->node->column;
}

static bool is_before(const struct toml_node *a, const struct toml_node *b)
{
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

static void add_range(struct buf *out, const struct claim *claim)
{
	buf_addf(out, "%s %u", claim->protocol == PROTOCOL_UDP ? "UDP" : "TCP", claim->range.first);
	if (claim->range.last != claim->range.first)
		buf_addf(out, "-%u", claim->range.last);
}

static void report_overlap(
	struct diagnostics *diags, const struct claim *one, const struct claim *other)
{
	const struct claim *earlier = is_before(other->node, one->node) ? other : one;
	const struct claim *later = earlier == one ? other : one;
	struct buf text _cleanup_(buf_clear) = {};

	buf_adds(&text, "takes ");
	add_range(&text, later);
	buf_adds(&text, ", but ");
	node_path(earlier->node, &text);
	buf_addf(&text, " on line %u takes ", earlier->node->line);
	add_range(&text, earlier);
	buf_adds(&text, "; a port belongs to one service");
	report_error(diags, later->node, "%s", text.data);
}

/*
 * In the order of first ports, a claim overlaps an earlier one exactly when it begins within the
 * one that reaches highest so far.
 */
void config_check_claims(struct parser *parser)
{
	const struct claim *highest = NULL;

	if (parser->claim_count == 0)
		return;
	qsort(parser->claims, parser->claim_count, sizeof(parser->claims[0]), compare_claims);
	for (size_t i = 0; i < parser->claim_count; i++) {
		const struct claim *claim = &parser->claims[i];

		if (highest && highest->protocol != claim->protocol)
			highest = NULL;
		if (highest && claim->range.first <= highest->range.last)
			report_overlap(parser->diags, highest, claim);
		if (!highest || claim->range.last > highest->range.last)
			highest = claim;
	}
}
