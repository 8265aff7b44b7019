/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, made from the command table. */
#pragma once

struct buf;
struct command;

/* "wherry machine run [flags] [IMAGE] [-- CMD...]" */
void help_add_usage(struct buf *buf, const struct command *command);

/* The whole help of a command or group. */
void help_add(struct buf *buf, const struct command *command);
