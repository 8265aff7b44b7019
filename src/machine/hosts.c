/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names inside a machine; see hosts.h. Each entry is one address, a tab and one name after a
 * comment line, as Fly's guests have it; fly-global-services has exactly one IPv4 address.
 */
#include "machine/hosts.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "machine/machine.h"

#include <limits.h>
#include <string.h>

static void add_entry(
	struct buf *buf, const char *comment, const struct addr *addr, const char *name)
{
	char text[ADDR_TEXT_LEN];

	if (addr->family)
		buf_addf(buf, "# %s\n%s\t%s\n", comment, addr_format(addr, text), name);
}

char *hosts_text(const struct machine_spec *spec)
{
	_cleanup_(buf_clear) struct buf buf = {};

	buf_adds(&buf, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	add_entry(&buf, "Private address in the app's network (6PN)", &spec->private_v6,
		"fly-local-6pn");
	add_entry(&buf, "The machine's own address", &spec->primary, spec->id);
	add_entry(&buf, "Traffic for the app's public addresses: bind UDP here", &spec->service,
		"fly-global-services");
	return buf_take(&buf);
}

char *hosts_resolv_text(const struct machine_spec *spec)
{
	_cleanup_(buf_clear) struct buf buf = {};
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < spec->nameserver_count && i < ARRAY_LEN(spec->nameservers); i++)
		buf_addf(&buf, "nameserver %s\n", addr_format(&spec->nameservers[i], text));
	return buf_take(&buf);
}

static int write_text(
	const struct machine_spec *spec, const char *name, const char *text, struct err *err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", spec->state_dir, name);
	return file_replace(path, text, strlen(text), 0644, err);
}

int hosts_write(const struct machine_spec *spec, struct err *err)
{
	_free_ char *hosts = hosts_text(spec);
	_free_ char *resolv = hosts_resolv_text(spec);
	int r = write_text(spec, "hosts", hosts, err);

	return r < 0 ? r : write_text(spec, "resolv.conf", resolv, err);
}
