/* SPDX-License-Identifier: Apache-2.0 */
/* The lab's network: bridges, links, addresses, routes, sysctls; made by ip(8). */
#pragma once

#include <stdbool.h>

#include "lab/topology.h"

struct buf;
struct err;

/* Makes the internet's bridges and lets it forward. */
int links_make_internet(const struct lab *lab, const struct lab_node *internet, struct err *err);

/*
 * Makes @node's eth0 with its addresses and default routes. The other end goes into the internet,
 * whose network namespace the calling process has open as @internet_fd.
 */
int links_make_node(
	const struct lab *lab, const struct lab_node *node, int internet_fd, struct err *err);

/* Once all nodes are linked: their ends become ports of the bridges, and the pools get routes. */
int links_join(const struct lab *lab, const struct lab_node *internet, struct err *err);

/* Pulls or plugs the cable of @node at the internet's end: the node loses its carrier. */
int links_set_carrier(const struct lab *lab, const struct lab_node *internet,
	const struct lab_node *node, bool up, struct err *err);

/* Sends what @client has for the public pools to @edge from now on. The lab has_routes. */
int links_route(const struct lab *lab, const struct lab_node *internet,
	const struct lab_node *client, const struct lab_node *edge, struct err *err);

/* The command lists for `ip -batch`. */
void links_internet_script(struct buf *out);
void links_node_script(const struct lab_node *node, const char *internet_netns, struct buf *out);
void links_join_script(const struct lab *lab, struct buf *out);
void links_rules_script(const struct lab *lab, bool is_v6, struct buf *out);
void links_route_script(
	const struct lab_node *client, const struct lab_node *edge, struct buf *out);
