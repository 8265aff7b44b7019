/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An app's record, its JSON, and how many machines of its groups are wanted where; see records.h.
 * A count without a region is for all regions that have none of their own, so that the machines of
 * a group are always the sum of its counts.
 */
#include "model/records.h"

#include "base/err.h"

#include <errno.h>
#include <string.h>

static bool is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct group_count *find_count(
	const struct app_record *record, const char *group, const char *region)
{
	for (size_t i = 0; i < record->count_count; i++)
		if (strcmp(record->counts[i].group, group) == 0 &&
			is_same(record->counts[i].region, region))
			return &record->counts[i];
	return NULL;
}

unsigned int app_record_count(
	const struct app_record *record, const char *group, const char *region)
{
	const struct group_count *count = find_count(record, group, region);

	if (count)
		return count->count;
	for (size_t i = 0; i < record->count_count; i++)
		if (strcmp(record->counts[i].group, group) == 0)
			return 0;
	return region ? 0 : 1;
}

bool app_record_has_region(const struct app_record *record, const char *group, const char *region)
{
	return region && find_count(record, group, region);
}

int app_record_set_count(
	struct app_record *record, const char *group, const char *region, unsigned int count)
{
	struct group_count *known = find_count(record, group, region), *counts;
	_free_ char *group_copy = NULL, *region_copy = NULL;

	if (known) {
		known->count = count;
		return 0;
	}
	counts = realloc(record->counts, (record->count_count + 1) * sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	record->counts = counts;
	group_copy = strdup(group);
	region_copy = region ? strdup(region) : NULL;
	if (!group_copy || (region && !region_copy))
		return -ENOMEM;
	counts[record->count_count++] = (struct group_count){
		.group = take_ptr(group_copy),
		.region = take_ptr(region_copy),
		.count = count,
	};
	return 0;
}

static void clear_count(struct group_count *count)
{
	free(count->group);
	free(count->region);
}

void app_record_drop_regions(struct app_record *record, const char *group)
{
	size_t kept = 0;

	for (size_t i = 0; i < record->count_count; i++) {
		struct group_count *count = &record->counts[i];

		if (count->region && strcmp(count->group, group) == 0)
			clear_count(count);
		else
			record->counts[kept++] = *count;
	}
	record->count_count = kept;
}

int group_count_parse(const char *key, char **group, char **region)
{
	const char *at = strchr(key, '@');
	_free_ char *first = strndup(key, at ? (size_t)(at - key) : strlen(key));
	_free_ char *second = at ? strdup(at + 1) : NULL;

	if (!first || (at && !second))
		return -ENOMEM;
	if (!*first || (second && (!*second || strchr(second, '@'))))
		return -EINVAL;
	*group = take_ptr(first);
	*region = take_ptr(second);
	return 0;
}

json_t *app_record_counts_to_json(const struct app_record *record)
{
	json_t *counts = json_object();

	for (size_t i = 0; i < record->count_count; i++) {
		const struct group_count *count = &record->counts[i];
		_free_ char *key = NULL;

		if (asprintf(&key, "%s%s%s", count->group, count->region ? "@" : "",
			    count->region ? count->region : "") < 0)
			key = NULL;
		else
			json_object_set_new(counts, key, json_integer(count->count));
	}
	return counts;
}

static int read_counts(struct app_record *record, json_t *counts)
{
	const char *key;
	json_t *count;
	int r = 0;

	json_object_foreach(counts, key, count)
	{
		_free_ char *group = NULL, *region = NULL;
		json_int_t value = json_integer_value(count);

		r = group_count_parse(key, &group, &region);
		/* What a newer version means by another key is not ours to guess. */
		if (r == -EINVAL || value < 0 || value > UINT32_MAX)
			continue;
		if (r == 0)
			r = app_record_set_count(record, group, region, (unsigned int)value);
		if (r < 0)
			return r;
	}
	return 0;
}

static unsigned int get_uint(const json_t *json, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(json, key));

	return value < 0 || value > UINT32_MAX ? 0 : (unsigned int)value;
}

json_t *app_record_to_json(const struct app_record *record)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:o}", "name", record->name, "created_at",
		record->created_at, "release", record->release, "last_release",
		record->last_release, "counts", app_record_counts_to_json(record));
}

int app_record_from_json(const json_t *json, struct app_record **out, struct err *err)
{
	_cleanup_(app_record_freep) struct app_record *record = calloc(1, sizeof(*record));
	const char *name = json_string_value(json_object_get(json, "name"));
	const char *created_at = json_string_value(json_object_get(json, "created_at"));

	if (!record)
		return err_errno(err, -ENOMEM, "cannot read an app");
	if (!name)
		return err_set(
			err, -EBADMSG, "the catalog holds an app that this version cannot read");
	record->name = strdup(name);
	snprintf(
		record->created_at, sizeof(record->created_at), "%s", created_at ? created_at : "");
	record->release = get_uint(json, "release");
	record->last_release = get_uint(json, "last_release");
	if (!record->name || read_counts(record, json_object_get(json, "counts")) < 0)
		return err_errno(err, -ENOMEM, "cannot read an app");
	*out = take_ptr(record);
	return 0;
}

void app_record_free(struct app_record *record)
{
	if (!record)
		return;
	for (size_t i = 0; i < record->count_count; i++)
		clear_count(&record->counts[i]);
	free(record->counts);
	free(record->name);
	free(record);
}
