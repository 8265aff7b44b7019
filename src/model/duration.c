/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of Go's time.ParseDuration: an optional sign, then one or more decimal numbers, each
 * with an optional fraction and a unit; or a lone "0". Arithmetic is in integers: a fraction is
 * exact to nine digits, which is all that nanoseconds hold.
 */
#include "model/duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000

struct unit {
	const char *name;
	int64_t ns;
};

/* Longer names first, as "m" begins "ms". */
static const struct unit units[] = {
	{"ns", 1},
	{"us", 1000},
	{"\u00b5s", 1000}, /* micro sign */
	{"\u03bcs", 1000}, /* Greek mu */
	{"ms", NS_PER_MS},
	{"s", INT64_C(1000000000)},
	{"m", INT64_C(60000000000)},
	{"h", INT64_C(3600000000000)},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const struct unit *parse_unit(const char **at)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t len = strlen(units[i].name);

		if (!strncmp(*at, units[i].name, len)) {
			*at += len;
			return &units[i];
		}
	}
	return NULL;
}

static bool parse_whole(const char **at, int64_t *value)
{
	for (*value = 0; is_digit(**at); (*at)++) {
		if (__builtin_mul_overflow(*value, 10, value) ||
			__builtin_add_overflow(*value, **at - '0', value))
			return false;
	}
	return true;
}

/* Returns the fraction in billionths. */
static int64_t parse_fraction(const char **at)
{
	int64_t value = 0, place = 100000000;

	for (; is_digit(**at); (*at)++) {
		value += (**at - '0') * place;
		place /= 10;
	}
	return value;
}

/* One number with its unit, added to *@ns. */
static bool parse_part(const char **at, int64_t *ns)
{
	int64_t whole, fraction = 0, part;
	const char *begin = *at;
	const struct unit *unit;
	bool has_digits;

	if (!parse_whole(at, &whole))
		return false;
	has_digits = *at > begin;
	if (**at == '.') {
		(*at)++;
		has_digits = has_digits || is_digit(**at);
		fraction = parse_fraction(at);
	}
	unit = parse_unit(at);
	if (!has_digits || !unit || __builtin_mul_overflow(whole, unit->ns, &part))
		return false;
	fraction = (int64_t)((__int128)fraction * unit->ns / 1000000000);
	return !__builtin_add_overflow(part, fraction, &part) &&
	       !__builtin_add_overflow(*ns, part, ns);
}

bool duration_parse_ms(const char *text, int64_t *ms)
{
	bool negative = *text == '-';
	int64_t ns = 0;

	if (*text == '-' || *text == '+')
		text++;
	if (!strcmp(text, "0")) {
		*ms = 0;
		return true;
	}
	if (!*text)
		return false;
	while (*text) {
		if (!parse_part(&text, &ns))
			return false;
	}
	*ms = ns / NS_PER_MS + (ns % NS_PER_MS ? 1 : 0);
	if (negative)
		*ms = -*ms;
	return true;
}

char *duration_format_ms(uint64_t ms, char text[static DURATION_TEXT_LEN])
{
	if (ms % 1000 == 0)
		snprintf(text, DURATION_TEXT_LEN, "%" PRIu64 "s", ms / 1000);
	else
		snprintf(text, DURATION_TEXT_LEN, "%" PRIu64 "ms", ms);
	return text;
}
