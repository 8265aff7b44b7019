/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the API's calls share: routes.c (host, apps, addresses), routes_machines.c,
 * routes_hosts.c, routes_logs.c, routes_doctor.c. Functions that return an error have answered the
 * request.
 */
#pragma once

#include "control/control_impl.h"

/* The app of the path, or NULL with the answer given. */
struct app *routes_app(struct control *control, struct api_request *req);

/* Refuses fields that are not in @known, which ends with NULL. */
int routes_check_body(struct api_request *req, const char *const *known);

/* A member of the body that is a string, or NULL. */
const char *routes_text(struct api_request *req, const char *key);

/* Parses the body's "config", when there is one, into the request. */
int routes_read_config(struct api_request *req, struct rollout_request *request);

/* Begins the rollout, or answers why not. */
void routes_begin(
	struct control *control, struct rollout_request *request, struct api_request *req);

/* Answers why the catalog could not be changed: @r and @err are change_commit()'s. */
void routes_refuse_change(struct api_request *req, int r, const struct err *err);

api_handler_fn routes_logs, routes_doctor;
api_handler_fn routes_list_hosts, routes_get_host, routes_remove_host;
api_handler_fn routes_drain_host, routes_undrain_host, routes_rotate_host_key;
api_handler_fn routes_list_machines, routes_run_machine, routes_get_machine;
api_handler_fn routes_destroy_machine, routes_start_machine, routes_stop_machine;
api_handler_fn routes_detach_machine;
