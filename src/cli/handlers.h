/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command table calls. Each returns an exit status (enum cli_exit); a failure was told
 * to cli_fail() before.
 */
#pragma once

struct cli;

int apps_list_command(struct cli *cli);
int apps_create_command(struct cli *cli);
int apps_destroy_command(struct cli *cli);
int ips_list_command(struct cli *cli);
int ips_allocate_v4_command(struct cli *cli);
int ips_allocate_v6_command(struct cli *cli);
int ips_release_command(struct cli *cli);
int services_list_command(struct cli *cli);
int checks_list_command(struct cli *cli);
int status_command(struct cli *cli);
int machine_list_command(struct cli *cli);
int machine_status_command(struct cli *cli);
int machine_start_command(struct cli *cli);
int machine_stop_command(struct cli *cli);
int machine_destroy_command(struct cli *cli);
int machine_run_command(struct cli *cli);
int machine_attach_command(struct cli *cli);
int machine_detach_command(struct cli *cli);
int machine_exec_command(struct cli *cli);
int launch_command(struct cli *cli);
int deploy_command(struct cli *cli);
int logs_command(struct cli *cli);
int config_validate_command(struct cli *cli);
int config_show_command(struct cli *cli);
int scale_count_command(struct cli *cli);
int scale_show_command(struct cli *cli);
int hosts_list_command(struct cli *cli);
int hosts_status_command(struct cli *cli);
int hosts_drain_command(struct cli *cli);
int hosts_undrain_command(struct cli *cli);
int hosts_rotate_key_command(struct cli *cli);
int hosts_remove_command(struct cli *cli);
int catalog_export_command(struct cli *cli);
int catalog_import_command(struct cli *cli);
int doctor_command(struct cli *cli);
int version_command(struct cli *cli);
int completion_command(struct cli *cli);
int complete_command(struct cli *cli);
int help_command(struct cli *cli);
int man_command(struct cli *cli);
