/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking part of a machine's life, in libuv's worker threads. A job has its own copy of all
 * it needs: the machine's record may change while it runs. One job a machine at a time.
 */
#include "control/control_impl.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/sysinfo.h>

char *machine_dir(const struct control *control, const char *id)
{
	char *dir;

	return asprintf(&dir, "%s/machines/%s", control->state_dir, id) < 0 ? NULL : dir;
}

static int copy_strings(const struct strings *from, struct strings *to)
{
	to->items = calloc(from->count + 1, sizeof(*to->items));
	if (!to->items)
		return -ENOMEM;
	for (size_t i = 0; i < from->count; i++) {
		to->items[i] = strdup(from->items[i]);
		if (!to->items[i])
			return -ENOMEM;
		to->count++;
	}
	return 0;
}

static int add_env(struct machine_spec *spec, const char *name, const char *value)
{
	struct env_var *env;

	for (size_t i = 0; i < spec->env_count; i++)
		if (strcmp(spec->env[i].name, name) == 0)
			return 0; /* what was said first holds */
	env = realloc(spec->env, (spec->env_count + 1) * sizeof(*env));
	if (!env)
		return -ENOMEM;
	spec->env = env;
	env[spec->env_count] = (struct env_var){strdup(name), strdup(value)};
	spec->env_count++;
	return env[spec->env_count - 1].name && env[spec->env_count - 1].value ? 0 : -ENOMEM;
}

/* The FLY_* environment (fly-spec 4.6), then what the release and the maker of the machine set. */
static int build_env(const struct machine *machine, struct machine_spec *spec)
{
	const struct control *control = machine->control;
	const struct machine_record *record = machine->record;
	const struct ip_record *v6 = addresses_find(control, record->app, IP_V6);
	const struct ip_record *v4 = addresses_find(control, record->app, IP_V4);
	char private_v6[ADDR_TEXT_LEN], public_v6[ADDR_TEXT_LEN] = "",
					public_v4[ADDR_TEXT_LEN] = "";
	char version[16], memory[24];
	struct sysinfo info = {};
	const struct {
		const char *name, *value;
	} fixed[] = {
		{"FLY_APP_NAME", record->app},
		{"FLY_MACHINE_ID", record->id},
		{"FLY_ALLOC_ID", record->id},
		{"FLY_REGION", control->config.region},
		{"FLY_PROCESS_GROUP", record->group},
		{"FLY_MACHINE_VERSION", version},
		{"FLY_IMAGE_REF", record->image ? record->image : ""},
		{"FLY_VM_MEMORY_MB", memory},
		{"FLY_PRIVATE_IP", private_v6},
		{"FLY_PUBLIC_IP", public_v6},
		{"WHERRY_PUBLIC_IPV4", public_v4},
	};
	int r = 0;

	sysinfo(&info);
	snprintf(version, sizeof(version), "%u", record->release);
	snprintf(memory, sizeof(memory), "%llu",
		(unsigned long long)info.totalram * info.mem_unit >> 20);
	addr_format(&record->private_v6, private_v6);
	if (v6)
		addr_format(&v6->addr, public_v6);
	if (v4)
		addr_format(&v4->addr, public_v4);
	for (size_t i = 0; i < ARRAY_LEN(fixed) && r == 0; i++)
		if (*fixed[i].value)
			r = add_env(spec, fixed[i].name, fixed[i].value);
	for (size_t i = 0; i < record->env_count && r == 0; i++)
		r = add_env(spec, record->env[i].name, record->env[i].value);
	return r;
}

static char *copy_or_null(const char *text)
{
	return text ? strdup(text) : NULL;
}

int machine_spec_build(const struct machine *machine, struct machine_spec *out)
{
	const struct control *control = machine->control;
	const struct machine_record *record = machine->record;
	struct machine_spec spec = {
		.kind = record->kind,
		.network = record->network.addr,
		.gateway = network_gateway(&record->network),
		.primary = network_primary(&record->network),
		.service = network_service(&record->network),
		.private_v6 = record->private_v6,
		.mtu_bytes = fleet_machine_mtu(control),
		.kill_signal = record->kill_signal,
		.kill_timeout_s = record->kill_timeout_s,
		.nameserver_count = control->config.nameserver_count,
	};
	int r;

	memcpy(spec.id, record->id, sizeof(spec.id));
	memcpy(spec.nameservers, control->config.nameservers, sizeof(spec.nameservers));
	spec.app = strdup(record->app);
	spec.group = strdup(record->group);
	spec.image = copy_or_null(record->image);
	spec.image_id = copy_or_null(record->image_id);
	spec.rootfs = copy_or_null(record->rootfs);
	spec.netns = copy_or_null(record->netns);
	spec.state_dir = machine_dir(control, record->id);
	r = copy_strings(&record->command, &spec.command);
	if (r == 0)
		r = build_env(machine, &spec);
	if (r < 0 || !spec.app || !spec.group || !spec.state_dir) {
		machine_spec_clear(&spec);
		return -ENOMEM;
	}
	*out = spec;
	return 0;
}

static int find_running(struct machine_job *job)
{
	int r = machine_net_find(&job->spec, &job->net, &job->err);

	if (r < 0)
		return r;
	job->has_net = r == 0;
	if (job->spec.kind == MACHINE_ATTACHED) {
		job->run.state = job->has_net ? MACHINE_RUN_RUNNING : MACHINE_RUN_ABSENT;
		return 0;
	}
	return machine_inspect(&job->spec, &job->run, &job->err);
}

static int start(struct machine_job *job)
{
	int r = file_mkdirs(job->spec.state_dir, 0700, &job->err);

	if (r == 0)
		r = machine_net_setup(&job->spec, &job->net, &job->err);
	if (r < 0)
		return r;
	job->has_net = true;
	return machine_start(&job->spec, &job->run, &job->err);
}

static int take_down(struct machine_job *job)
{
	int r = 0;

	if (job->spec.kind != MACHINE_ATTACHED) {
		r = machine_stop(&job->spec, &job->run, &job->err);
		if (r == 0)
			r = machine_remove(&job->spec, &job->err);
	}
	if (r == 0)
		r = machine_net_teardown(&job->spec, &job->err);
	if (r == 0)
		r = file_remove_all(job->spec.state_dir, &job->err);
	return r;
}

static void job_work(uv_work_t *work)
{
	struct machine_job *job = work->data;

	switch (job->type) {
	case JOB_ADOPT:
		job->result = find_running(job);
		break;
	case JOB_START:
		job->result = start(job);
		break;
	case JOB_INSPECT:
		job->result = machine_inspect(&job->spec, &job->run, &job->err);
		break;
	case JOB_STOP:
		if (job->spec.kind != MACHINE_ATTACHED)
			job->result = machine_stop(&job->spec, &job->run, &job->err);
		break;
	case JOB_REMOVE:
		job->result = take_down(job);
		break;
	}
}

void job_end(struct machine_job *job, int status)
{
	struct machine *machine = job->machine;

	machine->is_busy = false;
	/* Gone or cancelled: the daemon is leaving, and what was wanted is in the catalog. */
	if (status == 0 && !machine->is_gone)
		machine_job_done(machine, job);
	machine_release(machine);
	machine_spec_clear(&job->spec);
	free(job);
}

static void job_after(uv_work_t *work, int status)
{
	job_end(work->data, status);
}

int job_run(struct machine_job *job)
{
	job->work.data = job;
	return uv_queue_work(job->machine->control->loop, &job->work, job_work, job_after);
}

int job_start(struct machine *machine, enum job_type type)
{
	struct machine_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	job->machine = machine;
	job->type = type;
	r = machine_spec_build(machine, &job->spec);
	if (r == 0) {
		machine->is_busy = true;
		machine_hold(machine);
		r = type == JOB_START && image_queue_needs(machine) ? image_queue_fetch(job)
								    : job_run(job);
	}
	if (r < 0) {
		if (machine->is_busy)
			machine_release(machine);
		machine->is_busy = false;
		machine_spec_clear(&job->spec);
		free(job);
	}
	return r;
}
