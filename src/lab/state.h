/* SPDX-License-Identifier: Apache-2.0 */
/* lab.json: what a lab consists of and how its nodes are meant to be. */
#pragma once

#include <stddef.h>

#include "lab/topology.h"

struct err;

/* Writes the lab's file; readers see the old or the new one. */
int lab_save(const struct lab *lab, struct err *err);

/*
 * Reads the lab called @name. -ENOENT with a sentence that lists what there is; -EINVAL when the
 * file is not one of ours.
 */
int lab_load(const char *name, struct lab *out, struct err *err);

/* Loads the lab and changes the recorded state of one node, under the lab's lock. */
int lab_set_state(const char *name, const char *node, enum lab_node_state state, struct err *err);

/* The names of all labs that are up, sorted. Returns how many; the caller frees with list_free. */
size_t lab_list(char ***out);
void lab_list_free(char **names, size_t count);

/* -ENOENT and "there is no node ...; the lab has ...". */
int lab_no_node(const struct lab *lab, const char *node, struct err *err);
