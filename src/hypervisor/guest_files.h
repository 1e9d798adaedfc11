/* SPDX-License-Identifier: Apache-2.0 */
/* Are the guest's kernel, initrd and image there, and is the kernel one? The same for every driver. */
#pragma once

#include "base/err.h"
#include "hypervisor/driver.h"

/* All files that c names; the kernel in a form of arch ("x86_64", "aarch64") that some VMM boots. */
int guest_files_check(const struct vm_config *c, const char *arch, struct err *e);
