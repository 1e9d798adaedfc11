/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/serve.h"

#include <errno.h>

bool virtio_serve(struct virtio_device *dev, unsigned queue, struct virtq_chain *chain, int budget, virtio_serve_fn fn)
{
	struct virtq *q = &dev->queues[queue];
	bool more = false;

	if (!dev->active || dev->broken)
		return false;
	virtq_want_no_kick(q);
	for (;;) {
		int64_t n;
		int r;

		if (!budget--) {
			more = true;
			break;
		}
		r = virtq_pop(q, chain);
		if (r == 0 && virtq_want_kick(q))
			continue;
		if (r <= 0)
			break;
		n = fn(dev, chain);
		if (n < 0) {
			if (n == -EAGAIN)
				virtq_unpop(q);
			break;
		}
		virtq_push(q, chain->head, (uint32_t)n);
	}
	virtio_device_signal(dev, queue);
	return more && !dev->broken;
}
