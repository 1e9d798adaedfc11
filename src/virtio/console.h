/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device (VirtIO 1.2 §5.3) with its one port 0: hvc0 of a Linux guest.
 *
 * Input is read only while the guest has buffers for it, output is taken from the guest only as fast as it can be
 * written: neither side buffers anything here.
 */
#pragma once

#include "virtio/device.h"

#define VIRTIO_ID_CONSOLE 3

struct virtio_console_config {
	/*
	 * Pipe, socket, terminal or file; -1: none (no input; output is dropped); may be one for both. Taken over on
	 * success. out should be non-blocking, else a reader that stops stops the device's loop; where a pipe may lose
	 * its reader, the loop's thread blocks SIGPIPE.
	 */
	int in, out;
};

int virtio_console_new(struct loop *loop, const struct virtio_console_config *c, struct virtio_device **ret,
		       struct err *e);
/* In the device's loop: the size of the terminal, in characters, for the guest to know. */
void virtio_console_set_size(struct virtio_device *dev, uint16_t columns, uint16_t rows);
