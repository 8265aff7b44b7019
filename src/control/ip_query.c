/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ip(8) rather than netlink of our own: these are a handful of calls when the daemon starts and
 * when its config changes, and what was run can be repeated by hand. What is asked for must have a
 * bounded answer: run_checked() keeps 1 MiB, which the links of some thousand machines exceed.
 */
#include "control/ip_query.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/run.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT_MS 10000
#define MAX_ARGS   12

int ip_query(const char *const args[], json_t **out, struct err *err)
{
	const char *argv[MAX_ARGS + 3] = {"ip", "-j"};
	_free_ char *text = NULL;
	json_error_t error;
	json_t *answer;
	int r;

	for (size_t i = 0; i < MAX_ARGS && args[i]; i++)
		argv[i + 2] = args[i];
	r = run_checked(argv, NULL, TIMEOUT_MS, &text, err);
	if (r == -ENOENT)
		return err_set(err, r, "ip is not installed; apt-get install iproute2");
	if (r < 0)
		return r;
	answer = text[strspn(text, " \n")] ? json_loads(text, 0, &error) : json_array();
	if (!json_is_array(answer)) {
		json_decref(answer);
		return err_set(err, -EIO, "the answer of \"ip -j %s ...\" is not JSON", args[0]);
	}
	*out = answer;
	return 0;
}

int ip_batch(const char *batch, struct err *err)
{
	const char *const argv[] = {"ip", "-batch", "-", NULL};

	return run_checked(argv, batch, TIMEOUT_MS, NULL, err);
}

const char *ip_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}
