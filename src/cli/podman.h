/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running podman for the person at the command line: with the flags this host needs, its output
 * passed on as it comes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct cli;

/* A command line that grows; the words are copies. */
struct argv {
	char **words; /* NULL-terminated once anything was added */
	size_t count;
};

void argv_add(struct argv *argv, const char *word);
void argv_clear(struct argv *argv);

/* "podman" and the global flags that this host needs. The one place that knows them. */
void podman_begin(struct argv *argv);

/* Flags for "podman build" that this host needs. */
void podman_add_build(struct argv *argv);

/* What a program said while its output passed through. */
struct podman_output {
	char step[160];	 /* the last "STEP n/m: ..." */
	char last[512];	 /* the last line, without "Error: " */
	int exit_status; /* 128 + N for signal N */
};

/*
 * Runs it with its output on our standard error (nowhere with --quiet: what a failure's sentence
 * needs is in @out). Returns 0 when it ran, -1 when it could not be started.
 */
int podman_run(struct cli *cli, const struct argv *argv, struct podman_output *out);

/* Whether podman has @image. */
bool podman_has_image(const char *image);
