/* SPDX-License-Identifier: Apache-2.0 */
/* The process that `exec` asks for: what the container's own has, changed by flags, as docker and runc do it. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "cli/exec_flags.h"
#include "oci/user.h"
#include "proto/oci.pb-c.h"

struct exec_process {
	Grpc__Process process; /* borrows from the container's own, the flags, and what is below */
	struct strv env;
	Grpc__User user;
	uint32_t groups[OCI_USER_GROUPS_MAX];
	Grpc__LinuxCapabilities caps;
	struct strv cap_lists[4];
};

/* own, f: outlive ret. rootfs: of the container, to look names up in; may not be there. */
int exec_process_build(struct exec_process *ret, const struct exec_flags *f, const Grpc__Process *own,
		       const char *rootfs, struct err *e);
void exec_process_fini(struct exec_process *p);
