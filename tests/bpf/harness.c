/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces, machines and runs of programs for the tests; see harness.h. */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct lab lab =
	{
		.machines =
			{
				[1] = {"machine-1", "lab", .primary = IP4(172, 16, 0, 2),
					.service = IP4(172, 16, 0, 3)},
				[2] = {"machine-2", "lab", .primary = IP4(172, 16, 0, 10),
					.service = IP4(172, 16, 0, 11)},
				[3] = {"machine-3", "other", .primary = IP4(172, 16, 0, 18),
					.service = IP4(172, 16, 0, 19)},
				[4] = {"machine-4", "lab", WORKER, .primary = IP4(172, 16, 4, 2),
					.service = IP4(172, 16, 4, 3)},
				[5] = {"machine-5", "lab", WORKER_B, .primary = IP4(172, 16, 5, 2),
					.service = IP4(172, 16, 5, 3)},
				[6] = {"machine-6", "other", WORKER, .primary = IP4(172, 16, 6, 2),
					.service = IP4(172, 16, 6, 3)},
			},
};

static int sockets[64], socket_count;

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *format, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	if (system(command) != 0) {
		fprintf(stderr, "failed: %s\n", command);
		exit(1);
	}
}

static void skip_all(const char *reason)
{
	printf("SKIP: %s\n", reason);
	exit(77);
}

static void make_namespaces(void)
{
	if (geteuid() != 0)
		skip_all("not root");
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		skip_all("may not make namespaces");
	/* ip(8) takes namespaces by the name that they have in /run/netns. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 || mkdir("/run/netns", 0700) < 0 ||
		mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 || mkdir("/mnt/bpf", 0700) < 0 ||
		mount("bpf", "/mnt/bpf", "bpf", 0, NULL) < 0)
		skip_all("may not mount a bpffs");
}

static char *text(uint32_t addr)
{
	static char texts[4][INET_ADDRSTRLEN];
	static unsigned int turn;
	struct in_addr in = {htonl(addr)};

	turn = (turn + 1) % 4;
	return (char *)(uintptr_t)inet_ntop(AF_INET, &in, texts[turn], sizeof(texts[turn]));
}

static void enter(int netns)
{
	if (setns(netns, CLONE_NEWNET) < 0)
		abort();
}

static int open_netns(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The machine's namespace is its number to the test's namespace. */
static void make_machine(unsigned int n)
{
	struct lab_machine *machine = &lab.machines[n];
	_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	char name[16];

	snprintf(name, sizeof(name), "m%u", n);
	shell("ip netns add %s && ip netns set %s %u", name, name, n);
	shell("ip link add %s type veth peer name eth0 netns %s && ip link set %s up", name, name,
		name);
	shell("ip addr add %s/29 dev m%u", text(machine->primary - 1), n);
	machine->netns = open_netns(name);
	enter(machine->netns);
	shell("ip link set lo up");
	shell("ip addr add %s/29 dev eth0 && ip addr add %s/29 dev eth0 && ip link set eth0 up",
		text(machine->primary), text(machine->service));
	shell("ip route add default via %s", text(machine->primary - 1));
	enter(own);
	machine->ifindex = if_nametoindex(name);
}

static int pinned_map(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), BPF_DIR "/v%d/%s", WHERRY_ABI_VERSION, name);
	return bpf_obj_get(path);
}

int lab_up(void **state)
{
	const struct fabric_options options = {.bpf_dir = BPF_DIR, .max_flows = 4096};
	struct err err = {};

	(void)state;
	make_namespaces();
	shell("ip link set lo up && sysctl -qw net.ipv4.ip_forward=1");
	shell("ip link add up0 type veth peer name up1 && ip link set up1 up && ip link set up0 "
	      "up");
	shell("ip addr add %s/24 dev up0 && ip route add default via %s", text(HOST), text(ROUTER));
	lab.up_ifindex = if_nametoindex("up0");
	shell("ip link add mesh0 type veth peer name mesh1 && ip link set mesh1 up && "
	      "ip link set mesh0 up");
	shell("ip link add whole0 type veth && ip link add pieces0 type veth");
	shell("ip link set whole0 up && ip link set pieces0 up");
	shell("ip route add 10.64.0.0/24 dev mesh0 && ip route add 172.16.4.0/22 dev mesh0");
	lab.mesh_ifindex = if_nametoindex("mesh0");
	lab.whole_ifindex = if_nametoindex("whole0");
	lab.pieces_ifindex = if_nametoindex("pieces0");
	for (unsigned int n = 1; n <= MACHINES; n++)
		make_machine(n);
	if (fabric_open(&lab.fabric, &options, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	lab.flows = pinned_map("wherry_flows");
	lab.fragments = pinned_map("wherry_fragments");
	lab.outflows = pinned_map("wherry_outflows");
	return lab.flows < 0 || lab.fragments < 0 || lab.outflows < 0 ? -1 : 0;
}

static void close_sockets(void)
{
	while (socket_count > 0)
		close(sockets[--socket_count]);
}

int lab_down(void **state)
{
	(void)state;
	close_sockets();
	fabric_close(lab.fabric);
	for (unsigned int n = 1; n <= MACHINES; n++)
		close(lab.machines[n].netns);
	close(lab.flows);
	close(lab.fragments);
	close(lab.outflows);
	return 0;
}

static void clear_map(int fd)
{
	uint8_t key[16];

	while (bpf_map_get_next_key(fd, NULL, key) == 0)
		bpf_map_delete_elem(fd, key);
}

void lab_machine_set(unsigned int n)
{
	struct lab_machine *machine = &lab.machines[n];
	struct fabric_machine wanted = {
		.id = machine->id,
		.app = machine->app,
		.ifindex = machine->ifindex,
		.netns_id = (int32_t)n,
		.primary = addr_from_v4(htonl(machine->primary)),
		.service = addr_from_v4(htonl(machine->service)),
		.public_addr = addr_from_v4(htonl(n % 3 ? PUBLIC : PUBLIC_C)),
		.mac = {2, 0, 0, 0, 1, (uint8_t)n},
		.gateway_mac = {2, 0, 0, 0, 2, (uint8_t)n},
	};
	struct err err = {};

	if (machine->host)
		wanted.host = addr_from_v4(htonl(machine->host));
	if (fabric_machine_set(lab.fabric, &wanted, &machine->index, &err) < 0)
		fail_msg("%s", err.text);
}

void lab_fleet(uint32_t edge)
{
	const struct fabric_host hosts[] = {
		{addr_from_v4(htonl(EDGE)), true, false, true},
		{addr_from_v4(htonl(EDGE_B)), true, true, false},
		{addr_from_v4(htonl(WORKER)), false, true, true},
		{addr_from_v4(htonl(WORKER_B)), false, true, true},
		{addr_from_v4(htonl(WORKER_C)), false, true, true},
	};
	const struct fabric_mesh mesh = {
		.ifindex = lab.mesh_ifindex,
		.addr = addr_from_v4(htonl(SELF)),
		.nearest_edge = edge ? addr_from_v4(htonl(edge)) : (struct addr){},
		.mtu_bytes = MESH_MTU,
		.whole_ifindex = lab.whole_ifindex,
		.pieces_ifindex = lab.pieces_ifindex,
		.resizer_addr = addr_from_v4(htonl(RESIZER)),
	};
	struct err err = {};

	if (fabric_set_hosts(lab.fabric, hosts, ARRAY_LEN(hosts), &err) < 0 ||
		fabric_set_mesh(lab.fabric, &mesh, &err) < 0)
		fail_msg("%s", err.text);
	for (unsigned int n = MACHINES + 1; n <= FLEET; n++)
		lab_machine_set(n);
}

int lab_apply(unsigned int many_mask)
{
	const char *many[FLEET];
	struct fabric_group groups[] = {
		{"lab/one", (const char *const[]){lab.machines[1].id}, 1},
		{"lab/many", many, 0},
		{"lab/none", NULL, 0},
		{"lab/other", (const char *const[]){lab.machines[3].id}, 1},
	};
	const struct addr public = addr_from_v4(htonl(PUBLIC));
	const struct addr other = addr_from_v4(htonl(PUBLIC_C));
	const struct fabric_service services[] = {
		{public, PROTOCOL_UDP, {PORT, PORT}, 0, false},
		{public, PROTOCOL_UDP, {PORT_RANGE, PORT_RANGE + 100}, 0, false},
		{public, PROTOCOL_UDP, {PORT_MANY, PORT_MANY}, 1, false},
		{public, PROTOCOL_UDP, {PORT_NONE, PORT_NONE}, 2, false},
		{other, PROTOCOL_UDP, {PORT_C, PORT_C}, 3, false},
	};
	const struct fabric_address addrs[] = {
		{public, "lab"}, {other, "other"}, {addr_from_v4(htonl(PUBLIC_UNUSED)), "unused"}};
	struct err err = {};
	int r;

	for (unsigned int n = 1; n <= FLEET; n++)
		if (many_mask & 1U << n)
			many[groups[1].machine_count++] = lab.machines[n].id;
	r = fabric_apply(lab.fabric, groups, ARRAY_LEN(groups), services, ARRAY_LEN(services),
		addrs, ARRAY_LEN(addrs), &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r;
}

int lab_reset(void **state)
{
	struct err err = {};

	(void)state;
	close_sockets();
	if (fabric_apply(lab.fabric, NULL, 0, NULL, 0, NULL, 0, &err) < 0)
		return -1;
	for (uint32_t i = 1; i < WHERRY_MAX_MACHINES; i++)
		if (machine_is_known(lab.fabric, (uint16_t)i) &&
			fabric_machine_remove(lab.fabric, lab.fabric->machines[i].id, &err) < 0)
			return -1;
	if (fabric_set_mesh(lab.fabric, NULL, &err) < 0 ||
		fabric_set_hosts(lab.fabric, NULL, 0, &err) < 0)
		return -1;
	for (unsigned int n = 1; n <= MACHINES; n++)
		lab_machine_set(n);
	clear_map(lab.flows);
	clear_map(lab.fragments);
	clear_map(lab.outflows);
	return lab_apply(1U << 1 | 1U << 2);
}

int lab_socket(unsigned int n, uint32_t addr, uint16_t port, uint32_t client, uint16_t client_port)
{
	_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(client_port)};
	int fd;

	local.sin_addr.s_addr = htonl(addr);
	remote.sin_addr.s_addr = htonl(client);
	enter(lab.machines[n].netns);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 ||
		(client && connect(fd, (struct sockaddr *)&remote, sizeof(remote)) < 0))
		fail_msg("cannot bind %s:%u: %s", text(addr), port, strerror(errno));
	enter(own);
	sockets[socket_count++] = fd;
	return fd;
}

static void read_counters(uint64_t *verdicts, struct wherry_traffic *traffic)
{
	fabric_verdicts(lab.fabric, verdicts);
	for (unsigned int n = 1; n <= FLEET; n++) {
		traffic[n] = (struct wherry_traffic){};
		fabric_machine_traffic(lab.fabric, lab.machines[n].id, &traffic[n]);
	}
}

struct outcome lab_run_gso(enum fabric_program program, unsigned int ifindex,
	const struct frame *frame, unsigned int gso_size)
{
	struct __sk_buff ctx = {.ifindex = ifindex, .gso_size = gso_size};
	struct outcome outcome = {.in = *frame};
	uint64_t verdicts[WHERRY_VERDICT_COUNT];
	struct wherry_traffic traffic[FLEET + 1];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame->bytes,
		.data_size_in = (uint32_t)frame->len, .data_out = outcome.out.bytes,
		.data_size_out = FRAME_MAX, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	read_counters(verdicts, traffic);
	if (bpf_prog_test_run_opts(lab.fabric->programs[program], &opts) < 0)
		fail_msg("the kernel refuses to run the program: %s", strerror(errno));
	read_counters(outcome.counted, outcome.traffic);
	for (int i = 0; i < WHERRY_VERDICT_COUNT; i++)
		outcome.counted[i] -= verdicts[i];
	for (unsigned int n = 1; n <= FLEET; n++) {
		outcome.traffic[n].rx_packets -= traffic[n].rx_packets;
		outcome.traffic[n].rx_bytes -= traffic[n].rx_bytes;
		outcome.traffic[n].tx_packets -= traffic[n].tx_packets;
		outcome.traffic[n].tx_bytes -= traffic[n].tx_bytes;
	}
	outcome.verdict = (int)opts.retval;
	outcome.out.len = opts.data_size_out;
	return outcome;
}

struct outcome lab_run(enum fabric_program program, unsigned int ifindex, const struct frame *frame)
{
	return lab_run_gso(program, ifindex, frame, 0);
}

struct outcome lab_edge(const struct frame *frame)
{
	return lab_run(PROGRAM_EDGE, lab.up_ifindex, frame);
}

struct outcome lab_edge_udp(const struct datagram *datagram)
{
	const struct frame frame = frame_udp(datagram);

	return lab_edge(&frame);
}

struct outcome lab_worker(unsigned int n, const struct frame *frame)
{
	return lab_run(PROGRAM_WORKER, lab.machines[n].ifindex, frame);
}

struct outcome lab_worker_udp(unsigned int n, const struct datagram *datagram)
{
	const struct frame frame = frame_udp(datagram);

	return lab_worker(n, &frame);
}

struct outcome lab_mesh(const struct frame *frame)
{
	return lab_run(PROGRAM_MESH_PLAIN, lab.mesh_ifindex, frame);
}

struct outcome lab_client_sends(uint16_t client_port, uint16_t port)
{
	const struct datagram datagram = {
		.from = CLIENT,
		.to = PUBLIC,
		.sport = client_port,
		.dport = port,
		.payload_len = 20,
	};

	return lab_edge_udp(&datagram);
}

unsigned int lab_receiver(const struct outcome *outcome)
{
	for (unsigned int n = 1; n <= FLEET; n++)
		if (outcome->traffic[n].rx_packets == 1)
			return n;
	return 0;
}

static void check_counters(
	const struct outcome *outcome, enum wherry_verdict counted, const char *file, int line)
{
	for (int i = 0; i < WHERRY_VERDICT_COUNT; i++)
		if (outcome->counted[i] != (i == (int)counted))
			print_error("%s counted %d times\n",
				fabric_verdict_name((enum wherry_verdict)i),
				(int)outcome->counted[i]);
	for (int i = 0; i < WHERRY_VERDICT_COUNT; i++)
		_assert_int_equal(outcome->counted[i], i == (int)counted, file, line);
}

void lab_check_sent(const struct outcome *outcome, const struct frame *expected,
	enum wherry_verdict counted, const char *file, int line)
{
	if (outcome->verdict != TCX_REDIRECT)
		print_error("verdict %d, not %d\n", outcome->verdict, TCX_REDIRECT);
	check_counters(outcome, counted, file, line);
	_assert_int_equal(outcome->verdict, TCX_REDIRECT, file, line);
	_assert_int_equal(outcome->out.len, expected->len, file, line);
	_assert_memory_equal(outcome->out.bytes, expected->bytes, expected->len, file, line);
}

void lab_check(const struct outcome *outcome, int verdict, enum wherry_verdict counted,
	const char *file, int line)
{
	if (outcome->verdict != verdict)
		print_error("verdict %d, not %d\n", outcome->verdict, verdict);
	check_counters(outcome, counted, file, line);
	_assert_int_equal((uintmax_t)outcome->verdict, (uintmax_t)verdict, file, line);
	_assert_int_equal(outcome->out.len, outcome->in.len, file, line);
	if (verdict == TCX_REDIRECT)
		_assert_true(
			frame_sums_are_right(&outcome->out), "checksums are right", file, line);
	else
		_assert_memory_equal(
			outcome->out.bytes, outcome->in.bytes, outcome->in.len, file, line);
}

uint32_t lab_filters_on(unsigned int ifindex)
{
	char name[IF_NAMESIZE], command[128], answer[16] = "";
	FILE *pipe;

	assert_non_null(if_indextoname(ifindex, name));
	snprintf(command, sizeof(command), "tc filter show dev %s ingress | grep -c wherry_", name);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_non_null(fgets(answer, sizeof(answer), pipe));
	pclose(pipe);
	return (uint32_t)atoi(answer);
}

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS; Debian 12's headers end before it */

/* Kernels before 6.6 do not know the question for tcx. */
uint32_t lab_programs_on(unsigned int ifindex)
{
	uint32_t ids[8], count = ARRAY_LEN(ids), flags = 0;
	int r = bpf_prog_query((int)ifindex, TCX_INGRESS, 0, &flags, ids, &count);

	if (r == -EINVAL)
		count = 0;
	else
		assert_int_equal(r, 0);
	return count + lab_filters_on(ifindex);
}
