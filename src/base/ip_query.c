/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ip(8) rather than netlink of our own: these are a handful of calls when the daemon starts and
 * when its config changes, and what was run can be repeated by hand. What is asked for must have a
 * bounded answer: run_checked() keeps 1 MiB, which the links of some thousand machines exceed.
 */
#include "base/ip_query.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/run.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

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

/* The line of @batch, which starts at 1, without its end. */
static int line_len(const char *batch, unsigned long number, const char **line)
{
	for (; number > 1 && *batch; number--)
		batch += strcspn(batch, "\n"), batch += *batch == '\n';
	*line = batch;
	return (int)strcspn(batch, "\n");
}

/*
 * ip(8) writes its reason and, after it, "Command failed -:3" with the number of the line. Of
 * several the first is told.
 */
static int explain(const char *batch, char *errors, struct err *err)
{
	static const char mark[] = "Command failed -:";
	char *failed = strstr(errors, mark), *reason = errors;
	const char *line;
	int len;

	if (!failed)
		return err_set(
			err, -EIO, "ip -batch failed: %.*s", (int)strcspn(errors, "\n"), errors);
	len = line_len(batch, strtoul(failed + strlen(mark), NULL, 10), &line);
	if (failed > errors)
		failed[-1] = '\0';
	else
		reason = "no reason given";
	if (strrchr(reason, '\n'))
		reason = strrchr(reason, '\n') + 1;
	return err_set(err, -EIO, "\"ip %.*s\" failed: %s", len, line, reason);
}

static int run_batch(const char *const argv[], const char *batch, struct err *err)
{
	_cleanup_(run_result_clear) struct run_result result = {};
	int r = run_program(argv, batch, TIMEOUT_MS, &result, err);

	if (r < 0 || (WIFEXITED(result.status) && WEXITSTATUS(result.status) == 0))
		return r;
	return explain(batch, result.errors, err);
}

int ip_batch(const char *batch, struct err *err)
{
	const char *const argv[] = {"ip", "-batch", "-", NULL};

	return run_batch(argv, batch, err);
}

int ip_batch_all(const char *batch, struct err *err)
{
	const char *const argv[] = {"ip", "-force", "-batch", "-", NULL};

	return run_batch(argv, batch, err);
}

const char *ip_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}
