/* SPDX-License-Identifier: Apache-2.0 */
/* The fly.toml of launch; see launch_file.h. */
#include "cli/launch_file.h"

#include "base/buf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PORT_DEFAULT 8080
#define NAME_MAX_LEN 63

void launch_app_name(const char *text, char name[static 64])
{
	size_t len = 0;

	for (; *text && len < NAME_MAX_LEN; text++) {
		unsigned char c = (unsigned char)*text;

		if (isascii(c) && isalnum(c))
			name[len++] = (char)tolower(c);
		else if (len > 0 && name[len - 1] != '-')
			name[len++] = '-';
	}
	while (len > 0 && name[len - 1] == '-')
		len--;
	name[len] = '\0';
	if (len == 0)
		strcpy(name, "app");
}

static void add_port(struct launch_plan *plan, uint16_t port, enum launch_protocol protocol)
{
	for (size_t i = 0; i < plan->port_count; i++)
		if (plan->ports[i].port == port && plan->ports[i].protocol == protocol)
			return;
	if (plan->port_count < LAUNCH_MAX_PORTS)
		plan->ports[plan->port_count++] = (struct launch_port){port, protocol};
}

/* "5000", "5000/udp"; a variable or a range is no port that could be taken. */
static void add_exposed(struct launch_plan *plan, const char *word, size_t len)
{
	char text[32], *end;
	unsigned long port;

	if (len == 0 || len >= sizeof(text))
		return;
	memcpy(text, word, len);
	text[len] = '\0';
	port = strtoul(text, &end, 10);
	if (end == text || port < 1 || port > 65535)
		return;
	if (strcasecmp(end, "/udp") == 0)
		add_port(plan, (uint16_t)port, LAUNCH_UDP);
	else if (!*end || strcasecmp(end, "/tcp") == 0)
		add_port(plan, (uint16_t)port, LAUNCH_TCP);
}

static void settle_http(struct launch_plan *plan)
{
	for (size_t i = 0; i < plan->port_count; i++)
		if (plan->ports[i].protocol == LAUNCH_UDP)
			return;
	if (plan->port_count == 0)
		plan->ports[0].port = PORT_DEFAULT;
	plan->ports[0].protocol = LAUNCH_HTTP;
	plan->port_count = 1;
}

void launch_read_exposed(const char *dockerfile, struct launch_plan *plan)
{
	static const char blanks[] = " \t\r";
	const char *line = dockerfile;

	while (*line) {
		size_t len = strcspn(line, "\n");
		const char *at = line + strspn(line, blanks), *end = line + len;

		if (strncasecmp(at, "EXPOSE", 6) == 0 && at + 6 < end && strchr(blanks, at[6])) {
			for (at += 6; at < end;) {
				at += strspn(at, blanks);
				size_t word = strcspn(at, " \t\r\n");

				add_exposed(plan, at, word);
				at += word;
				if (word == 0)
					break;
			}
		}
		line += len;
		line += *line == '\n';
	}
	settle_http(plan);
}

static void add_service(struct buf *out, const struct launch_port *port)
{
	if (port->protocol == LAUNCH_HTTP) {
		buf_addf(out,
			"\n[http_service]\n"
			"  internal_port = %u\n"
			"  force_https = false\n",
			port->port);
		return;
	}
	/* UDP keeps its port on the way; for TCP the same is the plainest choice. */
	buf_addf(out,
		"\n[[services]]\n"
		"  protocol = \"%s\"\n"
		"  internal_port = %u\n"
		"\n"
		"  [[services.ports]]\n"
		"    port = %u\n",
		port->protocol == LAUNCH_UDP ? "udp" : "tcp", port->port, port->port);
}

void launch_format(const struct launch_plan *plan, struct buf *out)
{
	buf_addf(out,
		"# Written by wherry launch; fly.toml(5) says what else there is.\napp = \"%s\"\n",
		plan->app);
	if (plan->image)
		buf_addf(out, "\n[build]\n  image = \"%s\"\n", plan->image);
	for (size_t i = 0; i < plan->port_count; i++) {
		if (plan->ports[i].protocol == LAUNCH_UDP)
			buf_adds(out, "\n# UDP apps bind to fly-global-services, not to 0.0.0.0.");
		add_service(out, &plan->ports[i]);
	}
}
