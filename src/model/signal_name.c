/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signals a program may be asked to end by. Those that a crash raises are not among them: a
 * machine stopped by one could not be told from one that failed.
 */
#include "model/signal_name.h"

#include <signal.h>
#include <stddef.h>
#include <strings.h>

#include "base/mem.h"

static const struct {
	const char *name;
	int number;
} signals[] = {
	{"SIGHUP", SIGHUP},
	{"SIGINT", SIGINT},
	{"SIGQUIT", SIGQUIT},
	{"SIGKILL", SIGKILL},
	{"SIGUSR1", SIGUSR1},
	{"SIGUSR2", SIGUSR2},
	{"SIGTERM", SIGTERM},
	{"SIGSTOP", SIGSTOP},
	{"SIGWINCH", SIGWINCH},
};

int signal_from_name(const char *name)
{
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		if (!strcasecmp(name, signals[i].name + 3))
			return signals[i].number;
	}
	return -1;
}

const char *signal_name(int number)
{
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		if (signals[i].number == number)
			return signals[i].name;
	}
	return "";
}

void signal_names_add(struct buf *buf)
{
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		buf_addf(buf, "%s%s", i ? ", " : "", signals[i].name);
}
