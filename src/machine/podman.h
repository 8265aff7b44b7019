/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines whose program is an image under podman: a container "wherry-ID" whose supervisor is
 * conmon. The functions are those of machine.h for this kind.
 */
#pragma once

struct err;
struct machine_run;
struct machine_spec;

int podman_start(const struct machine_spec *spec, struct machine_run *out, struct err *err);
int podman_inspect(const struct machine_spec *spec, struct machine_run *out, struct err *err);
int podman_remove(const struct machine_spec *spec, struct err *err);

/*
 * What podman knows of the image, by a template of its own such as "{{.Id}}"; the caller frees
 * *out, which may be NULL. Returns 1 when there is no such image.
 */
int podman_image_inspect(const char *image, const char *format, char **out, struct err *err);
