/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/doctor. The examination runs other programs and may take seconds, so it happens in a
 * worker, on a copy of what the control plane knows.
 */
#include "control/routes.h"

#include "base/buf.h"
#include "control/doctor.h"

#include <errno.h>
#include <string.h>

#define PORTS_MAX 32 /* looked at per machine */

struct examination {
	uv_work_t work;
	struct control *control;
	struct api_request *req;
	struct doctor_options options;
	struct doctor_report report;
	struct host_public public;
	struct doctor_fleet fleet;
	struct buf store, store_problem, lost, silent;
	struct mesh_device mesh;
	unsigned int underlay_mtu_bytes;
	struct prefix *pools, *slices;
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
	buf_clear(&exam->store);
	buf_clear(&exam->store_problem);
	buf_clear(&exam->lost);
	buf_clear(&exam->silent);
	free(exam->public.addrs);
	free(exam->slices);
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

static void add_name(struct buf *names, const struct host *host)
{
	buf_addf(names, "%s%s", names->len ? ", " : "", host->record->name);
}

static int add_slices(struct examination *exam, const struct host_record *record)
{
	struct prefix *slices = realloc(exam->slices,
		(exam->fleet.slice_count + record->slice_count + 1) * sizeof(*slices));

	if (!slices)
		return -ENOMEM;
	exam->slices = slices;
	if (record->slice_count)
		memcpy(slices + exam->fleet.slice_count, record->slices,
			record->slice_count * sizeof(*slices));
	exam->fleet.slice_count += record->slice_count;
	return 0;
}

/* The MTU of what the mesh stands on. */
static unsigned int underlay_mtu(const struct control *control)
{
	struct host_public underlay = {};
	unsigned int mtu_bytes = control->public.mtu_bytes;

	if (control->config.underlay_interface &&
		host_net_find_public(control->config.underlay_interface, &underlay, NULL) == 0)
		mtu_bytes = underlay.mtu_bytes;
	host_public_clear(&underlay);
	return mtu_bytes;
}

static int prepare_fleet(struct examination *exam)
{
	struct control *control = exam->control;
	struct doctor_fleet *fleet = &exam->fleet;
	struct err err;

	mesh_device(control->mesh, &exam->mesh);
	exam->underlay_mtu_bytes = underlay_mtu(control);
	buf_adds(&exam->store, control->config.store);
	buf_adds(&exam->lost, "");
	buf_adds(&exam->silent, "");
	if (store_is_away(control->store, &err) < 0)
		buf_adds(&exam->store_problem, err.text);
	for (size_t i = 0; i < control->host_count; i++) {
		const struct host *host = control->hosts[i];

		if (!host->record)
			continue;
		if (add_slices(exam, host->record) < 0)
			return -ENOMEM;
		if (host->id == control->host_id)
			continue;
		fleet->other_count++;
		if (!host_is_reachable(control, host->id))
			add_name(&exam->lost, host);
		else if (!host_is_alive(control, host))
			add_name(&exam->silent, host);
	}
	fleet->underlay = control->config.is_plain ? "plain" : "wireguard";
	fleet->mesh_device = exam->mesh.name;
	fleet->mesh_mtu_bytes = exam->mesh.mtu_bytes;
	fleet->store = exam->store.data;
	fleet->store_problem = exam->store_problem.data;
	fleet->lost = exam->lost.data;
	fleet->silent = exam->silent.data;
	fleet->slices = exam->slices;
	exam->options.fleet = fleet;
	return fleet->store && fleet->lost && fleet->silent ? 0 : -ENOMEM;
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
		.is_edge = control->config.is_edge,
		.is_worker = control->config.is_worker,
		.state_dir = control->state_dir,
		.bpf_dir = control->bpf_dir,
		.machines = exam->machines,
	};
	for (size_t i = 0; i < control->machine_count; i++)
		if (control->machines[i]->is_local && control->machines[i]->state == STATE_STARTED)
			add_machine(exam, control->machines[i]);
	if (control->mesh && prepare_fleet(exam) < 0) {
		free_examination(exam);
		return NULL;
	}
	return exam;
}

static void examine(uv_work_t *work)
{
	struct examination *exam = work->data;

	doctor_run(&exam->options, &exam->report);
}

/* Between the largest packet and what it carries. */
#define IP_UDP_BYTES 28

static json_t *view_sizes(const struct examination *exam)
{
	const unsigned int public_mtu = exam->public.mtu_bytes ? exam->public.mtu_bytes : 1500;
	const unsigned int machine_mtu = fleet_machine_mtu(exam->control);
	unsigned int largest = public_mtu;
	json_t *json;

	/* On one host nothing is put around a packet. */
	if (exam->options.fleet)
		largest = exam->mesh.mtu_bytes - WHERRY_MINIMAL_BYTES;
	json = json_pack("{s:s, s:i, s:i, s:i, s:i}", "underlay",
		exam->options.fleet ? exam->fleet.underlay : "none", "public_bytes",
		(int)public_mtu, "machine_bytes", (int)machine_mtu, "largest_bytes", (int)largest,
		"payload_bytes", (int)largest - IP_UDP_BYTES);
	if (!exam->options.fleet)
		return json;
	json_object_set_new(json, "underlay_bytes", json_integer(exam->underlay_mtu_bytes));
	json_object_set_new(json, "mesh_bytes", json_integer(exam->mesh.mtu_bytes));
	json_object_set_new(json, "overhead_bytes",
		json_integer((json_int_t)exam->underlay_mtu_bytes - largest));
	return json;
}

static json_t *view_report(const struct examination *exam)
{
	const struct control *control = exam->control;
	json_t *checks = json_array();

	for (size_t i = 0; i < exam->report.count; i++) {
		const struct doctor_check *check = &exam->report.checks[i];

		json_array_append_new(
			checks, json_pack("{s:s, s:s, s:s}", "name", check->name, "status",
					doctor_status_name(check->status), "message",
					check->message ? check->message : ""));
	}
	return json_pack("{s:o, s:o, s:o}", "checks", checks, "mtu", view_sizes(exam), "counters",
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
