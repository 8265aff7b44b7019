/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines and addresses by app, a cache for what looks at every app of a large catalog. Sorted
 * again when it is asked for after machines or addresses came or went.
 */
#include "control/control_impl.h"

#include <errno.h>
#include <string.h>

static int compare_machines(const void *a, const void *b)
{
	const struct machine *const *left = a, *const *right = b;
	int order = strcmp((*left)->record->app, (*right)->record->app);

	return order ? order : strcmp((*left)->record->id, (*right)->record->id);
}

static int compare_ips(const void *a, const void *b)
{
	const struct ip_record *const *left = a, *const *right = b;
	int order = strcmp((*left)->app, (*right)->app);

	return order ? order : addr_compare(&(*left)->addr, &(*right)->addr);
}

static int update(const struct control *control)
{
	struct index *index = control->index;
	struct machine **machines;
	struct ip_record **ips;

	if (!index->is_old)
		return 0;
	machines = realloc(index->machines, (control->machine_count + 1) * sizeof(*machines));
	if (machines)
		index->machines = machines;
	ips = realloc(index->ips, (control->ip_count + 1) * sizeof(*ips));
	if (ips)
		index->ips = ips;
	if (!machines || !ips)
		return -ENOMEM;
	index->machine_count = control->machine_count;
	index->ip_count = control->ip_count;
	if (index->machine_count)
		memcpy(machines, control->machines, index->machine_count * sizeof(*machines));
	if (index->ip_count)
		memcpy(ips, control->ips, index->ip_count * sizeof(*ips));
	qsort(machines, index->machine_count, sizeof(*machines), compare_machines);
	qsort(ips, index->ip_count, sizeof(*ips), compare_ips);
	index->is_old = false;
	return 0;
}

struct machine **index_machines(const struct control *control, const char *app, size_t *count)
{
	const struct index *index = control->index;
	size_t low = 0, high;

	*count = 0;
	if (update(control) < 0)
		return NULL;
	high = index->machine_count;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(index->machines[middle]->record->app, app) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + *count < index->machine_count &&
		strcmp(index->machines[low + *count]->record->app, app) == 0)
		++*count;
	return index->machines + low;
}

struct ip_record **index_ips(const struct control *control, const char *app, size_t *count)
{
	const struct index *index = control->index;
	size_t low = 0, high;

	*count = 0;
	if (update(control) < 0)
		return NULL;
	high = index->ip_count;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(index->ips[middle]->app, app) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + *count < index->ip_count && strcmp(index->ips[low + *count]->app, app) == 0)
		++*count;
	return index->ips + low;
}

void index_free(struct control *control)
{
	if (!control->index)
		return;
	free(control->index->machines);
	free(control->index->ips);
	free(control->index);
}
