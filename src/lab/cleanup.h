/* SPDX-License-Identifier: Apache-2.0 */
/* Ending what the machines of a node left: programs, containers, namespaces. */
#pragma once

struct err;
struct ns_set;

/* Adds the network namespaces of the node's machines to @set. */
void cleanup_find_machines(const char *lab, const char *node, struct ns_set *set);

/*
 * Removes the machines of the node, with the node's daemon dead or alive no more. All of them are
 * tried; returns the first failure.
 */
int cleanup_machines(const char *lab, const char *node, struct err *err);

/* Unbinds the machines' namespaces from /run/netns, with whatever is still in them. */
void cleanup_unbind_machines(const char *lab, const char *node);
