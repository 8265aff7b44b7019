/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the API's objects. A field that is absent, null or of another type reads as "", 0 or
 * false: an older or newer daemon makes a poorer table, not a crash.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

static inline const char *field_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static inline json_int_t field_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static inline bool field_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}
