/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor: loads floor.bpf.o, attaches it to two interfaces of the current network namespace and
 * waits for SIGTERM. The links are not pinned, so that they end with the process whatever happens.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/types.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "floor.h"

/* Debian 12's headers are Linux 6.1's; tcx came with 6.6. */
#define TCX_INGRESS ((enum bpf_attach_type)46)

static const char usage[] =
	"usage: floor OBJECT CLIENT-IF APP-IF APP-ADDR PUBLIC-ADDR|- neigh|mac|peer\n"
	"             [CLIENT-MAC HOST-MAC]\n";

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("floor: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static __u32 interface(const char *name)
{
	unsigned int ifindex = if_nametoindex(name);

	if (ifindex == 0)
		die("there is no interface %s here", name);
	return ifindex;
}

static __u32 address(const char *text)
{
	struct in_addr in;

	if (strcmp(text, "-") == 0)
		return 0;
	if (inet_pton(AF_INET, text, &in) != 1)
		die("%s is not an IPv4 address", text);
	return in.s_addr;
}

static void mac(__u8 out[6], const char *text)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &out[0], &out[1], &out[2], &out[3],
		    &out[4], &out[5]) != 6)
		die("%s is not an Ethernet address", text);
}

static __u32 return_way(const char *text)
{
	if (strcmp(text, "neigh") == 0)
		return FLOOR_RETURN_NEIGH;
	if (strcmp(text, "mac") == 0)
		return FLOOR_RETURN_MAC;
	if (strcmp(text, "peer") == 0)
		return FLOOR_RETURN_PEER;
	die("%s is none of neigh, mac, peer", text);
}

static void attach(struct bpf_object *object, const char *name, __u32 ifindex)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);

	if (!program)
		die("the object has no program %s", name);
	if (bpf_link_create(bpf_program__fd(program), (int)ifindex, TCX_INGRESS, NULL) < 0)
		die("cannot attach %s: %s; tcx needs Linux 6.6", name, strerror(errno));
}

static void load(const char *path, const struct floor_config *config)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_map *rodata;

	if (!object)
		die("cannot open %s: %s", path, strerror(errno));
	rodata = bpf_object__find_map_by_name(object, ".rodata");
	if (!rodata || bpf_map__set_initial_value(rodata, config, sizeof(*config)) < 0)
		die("%s has no config of %zu bytes; build it anew", path, sizeof(*config));
	if (bpf_object__load(object) < 0)
		die("the kernel refused %s", path);
	attach(object, "from_client", config->client_ifindex);
	attach(object, "from_app", config->app_ifindex);
}

int main(int argc, char **argv)
{
	struct floor_config config = {0};
	sigset_t stop;
	int received;

	if (argc != 7 && argc != 9) {
		fputs(usage, stderr);
		return 2;
	}
	config.client_ifindex = interface(argv[2]);
	config.app_ifindex = interface(argv[3]);
	config.app_be = address(argv[4]);
	config.public_be = address(argv[5]);
	config.returns_by = return_way(argv[6]);
	if (argc == 9) {
		mac(config.client_mac, argv[7]);
		mac(config.host_mac, argv[8]);
	} else if (config.returns_by == FLOOR_RETURN_MAC) {
		die("\"mac\" needs the client's and the host's Ethernet address");
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	load(argv[1], &config);
	puts("ready");
	fflush(stdout);
	sigwait(&stop, &received);
	return 0;
}
