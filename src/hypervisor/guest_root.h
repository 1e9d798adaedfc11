/* SPDX-License-Identifier: Apache-2.0 */
/* The root device of a guest that boots from an image, on the kernel's command line: the same for every hypervisor. */
#pragma once

#include "base/err.h"
#include "base/strv.h"
#include "hypervisor/driver.h"

/*
 * Append root= and what belongs to it, dm-verity included; nothing when there is no image. pmem: the image is a
 * persistent memory device, else the first virtio disk; dax: its pages can be mapped. Kata: partition 1 is the root.
 */
int guest_root_params(const struct vm_config *c, bool pmem, bool dax, struct strv *ret, struct err *e);
