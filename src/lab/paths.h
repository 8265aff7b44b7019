/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a lab keeps its things on the host, what it needs there, and its locks.
 *
 *     /run/wherry-lab/NAME/           a private tmpfs, so that namespaces can be bound in it
 *         lab.json  lock
 *         NODE.mnt                    the node's mount namespace, bound; it pins the network one
 *         NODE.net                    text: the inode number of the network namespace
 *         NODE.run/                   /run/wherry inside the node
 *     /var/lib/wherry-lab/NAME/NODE/
 *         lib/  etc/                  /var/lib/wherry and /etc/wherry inside the node
 *         containers/                 /var/lib/containers inside a host of a fleet
 *         PROGRAM.log                 what the lab's programs write to stderr
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct err;

#define LAB_RUN_DIR   "/run/wherry-lab"
#define LAB_STATE_DIR "/var/lib/wherry-lab"

/* Writes LAB_RUN_DIR/NAME/FILE; @file NULL: the directory. Returns @path. */
char *lab_run_path(const char *lab, const char *file, char path[static PATH_MAX]);

/* Writes LAB_RUN_DIR/NAME/NODE + @suffix, such as ".mnt". */
char *lab_node_path(
	const char *lab, const char *node, const char *suffix, char path[static PATH_MAX]);

/* Writes LAB_STATE_DIR/NAME/NODE/FILE; NULL @node, @file: one level less each. */
char *lab_state_path(
	const char *lab, const char *node, const char *file, char path[static PATH_MAX]);

/*
 * Makes the directories of a new lab and what nodes need on the host: their mount points and a
 * shared /run/netns. *@fd holds the lab's lock, and is set as soon as there is one, also when a
 * later step fails. Returns 1 when a lab of that name is there.
 */
int lab_dirs_make(const char *lab, int *fd, struct err *err);

/*
 * Removes them; with the last lab also what lab_dirs_make() made on the host, where it is empty.
 * Absent parts are fine.
 */
int lab_dirs_remove(const char *lab, struct err *err);

/* Whether there is any trace of a lab of that name. */
bool lab_dirs_exist(const char *lab);

/*
 * Takes the lab's lock into *@fd (close it to unlock); waits for who has it. Returns 1 when there
 * is no lab to lock, or only half of one.
 */
int lab_lock(const char *lab, int *fd, struct err *err);
