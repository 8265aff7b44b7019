/* SPDX-License-Identifier: Apache-2.0 */
/* `wherry lab`: from words to a command, from its failure to a sentence and an exit status. */
#include "lab/lab.h"

#include "base/err.h"
#include "lab/args.h"
#include "lab/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] =
	"Build a fleet on this machine out of network namespaces.\n"
	"\n"
	"Usage:\n"
	"  wherry lab up [--clients N] [--name LAB] [-j] [--store sqlite|etcd]\n"
	"      makes client-1 .. client-N, an internet, and host-1 with its own wherryd\n"
	"  wherry lab up --edges E --workers W [--regions A,B...] [--underlay wireguard|plain] "
	"...\n"
	"      makes edge-1 .. edge-E and worker-1 .. worker-W, in the regions by turns; they\n"
	"      share the etcd of one more node, store. Edges are near to clients by turns\n"
	"  wherry lab up --hosts H ...\n"
	"      makes host-1 .. host-H, each edge and worker\n"
	"  wherry lab route [--name LAB] CLIENT EDGE\n"
	"      moves a client: what it sends to public addresses goes to that edge from now on\n"
	"  wherry lab status [--name LAB] [-j]\n"
	"      nodes, addresses, programs; without --name of all labs\n"
	"  wherry lab exec [--name LAB] NODE [--] COMMAND...\n"
	"      runs COMMAND in a node, as root; wherry there talks to that node's daemon\n"
	"  wherry lab kill|pause|resume [--name LAB] NODE [PROGRAM]\n"
	"      SIGKILL, SIGSTOP or SIGCONT to PROGRAM (wherryd, etcd), or to all of a node;\n"
	"      killing a node also pulls its cable. After a kill, resume starts it again\n"
	"  wherry lab start [--name LAB] NODE [PROGRAM]\n"
	"      starts a program that was killed, or a node with its programs\n"
	"  wherry lab down [--name LAB]\n"
	"      ends everything in the lab and leaves nothing behind\n"
	"\n"
	"The name of a lab is \"lab\" unless --name says otherwise; several can be up at once.\n"
	"Exit status: 0 ok, 1 failed, 2 usage, 3 no such lab or node, 4 is there already;\n"
	"that of exec is the command's own, 126 when it cannot be run, 127 when it is not there.\n";

static int run(const struct lab_args *args, struct err *err)
{
	switch (args->verb) {
	case LAB_UP:
		return lab_up(args, err);
	case LAB_DOWN:
		return lab_down(args, err);
	case LAB_EXEC:
		return lab_exec(args, err);
	case LAB_STATUS:
		return lab_status(args, err);
	case LAB_ROUTE:
		return lab_route(args, err);
	default:
		return lab_control(args, err);
	}
}

static int exit_status(int r)
{
	switch (r) {
	case -ENOENT:
		return 3;
	case -EEXIST:
		return 4;
	case -ENOEXEC:
		return 126;
	case -ENOTSUP:
		return 127;
	default:
		return 1;
	}
}

int lab_command(int argc, char **argv)
{
	struct lab_args args;
	struct err err = {};
	int r = lab_args_parse(argc, argv, &args, &err);

	if (r < 0) {
		fprintf(stderr, "Error: %s\n", err.text);
		return 2;
	}
	if (args.verb == LAB_HELP) {
		fputs(help, stdout);
		return 0;
	}
	if (getenv("WHERRY_NODE")) {
		fprintf(stderr,
			"Error: this is node %s of a lab; wherry lab works outside of it only\n",
			getenv("WHERRY_NODE"));
		return 1;
	}
	if (geteuid() != 0) {
		fprintf(stderr,
			"Error: wherry lab must be run as root, since it makes namespaces\n");
		return 1;
	}
	r = run(&args, &err);
	if (r < 0)
		fprintf(stderr, "Error: %s\n", err.text);
	return r < 0 ? exit_status(r) : 0;
}
