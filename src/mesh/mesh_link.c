/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mesh asks about links, and the settings of IPv4 that packets on them need.
 */
#include "mesh/mesh_impl.h"

#include "base/err.h"
#include "base/file.h"
#include "base/ip_query.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define CONF_DIR "/proc/sys/net/ipv4/conf"

bool mesh_has_ipv6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

bool mesh_is_link_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < IFNAMSIZ && !strpbrk(name, "/ \t\n:%") && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0 && name[0] != '-';
}

static bool has_flag(const json_t *link, const char *flag)
{
	const json_t *flags = json_object_get(link, "flags");

	for (size_t i = 0; i < json_array_size(flags); i++)
		if (strcmp(json_string_value(json_array_get(flags, i)) ?: "", flag) == 0)
			return true;
	return false;
}

int mesh_link_find(const char *name, struct mesh_link *out, struct err *err)
{
	const char *const args[] = {"-d", "link", "show", "dev", name, NULL};
	_cleanup_(json_decrefp) json_t *answer = NULL;
	const json_t *link;
	int r;

	if (!if_nametoindex(name))
		return 1;
	r = ip_query(args, &answer, err);
	if (r < 0)
		return !if_nametoindex(name) ? 1 : err_wrap(err, r, "cannot look at %s", name);
	link = json_array_get(answer, 0);
	*out = (struct mesh_link){
		.ifindex = (unsigned int)json_integer_value(json_object_get(link, "ifindex")),
		.mtu_bytes = (unsigned int)json_integer_value(json_object_get(link, "mtu")),
		.is_up = has_flag(link, "UP"),
		.has_carrier = has_flag(link, "LOWER_UP"),
	};
	snprintf(out->kind, sizeof(out->kind), "%s",
		ip_text(json_object_get(link, "linkinfo"), "info_kind"));
	return 0;
}

static int conf_read(const char *link, const char *setting, long *out, struct err *err)
{
	char path[PATH_MAX];
	_free_ char *text = NULL;
	int r;

	snprintf(path, sizeof(path), CONF_DIR "/%s/%s", link, setting);
	r = file_read(path, 64, &text, NULL, err);
	if (r == 0)
		*out = strtol(text, NULL, 10);
	return r;
}

static int conf_set(const char *link, const char *setting, long value, struct err *err)
{
	char path[PATH_MAX], text[16];
	long now = 0;
	int r = conf_read(link, setting, &now, err);

	if (r < 0 || now == value)
		return r;
	snprintf(path, sizeof(path), CONF_DIR "/%s/%s", link, setting);
	snprintf(text, sizeof(text), "%ld", value);
	return file_set(path, text, err);
}

/*
 * What counts for a link is the larger of its own value and that of "all": a filter in "all" could
 * not be lifted for one link. So it moves from there to each link there is, and to "default" for
 * those to come: all others filter as before.
 */
static int move_filter_to_links(const char *except, struct err *err)
{
	_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	long all = 0, own = 0;
	int r = conf_read("all", "rp_filter", &all, err);

	if (r < 0 || all == 0)
		return r;
	dir = opendir(CONF_DIR);
	if (!dir)
		return err_errno(err, -errno, "cannot list " CONF_DIR);
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (name[0] == '.' || strcmp(name, "all") == 0 || strcmp(name, except) == 0)
			continue;
		/* A link may go while we look. */
		if (conf_read(name, "rp_filter", &own, NULL) < 0 || own >= all)
			continue;
		r = conf_set(name, "rp_filter", all, err);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return conf_set("all", "rp_filter", 0, err);
}

int mesh_sysctls_set(const char *device, struct err *err)
{
	int r = move_filter_to_links(device, err);

	/*
	 * What a machine sends to a client comes out of the mesh with a public address as its
	 * source, which is local to an edge; what a client sends, with an address that no route of
	 * the mesh knows.
	 */
	if (r == 0)
		r = conf_set(device, "rp_filter", 0, err);
	if (r == 0)
		r = conf_set(device, "accept_local", 1, err);
	return r < 0 ? err_wrap(err, r, "cannot prepare %s for packets of the mesh", device) : 0;
}
