/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udpload: both ends of a UDP measurement in one program. This file is its table of contents: the
 * command line. The app's side is in udp_server.c, the client's in udp_client.c. Each subcommand
 * prints its result as one line of JSON on stdout.
 */
#include "load.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: udpload sink  --bind ADDR:PORT [--bursts]     count what arrives\n"
	"       udpload echo  --bind ADDR:PORT [--wildcard]   send everything back\n"
	"       udpload flood --to ADDR:PORT   send as fast as it goes (or at --rate)\n"
	"       udpload rr    --to ADDR:PORT   echo round trips, --inflight a flow\n"
	"       udpload paced --to ADDR:PORT --rate N --count M   numbered echoes\n"
	"options: --flows N (64) --inflight N (8) --size BYTES (64) --seconds S (2)\n"
	"         --rate N (1000) --count N (10000) --cpu N (any)\n";

static const struct command {
	const char *name;
	int (*run)(const struct load_options *o);
	bool is_client;
} commands[] = {
	{"sink", udp_sink, false},
	{"echo", udp_echo, false},
	{"flood", udp_flood, true},
	{"rr", udp_rr, true},
	{"paced", udp_paced, true},
};

static const struct option long_options[] = {
	{"bind", required_argument, NULL, 'b'},
	{"to", required_argument, NULL, 't'},
	{"flows", required_argument, NULL, 'f'},
	{"inflight", required_argument, NULL, 'i'},
	{"size", required_argument, NULL, 's'},
	{"seconds", required_argument, NULL, 'S'},
	{"rate", required_argument, NULL, 'r'},
	{"count", required_argument, NULL, 'c'},
	{"cpu", required_argument, NULL, 'C'},
	{"wildcard", no_argument, NULL, 'w'},
	{"bursts", no_argument, NULL, 'B'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static unsigned int number(const char *name, const char *text, unsigned int low, unsigned int high)
{
	char *end = NULL;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end != 0 || value < low || value > high)
		load_die("--%s %s is not in %u..%u", name, text, low, high);
	return (unsigned int)value;
}

static double seconds(const char *text)
{
	char *end = NULL;
	double value = strtod(text, &end);

	if (end == text || *end != 0 || !(value > 0 && value <= 3600))
		load_die("--seconds %s is not in 0..3600", text);
	return value;
}

static void parse_options(struct load_options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'b':
			o->bind = optarg;
			break;
		case 't':
			o->to = optarg;
			break;
		case 'f':
			o->flows = number("flows", optarg, 1, LOAD_MAX_FLOWS);
			break;
		case 'i':
			o->inflight = number("inflight", optarg, 1, LOAD_MAX_INFLIGHT);
			break;
		case 's':
			o->size_bytes = number("size", optarg, 0, LOAD_MAX_SIZE);
			break;
		case 'S':
			o->seconds = seconds(optarg);
			break;
		case 'r':
			o->rate = number("rate", optarg, 1, 10000000);
			break;
		case 'c':
			o->count = number("count", optarg, 1, 100000000);
			break;
		case 'C':
			o->cpu = (int)number("cpu", optarg, 0, 1023);
			break;
		case 'w':
			o->is_wildcard = true;
			break;
		case 'B':
			o->reports_bursts = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct load_options o = {
		.flows = 64,
		.inflight = 8,
		.size_bytes = 64,
		.seconds = 2,
		.count = 10000,
		.cpu = -1,
	};
	const struct command *command = NULL;
	size_t i;

	for (i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			command = &commands[i];
	if (!command) {
		bool asked = argc > 1 && strcmp(argv[1], "--help") == 0;

		fputs(usage, asked ? stdout : stderr);
		return asked ? 0 : 2;
	}
	parse_options(&o, argc - 1, argv + 1);
	if (command->is_client ? !o.to : !o.bind) {
		fprintf(stderr, "udpload: %s needs %s ADDR:PORT\n", command->name,
			command->is_client ? "--to" : "--bind");
		return 2;
	}
	load_catch_signals();
	load_pin(o.cpu);
	return command->run(&o);
}
