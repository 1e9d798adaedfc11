/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guest's kernel and initramfs are when the configuration does not name them. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * The directory of the guest files: $CAISSON_GUEST_DIR; .cache/guest/ARCH of the source tree the program was built in;
 * share/caisson/guest/ARCH beside the program's bin folder; /usr/share/caisson/guest/ARCH. The first that holds a
 * kernel counts. *ret_kernel: the tuned kernel when present, else the distribution's; no_elf: as a bzImage or Image.
 * Caller frees both.
 */
int guest_find(bool no_elf, char **ret_kernel, char **ret_initrd, struct err *e);

/*
 * The folder of kernel modules that belongs to a kernel, with a folder VERSION in it as in /lib/modules: "modules"
 * beside the kernel's file. NULL: there is none, or the kernel is a tuned one, which has no modules. Caller frees it;
 * -ENOMEM.
 */
int guest_find_modules(const char *kernel, char **ret);
