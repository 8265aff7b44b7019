/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipped programs and maps on a bpffs of the test's own, in mount and network namespaces of
 * the test's own: nothing is left when it ends. A test group starts with lab_up(), which ends the
 * program with 77 when it may not make namespaces; each test starts from lab_reset().
 *
 *	client --- up0 [ the test's namespace ] mN --- eth0 [ namespace of machine N ]
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"
#include "fabric/fabric_impl.h"
#include "frames.h"

#define BPF_DIR "/mnt/bpf/wherry"

#define TCX_NEXT     -1
#define TCX_DROP     2
#define TCX_REDIRECT 7

#define CLIENT	      IP4(198, 51, 100, 10)
#define ROUTER	      IP4(198, 51, 100, 1)
#define HOST	      IP4(198, 51, 100, 2) /* on up0 */
#define PUBLIC	      IP4(203, 0, 113, 5)  /* of machines 1 and 2 */
#define PUBLIC_C      IP4(203, 0, 113, 6)  /* of machine 3 */
#define PUBLIC_UNUSED IP4(203, 0, 113, 7)  /* of an app without services */
#define ELSEWHERE     IP4(192, 0, 2, 99)

/* Services of lab_reset(), all UDP. */
#define PORT	   5000 /* PUBLIC, machine 1 */
#define PORT_RANGE 6000 /* PUBLIC, machine 1, to 6100 */
#define PORT_MANY  7000 /* PUBLIC, machines 1 and 2 */
#define PORT_NONE  7500 /* PUBLIC, a group without machines */
#define PORT_C	   5000 /* PUBLIC_C, machine 3 */
#define PORT_FREE  4999 /* no service */

/* Mesh addresses, used after lab_fleet(). */
#define SELF	 IP4(10, 64, 0, 1)
#define EDGE	 IP4(10, 64, 0, 2)
#define WORKER	 IP4(10, 64, 0, 3) /* machine 4; machine 6, of another app */
#define WORKER_B IP4(10, 64, 0, 4) /* machine 5 */
#define WORKER_C IP4(10, 64, 0, 5) /* no machine */
#define EDGE_B	 IP4(10, 64, 0, 6)
#define STRANGER IP4(10, 64, 0, 9) /* no host */
#define RESIZER	 IP4(169, 254, 77, 1)
#define MESH_MTU 1440

#define MACHINES 3 /* on this host */
#define FLEET	 6 /* with those elsewhere */

struct lab_machine {
	const char *id, *app;
	uint32_t host; /* 0: this one */
	unsigned int ifindex;
	int netns; /* descriptor of its namespace; its id is its number */
	uint32_t primary, service;
	uint16_t index;
};

struct lab {
	struct fabric *fabric;
	unsigned int up_ifindex, mesh_ifindex, whole_ifindex, pieces_ifindex;
	struct lab_machine machines[FLEET + 1]; /* from 1 */
	int flows, fragments, outflows;
};

extern struct lab lab;

/* Group setup and teardown, test setup. */
int lab_up(void **state);
int lab_down(void **state);
int lab_reset(void **state);

/* Makes machine @n known (again). */
void lab_machine_set(unsigned int n);

/*
 * Makes the machines elsewhere and the other hosts known, and the mesh one by a WireGuard device.
 * With @edge, what machines send first leaves by it: this host is no edge. lab_reset() ends it.
 */
void lab_fleet(uint32_t edge);

/* Makes the services those of lab_reset(), group "lab/many" having the machines of bit mask. */
int lab_apply(unsigned int many_mask);

/* A UDP socket in machine @n bound to @addr (0: any) and @port, connected when @client is not 0.
 * lab_reset() closes it. */
int lab_socket(unsigned int n, uint32_t addr, uint16_t port, uint32_t client, uint16_t client_port);

struct outcome {
	int verdict;
	struct frame in, out;
	uint64_t counted[WHERRY_VERDICT_COUNT];
	struct wherry_traffic traffic[FLEET + 1];
};

struct outcome lab_run(
	enum fabric_program program, unsigned int ifindex, const struct frame *frame);
struct outcome lab_run_gso(enum fabric_program program, unsigned int ifindex,
	const struct frame *frame, unsigned int gso_size);

/* Towards machines, by the public interface. */
struct outcome lab_edge(const struct frame *frame);
struct outcome lab_edge_udp(const struct datagram *datagram);

/* From machine @n. */
struct outcome lab_worker(unsigned int n, const struct frame *frame);
struct outcome lab_worker_udp(unsigned int n, const struct datagram *datagram);

/* From the mesh. As by a device with Ethernet headers: test runs know no others. */
struct outcome lab_mesh(const struct frame *frame);

/* Client's datagram from @client_port to PUBLIC:@port. */
struct outcome lab_client_sends(uint16_t client_port, uint16_t port);

/* The machine that the packet was redirected to by its traffic; 0: none. */
unsigned int lab_receiver(const struct outcome *outcome);

/* Fails at the caller's line unless verdict and counters are these; @counted WHERRY_VERDICT_COUNT:
 * none. What is not redirected must come back as it went in. */
void lab_check(const struct outcome *outcome, int verdict, enum wherry_verdict counted,
	const char *file, int line);

#define assert_dropped(o, why) lab_check(&(o), TCX_DROP, why, __FILE__, __LINE__)
#define assert_left(o, why)    lab_check(&(o), TCX_NEXT, why, __FILE__, __LINE__)
#define assert_redirected(o)   lab_check(&(o), TCX_REDIRECT, WHERRY_VERDICT_COUNT, __FILE__, __LINE__)
#define assert_not_ours(o)     lab_check(&(o), TCX_NEXT, WHERRY_VERDICT_COUNT, __FILE__, __LINE__)
/* Redirected, and exactly this comes out. @counted as for lab_check(). */
void lab_check_sent(const struct outcome *outcome, const struct frame *expected,
	enum wherry_verdict counted, const char *file, int line);

#define assert_sent(o, expected)                                                                   \
	lab_check_sent(&(o), &(expected), WHERRY_VERDICT_COUNT, __FILE__, __LINE__)
#define assert_sent_as(o, expected, why) lab_check_sent(&(o), &(expected), why, __FILE__, __LINE__)
#define assert_addr_equal(a, b)		 assert_int_equal(a, b)
#define TEST(name)			 cmocka_unit_test_setup(name, lab_reset)

/* How many of our clsact filters are on the ingress of the interface. */
uint32_t lab_filters_on(unsigned int ifindex);

/* How many programs are attached to the ingress of the interface, either way. */
uint32_t lab_programs_on(unsigned int ifindex);
