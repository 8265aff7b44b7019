/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of wherry: parse, do, tell. */
#pragma once

/* Returns the exit status. */
int cli_run(int argc, char **argv);
