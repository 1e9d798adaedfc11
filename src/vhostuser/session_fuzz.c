/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front end that sends anything: the input is a stream of messages {request, flags, descriptors, size, payload}. A
 * device that pops and pushes runs behind, so that the rings are exercised too.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "vhostuser/protocol.h"
#include "vhostuser/session.h"

#define RAM 0x10000

struct toy {
	struct virtio_device base;
	struct virtq queues[2];
	struct virtq_chain chain;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void kick(struct virtio_device *dev, unsigned queue)
{
	struct toy *t = (struct toy *)dev;

	for (int i = 0; i < 64 && virtq_pop(&t->queues[queue], &t->chain) == 1; i++)
		virtq_push(&t->queues[queue], t->chain.head, 0);
	virtq_want_kick(&t->queues[queue]);
	virtio_device_signal(dev, queue);
}

static void config_read(struct virtio_device *dev, uint32_t offset, void *data, uint32_t len)
{
	virtio_config_copy("conf", 4, offset, data, len);
}

static void on_ended(struct vhost_user_session *s, void *userdata)
{
	vhost_user_session_free(s);
	*(struct vhost_user_session **)userdata = NULL;
}

static void send_message(int fd, const struct vhost_user_msg *m, size_t len, int pass, unsigned n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(12 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)m, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (unsigned i = 0; i < n; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &pass, sizeof pass);
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

/* Fields that would never be right by chance. */
static void help(struct vhost_user_msg *m, uint8_t how)
{
	if (m->request == VHOST_USER_SET_MEM_TABLE && (how & 1)) {
		m->u.table.n = 1;
		m->u.table.regions[0] = (struct vhost_user_region){ 0, RAM, 0x1000000, 0 };
		m->size = 40;
	} else if ((m->request == VHOST_USER_ADD_MEM_REG || m->request == VHOST_USER_REM_MEM_REG) && (how & 1)) {
		m->u.region.region = (struct vhost_user_region){ (how & 2) * RAM, RAM, 0x1000000 + (how & 2) * RAM, 0 };
		m->size = 40;
	} else if (m->request == VHOST_USER_SET_VRING_ADDR && (how & 1)) {
		m->u.addr.index &= 1;
		m->u.addr.flags = 0;
		m->u.addr.desc = 0x1000000 + (m->u.addr.desc & 0xfff0);
		m->u.addr.avail = 0x1000000 + (m->u.addr.avail & 0xfffe);
		m->u.addr.used = 0x1000000 + (m->u.addr.used & 0xfffc);
		m->size = 40;
	} else if (m->request >= VHOST_USER_SET_VRING_NUM && m->request <= VHOST_USER_SET_VRING_ENABLE && (how & 1)) {
		m->u.state.index &= 0x101;
		m->u.state.num &= how & 2 ? 1 : 16;
		m->size = 8;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct virtio_device_ops ops = { .queue_kick = kick, .config_read = config_read };
	static const uint16_t max[] = { 16, 16 };
	static struct loop *loop;
	static int memfd = -1, event = -1, null = -1;
	static struct toy toy;
	struct vhost_user_session *s = NULL;
	int pair[2], first, next;
	char sink[4096];

	if (!loop) {
		log_set_level(LOG_LEVEL_ERROR);
		memfd = memfd_create("ram", MFD_CLOEXEC);
		event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (loop_new(&loop, NULL) < 0 || ftruncate(memfd, RAM) < 0)
			abort();
	}
	first = dup(null);
	close(first);
	toy = (struct toy){ .base = { .ops = &ops,
				      .features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
				      .n_queues = 2,
				      .queue_max = max,
				      .queues = toy.queues } };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    vhost_user_session_new(loop, pair[1], &toy.base, on_ended, &s, &s) < 0)
		abort();
	/* The file behind the memory holds the rings: part of the input. */
	if (pwrite(memfd, data, size < RAM ? size : RAM, 0) < 0)
		abort();
	while (size >= 4 && s) {
		struct vhost_user_msg m = { .request = data[0] % 48, .flags = data[1] & 0xf, .size = data[3] };
		size_t n = size - 4 < m.size ? size - 4 : m.size;
		static const uint8_t counts[] = { 0, 1, 1, 1, 0, 2, 8, 12 };
		uint8_t how = data[2];

		memcpy(&m.u, data + 4, n);
		help(&m, how);
		if (how & 4)
			m.flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY;
		if (data[1] == 0xff)
			m.size = UINT32_MAX;
		send_message(pair[0], &m, VHOST_USER_HDR_LEN + (m.size < 268 ? m.size : 0),
			     m.request == VHOST_USER_SET_MEM_TABLE || m.request == VHOST_USER_ADD_MEM_REG ? memfd
			     : how & 8                                                                    ? event
													  : null,
			     counts[how >> 5]);
		eventfd_write(event, 1);
		for (int i = 0; i < 3; i++)
			loop_run_once(loop, 0);
		while (recv(pair[0], sink, sizeof sink, MSG_DONTWAIT) > 0)
			;
		data += 4 + n;
		size -= 4 + n;
	}
	vhost_user_session_free(s);
	close(pair[0]);
	loop_run_once(loop, 0);
	/* Every descriptor that came was closed: the lowest free number stays what it was. */
	next = dup(null);
	close(next);
	if (next != first)
		abort();
	return 0;
}
