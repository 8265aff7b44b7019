/* SPDX-License-Identifier: Apache-2.0 */
/*
 * programs: what the edge's program costs a packet, by case, beside a bare one; see programs.bpf.c.
 * The programs and maps are the shipped ones, opened by the fabric on a bpffs and in a network
 * namespace of this process: nothing is left when it ends. The machines are all elsewhere, so that
 * every packet for a service is encapsulated; the mesh is "plain", by an Ethernet device.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/err.h"
#include "fabric/fabric_impl.h"
#include "programs.h"

#define BPF_DIR "/mnt/bpf/wherry"

#define TCX_NEXT     (-1)
#define TCX_REDIRECT 7

#define MACHINES 8
#define SERVICES 100000
#define ROUNDS	 9
#define PAYLOAD	 64

#define FIRST_PUBLIC 0xcb000000U /* 203.0.0.0: SERVICES / PROGRAMS_PORTS addresses from here on */
#define NOT_PUBLIC   0xc6336402U /* 198.51.100.2 */
#define FIRST_PORT   5000
#define OTHER_PORT   4999

struct test {
	const char *name;
	bool is_edge;
	bool is_encapsulated;
	struct programs_plan plan;
	double ns[ROUNDS];
};

#define EDGE(label, ...)                                                                           \
	{                                                                                          \
		.name = label, .is_edge = true, .is_encapsulated = true, .plan = {                 \
			.daddr = FIRST_PUBLIC,                                                     \
			.dport = FIRST_PORT,                                                       \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define BARE(label, ...)                                                                           \
	{                                                                                          \
		.name = label, .is_encapsulated = true, .plan = {                                  \
			.daddr = FIRST_PUBLIC,                                                     \
			.dport = FIRST_PORT,                                                       \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define NONE(label, ...)                                                                           \
	{                                                                                          \
		.name = label, .is_edge = true, .plan = { __VA_ARGS__ }                            \
	}

#define FIRST_EDGE  4
#define LAST_EDGE   7
#define FIRST_OTHER 9

static struct test tests[] = {
	BARE("bare, 1 flow", .flows = 1),
	BARE("bare, 65,536 flows", .flows = 65536),
	BARE("bare, 1,048,576 flows", .flows = 1048576),
	BARE("bare, new flows", .flows = 0),
	EDGE("edge, 1 flow", .flows = 1),
	EDGE("edge, 65,536 flows", .flows = 65536),
	EDGE("edge, 1,048,576 flows", .flows = 1048576),
	EDGE("edge, new flows", .flows = 0),
	EDGE("edge, 1,048,576 flows to 100,000 services", .flows = 1048576, .services = SERVICES),
	NONE("edge, public address, no service", .flows = 1, .daddr = FIRST_PUBLIC,
		.dport = OTHER_PORT),
	NONE("edge, an address of nobody", .flows = 1, .daddr = NOT_PUBLIC, .dport = FIRST_PORT),
};

struct bench {
	struct bpf_object *object;
	int again, nothing, bare, edge; /* programs */
	int subject, state;		/* maps */
	unsigned int up_ifindex, mesh_ifindex;
	struct fabric *fabric;
	uint8_t frame[ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr) + PAYLOAD];
	uint8_t out[512];
	uint32_t out_len;
	int verdict;
};

static _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("programs: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void make_namespaces(struct bench *bench)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 || mkdir("/mnt/bpf", 0700) < 0 ||
		mount("bpf", "/mnt/bpf", "bpf", 0, NULL) < 0)
		die("cannot make namespaces: %s; run it as root", strerror(errno));
	if (system("ip link set lo up && ip link add up0 type veth peer name up1 && "
		   "ip link add mesh0 type veth peer name mesh1 && "
		   "ip addr add 192.0.2.1/24 dev mesh0 && ip link set up0 up && "
		   "ip link set mesh0 up") != 0)
		die("cannot make interfaces");
	bench->up_ifindex = if_nametoindex("up0");
	bench->mesh_ifindex = if_nametoindex("mesh0");
}

static struct addr addr_of(uint32_t addr)
{
	return addr_from_v4(htonl(addr));
}

/* 172.16.0.3, 172.16.0.11 and so on, each on a host of its own: 192.0.2.2 and so on. */
static void add_machines(struct bench *bench, const char *ids[MACHINES])
{
	struct fabric_host hosts[MACHINES];
	struct err err = {};

	for (uint32_t i = 0; i < MACHINES; i++) {
		const struct fabric_machine machine = {
			.id = ids[i],
			.app = "bench",
			.host = addr_of(0xc0000202 + i),
			.primary = addr_of(0xac100002 + 8 * i),
			.service = addr_of(0xac100003 + 8 * i),
		};

		hosts[i] = (struct fabric_host){.mesh_addr = machine.host, .is_worker = true};
		if (fabric_machine_set(bench->fabric, &machine, NULL, &err) < 0)
			die("%s", err.text);
	}
	if (fabric_set_hosts(bench->fabric, hosts, MACHINES, &err) < 0)
		die("%s", err.text);
}

static void add_services(struct bench *bench, const char *ids[MACHINES])
{
	const struct fabric_group group = {"bench/app", ids, MACHINES};
	struct fabric_service *services = calloc(SERVICES, sizeof(*services));
	struct fabric_address *addrs = calloc(SERVICES / PROGRAMS_PORTS, sizeof(*addrs));
	struct err err = {};

	for (uint32_t i = 0; i < SERVICES; i++) {
		uint16_t port = (uint16_t)(FIRST_PORT + i % PROGRAMS_PORTS);

		services[i] = (struct fabric_service){
			.addr = addr_of(FIRST_PUBLIC + i / PROGRAMS_PORTS),
			.protocol = PROTOCOL_UDP,
			.range = {port, port},
		};
		addrs[i / PROGRAMS_PORTS] =
			(struct fabric_address){.addr = services[i].addr, .app = "bench"};
	}
	if (fabric_apply(bench->fabric, &group, 1, services, SERVICES, addrs,
		    SERVICES / PROGRAMS_PORTS, &err) < 0)
		die("%s", err.text);
	free(services);
	free(addrs);
}

static void open_fabric(struct bench *bench)
{
	static char names[MACHINES][16];
	const char *ids[MACHINES];
	const struct fabric_options options = {.bpf_dir = BPF_DIR};
	/* As wherryd tells it: the host's addresses, the public and the machine pool. */
	const struct addr own[] = {addr_of(0xc0000201), addr_of(0x0a400001)};
	const struct prefix ours[] = {{addr_of(0xac100000), 12}, {addr_of(0xcb007100), 24}};
	const struct fabric_mesh mesh = {
		.ifindex = bench->mesh_ifindex,
		.is_ethernet = true,
		.addr = addr_of(0xc0000201),
		.mtu_bytes = 1500,
		.own = own,
		.own_count = 2,
		.ours = ours,
		.ours_count = 2,
	};
	struct err err = {};

	if (fabric_open(&bench->fabric, &options, &err) < 0 ||
		fabric_attach_edge(bench->fabric, bench->up_ifindex, &err) < 0 ||
		fabric_set_mesh(bench->fabric, &mesh, &err) < 0)
		die("%s", err.text);
	for (unsigned int i = 0; i < MACHINES; i++) {
		snprintf(names[i], sizeof(names[i]), "%014x", i + 1);
		ids[i] = names[i];
	}
	add_machines(bench, ids);
	add_services(bench, ids);
	bench->edge = bench->fabric->programs[PROGRAM_EDGE];
}

static int program(const struct bench *bench, const char *name)
{
	struct bpf_program *found = bpf_object__find_program_by_name(bench->object, name);

	return found ? bpf_program__fd(found) : -1;
}

static void open_bench(struct bench *bench, const char *path)
{
	bench->object = bpf_object__open_file(path, NULL);
	if (!bench->object || bpf_object__load(bench->object) < 0)
		die("cannot load %s: %s", path, strerror(errno));
	bench->again = program(bench, "again");
	bench->nothing = program(bench, "nothing");
	bench->bare = program(bench, "bare");
	bench->subject = bpf_object__find_map_fd_by_name(bench->object, "subject");
	bench->state = bpf_object__find_map_fd_by_name(bench->object, ".bss");
	if (bench->again < 0 || bench->nothing < 0 || bench->bare < 0 || bench->subject < 0 ||
		bench->state < 0)
		die("%s is not what this program was built with", path);
}

static void make_frame(struct bench *bench)
{
	struct ethhdr eth = {.h_proto = htons(ETH_P_IP)};
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
	struct udphdr udp = {.len = htons(sizeof(udp) + PAYLOAD)};

	memcpy(bench->frame, &eth, sizeof(eth));
	memcpy(bench->frame + sizeof(eth), &ip, sizeof(ip));
	memcpy(bench->frame + sizeof(eth) + sizeof(ip), &udp, sizeof(udp));
}

/* Nanoseconds a packet, those of the loop included. */
static double run(struct bench *bench, int subject, const struct programs_plan *plan, int repeat)
{
	struct programs_state state = {.plan = *plan};
	struct __sk_buff ctx = {.ifindex = bench->up_ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = bench->frame,
		.data_size_in = sizeof(bench->frame), .data_out = bench->out,
		.data_size_out = sizeof(bench->out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		.repeat = repeat);
	uint32_t zero = 0;

	if (bpf_map_update_elem(bench->subject, &zero, &subject, BPF_ANY) < 0 ||
		bpf_map_update_elem(bench->state, &zero, &state, BPF_ANY) < 0)
		die("cannot set the program: %s", strerror(errno));
	if (bpf_prog_test_run_opts(bench->again, &opts) < 0)
		die("the kernel refuses to run the program: %s", strerror(errno));
	if (bpf_map_lookup_elem(bench->state, &zero, &state) < 0)
		die("cannot read the time: %s", strerror(errno));
	bench->out_len = opts.data_size_out;
	bench->verdict = (int)opts.retval;
	return state.time.packets ? (double)state.time.ns / (double)state.time.packets : 0;
}

static int subject_of(const struct bench *bench, const struct test *test)
{
	return test->is_edge ? bench->edge : bench->bare;
}

/* After one packet and after some: the program did what it is measured for, again and again. */
static void check(struct bench *bench, const struct test *test)
{
	for (int repeat = 1; repeat <= 100; repeat += 99) {
		struct iphdr ip;
		uint32_t len = sizeof(bench->frame);

		run(bench, subject_of(bench, test), &test->plan, repeat);
		memcpy(&ip, bench->out + ETH_HLEN, sizeof(ip));
		if (test->is_encapsulated)
			len += WHERRY_MINIMAL_BYTES;
		if (bench->verdict != (test->is_encapsulated ? TCX_REDIRECT : TCX_NEXT) ||
			bench->out_len != len || ip.protocol != (test->is_encapsulated ? 55 : 17) ||
			(test->is_encapsulated && ip.saddr != htonl(0xc0000201)))
			die("%s: verdict %d, %u bytes, protocol %u after %d packets", test->name,
				bench->verdict, bench->out_len, ip.protocol, repeat);
	}
}

static int compare(const void *a, const void *b)
{
	const double *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static void measure(struct bench *bench, int packets)
{
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
			struct test *test = &tests[i];
			struct programs_plan one = test->plan;
			double loop = run(bench, bench->nothing, &one, packets);

			one.next = (uint32_t)round * (uint32_t)packets;
			test->ns[round] = run(bench, subject_of(bench, test), &one, packets) - loop;
		}
	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		qsort(tests[i].ns, ROUNDS, sizeof(double), compare);
}

static double median(const struct test *test)
{
	return test->ns[ROUNDS / 2];
}

static void report(const char *path)
{
	double least = median(&tests[FIRST_EDGE]), most = least, none = 0;
	FILE *json = fopen(path, "w");

	if (!json)
		die("cannot write %s: %s", path, strerror(errno));
	fprintf(json, "{\n  \"ns\": {\n");
	printf("Programs under BPF_PROG_TEST_RUN, %d-byte payloads: ns a packet, median of %d "
	       "(lowest..highest)\n",
		PAYLOAD, ROUNDS);
	for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
		const struct test *test = &tests[i];

		printf("  %-44s %5.0f (%.0f..%.0f)\n", test->name, median(test), test->ns[0],
			test->ns[ROUNDS - 1]);
		fprintf(json, "    \"%s\": {\"median\": %.1f, \"low\": %.1f, \"high\": %.1f}%s\n",
			test->name, median(test), test->ns[0], test->ns[ROUNDS - 1],
			i + 1 < ARRAY_LEN(tests) ? "," : "");
		if (i >= FIRST_EDGE && i <= LAST_EDGE) {
			least = median(test) < least ? median(test) : least;
			most = median(test) > most ? median(test) : most;
		}
		if (i >= FIRST_OTHER && median(test) > none)
			none = median(test);
	}
	printf("\nKnown or new, one flow or a million: at worst %.0f ns   at most 80   %s\n", most,
		most <= 80 ? "met" : "MISSED");
	printf("Worst of best: %.2f   at most 1.20   %s\n", most / least,
		most <= 1.2 * least ? "met" : "MISSED");
	printf("No service: %.0f ns   at most 40   %s\n", none, none <= 40 ? "met" : "MISSED");
	fprintf(json,
		"  },\n  \"worst\": %.1f,\n  \"worst_of_best\": %.3f,\n  \"no_service\": %.1f\n}\n",
		most, most / least, none);
	fclose(json);
}

/* Both CPUs share the work of the machine; one stays with the loop. */
static void stay_on_one_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(1, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	int packets = argc > 3 ? atoi(argv[3]) : 500000;

	if (argc < 3 || packets <= 0) {
		fputs("usage: programs OBJECT JSON-FILE [PACKETS]\n", stderr);
		return 2;
	}
	stay_on_one_cpu();
	open_bench(&bench, argv[1]);
	make_namespaces(&bench);
	open_fabric(&bench);
	make_frame(&bench);
	for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
		tests[i].plan.mesh_ifindex = bench.mesh_ifindex;
		check(&bench, &tests[i]);
	}
	measure(&bench, packets);
	report(argv[2]);
	fabric_close(bench.fabric);
	bpf_object__close(bench.object);
	return 0;
}
