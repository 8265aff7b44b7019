/* SPDX-License-Identifier: Apache-2.0 */
/* Words of a rollout: what the program that did not come up said last, what is not served. */
#include "control/rollout_impl.h"

#include "machine/logs.h"

#include <string.h>

static void add_log_line(void *arg, const struct log_line *line)
{
	snprintf(arg, 160, "%s", line->message);
}

/* What the program said last, for the person who asked for it. */
void rollout_add_last_words(const struct machine *machine, struct err *err)
{
	_free_ char *dir = machine_dir(machine->control, machine->record->id);
	struct logs_cursor cursor = {};
	char line[160] = "";
	size_t len = strlen(err->text);

	if (!dir || logs_seek_tail(dir, 1, &cursor) < 0)
		return;
	logs_read(dir, &cursor, add_log_line, line);
	if (*line)
		snprintf(err->text + len, sizeof(err->text) - len, "; its last words: %s", line);
}

void rollout_warn_of_tcp(const struct rollout *rollout)
{
	for (size_t s = 0; rollout->config && s < rollout->config->service_count; s++) {
		const struct service *service = &rollout->config->services[s];

		if (service->protocol == PROTOCOL_TCP && service->port_count)
			api_stream_warning(rollout->stream,
				"the TCP service on port %u is not "
				"served yet: this version forwards UDP",
				service->ports[0].range.first);
	}
}
