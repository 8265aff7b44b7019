/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a machine that was started is up: its program lived for a moment and opened the UDP ports
 * that its services declare. One that is slow to open them is told of and let through: it may have
 * reasons.
 */
#include "control/control_impl.h"

#include "base/clock.h"

#include <string.h>

#define LOOK_MS	  20
#define SETTLE_MS 300  /* a program that ends sooner did not come up */
#define BIND_MS	  5000 /* how long a program may take to open its UDP ports */

/* The next port that is awaited and at which nobody listens; 0: none. */
static uint16_t unbound_port(struct machine *machine)
{
	const struct machine_record *record = machine->record;
	const struct addr primary = network_primary(&record->network);
	const struct addr service = network_service(&record->network);
	_free_ struct machine_socket *list = NULL;
	_free_ char *path = view_netns_path(machine);
	size_t count;

	if (!machine->sockets && (!path || machine_sockets_open(&machine->sockets, path, NULL) < 0))
		return 0;
	if (machine_sockets_list(machine->sockets, &list, &count, NULL) < 0)
		return 0;
	for (size_t i = 0; i < record->await_port_count; i++)
		if (!machine_sockets_serve(list, count, &primary, &service, record->await_ports[i]))
			return record->await_ports[i];
	return 0;
}

static void look(uv_timer_t *timer)
{
	struct machine *machine = timer->data;
	const uint64_t age_ms = clock_now_ms() - machine->up_ms;
	uint16_t port = 0;

	if (machine->record->kind != MACHINE_ATTACHED) {
		if (age_ms < SETTLE_MS)
			return;
		port = unbound_port(machine);
		if (port && age_ms < BIND_MS)
			return;
	}
	/* Someone else's program: it may come and go as they like. */
	machine_up_stop(machine);
	machine->is_up = true;
	machine->history.unbound_port = port;
	machine_publish(machine);
	serve(machine->control);
	rollouts_machine_changed(machine->control);
}

void machine_up_watch(struct machine *machine)
{
	machine->up_ms = clock_now_ms();
	uv_timer_start(&machine->up_timer, look, 0, LOOK_MS);
}

void machine_up_stop(struct machine *machine)
{
	machine_sockets_close(take_ptr(machine->sockets));
	if (!machine->is_gone)
		uv_timer_stop(&machine->up_timer);
}
