/* SPDX-License-Identifier: Apache-2.0 */
/* The loop around a request that most devices have: pop, serve, hand back, tell the guest. */
#pragma once

#include "virtio/device.h"

/*
 * Serves one chain. Bytes written to it (0 and more): it is handed back. -EAGAIN: it goes back to the ring and serving
 * ends; who said so kicks again later. -EPROTO: the guest broke the queue, virtq_break() has been called.
 */
typedef int64_t (*virtio_serve_fn)(struct virtio_device *dev, struct virtq_chain *c);

/*
 * Serve at most budget chains of a queue; chain: scratch. True: there may be more and nobody will kick; call again
 * soon. Does nothing when the device is not active.
 */
bool virtio_serve(struct virtio_device *dev, unsigned queue, struct virtq_chain *chain, int budget, virtio_serve_fn fn);
