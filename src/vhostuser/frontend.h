/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device whose queues another process serves: the VMM's side of vhost-user, for virtiofsd and the like.
 *
 * The server gets the guest's memory (memfds), a kick and a call eventfd for each queue, and works on the rings by
 * itself. It is trusted as far as the guest is: what it answers is checked, each answer is waited for a bounded time,
 * and when it goes the device breaks (DEVICE_NEEDS_RESET) and nothing else.
 */
#pragma once

#include "guestmem/le.h"
#include "virtio/device.h"

#define VHOST_USER_FRONTEND_REGIONS_MAX 8
#define VHOST_USER_FRONTEND_CONFIG_MAX  64

/* Guest memory that the server may map. fd is borrowed and stays open as long as the device. */
struct vhost_user_frontend_region {
	gpa_t gpa;
	uint64_t size;
	int fd;
	uint64_t offset;
};

struct vhost_user_frontend_config {
	const char *name;   /* for messages: "virtio-fs kataShared" */
	const char *socket; /* the server's Unix socket */
	uint32_t type;      /* VirtIO 1.2 §5 */
	uint64_t features;  /* device features to offer, as far as the server has them */
	unsigned n_queues;
	uint16_t queue_size;
	const void *config; /* configuration space */
	size_t config_len;
	const struct vhost_user_frontend_region *regions;
	size_t n_regions;
};

/*
 * Other memory than before; the device is one of vhost_user_frontend_new(). Rings that run are taken back, and handed
 * over with the new memory. 0; -EINVAL: too many pieces, and nothing has changed. When the server fails, the device
 * breaks. Inside the loop.
 */
int vhost_user_frontend_set_memory(struct virtio_device *dev, const struct vhost_user_frontend_region *regions,
				   size_t n);

/* Connects and asks what the server can do. Waits at most a few seconds. */
int vhost_user_frontend_new(struct loop *loop, const struct vhost_user_frontend_config *c, struct virtio_device **ret,
			    struct err *e);

/* virtio-fs (§5.11). tag: at most 36 bytes. request_queues: 1 or more, beside the high priority queue. */
int vhost_user_fs_new(struct loop *loop, const char *socket, const char *tag, unsigned request_queues,
		      uint16_t queue_size, const struct vhost_user_frontend_region *regions, size_t n_regions,
		      struct virtio_device **ret, struct err *e);
