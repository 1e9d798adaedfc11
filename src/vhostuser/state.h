/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the vhost-user session: session.c moves messages, request.c acts on them, ring.c runs the rings. */
#pragma once

#include "vhostuser/protocol.h"
#include "vhostuser/session.h"

struct vhost_user_ring {
	struct vhost_user_session *session;
	struct loop_source *kick;
	int kick_fd, call_fd, err_fd;
	bool has_kick; /* SET_VRING_KICK came, with a descriptor or without */
	bool has_addr, enabled, running;
	uint16_t num, base;         /* base: where to go on */
	uint16_t stopped_at;        /* base at the last GET_VRING_BASE */
	uint64_t desc, avail, used; /* addresses of the front end's process */
};

struct vhost_user_session {
	struct virtio_transport transport;
	struct loop *loop;
	struct loop_source *io;
	int fd;
	struct virtio_device *dev;
	struct guestmem *mem;
	void (*ended)(struct vhost_user_session *s, void *userdata);
	void *userdata;
	uint64_t features, protocol_features; /* negotiated */
	uint8_t status;
	unsigned complaints; /* logged ones: the guest can make the VMM ask for nonsense again and again */
	struct vhost_user_region regions[VHOST_USER_SLOTS_MAX];
	unsigned n_regions;
	struct vhost_user_ring *rings; /* dev->n_queues */
	struct vhost_user_msg msg;     /* being received, then the answer */
	size_t have;
	int fds[VHOST_USER_FDS_MAX];
	unsigned n_fds;
};

/* request.c: act on s->msg. 0: done; 1: done, s->msg is the answer; negative: failed, nothing changed. */
int vhost_user_request(struct vhost_user_session *s);

/* ring.c */
extern const struct virtio_transport_ops vhost_user_transport_ops;
/* Start every ring that has all it needs. */
void vhost_user_rings_start(struct vhost_user_session *s);
/* Stop; the ring's base says where to go on. */
void vhost_user_ring_stop(struct vhost_user_ring *r);
void vhost_user_rings_stop(struct vhost_user_session *s);
/* fd -1: the front end polls. Taken over, also on failure. */
int vhost_user_ring_set_kick(struct vhost_user_ring *r, int fd);
void vhost_user_ring_fini(struct vhost_user_ring *r);
