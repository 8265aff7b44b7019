/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane's life. At the start it looks at every machine of the catalog before it
 * touches the data plane: what is forwarding goes on untouched until all is known. At the end it
 * only closes its own descriptors.
 */
#include "control/control.h"
#include "control/control_impl.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ADOPT_TICK_MS 2

static int load_config(struct control *control, struct err *err)
{
	struct diagnostics diags = {};
	int r = host_config_load(&control->config, control->config_path, &diags);

	for (size_t i = 0; i < diags.count; i++) {
		const struct diagnostic *diag = &diags.items[i];

		if (diag->severity == SEVERITY_WARNING)
			log_warn("config", "file=%s line=%u message=\"%s\"", control->config_path,
				diag->line, diag->message);
		else if (r < 0 && (!err->text[0]))
			err_set(err, r, "%s:%u:%u: %s", control->config_path, diag->line,
				diag->column, diag->message);
	}
	if (r < 0 && !err->text[0])
		err_errno(err, r, "cannot read %s", control->config_path);
	diagnostics_clear(&diags);
	if (r == 0)
		log_set_level(control->config.log_level);
	return r;
}

/* The start */

struct stale_ids {
	struct control *control;
	char (*ids)[MACHINE_ID_LEN];
	size_t count;
};

static void collect_stale(void *arg, const char *id)
{
	struct stale_ids *stale = arg;
	struct machine *machine = machine_find(stale->control, id);
	char(*ids)[MACHINE_ID_LEN];

	if (machine && machine->is_served)
		return;
	ids = realloc(stale->ids, (stale->count + 1) * sizeof(*ids));
	if (!ids)
		return;
	stale->ids = ids;
	snprintf(ids[stale->count++], MACHINE_ID_LEN, "%s", id);
}

/* What the fabric serves and nobody wants any more. */
static void forget_stale_machines(struct control *control)
{
	struct stale_ids stale = {.control = control};
	struct err err;

	fabric_machines_each(control->fabric, collect_stale, &stale);
	for (size_t i = 0; i < stale.count; i++)
		if (fabric_machine_remove(control->fabric, stale.ids[i], &err) < 0)
			log_error("data-plane-not-updated", "machine=%s reason=\"%s\"",
				stale.ids[i], err.text);
	free(stale.ids);
}

static void all_known(uv_timer_t *timer)
{
	struct control *control = timer->data;
	struct err err;

	if (control->is_ready || control->adopting)
		return;
	uv_timer_stop(timer);
	control->is_ready = true;
	fleet_update(control);
	serve(control);
	forget_stale_machines(control);
	serve(control);
	/* Last: programs of a build with other maps must not meet empty ones. */
	if (public_attach(control, &err) < 0)
		log_error("data-plane-not-attached", "reason=\"%s\"", err.text);
	for (size_t i = control->machine_count; i-- > 0;)
		machine_step(control->machines[i]);
	held_let_go(control);
	control->ready_fn(control->ready_arg);
}

static void adopt_machines(struct control *control)
{
	for (size_t i = 0; i < control->machine_count; i++) {
		struct machine *machine = control->machines[i];

		if (machine->is_local)
			machine_adopt(machine);
	}
	uv_timer_start(&control->adopt_timer, all_known, 0, ADOPT_TICK_MS);
}

/* What the command line says of the store counts. */
static int override_store(
	struct control *control, const struct control_options *options, struct err *err)
{
	char *store;
	int r;

	if (!options->store)
		return 0;
	r = strcmp(options->store, "sqlite") == 0 ? 0 : store_check_etcd_url(options->store, err);
	if (r < 0)
		return err_wrap(err, r, "--store");
	store = strdup(options->store);
	if (!store)
		return err_errno(err, -ENOMEM, "cannot start");
	free(control->config.store);
	control->config.store = store;
	return 0;
}

static int open_store(struct control *control, struct err *err)
{
	const struct host_config *config = &control->config;
	const struct store_etcd_options etcd = {
		.url = config->store,
		.ca_file = config->etcd_ca,
		.cert_file = config->etcd_cert,
		.key_file = config->etcd_key,
	};
	char path[4096];
	int r = file_mkdirs(control->state_dir, 0700, err);

	if (r < 0)
		return r;
	control->is_fleet = strcmp(config->store, "sqlite") != 0;
	if (!control->is_fleet) {
		snprintf(path, sizeof(path), "%s/catalog.db", control->state_dir);
		return store_open_sqlite(&control->store, path, err);
	}
	/* Packets go on meanwhile; without the catalog there is nothing else to do. */
	while ((r = store_open_etcd(&control->store, &etcd, err)) == -EHOSTDOWN) {
		log_warn("store-away", "reason=\"%s\"", err->text);
		sleep(1);
	}
	return r;
}

/* The store may go away again at any moment. */
static int read_catalog(struct control *control, struct err *err)
{
	int r = host_read_identity(control, err);

	if (r == 0)
		r = catalog_load(control, err);
	if (r == 0)
		r = host_join(control, err);
	while (r == -EHOSTDOWN) {
		log_warn("store-away", "reason=\"%s\"", err->text);
		sleep(1);
		store_dispatch(control->store, NULL);
		r = catalog_reload(control, err);
		if (r == 0)
			r = host_join(control, err);
	}
	return r;
}

static int open_all(struct control *control, const struct control_options *options, struct err *err)
{
	struct fabric_options fabric_options = {.bpf_dir = options->bpf_dir};
	char socket_path[4096];
	int r = load_config(control, err);

	if (r == 0)
		r = override_store(control, options, err);
	if (r == 0)
		r = open_store(control, err);
	if (r == 0)
		r = read_catalog(control, err);
	if (r < 0)
		return r;
	fabric_options.max_flows = control->config.max_flows;
	r = fabric_open(&control->fabric, &fabric_options, err);
	if (r == 0)
		r = public_setup(control, err);
	if (r == 0)
		r = public_watch(control, err);
	if (r == 0)
		r = fleet_open(control, err);
	if (r == 0)
		r = catalog_follow(control, err);
	if (r < 0)
		return r;
	snprintf(socket_path, sizeof(socket_path), "%s/wherryd.sock", control->run_dir);
	return api_server_new(
		&control->api, control->loop, socket_path, -1, control_routes, control, err);
}

void control_close(struct control *control)
{
	control->is_closing = true;
	rollouts_free(control);
	image_queue_close(control);
	drains_free(control);
	followers_end(control);
	while (control->waiters) {
		struct waiter *waiter = control->waiters;

		control->waiters = waiter->next;
		api_stream_fail(waiter->stream, 503, "unavailable",
			"wherryd is being stopped; ask "
			"again",
			NULL);
		json_decref(waiter->result);
		free(waiter);
	}
	while (control->machine_count)
		machine_close(control->machines[control->machine_count - 1]);
	api_server_free(take_ptr(control->api));
	catalog_unfollow(control);
	fleet_close(control);
	public_close(control);
	uv_close((uv_handle_t *)&control->adopt_timer, NULL);
}

int control_new(struct control **out, uv_loop_t *loop, const struct control_options *options,
	void (*ready)(void *arg), void *arg, struct err *err)
{
	_cleanup_(control_freep) struct control *control = calloc(1, sizeof(*control));
	int r;

	if (!control)
		return err_errno(err, -ENOMEM, "cannot start");
	err->text[0] = '\0';
	control->loop = loop;
	control->link_fd = -1;
	control->ready_fn = ready;
	control->ready_arg = arg;
	control->config_path = strdup(options->config_path);
	control->state_dir = strdup(options->state_dir);
	control->run_dir = strdup(options->run_dir);
	control->bpf_dir = strdup(options->bpf_dir);
	clock_stamp(control->started_at);
	control->index = calloc(1, sizeof(*control->index));
	if (!control->config_path || !control->state_dir || !control->run_dir ||
		!control->bpf_dir || !control->index)
		return err_errno(err, -ENOMEM, "cannot start");
	uv_timer_init(loop, &control->adopt_timer);
	control->adopt_timer.data = control;
	r = open_all(control, options, err);
	if (r < 0) {
		control_close(control);
		uv_run(loop, UV_RUN_DEFAULT);
		return r;
	}
	adopt_machines(control);
	*out = take_ptr(control);
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	catalog_free(control);
	hosts_free(control);
	index_free(control);
	serve_close(control);
	mirror_free(control->mirror);
	mesh_close(control->mesh);
	fabric_close(control->fabric);
	store_close(control->store);
	host_config_clear(&control->config);
	host_public_clear(&control->public);
	mem_closep(&control->link_fd);
	free(control->machines);
	free(control->pools);
	free(control->known_pools);
	free(control->config_path);
	free(control->state_dir);
	free(control->run_dir);
	free(control->bpf_dir);
	free(control);
}

int control_teardown(const struct control_options *options, struct err *err)
{
	int r = fabric_remove(options->bpf_dir, err);

	if (r == 0)
		r = mesh_remove(MESH_DEVICE, err);
	if (r == 0)
		r = resizer_remove(err);
	return r < 0 ? r : host_net_teardown(err);
}
