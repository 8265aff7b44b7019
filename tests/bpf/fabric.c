/* SPDX-License-Identifier: Apache-2.0 */
/* The data plane's userspace on real maps: take-over, differences, bounds, and speed. */
#include "harness.h"

#include "base/clock.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A daemon that was killed and started again. */
static void restart(void)
{
	const struct fabric_options options = {.bpf_dir = BPF_DIR, .max_flows = 1000000};
	struct err err = {};

	fabric_close(lab.fabric);
	lab.fabric = NULL;
	if (fabric_open(&lab.fabric, &options, &err) < 0)
		fail_msg("%s", err.text);
}

static unsigned int receiver_of(uint16_t client_port, uint16_t port)
{
	struct outcome outcome = lab_client_sends(client_port, port);

	return outcome.verdict == TCX_REDIRECT ? lab_receiver(&outcome) : 0;
}

static const uint32_t orphan = 4000;

static unsigned int tables_in_use(void)
{
	unsigned int count = 0;
	uint32_t id;

	/* Not all of them: each look takes some 10 ms in kernels before 6.8. */
	for (uint32_t i = 0; i < 16; i++)
		count += bpf_map_lookup_elem(lab.fabric->maps[MAP_TABLES], &i, &id) == 0;
	count += bpf_map_lookup_elem(lab.fabric->maps[MAP_TABLES], &orphan, &id) == 0;
	return count;
}

static struct addr public_addr(uint32_t offset)
{
	return addr_from_v4(htonl(IP4(203, 0, 0, 0) + offset));
}

static void apply(const struct fabric_group *groups, size_t group_count,
	const struct fabric_service *services, size_t service_count)
{
	const struct fabric_address addrs[] = {
		{addr_from_v4(htonl(PUBLIC)), "app"}, {addr_from_v4(htonl(PUBLIC_C)), "app"}};
	struct err err = {};

	if (fabric_apply(lab.fabric, groups, group_count, services, service_count, addrs,
		    ARRAY_LEN(addrs), &err) < 0)
		fail_msg("%s", err.text);
}

static void what_is_pinned_serves_without_a_daemon(void **state)
{
	const uint32_t tag = lab.fabric->machines[lab.machines[1].index].flow_tag;

	(void)state;
	assert_int_equal(receiver_of(40000, PORT), 1);
	restart();
	assert_int_equal(receiver_of(40000, PORT), 1);
	assert_int_equal(machine_index(lab.fabric, lab.machines[1].id), lab.machines[1].index);
	lab_machine_set(1);
	assert_int_equal(lab.fabric->machines[lab.machines[1].index].flow_tag, tag);
	assert_int_equal(lab_apply(1U << 1 | 1U << 2), 0);
	assert_int_equal(receiver_of(40000, PORT), 1);
}

static void each_interface_has_one_program_after_any_number_of_starts(void **state)
{
	struct err err = {};

	(void)state;
	for (int i = 0; i < 3; i++) {
		restart();
		lab_machine_set(1);
		if (fabric_attach_edge(lab.fabric, lab.up_ifindex, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(lab_programs_on(lab.up_ifindex), 1);
		assert_int_equal(lab_programs_on(lab.machines[1].ifindex), 1);
	}
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	assert_int_equal(lab_programs_on(lab.machines[1].ifindex), 0);
}

static void former_machines_outlive_the_daemon(void **state)
{
	unsigned int receivers[100];

	(void)state;
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++)
		receivers[i] = receiver_of(10000 + i, PORT_MANY);
	assert_int_equal(lab_apply(1U << 2 | 1U << 3), 0);
	restart();
	assert_int_equal(lab_apply(1U << 2 | 1U << 3), 0);
	for (uint16_t i = 0; i < ARRAY_LEN(receivers); i++) {
		assert_int_equal(receiver_of(10000 + i, PORT_MANY), receivers[i]);
		assert_int_not_equal(receiver_of(20000 + i, PORT_MANY), 1);
	}
}

/* Index 1 would be given to the next machine, with another's clients. */
static void a_machine_removed_right_after_a_start_is_in_no_table(void **state)
{
	(void)state;
	restart();
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	lab.machines[1].id = "machine-4";
	lab_machine_set(1);
	lab.machines[1].id = "machine-1";
	for (uint16_t i = 0; i < 100; i++)
		assert_int_not_equal(receiver_of(10000 + i, PORT_MANY), 1);
	assert_int_equal(receiver_of(10000, PORT), 0);
}

static const char *const one_and_two[] = {"machine-1", "machine-2"};
static const char *const two_and_three[] = {"machine-2", "machine-3"};

/* One service of a group goes to a new group; the rest of it stays with its machines. */
static void check_port_that_changes_its_group(bool with_restart, bool new_group_first)
{
	const struct addr public = addr_from_v4(htonl(PUBLIC));
	const struct fabric_group old_group = {"app/old", one_and_two, 2};
	const struct fabric_group new_group = {"app/new", two_and_three, 2};
	const struct fabric_group groups[] = {
		new_group_first ? new_group : old_group, new_group_first ? old_group : new_group};
	struct fabric_service services[] = {{public, PROTOCOL_UDP, {100, 100}, 0, false},
		{public, PROTOCOL_UDP, {200, 200}, 0, false}};

	apply(&old_group, 1, services, 2);
	if (with_restart)
		restart();
	services[0].group = new_group_first;
	services[1].group = !new_group_first;
	apply(groups, 2, services, 2);
	for (uint16_t i = 0; i < 100; i++) {
		assert_in_range(receiver_of(10000 + i, 100), 1, 2);
		assert_in_range(receiver_of(30000 + i, 200), 2, 3);
	}
}

static void a_port_that_changes_its_group_leaves_the_others_alone(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		apply(NULL, 0, NULL, 0);
		check_port_that_changes_its_group(i & 1, i & 2);
	}
}

static void tables_that_nobody_needs_are_given_back(void **state)
{
	(void)state;
	assert_int_equal(tables_in_use(), 1);
	assert_int_equal(lab_apply(1U << 1), 0);
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[2].id, NULL), 0);
	assert_int_equal(lab_apply(1U << 1), 0);
	assert_int_equal(tables_in_use(), 0);
	lab_machine_set(2);
	assert_int_equal(lab_apply(1U << 1 | 1U << 2), 0);
	restart();
	apply(NULL, 0, NULL, 0);
	assert_int_equal(tables_in_use(), 0);
}

/* Made by a daemon that died before its services pointed there. */
static void a_table_that_no_service_ever_used_is_given_back_after_a_start(void **state)
{
	uint32_t used = 1, id;
	_close_ int fd = -1;

	(void)state;
	assert_int_equal(bpf_map_lookup_elem(lab.fabric->maps[MAP_TABLES], &used, &id), 0);
	fd = bpf_map_get_fd_by_id(id);
	assert_int_equal(
		bpf_map_update_elem(lab.fabric->maps[MAP_TABLES], &orphan, &fd, BPF_ANY), 0);
	assert_int_equal(
		bpf_map_update_elem(lab.fabric->maps[MAP_TABLE_IDS], &orphan, &id, BPF_ANY), 0);
	assert_int_equal(tables_in_use(), 2);
	restart();
	assert_int_equal(lab_apply(1U << 1 | 1U << 2), 0);
	assert_int_equal(tables_in_use(), 1);
	assert_int_not_equal(receiver_of(40000, PORT_MANY), 0);
}

static void an_address_may_be_named_twice(void **state)
{
	const struct addr public = addr_from_v4(htonl(PUBLIC));
	const struct fabric_address addrs[] = {{public, "app"}, {public, "app"}, {public, "app"}};
	const struct fabric_group group = {"app/web", one_and_two, 1};
	const struct fabric_service service = {public, PROTOCOL_UDP, {300, 400}, 0, false};

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			fabric_apply(lab.fabric, &group, 1, &service, 1, addrs, 3, NULL), 0);
		assert_int_equal(receiver_of(40000, 333), 1);
	}
}

static void services_that_went_are_gone_and_those_that_stayed_are_not(void **state)
{
	const struct addr public = addr_from_v4(htonl(PUBLIC));
	const struct fabric_group group = {"lab/one", one_and_two, 1};
	const struct fabric_service service = {public, PROTOCOL_UDP, {PORT, PORT}, 0, false};

	(void)state;
	apply(&group, 1, &service, 1);
	assert_int_equal(receiver_of(40000, PORT), 1);
	assert_int_equal(receiver_of(40000, PORT_RANGE), 0);
	assert_int_equal(receiver_of(40000, PORT_MANY), 0);
	assert_int_equal(lab.fabric->service_count, 1);
}

static void an_unknown_machine_is_refused_by_name(void **state)
{
	const struct addr public = addr_from_v4(htonl(PUBLIC));
	const struct fabric_group group = {"app/web", (const char *const[]){"nobody"}, 1};
	const struct fabric_service service = {public, PROTOCOL_UDP, {300, 400}, 0, false};
	const struct fabric_address addr = {public, "app"};
	struct err err = {};

	(void)state;
	assert_int_equal(fabric_apply(lab.fabric, &group, 1, &service, 1, &addr, 1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "nobody"));
	assert_int_equal(receiver_of(40000, PORT), 1); /* nothing changed */
	assert_int_equal(lab_apply(1U << 1 | 1U << 2), 0);
}

static void a_machine_id_that_does_not_fit_is_refused(void **state)
{
	const struct fabric_machine machine = {
		.id = "0123456789abcdef", .ifindex = lab.machines[1].ifindex};
	struct err err = {};

	(void)state;
	assert_int_equal(fabric_machine_set(lab.fabric, &machine, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, machine.id));
}

static void more_machines_than_fit_are_refused_in_words(void **state)
{
	struct fabric_machine machine = {.ifindex = lab.machines[3].ifindex};
	char id[32];
	struct err err = {};
	int r = 0;

	(void)state;
	machine.id = id;
	for (int i = 0; i < WHERRY_MAX_MACHINES && r == 0; i++) {
		snprintf(id, sizeof(id), "extra-%d", i);
		r = fabric_machine_set(lab.fabric, &machine, NULL, &err);
	}
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err.text, "65535 machines"));
}

static void more_addresses_than_fit_are_refused_in_words(void **state)
{
	_free_ struct fabric_address *addrs = calloc(WHERRY_MAX_ADDRESSES + 1, sizeof(*addrs));
	struct err err = {};

	(void)state;
	for (uint32_t i = 0; i <= WHERRY_MAX_ADDRESSES; i++)
		addrs[i] = (struct fabric_address){public_addr(i), "app"};
	assert_int_equal(
		fabric_apply(lab.fabric, NULL, 0, NULL, 0, addrs, WHERRY_MAX_ADDRESSES + 1, &err),
		-ENOSPC);
	assert_non_null(strstr(err.text, "65536"));
	assert_int_equal(receiver_of(40000, PORT), 1);
	assert_int_equal(lab_apply(1U << 1 | 1U << 2), 0);
	assert_int_equal(lab.fabric->address_count, 3);
	assert_int_equal(receiver_of(40000, PORT_RANGE + 50), 1);
}

static void more_port_blocks_than_fit_are_refused_in_words(void **state)
{
	const size_t count = WHERRY_MAX_SERVICES / 30 + 1;
	_free_ struct fabric_address *addrs = calloc(count, sizeof(*addrs));
	_free_ struct fabric_service *services = calloc(count, sizeof(*services));
	const struct fabric_group group = {"app/web", one_and_two, 1};
	struct err err = {};

	(void)state;
	for (uint32_t i = 0; i < count; i++) {
		addrs[i] = (struct fabric_address){public_addr(i), "app"};
		services[i] =
			(struct fabric_service){addrs[i].addr, PROTOCOL_UDP, {1, 65534}, 0, false};
	}
	assert_int_equal(
		fabric_apply(lab.fabric, &group, 1, services, count, addrs, count, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "262144 port blocks"));
	assert_int_equal(lab_apply(1U << 1 | 1U << 2), 0);
	assert_int_equal(lab.fabric->service_count, 4 + 5);
	assert_int_equal(receiver_of(40000, PORT), 1);
}

static size_t resident_kib(void)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	size_t size = 0, resident = 0;

	assert_int_equal(fscanf(statm, "%zu %zu", &size, &resident), 2);
	fclose(statm);
	return resident * 4;
}

#define MANY 10000

/* Each service is a group of its own: what costs most. */
static void ten_thousand_services_take_less_than_a_second(void **state)
{
	_free_ struct fabric_group *groups = calloc(MANY, sizeof(*groups));
	_free_ struct fabric_service *services = calloc(MANY, sizeof(*services));
	_free_ struct fabric_address *addrs = calloc(MANY, sizeof(*addrs));
	char(*names)[16] = calloc(MANY, sizeof(*names));
	const char *const whats[] = {"new", "the same", "the same after a start", "moved"};
	size_t before_kib = resident_kib();
	/* A processor that is emulated says nothing about time. */
	const uint64_t limit_ms = getenv("WHERRY_TEST_EMULATED") ? 10000 : 1000;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "app-%u/web", i);
		addrs[i] = (struct fabric_address){public_addr(i), "app"};
		groups[i] = (struct fabric_group){names[i], one_and_two, 1};
		services[i] = (struct fabric_service){
			addrs[i].addr, PROTOCOL_UDP, {5000, 5000}, i, false};
	}
	for (size_t what = 0; what < ARRAY_LEN(whats); what++) {
		uint64_t start_ms = clock_now_ms(), spent_ms;

		if (what == 2)
			restart();
		for (uint32_t i = 0; what == 3 && i < MANY; i++)
			groups[i].machine_ids = two_and_three;
		assert_int_equal(
			fabric_apply(lab.fabric, groups, MANY, services, MANY, addrs, MANY, NULL),
			0);
		spent_ms = clock_now_ms() - start_ms;
		print_message("%d services, %s: %d ms, %d KiB\n", MANY, whats[what], (int)spent_ms,
			(int)(resident_kib() - before_kib));
		assert_in_range(spent_ms, 0, limit_ms - 1);
	}
	free(names);
}

static void removing_ends_everything_and_may_be_repeated(void **state)
{
	struct err err = {};
	struct stat st;

	(void)state;
	assert_int_equal(fabric_attach_edge(lab.fabric, lab.up_ifindex, NULL), 0);
	for (int i = 0; i < 2; i++)
		if (fabric_remove(BPF_DIR, &err) < 0)
			fail_msg("%s", err.text);
	assert_int_equal(stat(BPF_DIR, &st), -1);
	assert_int_equal(lab_programs_on(lab.up_ifindex), 0);
	assert_int_equal(lab_programs_on(lab.machines[1].ifindex), 0);
}

/* Kernels before 6.6. No pin holds a filter: it must be found by its place and name. */
static void attach_both(bool is_clsact)
{
	if (is_clsact)
		assert_int_equal(setenv("WHERRY_TC", "clsact", 1), 0);
	lab_machine_set(1);
	assert_int_equal(fabric_attach_edge(lab.fabric, lab.up_ifindex, NULL), 0);
	unsetenv("WHERRY_TC");
	assert_int_equal(lab_programs_on(lab.up_ifindex), 1);
	assert_int_equal(lab_programs_on(lab.machines[1].ifindex), 1);
	assert_int_equal(receiver_of(40000, PORT), 1);
}

static void an_interface_has_one_program_when_the_way_of_attaching_changes(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		attach_both(i & 1);
		attach_both(i & 1); /* in place of itself */
	}
	assert_int_equal(lab_filters_on(lab.up_ifindex), 1);
}

static void a_machine_that_goes_takes_its_clsact_filter_along(void **state)
{
	(void)state;
	attach_both(true);
	restart();
	assert_int_equal(fabric_machine_remove(lab.fabric, lab.machines[1].id, NULL), 0);
	assert_int_equal(lab_programs_on(lab.machines[1].ifindex), 0);
	assert_int_equal(lab_programs_on(lab.up_ifindex), 1);
}

static void removing_takes_clsact_filters_away_too(void **state)
{
	(void)state;
	attach_both(true);
	assert_int_equal(fabric_remove(BPF_DIR, NULL), 0);
	assert_int_equal(lab_programs_on(lab.up_ifindex), 0);
	assert_int_equal(lab_programs_on(lab.machines[1].ifindex), 0);
	restart();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_pinned_serves_without_a_daemon),
		TEST(each_interface_has_one_program_after_any_number_of_starts),
		TEST(former_machines_outlive_the_daemon),
		TEST(a_machine_removed_right_after_a_start_is_in_no_table),
		TEST(a_port_that_changes_its_group_leaves_the_others_alone),
		TEST(tables_that_nobody_needs_are_given_back),
		TEST(a_table_that_no_service_ever_used_is_given_back_after_a_start),
		TEST(an_address_may_be_named_twice),
		TEST(services_that_went_are_gone_and_those_that_stayed_are_not),
		TEST(an_unknown_machine_is_refused_by_name),
		TEST(a_machine_id_that_does_not_fit_is_refused),
		TEST(more_machines_than_fit_are_refused_in_words),
		TEST(more_addresses_than_fit_are_refused_in_words),
		TEST(more_port_blocks_than_fit_are_refused_in_words),
		TEST(ten_thousand_services_take_less_than_a_second),
		TEST(an_interface_has_one_program_when_the_way_of_attaching_changes),
		TEST(a_machine_that_goes_takes_its_clsact_filter_along),
		TEST(removing_takes_clsact_filters_away_too),
		TEST(removing_ends_everything_and_may_be_repeated),
	};

	return cmocka_run_group_tests(tests, lab_up, lab_down);
}
