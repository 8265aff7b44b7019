/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On which host a new machine is made: a worker that lives, is not draining and is in the region
 * that was asked for; of those the one with the fewest machines of the group, then of the fewest
 * in all, so that machines spread over regions and hosts.
 */
#include "control/control_impl.h"

#include <errno.h>
#include <string.h>

struct load {
	unsigned int in_region, of_group, all;
};

static struct load load_of(
	const struct control *control, const struct host *host, const char *app, const char *group)
{
	struct load load = {};

	for (size_t i = 0; i < control->machine_count; i++) {
		const struct machine_record *record = control->machines[i]->record;
		const struct host *other = host_find(control, record->host);

		if (record->wish == WISH_DESTROYED || !other || !other->record)
			continue;
		load.all += record->host == host->id;
		if (strcmp(record->app, app) != 0 || strcmp(record->group, group) != 0)
			continue;
		load.of_group += record->host == host->id;
		load.in_region += strcmp(other->record->region, host->record->region) == 0;
	}
	return load;
}

static bool is_less(struct load a, struct load b)
{
	if (a.in_region != b.in_region)
		return a.in_region < b.in_region;
	if (a.of_group != b.of_group)
		return a.of_group < b.of_group;
	return a.all < b.all;
}

static bool takes_machines(const struct control *control, const struct host *host)
{
	return host->record && host->record->is_worker && !host->record->is_draining &&
	       host->alive.endpoint && host_is_reachable(control, host->id);
}

/* Without a region: any that has no count of its own for the group. */
static bool is_in_region(const struct host *host, const struct app_record *app, const char *group,
	const char *region)
{
	if (region)
		return strcmp(host->record->region, region) == 0;
	return !app_record_has_region(app, group, host->record->region);
}

int placement_choose(struct control *control, const struct app_record *app, const char *group,
	const char *region, struct host **out, struct err *err)
{
	struct host *best = NULL;
	struct load least = {};

	for (size_t i = 0; i < control->host_count; i++) {
		struct host *host = control->hosts[i];
		struct load load;

		if (!takes_machines(control, host) || !is_in_region(host, app, group, region))
			continue;
		load = load_of(control, host, app->name, group);
		if (best && !is_less(load, least))
			continue;
		best = host;
		least = load;
	}
	*out = best;
	if (best)
		return 0;
	return err_set(err, -EHOSTUNREACH,
		"there is no worker%s%s that lives and takes machines; wherry hosts list shows the "
		"hosts",
		region ? " in region " : "", region ? region : "");
}
