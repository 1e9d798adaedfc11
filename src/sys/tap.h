/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of tap and macvtap devices: descriptors that carry Ethernet frames with a virtio-net header in front
 * (IFF_VNET_HDR), so that checksums and segments cross unfinished. They are close-on-exec and non-blocking.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * A new tap device in the calling thread's network namespace, with n queues (multi-queue when more than one), which it
 * vanishes with. -EBUSY: the name is taken. fds: n descriptors.
 */
int tap_create(const char *name, size_t n, int *fds);
/* One that stays, of one queue, which is for whoever opens it by its name. Deleted as any link. */
int tap_create_persistent(const char *name);
/*
 * n queues of the macvtap link `name`, which is in the calling thread's network namespace. Needs no device file, which
 * containers often lack: makes one for itself, on a file system that nobody else sees.
 */
int macvtap_open(const char *name, int index, size_t n, int *fds);
