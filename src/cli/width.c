/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns of text; see width.h. The API speaks UTF-8 whatever the locale is, so the text is
 * decoded here and only wcwidth(3)'s table is the C library's, in a UTF-8 locale of our own.
 */
#include "cli/width.h"

#include "base/buf.h"
#include "base/mem.h"

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

/* Reads one character. Returns its length in bytes; *@c is -1 for what is not UTF-8. */
static size_t decode(const char *text, int32_t *c)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (len == 1) {
		*c = s[0];
		return 1;
	}
	*c = -1;
	if (len == 0 || s[0] > 0xf4)
		return 1;
	int32_t value = s[0] & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 1;
		value = value << 6 | (s[i] & 0x3f);
	}
	*c = value;
	return len;
}

static int char_width(int32_t c)
{
	static locale_t utf8;
	locale_t before;
	int width;

	if (c < 0x80)
		return 1; /* printed as itself or as "?" */
	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (!utf8)
		return 1;
	before = uselocale(utf8);
	width = wcwidth((wchar_t)c);
	uselocale(before);
	return width < 0 ? 1 : width;
}

static bool moves_cursor(int32_t c)
{
	/* C0, DEL, C1, and the marks that change the direction of writing. */
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

size_t width_of(const char *text)
{
	size_t width = 0;
	int32_t c;

	while (*text) {
		text += decode(text, &c);
		width += moves_cursor(c) ? 1 : (size_t)char_width(c);
	}
	return width;
}

void width_add(struct buf *buf, const char *text, size_t columns)
{
	size_t used = 0, room = columns;
	bool is_cut = width_of(text) > columns;
	int32_t c;

	if (is_cut && room > 0)
		room--;
	while (*text) {
		size_t len = decode(text, &c);
		size_t width = moves_cursor(c) ? 1 : (size_t)char_width(c);

		if (used + width > room)
			break;
		if (moves_cursor(c))
			buf_adds(buf, "?");
		else
			buf_add(buf, text, len);
		used += width;
		text += len;
	}
	if (is_cut && columns > 0)
		buf_adds(buf, "…");
	buf_adds(buf, "");
}

void width_wrap(struct buf *buf, const char *text, size_t indent, size_t columns)
{
	size_t at = indent;

	while (*text) {
		size_t len = strcspn(text, " ");
		_free_ char *word = strndup(text, len);
		size_t width = word ? width_of(word) : len;

		if (at > indent && columns && at + 1 + width > columns) {
			buf_addf(buf, "\n%*s", (int)indent, "");
			at = indent;
		} else if (at > indent) {
			buf_adds(buf, " ");
			at++;
		}
		buf_add(buf, text, len);
		at += width;
		text += len;
		text += strspn(text, " ");
	}
	buf_adds(buf, "\n");
}
