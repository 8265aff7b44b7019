/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of an etcd: its endpoints and the prefix below which the catalog stands. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct err;

#define ETCD_ENDPOINTS_MAX 16
#define ETCD_PREFIX_MAX	   128

struct etcd_url {
	bool is_tls;
	size_t count;
	char endpoints[ETCD_ENDPOINTS_MAX][280]; /* "HOST:PORT" */
	char prefix[ETCD_PREFIX_MAX + 2];	 /* ends in a slash */
	char names[512]; /* the endpoints for a sentence: "10.0.0.1:2379, 10.0.0.2:2379" */
};

/* -EINVAL and what is wrong with it. */
int etcd_url_parse(const char *text, struct etcd_url *out, struct err *err);
