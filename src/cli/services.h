/* SPDX-License-Identifier: Apache-2.0 */
/* How an app's services are shown. */
#pragma once

#include <jansson.h>

/* "80 => 8080", "5000 => 5000" or, for a range of UDP ports, "2000-2010"; the caller frees. */
char *services_format_ports(const json_t *service, const char *ports);
