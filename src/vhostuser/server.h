/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user server: one virtio device on a Unix socket for one front end at a time, with a thread of its own (128
 * KiB of stack, all signals blocked). When the front end goes, the device is reset and the next one is waited for.
 */
#pragma once

#include "base/err.h"
#include "virtio/device.h"

struct vhost_user_server;

struct vhost_user_server_config {
	const char *path;              /* where to listen (mode 0600), or NULL: use fd */
	int fd;                        /* a listening socket; taken over, also on failure */
	const char *thread_name;       /* at most 15 bytes */
	virtio_device_factory factory; /* makes the device; called once, before the thread starts */
	void *userdata;                /* for factory */
};

/* On failure nothing is left behind. */
int vhost_user_server_start(const struct vhost_user_server_config *c, struct vhost_user_server **ret, struct err *e);
/* Ends the thread, frees the device, removes the socket. Not from the device's own thread. NULL does nothing. */
void vhost_user_server_stop(struct vhost_user_server *s);
DEFINE_CLEANUP(struct vhost_user_server *, vhost_user_server_stop)
