/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching programs: pinned links that outlive us. A link whose device is gone stays pinned but
 * is dead (its ifindex reads 0); it is made anew. Kernels before 6.6 have no tcx and get a clsact
 * filter, which the device owns, instead.
 */
#include "fabric/fabric_impl.h"

#include "base/err.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS; Debian 12's headers end before it */

#define LOOPBACK_IFINDEX 1 /* in every network namespace */

#define CLSACT_PRIORITY 0x7765 /* "we": unlikely to be someone else's */

static void link_path(const struct fabric *fabric, const char *name, char path[static PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/links/%s", fabric->bpf_dir, name);
}

/*
 * The id of what a link is attached to: an ifindex or a namespace's inode. The first word of the
 * information of tcx and of netns links; tcx' own fields are newer than our headers.
 */
static int link_target(int link, uint32_t *target)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(link, &info, &len) < 0)
		return -errno;
	*target = info.netns.netns_ino;
	return 0;
}

/*
 * Unpinning alone detaches too, but some time later, and until then the same program cannot be
 * attached to the same place again (EEXIST).
 */
static void drop_link(const char *path)
{
	_close_ int link = bpf_obj_get(path);

	if (link >= 0)
		bpf_link_detach(link);
	unlink(path);
}

/* Replaces the program of the pinned link. Returns 1 when there is none that is alive. */
static int update_link(const char *path, int program, uint32_t target)
{
	_close_ int link = bpf_obj_get(path);
	uint32_t attached = 0;

	if (link < 0)
		return 1;
	if (link_target(link, &attached) < 0 || attached != target ||
		bpf_link_update(link, program, NULL) < 0) {
		drop_link(path);
		return 1;
	}
	return 0;
}

/* True when the filter in our place on the interface is one of our programs. */
static bool is_our_filter(const struct bpf_tc_hook *hook)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = CLSACT_PRIORITY);
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	_close_ int program = -1;

	if (bpf_tc_query(hook, &opts) < 0)
		return false;
	program = bpf_prog_get_fd_by_id(opts.prog_id);
	return program >= 0 && bpf_obj_get_info_by_fd(program, &info, &len) == 0 &&
	       strncmp(info.name, "wherry_", strlen("wherry_")) == 0;
}

static void detach_clsact(unsigned int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = CLSACT_PRIORITY);

	if (is_our_filter(&hook))
		bpf_tc_detach(&hook, &opts);
}

static int attach_clsact(int program, unsigned int ifindex, struct err *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = CLSACT_PRIORITY, .prog_fd = program,
		.flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);

	if (r < 0 && r != -EEXIST)
		return err_errno(err, r, "cannot make the clsact hook of interface %u", ifindex);
	/* In place of the one before, in one step: every packet meets the old one or the new one.
	 */
	r = bpf_tc_attach(&hook, &opts);
	if (r < 0)
		return err_errno(err, r, "cannot attach to interface %u", ifindex);
	return 0;
}

/* WHERRY_TC=clsact forces the way of kernels before 6.6. */
static bool want_clsact(void)
{
	const char *tc = getenv("WHERRY_TC");

	return tc && strcmp(tc, "clsact") == 0;
}

int attach_ingress(struct fabric *fabric, enum fabric_program program, unsigned int ifindex,
	const char *name, struct err *err)
{
	int prog = fabric->programs[program];
	char path[PATH_MAX];
	_close_ int link = -1;
	int r;

	link_path(fabric, name, path);
	if (want_clsact()) {
		r = attach_clsact(prog, ifindex, err);
		/* One way or the other: of a daemon that was told otherwise. */
		if (r == 0)
			drop_link(path);
		return r;
	}
	if (update_link(path, prog, ifindex) == 0)
		return 0;
	link = bpf_link_create(prog, (int)ifindex, TCX_INGRESS, NULL);
	if (link == -EINVAL)
		return attach_clsact(prog, ifindex, err);
	if (link < 0)
		return err_errno(err, link, "cannot attach to interface %u", ifindex);
	if (bpf_obj_pin(link, path) < 0)
		return err_errno(err, -errno, "cannot pin %s", path);
	detach_clsact(ifindex);
	return 0;
}

void detach_ingress(struct fabric *fabric, unsigned int ifindex, const char *name)
{
	char path[PATH_MAX];

	link_path(fabric, name, path);
	if (access(path, F_OK) == 0)
		drop_link(path);
	else
		detach_clsact(ifindex);
}

void attach_remove_all(const char *bpf_dir)
{
	struct if_nameindex *interfaces = if_nameindex();
	struct dirent *entry;
	_closedir_ DIR *dir = NULL;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/links", bpf_dir);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/links/%s", bpf_dir, entry->d_name) <
			(int)sizeof(path))
			drop_link(path);
	}
	for (struct if_nameindex *i = interfaces; dir && i && i->if_index; i++)
		detach_clsact(i->if_index);
	if (interfaces)
		if_freenameindex(interfaces);
}

int fabric_attach_edge(struct fabric *fabric, unsigned int ifindex, struct err *err)
{
	char name[32];
	int r;

	snprintf(name, sizeof(name), "edge-%u", ifindex);
	r = attach_ingress(fabric, PROGRAM_EDGE, ifindex, name, err);
	if (r < 0 || ifindex == LOOPBACK_IFINDEX)
		return r;
	fabric->edge_ifindex = ifindex;
	fabric->is_edge = true;
	return fabric->mesh.ifindex ? mesh_write(fabric, err) : 0;
}

int fabric_attach_accept(struct fabric *fabric, struct err *err)
{
	_close_ int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int prog = fabric->programs[PROGRAM_ACCEPT];
	_close_ int link = -1;
	char path[PATH_MAX];
	struct stat st;

	if (netns < 0 || fstat(netns, &st) < 0)
		return err_errno(err, -errno, "cannot open the network namespace");
	link_path(fabric, "accept", path);
	if (update_link(path, prog, (uint32_t)st.st_ino) == 0)
		return 0;
	link = bpf_link_create(prog, netns, BPF_SK_LOOKUP, NULL);
	if (link < 0)
		return err_errno(err, link, "cannot attach the socket lookup program");
	if (bpf_obj_pin(link, path) < 0)
		return err_errno(err, -errno, "cannot pin %s", path);
	return 0;
}
