/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One front end: the messages on its socket, the memory and the rings that it hands over, and the virtio device that
 * these drive. Everything on the loop's thread.
 */
#pragma once

#include "loop/loop.h"
#include "virtio/device.h"

struct vhost_user_session;

/*
 * Serve dev to the front end behind fd (taken over, also on failure). ended() is called once, from the loop, when the
 * front end is gone or misbehaved; it must call vhost_user_session_free().
 */
int vhost_user_session_new(struct loop *loop, int fd, struct virtio_device *dev,
			   void (*ended)(struct vhost_user_session *s, void *userdata), void *userdata,
			   struct vhost_user_session **ret);
/* Stops the rings, resets the device, releases memory and descriptors. NULL does nothing. */
void vhost_user_session_free(struct vhost_user_session *s);
