/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/kicks.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static void on_kick(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct virtio_kick *k = userdata;
	uint64_t n;

	if (read(fd, &n, sizeof n) == (ssize_t)sizeof n)
		virtio_device_kick(k->kicks->dev, (unsigned)(k - k->kicks->queue));
}

int virtio_kicks_open(struct virtio_kicks *k, struct loop *loop, struct virtio_device *dev)
{
	int r = 0;

	k->dev = dev;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		k->queue[i] = (struct virtio_kick){ .kicks = k, .fd = -1 };
	for (unsigned i = 0; i < dev->n_queues && r == 0; i++) {
		struct virtio_kick *q = &k->queue[i];

		q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = q->fd < 0 ? -errno : loop_add_io(loop, q->fd, EPOLLIN, on_kick, q, &q->source);
	}
	if (r < 0)
		virtio_kicks_close(k);
	return r;
}

void virtio_kicks_close(struct virtio_kicks *k)
{
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		struct virtio_kick *q = &k->queue[i];

		loop_source_free(take_ptr(q->source));
		fd_close(&q->fd);
	}
}
