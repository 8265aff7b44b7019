/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON written as TOML, for tests that hold config_to_json() to its promise: objects become inline
 * tables.
 */
#pragma once

#include <jansson.h>
#include <string.h>

#include "base/buf.h"

/* TOML has no surrogate pairs and no "\/": UTF-8 stays as it is and only controls are escaped. */
static inline void add_toml_string(struct buf *out, const char *text)
{
	buf_adds(out, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c == '"' || c == '\\' || c == 0x7f)
			buf_addf(out, "\\u%04X", c);
		else
			buf_add(out, text, 1);
	}
	buf_adds(out, "\"");
}

static inline void add_toml_value(struct buf *out, json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_string(value)) {
		add_toml_string(out, json_string_value(value));
	} else if (json_is_array(value)) {
		buf_adds(out, "[");
		json_array_foreach(value, i, item)
		{
			buf_adds(out, i ? ", " : "");
			add_toml_value(out, item);
		}
		buf_adds(out, "]");
	} else if (json_is_object(value)) {
		i = 0;
		buf_adds(out, "{");
		json_object_foreach(value, key, item)
		{
			buf_adds(out, i++ ? ", " : "");
			add_toml_string(out, key);
			buf_adds(out, " = ");
			add_toml_value(out, item);
		}
		buf_adds(out, "}");
	} else if (json_is_integer(value)) {
		buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else {
		buf_adds(out, json_is_true(value) ? "true" : "false");
	}
}

/* The caller frees. */
static inline char *json_to_toml(json_t *object)
{
	struct buf out = {};
	const char *key;
	json_t *item;

	json_object_foreach(object, key, item)
	{
		add_toml_string(&out, key);
		buf_adds(&out, " = ");
		add_toml_value(&out, item);
		buf_adds(&out, "\n");
	}
	return buf_take(&out);
}
