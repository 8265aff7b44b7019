/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lab route`: as when the world's routers find another edge nearer to a client. The internet's
 * route changes in one step, and lab.json says so after it: when the command fails between the two,
 * doing it again mends that. Moving a client to where it is changes nothing.
 */
#include "lab/verbs.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "lab/links.h"
#include "lab/paths.h"
#include "lab/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int no_edge(const struct lab *lab, const char *name, struct err *err)
{
	_cleanup_(buf_clear) struct buf list = {};
	const struct lab_node *edge;

	for (unsigned int i = 0; (edge = lab_edge(lab, i)); i++)
		buf_addf(&list, "%s%s", i ? ", " : "", edge->name);
	return err_set(err, -ENOENT, "the lab \"%s\" has no edge %s; it has: %s", lab->name, name,
		list.data);
}

int lab_route(const struct lab_args *args, struct err *err)
{
	_cleanup_(lab_clear) struct lab lab = {};
	const struct lab_node *edge;
	struct lab_node *client;
	_close_ int lock = -1;
	int r = lab_lock(args->name, &lock, err);

	/* Without a lab there is no lock, and loading says which labs there are. */
	if (r >= 0)
		r = lab_load(args->name, &lab, err);
	if (r < 0)
		return r;
	client = lab_find(&lab, args->node);
	if (!client)
		return lab_no_node(&lab, args->node, err);
	if (client->kind != LAB_CLIENT)
		return err_set(err, -EINVAL, "%s is no client; only clients have a nearest edge",
			client->name);
	edge = lab_find(&lab, args->edge);
	if (!edge || !(edge->roles & LAB_EDGE))
		return no_edge(&lab, args->edge, err);
	if (lab_has_routes(&lab))
		r = links_route(&lab, &lab.nodes[0], client, edge, err);
	if (r < 0)
		return r;
	snprintf(client->edge, sizeof(client->edge), "%s", edge->name);
	r = lab_save(&lab, err);
	if (r == 0)
		printf("%s goes to %s\n", client->name, edge->name);
	return r;
}
