/* SPDX-License-Identifier: Apache-2.0 */
/* The resolvers that the host uses itself, as far as machines can use them too. */
#include "control/host_config.h"

#include "base/file.h"
#include "base/mem.h"

#include <string.h>

#define RESOLV_CONF_MAX_BYTES 65536

/* Adds those of the resolv.conf(5) at @path; one that cannot be read has none. */
static size_t read_resolv_conf(const char *path, struct addr out[])
{
	_free_ char *text = NULL;
	char *rest, *line;
	size_t count = 0;

	if (file_read(path, RESOLV_CONF_MAX_BYTES, &text, NULL, NULL) < 0)
		return 0;
	for (rest = text; (line = strsep(&rest, "\n")) != NULL;) {
		const char *word = strsep(&line, " \t");
		struct addr addr;

		if (!line || strcmp(word, "nameserver") != 0)
			continue;
		line += strspn(line, " \t");
		line[strcspn(line, " \t\r#;")] = '\0';
		if (count < HOST_CONFIG_MAX_NAMESERVERS && addr_parse(line, &addr) == 0 &&
			host_config_is_resolver(&addr))
			out[count++] = addr;
	}
	return count;
}

size_t host_config_find_nameservers(const char *resolv_conf, const char *uplink_conf,
	struct addr out[static HOST_CONFIG_MAX_NAMESERVERS])
{
	size_t count = read_resolv_conf(resolv_conf, out);

	return count ? count : read_resolv_conf(uplink_conf, out);
}
