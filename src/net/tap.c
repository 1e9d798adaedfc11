/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of a tap device. The kernel reads and writes frames with the virtio header in front and checks what the guest
 * put into it; we only pass it on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "net/backend.h"
#include "net/net.h"

#define OFFLOADS                                                                                                       \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_UFO | NET_F_HOST_TSO4 |     \
	 NET_F_HOST_TSO6 | NET_F_HOST_UFO)

static int tap_send(struct net_backend *b, const struct iovec *frame, size_t n, size_t len)
{
	/* A full queue, a link that is down, a frame that the kernel refuses: lost, as on a wire. */
	if (writev(b->fd, frame, (int)n) < 0 && errno == EBADFD)
		return -EBADFD; /* the device was deleted */
	return 0;
}

static ssize_t tap_receive(struct net_backend *b, uint8_t *frame)
{
	ssize_t n = read(b->fd, frame, NET_FRAME_MAX);

	if (n >= NET_HEADER_LEN)
		return n;
	return n >= 0 || errno == EINTR || errno == EIO ? -EAGAIN : -errno; /* EIO: the link is down */
}

static void tap_set_features(struct net_backend *b, uint64_t acked)
{
	unsigned offload = 0;

	if (acked & NET_F_GUEST_CSUM)
		offload |= TUN_F_CSUM;
	if (acked & NET_F_GUEST_TSO4)
		offload |= TUN_F_TSO4;
	if (acked & NET_F_GUEST_TSO6)
		offload |= TUN_F_TSO6;
	if (acked & NET_F_GUEST_UFO)
		offload |= TUN_F_UFO;
	/* Kernels from 6.2 on may refuse UFO alone; without an offload frames come whole, which is always right. */
	if (ioctl(b->fd, TUNSETOFFLOAD, offload) < 0)
		ioctl(b->fd, TUNSETOFFLOAD, offload & ~(unsigned)TUN_F_UFO);
}

static void tap_free(struct net_backend *b)
{
	close(b->fd);
	free(b);
}

static const struct net_backend_ops tap_ops = {
	.send = tap_send,
	.receive = tap_receive,
	.set_features = tap_set_features,
	.free = tap_free,
};

static int tap_new(int fd, struct net_backend **ret, struct err *e)
{
	int header = NET_HEADER_LEN, r;
	struct net_backend *b;

	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return err_sys(e, errno, "cannot set the header size of a tap device");
	r = fd_set_nonblock(fd, true);
	b = r == 0 ? calloc(1, sizeof *b) : NULL;
	if (!b)
		return err_sys(e, r < 0 ? -r : ENOMEM, "cannot use a tap device");
	*b = (struct net_backend){ &tap_ops, fd, OFFLOADS };
	*ret = b;
	return 0;
}

/* A device that was made for several queues wants the flag even for one. */
static int open_queue(const char *name, bool multi, int *ret)
{
	short kinds[] = { IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), code = 0;

	if (fd < 0)
		return -errno;
	for (int i = multi; i < 2; i++) {
		struct ifreq ifr = { .ifr_flags = kinds[i] };

		memcpy(ifr.ifr_name, name, strlen(name));
		if (ioctl(fd, TUNSETIFF, &ifr) == 0) {
			*ret = fd;
			return 0;
		}
		code = errno;
	}
	close(fd);
	return -code;
}

static void free_all(struct net_backend **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		net_backend_free(list[i]);
}

/* if_nametoindex(3) would do, but links name resolution into a static program. */
static bool exists(const char *name)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, name, strlen(name));
	return fd >= 0 && ioctl(fd, SIOCGIFINDEX, &ifr) == 0;
}

int net_tap_open(const char *name, size_t n, struct net_backend **ret, struct err *e)
{
	size_t len = strlen(name);

	if (!len || len >= IFNAMSIZ)
		return err_set(e, ERR_CONFIG, EINVAL, "\"%.20s\" cannot be the name of a tap device", name);
	/* TUNSETIFF would make a new one, with nobody at its other end. */
	if (!exists(name))
		return err_set(e, ERR_CONFIG, ENODEV, "there is no tap device %s in this network namespace", name);
	for (size_t i = 0; i < n; i++) {
		int fd = -1, r = open_queue(name, n > 1, &fd);

		if (r < 0)
			err_sys(e, -r, "cannot open tap device %s%s", name,
				n > 1 ? " for several queues (was it made with multi_queue?)" : "");
		else if ((r = tap_new(fd, &ret[i], e)) < 0)
			close(fd);
		if (r < 0) {
			free_all(ret, i);
			return r;
		}
	}
	return 0;
}

int net_tap_from_fds(const int *fds, size_t n, struct net_backend **ret, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct ifreq ifr = { 0 };
		int r = 0;

		if (ioctl(fds[i], TUNGETIFF, &ifr) < 0)
			r = err_sys(e, errno, "descriptor %d is not a tap device", fds[i]);
		else if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) != (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
			r = err_set(e, ERR_CONFIG, EINVAL,
				    "tap device %.15s was not opened with IFF_VNET_HDR and IFF_NO_PI", ifr.ifr_name);
		else
			r = tap_new(fds[i], &ret[i], e);
		if (r < 0) {
			/* The descriptors stay the caller's. */
			for (size_t k = 0; k < i; k++)
				free(ret[k]);
			return r;
		}
	}
	return 0;
}

void net_backend_free(struct net_backend *b)
{
	if (b)
		b->ops->free(b);
}
