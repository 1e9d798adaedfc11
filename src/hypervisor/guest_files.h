/* SPDX-License-Identifier: Apache-2.0 */
/* Are kernel, initrd and image what a VMM can boot? Told before one is started, and better than most of them tell it.
 */
#pragma once

#include "base/err.h"
#include "hypervisor/driver.h"

/* arch: of the guest, "x86_64" or "aarch64". */
int guest_files_check(const struct vm_config *c, const char *arch, struct err *e);
