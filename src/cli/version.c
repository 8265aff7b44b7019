/* SPDX-License-Identifier: Apache-2.0 */
/* wherry version: ours, and the daemon's where one answers; that none does is no failure here. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/fields.h"
#include "cli/handlers.h"

#ifndef WHERRY_VERSION
#define WHERRY_VERSION "0.1.0"
#endif
#ifndef WHERRY_COMMIT
#define WHERRY_COMMIT "unknown"
#endif

int version_command(struct cli *cli)
{
	json_auto_t *info = NULL, *report = NULL;

	if (daemon_call(cli, "GET", "/v1/info", NULL, &info) != CLI_OK)
		cli_forget(cli);
	if (cli->is_json) {
		report = json_pack("{s:s, s:s, s:s, s:O?}", "name", "wherry", "version",
			WHERRY_VERSION, "commit", WHERRY_COMMIT, "daemon", info);
		return cli_print_json(report);
	}
	printf("wherry %s (%s)\n", WHERRY_VERSION, WHERRY_COMMIT);
	if (info)
		printf("wherryd %s (%s), host %s\n", field_text(info, "version"),
			field_text(info, "commit"), field_text(info, "host"));
	return CLI_OK;
}
