/* SPDX-License-Identifier: Apache-2.0 */
/* The maps of a fleet: machines elsewhere, hosts, the mesh's programs, and speed. */
#include "harness.h"

#include "base/clock.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void restart(void)
{
	const struct fabric_options options = {.bpf_dir = BPF_DIR, .max_flows = 4096};
	struct err err = {};

	fabric_close(lab.fabric);
	lab.fabric = NULL;
	if (fabric_open(&lab.fabric, &options, &err) < 0)
		fail_msg("%s", err.text);
}

static size_t entries_of(enum fabric_map map)
{
	uint8_t key[32], last[32];
	size_t count = 0;

	for (const void *after = NULL; bpf_map_get_next_key(lab.fabric->maps[map], after, key) == 0;
		count++)
		after = memcpy(last, key, sizeof(last));
	return count;
}

static bool may_pass_on(uint32_t host)
{
	const struct wherry_app_host_key key = {.app = app_hash("lab"), .host = htonl(host)};
	uint32_t value;

	return bpf_map_lookup_elem(lab.fabric->maps[MAP_APP_HOSTS], &key, &value) == 0;
}

static uint32_t owner_of(uint32_t addr)
{
	const uint32_t be = htonl(addr);
	uint32_t index = 0;

	bpf_map_lookup_elem(lab.fabric->maps[MAP_ENDPOINTS], &be, &index);
	return index;
}

static void hosts_have_apps_as_long_as_they_have_machines(void **state)
{
	struct lab_machine moved = lab.machines[6];

	(void)state;
	lab_fleet(0);
	assert_true(may_pass_on(WORKER) && may_pass_on(WORKER_B));
	assert_int_equal(entries_of(MAP_APP_HOSTS), 3);
	lab.machines[6].app = "lab"; /* a second one of the app on the host */
	lab_machine_set(6);
	lab.machines[6] = moved;
	assert_int_equal(entries_of(MAP_APP_HOSTS), 2);
	restart();
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[4].id, NULL), 0);
	assert_true(may_pass_on(WORKER));
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[6].id, NULL), 0);
	assert_false(may_pass_on(WORKER));
	assert_true(may_pass_on(WORKER_B));
}

static void a_machine_that_moves_takes_everything_along(void **state)
{
	const uint32_t service = lab.machines[5].service;
	const struct lab_machine before = lab.machines[5];
	uint16_t index;

	(void)state;
	lab_fleet(0);
	index = lab.machines[5].index;
	assert_int_equal(owner_of(service), index);
	lab.machines[5].host = WORKER;
	lab.machines[5].service = IP4(172, 16, 5, 99);
	lab_machine_set(5);
	lab.machines[5].host = before.host;
	lab.machines[5].service = before.service;
	assert_int_equal(lab.machines[5].index, index);
	assert_int_equal(owner_of(service), 0);
	assert_int_equal(owner_of(IP4(172, 16, 5, 99)), index);
	assert_false(may_pass_on(WORKER_B));
	assert_int_equal(fabric_machine_remove(lab.fabric, before.id, NULL), 0);
	assert_int_equal(owner_of(IP4(172, 16, 5, 99)), 0);
	assert_int_equal(owner_of(before.primary), 0);
}

/* An address that is given to another machine before its first one is forgotten. */
static void an_address_that_has_another_owner_by_now_stays_its(void **state)
{
	const struct lab_machine before = lab.machines[5];

	(void)state;
	lab_fleet(0);
	lab.machines[5].service = lab.machines[4].service;
	lab_machine_set(5);
	lab.machines[5].service = before.service;
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[4].id, NULL), 0);
	assert_int_equal(owner_of(lab.machines[4].service), lab.machines[5].index);
}

static void a_machine_without_host_and_interface_is_refused(void **state)
{
	const struct fabric_machine machine = {.id = "nowhere"};
	struct err err = {};

	(void)state;
	assert_int_equal(fabric_machine_set(lab.fabric, &machine, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "nowhere"));
	assert_int_equal(machine_index(lab.fabric, "nowhere"), 0);
}

static void hosts_are_these_and_no_others(void **state)
{
	const struct fabric_host host = {addr_from_v4(htonl(EDGE_B)), true, false, false};

	(void)state;
	lab_fleet(0);
	assert_int_equal(entries_of(MAP_HOSTS), 5);
	restart();
	assert_int_equal(fabric_set_hosts(lab.fabric, &host, 1, NULL), 0);
	assert_int_equal(entries_of(MAP_HOSTS), 1);
	assert_int_equal(fabric_set_hosts(lab.fabric, NULL, 0, NULL), 0);
	assert_int_equal(entries_of(MAP_HOSTS), 0);
}

static void check_mesh_programs(unsigned int count)
{
	assert_int_equal(lab_programs_on(lab.mesh_ifindex), count);
	assert_int_equal(lab_programs_on(lab.whole_ifindex), count);
	assert_int_equal(lab_programs_on(lab.pieces_ifindex), count);
}

static void the_mesh_has_its_programs_once_after_any_number_of_starts(void **state)
{
	(void)state;
	check_mesh_programs(0);
	for (int i = 0; i < 3; i++) {
		lab_fleet(i == 1 ? EDGE : 0);
		check_mesh_programs(1);
		restart();
	}
	check_mesh_programs(1);
	assert_int_equal(fabric_set_mesh(lab.fabric, NULL, NULL), 0);
	check_mesh_programs(0);
}

static void the_mesh_s_programs_are_filters_where_the_kernel_has_no_tcx(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(setenv("WHERRY_TC", "clsact", 1), 0);
		lab_fleet(0);
		unsetenv("WHERRY_TC");
		check_mesh_programs(1);
		assert_int_equal(lab_filters_on(lab.mesh_ifindex), 1);
		lab_fleet(0);
		check_mesh_programs(1);
	}
	assert_int_equal(fabric_set_mesh(lab.fabric, NULL, NULL), 0);
	check_mesh_programs(0);
}

static void a_mesh_on_another_device_leaves_the_first(void **state)
{
	struct fabric_mesh mesh = {.ifindex = lab.up_ifindex,
		.addr = addr_from_v4(htonl(SELF)),
		.mtu_bytes = 1500,
		.is_ethernet = true};

	(void)state;
	lab_fleet(0);
	assert_int_equal(fabric_set_mesh(lab.fabric, &mesh, NULL), 0);
	check_mesh_programs(0);
	assert_int_equal(lab_programs_on(lab.up_ifindex), 1);
	assert_int_equal(fabric_set_mesh(lab.fabric, NULL, NULL), 0);
	assert_int_equal(lab_programs_on(lab.up_ifindex), 0);
}

/* Underlay plain: clients come in by the same interface. */
static void the_mesh_does_not_take_the_edge_s_program_along(void **state)
{
	const struct fabric_mesh mesh = {.ifindex = lab.up_ifindex,
		.addr = addr_from_v4(htonl(SELF)),
		.mtu_bytes = 1500,
		.is_ethernet = true};

	(void)state;
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			assert_int_equal(fabric_set_mesh(lab.fabric, &mesh, NULL), 0);
		assert_int_equal(fabric_attach_edge(lab.fabric, lab.up_ifindex, NULL), 0);
		if (i == 1)
			assert_int_equal(fabric_set_mesh(lab.fabric, &mesh, NULL), 0);
		assert_int_equal(lab_programs_on(lab.up_ifindex), 1);
		assert_int_equal(fabric_set_mesh(lab.fabric, NULL, NULL), 0);
		assert_int_equal(lab_programs_on(lab.up_ifindex), 1);
	}
}

/* Underlay plain: by the edge's program, which goes on to the mesh's. */
static void packets_of_the_mesh_are_taken_by_the_public_interface_too(void **state)
{
	const struct fabric_mesh mesh = {.ifindex = lab.up_ifindex,
		.addr = addr_from_v4(htonl(SELF)),
		.mtu_bytes = 1500,
		.is_ethernet = true};
	const struct datagram hello = {
		.from = CLIENT, .to = PUBLIC, .sport = 40000, .dport = PORT, .payload_len = 9};
	const struct frame frame = frame_udp(&hello);
	const struct frame outer = frame_minimal(&frame, EDGE, lab.machines[1].service);
	const struct frame expected = frame_readdressed(&frame, 0, lab.machines[1].primary);
	const struct frame foreign = frame_minimal(&frame, ELSEWHERE, CLIENT);
	const struct frame forged = frame_minimal(&frame, ELSEWHERE, lab.machines[1].service);
	struct outcome outcome;

	(void)state;
	outcome = lab_edge(&outer);
	assert_not_ours(outcome);
	lab_fleet(0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fabric_set_mesh(lab.fabric, &mesh, NULL), 0);
		outcome = lab_edge(&outer);
		assert_sent(outcome, expected);
		outcome = lab_edge(&foreign);
		assert_not_ours(outcome);
		outcome = lab_edge(&forged);
		assert_dropped(outcome, WHERRY_MESH_UNKNOWN_HOST);
		restart(); /* the program that is gone on to is replaced */
	}
}

static void maps_of_other_layouts_are_removed(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(mkdir(BPF_DIR "/v1", 0700), 0);
	assert_int_equal(bpf_obj_pin(lab.fabric->maps[MAP_POOLS], BPF_DIR "/v1/wherry_pools"), 0);
	restart();
	assert_int_equal(stat(BPF_DIR "/v1", &st), -1);
	assert_int_equal(stat(BPF_DIR "/links", &st), 0);
}

static void former_machines_elsewhere_outlive_the_daemon(void **state)
{
	(void)state;
	lab_fleet(0);
	assert_int_equal(lab_apply(1U << 4), 0);
	assert_int_equal(lab_apply(1U << 5), 0);
	restart();
	assert_int_equal(lab_apply(1U << 5), 0);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/many", "machine-4"), 1);
	/* A host that died: its machine is no former one any more, but may be the owner. */
	assert_int_equal(fabric_machine_forget_former(lab.fabric, "machine-4", NULL), 0);
	assert_int_equal(fabric_group_has_former(lab.fabric, "lab/many", "machine-4"), 0);
}

#define MANY_MACHINES 20000
#define MANY_GROUPS   1000
#define MANY_SERVICES 100000

static struct fabric_machine far_machine(uint32_t i, char id[static 16])
{
	snprintf(id, 16, "far-%u", i);
	return (struct fabric_machine){
		.id = id,
		.app = "lab",
		.host = addr_from_v4(htonl(IP4(10, 64, 1, 0) + i % 1000)),
		.primary = addr_from_v4(htonl(IP4(172, 20, 0, 2) + i * 8)),
		.service = addr_from_v4(htonl(IP4(172, 20, 0, 3) + i * 8)),
	};
}

/* Sanitizers take their share. */
static void assert_fast(const char *what, uint64_t spent_ms, uint64_t limit_ms)
{
	print_message("%s: %d ms\n", what, (int)spent_ms);
#ifdef __SANITIZE_ADDRESS__
	limit_ms *= 4;
#endif
	assert_in_range(spent_ms, 0, limit_ms);
}

static void a_change_among_a_hundred_thousand_services_is_quick(void **state)
{
	_free_ struct fabric_service *services = calloc(MANY_SERVICES, sizeof(*services));
	_free_ struct fabric_group *groups = calloc(MANY_GROUPS, sizeof(*groups));
	_free_ struct fabric_address *addrs = calloc(MANY_GROUPS, sizeof(*addrs));
	_free_ const char **ids = calloc(MANY_GROUPS, sizeof(*ids));
	_free_ char(*names)[32] = calloc(MANY_GROUPS, sizeof(*names));
	_free_ char(*texts)[16] = calloc(MANY_MACHINES, sizeof(*texts));
	uint64_t start_ms = clock_now_ms(), least_ms = UINT64_MAX;

	(void)state;
	if (getenv("WHERRY_TEST_EMULATED")) /* says nothing about time */
		return;
	for (uint32_t i = 0; i < MANY_MACHINES; i++) {
		const struct fabric_machine machine = far_machine(i, texts[i]);

		assert_int_equal(fabric_machine_set(lab.fabric, &machine, NULL, NULL), 0);
	}
	assert_fast("20000 machines", clock_now_ms() - start_ms, 5000);
	for (uint32_t i = 0; i < MANY_GROUPS; i++) {
		snprintf(names[i], sizeof(names[i]), "app-%u/web", i);
		ids[i] = texts[i];
		groups[i] = (struct fabric_group){names[i], &ids[i], 1};
		addrs[i] =
			(struct fabric_address){addr_from_v4(htonl(IP4(203, 0, 0, 0) + i)), "lab"};
	}
	for (uint32_t i = 0; i < MANY_SERVICES; i++)
		services[i] = (struct fabric_service){addrs[i % MANY_GROUPS].addr, PROTOCOL_UDP,
			{(uint16_t)(1000 + i / MANY_GROUPS), (uint16_t)(1000 + i / MANY_GROUPS)},
			i % MANY_GROUPS, false};
	start_ms = clock_now_ms();
	assert_int_equal(fabric_apply(lab.fabric, groups, MANY_GROUPS, services, MANY_SERVICES,
				 addrs, MANY_GROUPS, NULL),
		0);
	assert_fast("100000 services, new", clock_now_ms() - start_ms, 2000);
	for (int i = 0; i < 5; i++) {
		uint64_t spent_ms;

		groups[7].machine_ids = (const char *const[]){texts[5000 + i]};
		start_ms = clock_now_ms();
		assert_int_equal(fabric_apply(lab.fabric, groups, MANY_GROUPS, services,
					 MANY_SERVICES, addrs, MANY_GROUPS, NULL),
			0);
		spent_ms = clock_now_ms() - start_ms;
		/* The machine may be busy with something else for one. */
		least_ms = spent_ms < least_ms ? spent_ms : least_ms;
	}
	assert_fast("100000 services, one group moved", least_ms, 60);
	start_ms = clock_now_ms();
	restart();
	assert_fast("start with all that", clock_now_ms() - start_ms, 3000);
	start_ms = clock_now_ms();
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(fabric_machine_remove(lab.fabric, texts[19000 + i], NULL), 0);
	assert_fast("1000 machines removed", clock_now_ms() - start_ms, 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hosts_have_apps_as_long_as_they_have_machines),
		TEST(a_machine_that_moves_takes_everything_along),
		TEST(an_address_that_has_another_owner_by_now_stays_its),
		TEST(a_machine_without_host_and_interface_is_refused),
		TEST(hosts_are_these_and_no_others),
		TEST(the_mesh_has_its_programs_once_after_any_number_of_starts),
		TEST(the_mesh_s_programs_are_filters_where_the_kernel_has_no_tcx),
		TEST(a_mesh_on_another_device_leaves_the_first),
		TEST(the_mesh_does_not_take_the_edge_s_program_along),
		TEST(packets_of_the_mesh_are_taken_by_the_public_interface_too),
		TEST(maps_of_other_layouts_are_removed),
		TEST(former_machines_elsewhere_outlive_the_daemon),
		TEST(a_change_among_a_hundred_thousand_services_is_quick),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
