/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running podman to build or pull for the person at the command line: its output passes through
 * as it comes, and what a failure's sentence needs is picked out of it.
 */
#pragma once

struct argv;
struct cli;

/* Appends the options of `podman build` that this host needs. */
void builder_add_options(struct argv *argv);

struct builder_output {
	char step[160];	 /* the last "STEP n/m: ...", without "STEP "; or "" */
	char last[512];	 /* the last line, without "Error: " */
	int exit_status; /* 128 + N for signal N */
};

/*
 * Runs the program with its output on our standard error (nowhere with --quiet). Returns 0 when it
 * ran, a negative errno when it could not be started.
 */
int builder_run(struct cli *cli, const struct argv *argv, struct builder_output *out);
