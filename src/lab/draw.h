/* SPDX-License-Identifier: Apache-2.0 */
/* The lab drawn for a person, at most 80 columns wide. */
#pragma once

struct buf;
struct lab;

/*
 * @notes has a few words for each node, in the order of the nodes, to be drawn beside it; NULL: the
 * roles of hosts are. Notes are of fleets only.
 */
void draw_lab(const struct lab *lab, char *const *notes, struct buf *out);
