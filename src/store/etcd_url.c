/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URL of an etcd; see etcd_url.h and store.h. It is strict: a host becomes part of an HTTP URL
 * and the prefix bounds what the store may touch, so neither may hold what could mean more.
 */
#include "store/etcd_url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/store.h"

static int refuse(const char *url, const char *why, struct err *err)
{
	return err_set(err, -EINVAL,
		"%.200s is not the URL of an etcd: %s; "
		"etcd://HOST:PORT[,HOST:PORT...][/PREFIX], or etcds:// with TLS",
		url, why);
}

static bool all_of(const char *text, size_t len, const char *more)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr(more, text[i]))
			return false;
	return true;
}

/* Returns what is wrong, or NULL. */
static const char *check_endpoint(const char *text, size_t len)
{
	const char *colon = memrchr(text, ':', len);
	size_t host_len;
	long port;

	if (!len)
		return "an endpoint is empty";
	if (len >= sizeof(((struct etcd_url *)NULL)->endpoints[0]))
		return "an endpoint is too long";
	if (memchr(text, '@', len))
		return "it names a user, and etcd knows its clients by their certificates here";
	if (!colon || memchr(colon, ']', len - (size_t)(colon - text)))
		return "an endpoint has no port (etcd's is 2379 as a rule)";
	host_len = (size_t)(colon - text);
	if (!host_len)
		return "an endpoint has no host";
	if (text[0] == '[') {
		if (host_len < 4 || text[host_len - 1] != ']' ||
			!all_of(text + 1, host_len - 2, ":.%"))
			return "an IPv6 address is written [ADDRESS]:PORT";
	} else if (!all_of(text, host_len, ".-_")) {
		return "a host is a name or an address";
	}
	if (!isdigit((unsigned char)colon[1]) || !all_of(colon, len - host_len, ":") ||
		len - host_len > 6)
		return "a port is in 1..65535";
	port = strtol(colon + 1, NULL, 10);
	if (port < 1 || port > 65535)
		return "a port is in 1..65535";
	for (size_t i = host_len + 1; i < len; i++)
		if (!isdigit((unsigned char)text[i]))
			return "a port is in 1..65535";
	return NULL;
}

static const char *parse_endpoints(const char *text, size_t len, struct etcd_url *out)
{
	const char *end = text + len;
	size_t used = 0;

	for (;;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		size_t part = (size_t)((comma ? comma : end) - text);
		const char *wrong = check_endpoint(text, part);

		if (wrong)
			return wrong;
		if (out->count == ETCD_ENDPOINTS_MAX)
			return "it has more than 16 endpoints";
		memcpy(out->endpoints[out->count], text, part);
		out->endpoints[out->count++][part] = '\0';
		if (used < sizeof(out->names))
			used += (size_t)snprintf(out->names + used, sizeof(out->names) - used,
				"%s%.*s", out->count > 1 ? ", " : "", (int)part, text);
		if (!comma)
			return NULL;
		text = comma + 1;
	}
}

static const char *parse_prefix(const char *text, struct etcd_url *out)
{
	size_t len = strlen(text);

	while (len && text[len - 1] == '/')
		len--;
	if (len > ETCD_PREFIX_MAX)
		return "its prefix is longer than 128 bytes";
	if (!all_of(text, len, "-._/"))
		return "a prefix is of letters, digits and - . _ /";
	if (!len)
		strcpy(out->prefix, "wherry/");
	else
		snprintf(out->prefix, sizeof(out->prefix), "%.*s/", (int)len, text);
	return NULL;
}

int etcd_url_parse(const char *text, struct etcd_url *out, struct err *err)
{
	struct etcd_url url = {};
	const char *at = text, *slash, *wrong;

	if (strncmp(text, "etcds://", 8) == 0) {
		url.is_tls = true;
		at += 8;
	} else if (strncmp(text, "etcd://", 7) == 0) {
		at += 7;
	} else {
		return refuse(text, "it does not begin with etcd:// or etcds://", err);
	}
	slash = strchrnul(at, '/');
	wrong = parse_endpoints(at, (size_t)(slash - at), &url);
	if (!wrong)
		wrong = parse_prefix(*slash ? slash + 1 : slash, &url);
	if (wrong)
		return refuse(text, wrong, err);
	*out = url;
	return 0;
}

int store_check_etcd_url(const char *url, struct err *err)
{
	struct etcd_url parsed;

	return etcd_url_parse(url, &parsed, err);
}
