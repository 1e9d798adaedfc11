/* SPDX-License-Identifier: Apache-2.0 */
/* Are the guest's kernel, initrd and image there, and is the kernel one? The same for every driver. */
#pragma once

#include "base/err.h"
#include "hypervisor/driver.h"

/* Is the file a Linux kernel of arch ("x86_64", "aarch64") in a form that some VMM boots? Else a sentence. */
int guest_kernel_check(const char *path, const char *arch, struct err *e);
/* All files that c names. */
int guest_files_check(const struct vm_config *c, const char *arch, struct err *e);
