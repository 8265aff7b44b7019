/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checks a machine has, when each looks, and what follows from what it saw; see health.h.
 * Looks of one check never overlap: the next one is an interval after the beginning of the last, or
 * at once when that took longer. Beginnings are spread at random, so that the checks of a thousand
 * machines that start at once do not stay together.
 */
#include "health/health.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "health/look.h"
#include "base/netns.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_LOOK_MAX_MS 1000

struct health {
	struct health_target target;
	health_fn *fn;
	void *arg;
	bool is_changed, is_stopped;
	unsigned int handle_count;
	size_t count;
	struct look *looks;
	struct health_result *results;
};

static void health_free(struct health *health)
{
	if (!health)
		return;
	for (size_t i = 0; health->results && i < health->count; i++)
		free((char *)health->results[i].name);
	free(health->results);
	free(health->looks);
	free((char *)health->target.netns_path);
	free(health);
}
DEFINE_CLEANUP(struct health *, health_free)

void health_hold(struct health *health)
{
	health->handle_count++;
}

void health_release(struct health *health)
{
	if (--health->handle_count == 0 && health->is_stopped)
		health_free(health);
}

static uint64_t random_below(uint64_t bound)
{
	uint32_t value = 0;

	/* Without randomness the checks are together, which costs, but is right. */
	if (bound == 0 || getrandom(&value, sizeof(value), GRND_NONBLOCK) < 0)
		return 0;
	return value % bound;
}

static bool set_output(struct look *look, const char *output)
{
	if (strcmp(look->output, output) == 0)
		return false;
	snprintf(look->output, sizeof(look->output), "%s", output);
	return true;
}

static uint64_t next_delay(struct look *look, uint64_t now_ms)
{
	uint64_t interval_ms = look->check->interval_ms, took_ms = now_ms - look->began_ms;

	/* What failed in its grace is looked at again as soon as that is over. */
	if (look->grace_end_ms > now_ms && look->grace_end_ms - now_ms < interval_ms)
		return look->grace_end_ms - now_ms;
	if (!look->was_spread) {
		look->was_spread = true;
		interval_ms -= random_below(interval_ms / 2);
	}
	return took_ms < interval_ms ? interval_ms - took_ms : 1;
}

uint64_t health_judge(struct look *look, enum look_outcome outcome, const char *output)
{
	enum health_status status = look->result->status;
	uint64_t now_ms;

	uv_update_time(look->timer.loop);
	now_ms = uv_now(look->timer.loop);
	if (outcome == LOOK_PASSED) {
		status = HEALTH_PASSING;
		look->grace_end_ms = 0;
	} else if (outcome == LOOK_FAILED && look->began_ms >= look->grace_end_ms) {
		status = HEALTH_CRITICAL;
	}
	if (status != look->result->status) {
		look->result->status = status;
		clock_stamp(look->result->updated_at);
		look->health->is_changed = true;
	}
	if (set_output(look, output))
		look->health->is_changed = true;
	return next_delay(look, now_ms);
}

void health_tell(struct health *health)
{
	if (!health->is_changed)
		return;
	health->is_changed = false;
	if (health->fn)
		health->fn(health->arg);
}

static bool has_group(const struct strings *groups, const char *group)
{
	for (size_t i = 0; i < groups->count; i++)
		if (!strcmp(groups->items[i], group))
			return true;
	return false;
}

static bool is_taken(const struct health *health, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(health->results[i].name, name))
			return true;
	return false;
}

/* "udp-5000", "http-8080-/up", the name under [checks]; "-2" and so on keeps them apart. */
static char *make_name(const struct health *health, const struct look *look, size_t count)
{
	const struct check *check = look->check;
	struct buf base _cleanup_(buf_clear) = {};
	struct buf name = {};

	if (check->name)
		buf_adds(&base, check->name);
	else
		buf_addf(&base, "%s-%u%s%s", look->kind->type, look->port, check->path ? "-" : "",
			check->path ? check->path : "");
	buf_adds(&name, base.data);
	for (unsigned int i = 2; is_taken(health, count, name.data); i++) {
		buf_clear(&name);
		buf_addf(&name, "%s-%u", base.data, i);
	}
	return buf_take(&name);
}

static const struct look_kind *kind_of(const struct check *check)
{
	switch (check->type) {
	case CHECK_UDP:
		return &look_udp;
	case CHECK_HTTP:
		return &look_http;
	default:
		return &look_tcp;
	}
}

static void add(struct health *health, const struct check *check, uint16_t default_port)
{
	struct look *look = &health->looks[health->count];
	struct health_result *result = &health->results[health->count];

	*look = (struct look){
		.health = health,
		.kind = kind_of(check),
		.check = check,
		.target = &health->target,
		.port = check->port ? check->port : default_port,
		.is_informational = check->name != NULL,
		.output = "not looked at yet",
		.result = result,
	};
	*result = (struct health_result){
		.name = make_name(health, look, health->count),
		.type = look->kind->type,
		.status = HEALTH_WARNING,
		.output = look->output,
	};
	clock_stamp(result->updated_at);
	health->count++;
}

/* Adds the checks of @group, or with no @health counts them. */
static size_t select_checks(
	struct health *health, const struct app_config *config, const char *group)
{
	size_t count = 0;

	for (size_t i = 0; i < config->service_count; i++) {
		const struct service *service = &config->services[i];

		if (!service_in_group(service, group))
			continue;
		count += service->check_count;
		for (size_t k = 0; health && k < service->check_count; k++)
			add(health, &service->checks[k], service->internal_port);
	}
	for (size_t i = 0; i < config->check_count; i++) {
		if (!has_group(&config->checks[i].processes, group))
			continue;
		count++;
		if (health)
			add(health, &config->checks[i], 0);
	}
	return count;
}

static void start_looks(struct health *health, uv_loop_t *loop)
{
	uv_update_time(loop);
	for (size_t i = 0; i < health->count; i++) {
		struct look *look = &health->looks[i];
		uint64_t interval_ms = look->check->interval_ms;

		look->grace_end_ms = uv_now(loop) + look->check->grace_period_ms;
		look_start(look, loop,
			random_below(
				interval_ms < FIRST_LOOK_MAX_MS ? interval_ms : FIRST_LOOK_MAX_MS));
	}
}

int health_start(struct health **out, uv_loop_t *loop, const struct app_config *config,
	const char *group, const struct health_target *target, health_fn *fn, void *arg,
	struct err *err)
{
	size_t count = select_checks(NULL, config, group);
	_cleanup_(health_freep) struct health *health = NULL;
	_close_ int netns = -1;

	if (count == 0) {
		*out = NULL;
		return 0;
	}
	netns = netns_open(target->netns_path, err);
	if (netns < 0)
		return netns;
	health = calloc(1, sizeof(*health));
	if (!health)
		return err_errno(err, -ENOMEM, "cannot start health checks");
	health->target = *target;
	health->target.netns_path = strdup(target->netns_path);
	health->looks = calloc(count, sizeof(*health->looks));
	health->results = calloc(count, sizeof(*health->results));
	if (!health->target.netns_path || !health->looks || !health->results)
		return err_errno(err, -ENOMEM, "cannot start health checks");
	health->fn = fn;
	health->arg = arg;
	select_checks(health, config, group);
	start_looks(health, loop);
	*out = take_ptr(health);
	return 0;
}

void health_stop(struct health *health)
{
	if (!health)
		return;
	health->is_stopped = true;
	for (size_t i = 0; i < health->count; i++)
		look_stop(&health->looks[i]);
}

bool health_is_healthy(const struct health *health)
{
	for (size_t i = 0; health && i < health->count; i++)
		if (health->results[i].status == HEALTH_CRITICAL &&
			!health->looks[i].is_informational)
			return false;
	return true;
}

const struct health_result *health_results(const struct health *health, size_t *count)
{
	*count = health ? health->count : 0;
	return health ? health->results : NULL;
}

const char *health_status_name(enum health_status status)
{
	static const char *const names[] = {
		[HEALTH_PASSING] = "passing",
		[HEALTH_WARNING] = "warning",
		[HEALTH_CRITICAL] = "critical",
	};

	return names[status];
}
