/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine is called and what it is: shared by its record and by those who run it. */
#pragma once

#define MACHINE_ID_LEN 15 /* fourteen hex digits and the NUL, as on Fly */

enum machine_kind {
	MACHINE_IMAGE,	  /* podman */
	MACHINE_ROOTFS,	  /* wherry-init in a root directory of the host */
	MACHINE_ATTACHED, /* someone else's namespace */
};
