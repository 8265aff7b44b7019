/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a new machine is up: its program lived for a moment and opened the UDP ports that its
 * services declare. One that is slow to open them is told of and let through: it may have reasons.
 */
#include "control/rollout_impl.h"

#include "base/clock.h"
#include "machine/logs.h"

#include <string.h>

#define SETTLE_MS 300  /* a program that ends sooner did not come up */
#define BIND_MS	  5000 /* how long a program may take to open its UDP ports */

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

/* The next single UDP port of the machine's services at which nobody listens; 0: none. */
static uint16_t find_unbound(const struct rollout *rollout, const struct machine *machine,
	const struct machine_socket *list, size_t count)
{
	const struct app_config *config = rollout_config(rollout);
	const struct addr primary = network_primary(&machine->record->network);
	const struct addr service_addr = network_service(&machine->record->network);

	for (size_t s = 0; config && s < config->service_count; s++) {
		const struct service *service = &config->services[s];

		if (service->protocol != PROTOCOL_UDP ||
			!service_in_group(service, machine->record->group))
			continue;
		for (size_t p = 0; p < service->port_count; p++) {
			const struct port_range range = service->ports[p].range;

			/* The ports of a range are opened as they are needed. */
			if (range.first == range.last &&
				!machine_sockets_serve(
					list, count, &primary, &service_addr, range.first))
				return range.first;
		}
	}
	return 0;
}

static uint16_t unbound_port(struct rollout *rollout, const struct machine *machine)
{
	char name[MACHINE_NETNS_LEN], path[sizeof(name) + sizeof("/run/netns/")];
	_free_ struct machine_socket *list = NULL;
	size_t count;

	if (!rollout->sockets) {
		snprintf(path, sizeof(path), "/run/netns/%s",
			machine_netns_name(machine->record->id, name));
		if (machine_sockets_open(&rollout->sockets, path, NULL) < 0)
			return 0;
	}
	if (machine_sockets_list(rollout->sockets, &list, &count, NULL) < 0)
		return 0;
	return find_unbound(rollout, machine, list, count);
}

bool rollout_is_up(struct rollout *rollout, struct machine *machine)
{
	uint64_t age_ms;
	uint16_t port;

	if (!rollout->up_ms)
		rollout->up_ms = clock_now_ms();
	age_ms = clock_now_ms() - rollout->up_ms;
	/* Someone else's program: it may come and go as they like. */
	if (machine->record->kind == MACHINE_ATTACHED)
		return true;
	if (age_ms < SETTLE_MS)
		return false;
	port = unbound_port(rollout, machine);
	if (port && age_ms < BIND_MS)
		return false;
	if (port)
		api_stream_warning(rollout->stream,
			"nothing listens on UDP port %u of machine %s "
			"after %d s; bind it on fly-global-services or 0.0.0.0",
			port, machine->record->id, BIND_MS / 1000);
	return true;
}
