/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wherry, the command line. It has no state of its own: it reads files, asks wherryd over its
 * socket (docs/api.md) and runs podman for builds. What there is to do stands in cli/commands.c.
 */
#include "cli/run.h"

int main(int argc, char **argv)
{
	return cli_run(argc, argv);
}
