/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog: how a real edge's wherryd copes with a large fleet: a catalog of 50 hosts and 100,000
 * services is put into etcd, all hosts but the edge are made up, and the edge is started on it. The
 * changes are what other hosts would commit; when one is live is read off the pinned maps. Run in
 * the network namespace of the edge, by bench/run catalog, which gives the made-up hosts' addresses
 * to a namespace that answers pings.
 *
 * Times of changes are from before the commit to the map's change: they include the commit itself.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/records.h"
#include "store/store.h"
#include "wherry/abi.h"

#define APPS	 1000
#define PORTS	 100 /* of each app: a service each */
#define MACHINES 2   /* of each app */
#define HOSTS	 49  /* made up; the edge is one more */
#define REGIONS	 7   /* the machines of an app are all in one */

#define FIRST_HOST   2		 /* ids; the edge finds 1 free */
#define HOST_ADDRS   0xc0000200U /* 192.0.2.0 + id */
#define PUBLIC_ADDRS 0xcb000000U /* 203.0.0.0 + app */
#define MACHINE_POOL 0xac100000U /* 172.16.0.0 + 4096 * id */
#define FIRST_PORT   5000

#define CHANGES	  20 /* of each kind */
#define WAIT_S	  60
#define LOOK_US	  100
#define BATCH_OPS 64

static struct store *store;
static struct {
	int services, tables;
} maps;

static _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("catalog: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static struct addr addr_of(uint32_t addr)
{
	return addr_from_v4(htonl(addr));
}

/* Writing the catalog */

struct batch {
	struct store_op ops[BATCH_OPS];
	size_t count;
};

static void commit(struct batch *batch)
{
	struct err err = {};

	if (batch->count && store_txn(store, NULL, 0, batch->ops, batch->count, NULL, &err) != 0)
		die("cannot write the catalog: %s", err.text);
	while (batch->count > 0) {
		struct store_op *op = &batch->ops[--batch->count];

		free((void *)(uintptr_t)op->key);
		free((void *)(uintptr_t)op->value);
	}
}

/* Takes over @json. */
static void put(struct batch *batch, json_t *json, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void put(struct batch *batch, json_t *json, const char *format, ...)
{
	struct store_op *op = &batch->ops[batch->count++];
	va_list args;
	char *key;

	va_start(args, format);
	if (vasprintf(&key, format, args) < 0)
		die("out of memory");
	va_end(args);
	*op = (struct store_op){
		.key = key, .value = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY)};
	json_decref(json);
	if (!op->value)
		die("cannot write %s", key);
	if (batch->count == BATCH_OPS)
		commit(batch);
}

static void put_fleet(struct batch *batch)
{
	struct fleet_record fleet = {};

	prefix_parse("172.16.0.0/12", &fleet.machine_pool);
	prefix_parse("10.64.0.0/16", &fleet.mesh_pool);
	put(batch, fleet_record_to_json(&fleet), "fleet");
}

static void put_host(struct batch *batch, unsigned int id)
{
	char name[32], text[ADDR_TEXT_LEN], endpoint[64], region[] = "r0";
	struct prefix slice = {.addr = addr_of(MACHINE_POOL + 4096 * id), .len_bits = 20};
	struct host_record record = {
		.id = id,
		.name = name,
		.region = region,
		.endpoint = addr_of(HOST_ADDRS + id),
		.mesh_v4 = addr_of(HOST_ADDRS + id),
		.is_worker = true,
		.slices = &slice,
		.slice_count = 1,
	};
	struct host_alive alive = {.endpoint = endpoint, .version = (char *)WHERRY_VERSION};

	region[1] = (char)('0' + (id - FIRST_HOST) % REGIONS);
	snprintf(name, sizeof(name), "worker-%u", id);
	snprintf(record.identity, sizeof(record.identity), "%032x", id);
	snprintf(endpoint, sizeof(endpoint), "%s:0", addr_format(&record.endpoint, text));
	strcpy(alive.identity, record.identity);
	clock_stamp(record.joined_at);
	clock_stamp(alive.started_at);
	put(batch, host_record_to_json(&record), "hosts/%05u", id);
	put(batch, host_alive_to_json(&alive), "host-alive/%05u", id);
	put(batch, json_integer(id), "slices/%s", addr_format(&slice.addr, text));
}

static json_t *app_json(unsigned int app, unsigned int release)
{
	char name[32];
	struct app_record record = {.name = name, .release = release, .last_release = release};

	snprintf(name, sizeof(name), "app-%04u", app);
	clock_stamp(record.created_at);
	return app_record_to_json(&record);
}

static json_t *release_json(unsigned int app, unsigned int number, unsigned int ports)
{
	_cleanup_(buf_clear) struct buf text = {};
	char name[32], file_name[] = "fly.toml";
	struct release_record record = {.number = number, .app = name, .file_name = file_name};

	snprintf(name, sizeof(name), "app-%04u", app);
	buf_addf(&text, "app = \"%s\"\n", name);
	for (unsigned int i = 0; i < ports; i++)
		buf_addf(&text,
			"\n[[services]]\nprotocol = \"udp\"\ninternal_port = %u\n"
			"[[services.ports]]\nport = %u\n",
			FIRST_PORT + i, FIRST_PORT + i);
	record.config_text = text.data;
	clock_stamp(record.created_at);
	return release_record_to_json(&record);
}

static void machine_id(unsigned int app, unsigned int n, char id[static MACHINE_ID_LEN])
{
	snprintf(id, MACHINE_ID_LEN, "%07x%07x", app + 1, n + 1);
}

static void put_state(struct batch *batch, unsigned int app, unsigned int n, const char *state)
{
	struct machine_state_record record = {.is_up = strcmp(state, "started") == 0};
	char id[MACHINE_ID_LEN];

	machine_id(app, n, id);
	snprintf(record.state, sizeof(record.state), "%s", state);
	put(batch, machine_state_to_json(&record), "machine-state/%s", id);
}

/* Its network is a /29 of its own in its host's slice. */
static void put_machine(struct batch *batch, unsigned int app, unsigned int n)
{
	const unsigned int host = FIRST_HOST + (app + REGIONS * n) % HOSTS;
	const unsigned int place = app / HOSTS * (MACHINES + 1) + n;
	char app_name[32], name[32], text[ADDR_TEXT_LEN], group[] = "app";
	struct machine_record record = {
		.name = name,
		.app = app_name,
		.group = group,
		.kind = MACHINE_ATTACHED,
		.host = host,
		.release = 1,
		.network = {.addr = addr_of(MACHINE_POOL + 4096 * host + 8 * place),
			.len_bits = 29},
		.kill_signal = SIGINT,
		.kill_timeout_s = 5,
	};

	addr_parse("fdaa::2", &record.private_v6);
	snprintf(app_name, sizeof(app_name), "app-%04u", app);
	snprintf(name, sizeof(name), "machine-%u", n);
	machine_id(app, n, record.id);
	clock_stamp(record.created_at);
	clock_stamp(record.updated_at);
	put(batch, machine_record_to_json(&record), "machines/%s", record.id);
	put(batch, json_string(record.id), "networks/%s", addr_format(&record.network.addr, text));
	put_state(batch, app, n, "started");
}

static void put_app(struct batch *batch, unsigned int app)
{
	char name[32], text[ADDR_TEXT_LEN];
	struct ip_record ip = {.addr = addr_of(PUBLIC_ADDRS + app), .type = IP_V4, .app = name};

	snprintf(name, sizeof(name), "app-%04u", app);
	clock_stamp(ip.created_at);
	put(batch, app_json(app, 1), "apps/%s", name);
	put(batch, release_json(app, 1, PORTS), "releases/%s/%010u", name, 1);
	put(batch, ip_record_to_json(&ip), "ips/%s", addr_format(&ip.addr, text));
	for (unsigned int n = 0; n < MACHINES; n++)
		put_machine(batch, app, n);
}

static void fill(void)
{
	struct batch batch = {};

	put_fleet(&batch);
	for (unsigned int i = 0; i < HOSTS; i++)
		put_host(&batch, FIRST_HOST + i);
	for (unsigned int i = 0; i < APPS; i++)
		put_app(&batch, i);
	commit(&batch);
}

/* The edge */

struct edge {
	char *const *argv;
	const char *log;
	pid_t pid;
	int notify;
};

static void start(struct edge *edge)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int len = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "wherry-bench-%d", getpid());

	edge->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (edge->notify < 0 || bind(edge->notify, (struct sockaddr *)&at,
					(socklen_t)(sizeof(sa_family_t) + 1 + (size_t)len)) < 0)
		die("cannot hear of the daemon: %s", strerror(errno));
	at.sun_path[0] = '@';
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	edge->pid = fork();
	if (edge->pid == 0) {
		FILE *log = freopen(edge->log, "a", stderr);

		execv(edge->argv[0], edge->argv);
		fprintf(log ? log : stdout, "cannot run %s\n", edge->argv[0]);
		_exit(127);
	}
}

static void stop(struct edge *edge)
{
	kill(edge->pid, SIGTERM);
	waitpid(edge->pid, NULL, 0);
	close(edge->notify);
}

static bool has_died(const struct edge *edge)
{
	return waitpid(edge->pid, NULL, WNOHANG) == edge->pid;
}

static void await_ready(struct edge *edge)
{
	struct pollfd fd = {.fd = edge->notify, .events = POLLIN};
	const double began_ms = now_ms();

	while (now_ms() - began_ms < WAIT_S * 1e3) {
		char text[256] = "";

		if (has_died(edge))
			die("wherryd ended; see %s", edge->log);
		if (poll(&fd, 1, 50) > 0 && recv(edge->notify, text, sizeof(text) - 1, 0) > 0 &&
			strstr(text, "READY=1"))
			return;
	}
	die("wherryd was not ready within %d s; see %s", WAIT_S, edge->log);
}

/* What the daemon has had of the CPUs: on a machine that others use, too, it says more. */
static double cpu_ms(const struct edge *edge)
{
	struct timespec used = {};
	clockid_t clock;

	if (clock_getcpuclockid(edge->pid, &clock) == 0)
		clock_gettime(clock, &used);
	return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* A line of /proc/PID/status, in KiB. */
static unsigned int memory_kib(const struct edge *edge, const char *what)
{
	char path[64], line[256];
	unsigned int kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", edge->pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, what, strlen(what)) == 0)
			kib = (unsigned int)strtoul(line + strlen(what) + 1, NULL, 10);
	if (file)
		fclose(file);
	return kib;
}

/* The maps */

static void open_maps(const char *bpf_dir)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/v%d/wherry_services", bpf_dir, WHERRY_ABI_VERSION);
	maps.services = bpf_obj_get(path);
	snprintf(path, sizeof(path), "%s/v%d/wherry_tables", bpf_dir, WHERRY_ABI_VERSION);
	maps.tables = bpf_obj_get(path);
	if (maps.services < 0 || maps.tables < 0)
		die("cannot open %s: %s", path, strerror(errno));
}

/* What a packet to the service would find: nothing, or which table (its map) or machine. */
struct found {
	bool is_there;
	struct wherry_service service;
	uint32_t table_id;
};

static struct found look(unsigned int app, unsigned int port)
{
	const struct wherry_service_key key = {
		.addr = htonl(PUBLIC_ADDRS + app),
		.port = htons((uint16_t)(FIRST_PORT + port)),
		.protocol = 17,
		.port_bits = 16,
	};
	struct found found;

	memset(&found, 0, sizeof(found));
	found.is_there = bpf_map_lookup_elem(maps.services, &key, &found.service) == 0;
	if (found.is_there && found.service.table)
		bpf_map_lookup_elem(maps.tables, &found.service.table, &found.table_id);
	return found;
}

static bool is_complete(void)
{
	/* The services are written in the order of their addresses. */
	struct found found = look(APPS - 1, PORTS - 1);

	return found.is_there && (found.service.table || found.service.slot.machine);
}

/* Until what is found differs from @before. Returns how long it was since @began_ms. */
static double await_change(
	double began_ms, unsigned int app, unsigned int port, const struct found *before)
{
	for (;;) {
		struct found found = look(app, port);

		if (memcmp(&found, before, sizeof(found)) != 0)
			return now_ms() - began_ms;
		if (now_ms() - began_ms > WAIT_S * 1e3)
			die("the change of app %u did not arrive within %d s", app, WAIT_S);
		usleep(LOOK_US);
	}
}

/* Changes */

enum kind {
	KIND_STOPPED,
	KIND_STARTED,
	KIND_MACHINE,
	KIND_RELEASE,
	KIND_COUNT,
};

static const char *const kind_names[] = {"a machine stopped", "a machine started again",
	"a machine more", "a release with a service more"};

static double change(enum kind kind, unsigned int app)
{
	const unsigned int port = kind == KIND_RELEASE ? PORTS : 0;
	const struct found before = look(app, port);
	const double began_ms = now_ms();
	struct batch batch = {};

	if (kind == KIND_STOPPED)
		put_state(&batch, app, 1, "stopped");
	else if (kind == KIND_STARTED)
		put_state(&batch, app, 1, "started");
	else if (kind == KIND_MACHINE)
		put_machine(&batch, app, MACHINES);
	else {
		put(&batch, release_json(app, 2, PORTS + 1), "releases/app-%04u/%010u", app, 2);
		put(&batch, app_json(app, 2), "apps/app-%04u", app);
	}
	commit(&batch);
	return await_change(began_ms, app, port, &before);
}

static int compare(const void *a, const void *b)
{
	const double *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static double measure_changes(const struct edge *edge, enum kind kind, FILE *json)
{
	const double cpu_before_ms = cpu_ms(edge);
	double ms[CHANGES], worst, cpu;

	for (unsigned int i = 0; i < CHANGES; i++) {
		ms[i] = change(kind, 10 + i * 37);
		usleep(200000);
	}
	cpu = (cpu_ms(edge) - cpu_before_ms) / CHANGES;
	qsort(ms, CHANGES, sizeof(*ms), compare);
	worst = ms[CHANGES - 1];
	printf("  %-32s %6.1f ms (%.1f..%.1f), %.1f ms of CPU\n", kind_names[kind], ms[CHANGES / 2],
		ms[0], worst, cpu);
	fprintf(json,
		"  \"%s\": {\"median_ms\": %.1f, \"low_ms\": %.1f, \"high_ms\": %.1f, "
		"\"cpu_ms\": %.1f},\n",
		kind_names[kind], ms[CHANGES / 2], ms[0], worst, cpu);
	return ms[CHANGES / 2];
}

static const char *verdict(bool is_met)
{
	return is_met ? "met" : "MISSED";
}

/* The first start fills empty maps; a later one finds them as they were, and what changed since. */
static void measure(struct edge *edge, const char *bpf_dir, FILE *json)
{
	double began_ms = now_ms(), first_ms, ready_ms, resync_ms, worst_ms = 0;
	struct batch batch = {};
	struct found before;
	unsigned int rss_kib, peak_kib;

	start(edge);
	await_ready(edge);
	ready_ms = now_ms() - began_ms;
	open_maps(bpf_dir);
	while (!is_complete()) {
		if (has_died(edge) || now_ms() - began_ms > WAIT_S * 1e3)
			die("the services did not come; see %s", edge->log);
		usleep(LOOK_US);
	}
	first_ms = now_ms() - began_ms;
	printf("%d hosts, %d apps, %d services, %d machines\n\nThe first start: ready after %.0f "
	       "ms, all services in the maps after %.0f ms, "
	       "%.0f ms of CPU\n\nFrom commit to map, median of %d "
	       "(lowest..highest)\n",
		HOSTS + 1, APPS, APPS * PORTS, APPS * MACHINES, ready_ms, first_ms, cpu_ms(edge),
		CHANGES);
	sleep(3); /* the probes settle */
	for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
		double ms = measure_changes(edge, kind, json);

		worst_ms = ms > worst_ms ? ms : worst_ms;
	}
	rss_kib = memory_kib(edge, "VmRSS:");
	peak_kib = memory_kib(edge, "VmHWM:");
	stop(edge);
	before = look(5, 0);
	put_state(&batch, 5, 1, "stopped");
	commit(&batch);
	began_ms = now_ms();
	start(edge);
	await_ready(edge);
	ready_ms = now_ms() - began_ms;
	resync_ms = await_change(began_ms, 5, 0, &before);
	printf("\nA change is live after %.1f ms   at most 100   %s\n", worst_ms,
		verdict(worst_ms <= 100));
	printf("Memory %.0f MiB, %.0f at its highest   at most 256   %s\n", rss_kib / 1024.0,
		peak_kib / 1024.0, verdict(peak_kib <= 256 * 1024));
	printf("Started again: ready after %.0f ms, what changed meanwhile live after %.0f ms, "
	       "%.0f "
	       "ms of CPU   at most 5000   %s\n",
		ready_ms, resync_ms, cpu_ms(edge), verdict(resync_ms <= 5000 && first_ms <= 5000));
	fprintf(json,
		"  \"change_ms\": %.1f,\n  \"rss_kib\": %u,\n  \"peak_kib\": %u,\n"
		"  \"first_start_ms\": %.0f,\n  \"resync_ms\": %.0f\n",
		worst_ms, rss_kib, peak_kib, first_ms, resync_ms);
	stop(edge);
}

int main(int argc, char **argv)
{
	struct edge edge = {};
	struct store_etcd_options options = {};
	struct err err = {};
	FILE *json;

	if (argc < 6) {
		fputs("usage: catalog ETCD-URL BPF-DIR LOG-FILE JSON-FILE WHERRYD [ARGS..]\n",
			stderr);
		return 2;
	}
	options.url = argv[1];
	edge.log = argv[3];
	edge.argv = argv + 5;
	json = fopen(argv[4], "w");
	if (!json)
		die("cannot write %s: %s", argv[4], strerror(errno));
	if (store_open_etcd(&store, &options, &err) < 0)
		die("%s", err.text);
	fill();
	fputs("{\n", json);
	measure(&edge, argv[2], json);
	fputs("}\n", json);
	fclose(json);
	store_close(store);
	return 0;
}
