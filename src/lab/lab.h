/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wherry lab`: a fleet on one machine, built from namespaces. Clients, an internet between them
 * and the hosts, and on each host a real wherryd.
 */
#pragma once

/*
 * Runs one lab command; argv[0] is "lab". Prints what it has to say. Returns the exit status: 0,
 * 1 failed, 2 usage, 3 no such lab or node, 4 the lab is there already. `lab exec` does not return
 * when its program could be started.
 */
int lab_command(int argc, char **argv);
