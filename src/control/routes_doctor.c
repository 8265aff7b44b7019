/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/doctor. The examination runs other programs and may take seconds, so it happens in a
 * worker, on a copy of what the control plane knows.
 */
#include "control/routes.h"

#include "control/doctor.h"

#include <string.h>

#define PORTS_MAX 32 /* looked at per machine */

struct examination {
	uv_work_t work;
	struct control *control;
	struct api_request *req;
	struct doctor_options options;
	struct doctor_report report;
	struct host_public public;
	struct prefix *pools;
	struct doctor_machine *machines;
	struct port_range *ports; /* PORTS_MAX a machine */
};

static void free_examination(struct examination *exam)
{
	for (size_t i = 0; i < exam->options.machine_count; i++) {
		free((void *)exam->machines[i].netns_path);
		free((void *)exam->machines[i].id);
	}
	doctor_report_clear(&exam->report);
	free(exam->public.addrs);
	free(exam->pools);
	free(exam->machines);
	free(exam->ports);
	free(exam);
}

static size_t udp_ports(const struct machine *machine, struct port_range *ports)
{
	const struct app *app = catalog_find_app(machine->control, machine->record->app);
	size_t count = 0;

	for (size_t s = 0; app && app->config && s < app->config->service_count; s++) {
		const struct service *service = &app->config->services[s];

		if (service->protocol != PROTOCOL_UDP ||
			!service_in_group(service, machine->record->group))
			continue;
		for (size_t p = 0; p < service->port_count && count < PORTS_MAX; p++)
			ports[count++] = service->ports[p].range;
	}
	return count;
}

static void add_machine(struct examination *exam, const struct machine *machine)
{
	struct port_range *ports = exam->ports + exam->options.machine_count * PORTS_MAX;

	exam->machines[exam->options.machine_count++] = (struct doctor_machine){
		.id = strdup(machine->record->id),
		.netns_path = view_netns_path(machine),
		.primary = network_primary(&machine->record->network),
		.service = network_service(&machine->record->network),
		.udp_ports = ports,
		.udp_port_count = udp_ports(machine, ports),
	};
}

static void *copy_array(const void *from, size_t bytes)
{
	void *to = malloc(bytes + 1);

	if (to && bytes)
		memcpy(to, from, bytes);
	return to;
}

static struct examination *prepare(struct control *control)
{
	struct examination *exam = calloc(1, sizeof(*exam));

	if (!exam)
		return NULL;
	exam->control = control;
	exam->public = control->public;
	exam->public.addrs = copy_array(
		control->public.addrs, control->public.addr_count * sizeof(*control->public.addrs));
	exam->pools = copy_array(control->pools, control->pool_count * sizeof(*control->pools));
	exam->machines = calloc(control->machine_count + 1, sizeof(*exam->machines));
	exam->ports = calloc((control->machine_count + 1) * PORTS_MAX, sizeof(*exam->ports));
	if (!exam->public.addrs || !exam->pools || !exam->machines || !exam->ports) {
		free_examination(exam);
		return NULL;
	}
	exam->options = (struct doctor_options){
		.public = exam->public.name[0] ? &exam->public : NULL,
		.public_problem = "the public interface was not found",
		.pools = exam->pools,
		.pool_count = control->pool_count,
		.machine_pool = control->config.machine_pool,
		.nameserver_count = control->config.nameserver_count,
		.state_dir = control->state_dir,
		.bpf_dir = control->bpf_dir,
		.machines = exam->machines,
	};
	for (size_t i = 0; i < control->machine_count; i++)
		if (control->machines[i]->state == STATE_STARTED)
			add_machine(exam, control->machines[i]);
	return exam;
}

static void examine(uv_work_t *work)
{
	struct examination *exam = work->data;

	doctor_run(&exam->options, &exam->report);
}

static json_t *view_report(const struct examination *exam)
{
	const struct control *control = exam->control;
	unsigned int mtu = exam->public.mtu_bytes ? exam->public.mtu_bytes : 1500;
	json_t *checks = json_array();

	for (size_t i = 0; i < exam->report.count; i++) {
		const struct doctor_check *check = &exam->report.checks[i];

		json_array_append_new(
			checks, json_pack("{s:s, s:s, s:s}", "name", check->name, "status",
					doctor_status_name(check->status), "message",
					check->message ? check->message : ""));
	}
	/* One host: nothing is put around a packet. IP and UDP headers are 28 bytes. */
	return json_pack("{s:o, s:{s:i, s:i, s:i}, s:o}", "checks", checks, "mtu", "public_bytes",
		mtu, "machine_bytes", mtu, "payload_bytes", mtu - 28, "counters",
		view_counters(control));
}

static void examined(uv_work_t *work, int status)
{
	struct examination *exam = work->data;

	if (status < 0)
		api_reply_error(exam->req, 503, "unavailable", "wherryd is being stopped", NULL);
	else
		api_reply_json(exam->req, 200, view_report(exam));
	free_examination(exam);
}

void routes_doctor(struct api_request *req, void *arg)
{
	struct control *control = arg;
	struct examination *exam = prepare(control);

	if (!exam) {
		api_reply_error(req, 500, "failed", "out of memory", NULL);
		return;
	}
	exam->req = req;
	exam->work.data = exam;
	if (uv_queue_work(control->loop, &exam->work, examine, examined) < 0) {
		api_reply_error(req, 500, "failed", "no worker can be had", NULL);
		free_examination(exam);
		return;
	}
	api_request_defer(req);
}
