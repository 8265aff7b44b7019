/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public interface and what the host's own network needs for it: it may vanish and come back
 * under another ifindex, its addresses may change, and a firewall that is loaded anew may take our
 * rules with it. All of it is put right again when a link changes, and now and then in any case.
 */
#include "control/control_impl.h"

#include "base/log.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

#define REATTACH_MS 200	  /* an interface that comes back is given time to be named and set up */
#define RETRY_MS    2000  /* it is not there, or not set up yet */
#define REPAIR_MS   60000 /* the regular look */

static void reattach(uv_timer_t *timer);

static void reattach_after(struct control *control, unsigned int after_ms)
{
	uv_timer_start(&control->reattach_timer, reattach, after_ms, 0);
}

int public_setup(struct control *control, struct err *err)
{
	_free_ struct fabric_pool *pools = NULL;
	struct host_net_options options;
	struct host_public public = {};
	size_t pool_count = 0;
	int r;

	r = host_net_find_public(control->config.public_interface, &public, err);
	if (r < 0)
		return r;
	host_public_clear(&control->public);
	control->public = public;
	if (!control->public.is_ethernet)
		return err_set(err, -ENOTSUP,
			"%s is no Ethernet interface, which the public one "
			"has to be",
			control->public.name);
	free(control->pools);
	control->pools = NULL;
	host_net_pools(control->config.public_pools, control->config.public_pool_count,
		&control->public, &control->pools, &control->pool_count);
	if (!control->config.is_edge) {
		/* Clients do not come in here, and the addresses are others'. */
		free(take_ptr(control->pools));
		control->pool_count = 0;
	}
	fleet_collect_pools(control);
	options = (struct host_net_options){
		.public = &control->public,
		.pools = control->pools,
		.pool_count = control->pool_count,
		.machine_pool = control->config.machine_pool,
	};
	r = host_net_setup(&options, err);
	if (r == 0)
		r = host_net_fabric_pools(&options, &pools, &pool_count, err);
	if (r == 0)
		r = fabric_set_pools(control->fabric, pools, pool_count, err);
	if (r == 0)
		r = fabric_attach_accept(control->fabric, err);
	return r;
}

int public_attach(struct control *control, struct err *err)
{
	int r;

	if (!control->config.is_edge)
		return 0;
	/* The loopback device: clients on the host itself. */
	r = fabric_attach_edge(control->fabric, 1, err);
	return r == 0 ? fabric_attach_edge(control->fabric, control->public.ifindex, err) : r;
}

static void reattach(uv_timer_t *timer)
{
	struct control *control = timer->data;
	const unsigned int before = control->public.ifindex;
	struct err err = {};

	if (public_setup(control, &err) < 0 ||
		(control->is_ready && public_attach(control, &err) < 0)) {
		if (!control->is_public_lost)
			log_error("public-interface-lost", "reason=\"%s\"", err.text);
		control->is_public_lost = true;
		reattach_after(control, RETRY_MS);
		return;
	}
	if (control->is_public_lost || control->public.ifindex != before)
		log_info("public-interface", "name=%s ifindex=%u", control->public.name,
			control->public.ifindex);
	control->is_public_lost = false;
	reattach_after(control, REPAIR_MS);
}

static void link_changed(void *arg, unsigned int ifindex, const char *ifname, bool is_gone)
{
	struct control *control = arg;

	if (strcmp(ifname, control->public.name) == 0 &&
		(is_gone || ifindex != control->public.ifindex))
		reattach_after(control, REATTACH_MS);
	for (size_t i = 0; is_gone && i < control->machine_count; i++)
		if (control->machines[i]->has_net &&
			(unsigned int)control->machines[i]->net.ifindex == ifindex) {
			machine_net_gone(control->machines[i]);
			return;
		}
}

/* Changes came faster than they were read: what is there is looked at. */
static void look_at_all_links(struct control *control)
{
	char name[IFNAMSIZ];

	reattach_after(control, 0);
	for (size_t i = control->machine_count; i-- > 0;)
		if (control->machines[i]->has_net &&
			!if_indextoname((unsigned int)control->machines[i]->net.ifindex, name))
			machine_net_gone(control->machines[i]);
}

static void links_readable(uv_poll_t *watch, int status, int events)
{
	struct control *control = watch->data;

	(void)status;
	(void)events;
	if (host_net_watch_read(control->link_fd, link_changed, control) == 1)
		look_at_all_links(control);
}

int public_watch(struct control *control, struct err *err)
{
	control->link_fd = host_net_watch_fd();
	if (control->link_fd < 0)
		return err_errno(err, control->link_fd, "cannot watch the host's interfaces");
	uv_timer_init(control->loop, &control->reattach_timer);
	control->reattach_timer.data = control;
	uv_poll_init(control->loop, &control->link_watch, control->link_fd);
	control->link_watch.data = control;
	uv_poll_start(&control->link_watch, UV_READABLE, links_readable);
	reattach_after(control, REPAIR_MS);
	return 0;
}

void public_close(struct control *control)
{
	if (control->link_fd < 0)
		return;
	uv_close((uv_handle_t *)&control->link_watch, NULL);
	uv_close((uv_handle_t *)&control->reattach_timer, NULL);
}
