/* SPDX-License-Identifier: Apache-2.0 */
/* What crosses the mesh in tests of both its ends: a datagram in, an answer back, and who we are.
 */
#pragma once

#include "harness.h"

#define CLIENT_PORT 40000

extern const struct datagram hello;

struct datagram far_answer(void);

/* Set-ups: this host is a worker with machine 1, or an edge of machine 4, which is elsewhere. */
int a_worker(void **state);
int an_edge(void **state);

struct outcome arrives(const struct frame *inside, uint32_t from, unsigned int machine);
struct outcome hello_arrives(uint32_t from, unsigned int machine);
