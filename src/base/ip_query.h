/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to ip(8) about the calling thread's network namespace, answered as JSON, and lines for
 * it to run.
 */
#pragma once

#include <jansson.h>

struct err;

/*
 * Runs "ip -j" with @args (NULL-terminated, at most 12). The answer is an array, which the caller
 * owns; no answer is an empty one. -EIO when ip(8) refuses, with its reason.
 */
int ip_query(const char *const args[], json_t **out, struct err *err);

/* Runs the lines of @batch, all or up to the first that fails. -EIO with that line and why. */
int ip_batch(const char *batch, struct err *err);

/* Runs all lines, also those after one that fails; the failure told is the first. */
int ip_batch_all(const char *batch, struct err *err);

/* The string under @key, or "". */
const char *ip_text(const json_t *object, const char *key);
