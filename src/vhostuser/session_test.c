/* SPDX-License-Identifier: Apache-2.0 */
/* A front end in the same thread, an echo-like device behind: the session's messages, rings and descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/unix_socket.h"
#include "vhostuser/protocol.h"
#include "vhostuser/server.h"
#include "vhostuser/session.h"
#include "virtio/fake_driver.h"

#define RAM  0x10000
#define GPA  0x40000000
#define USER 0x7f0000000000

/* A device of two queues that returns every chain at once. */
struct toy {
	struct virtio_device base;
	struct virtq queues[2];
	struct virtq_chain chain;
	unsigned kicks, resets, activations, quiesced;
	uint8_t config[4];
};

static int toy_activate(struct virtio_device *dev)
{
	((struct toy *)dev)->activations++;
	return 0;
}

static void toy_kick(struct virtio_device *dev, unsigned queue)
{
	struct toy *t = (struct toy *)dev;
	int r;

	t->kicks++;
	while ((r = virtq_pop(&t->queues[queue], &t->chain)) == 1)
		virtq_push(&t->queues[queue], t->chain.head, 1);
	virtq_want_kick(&t->queues[queue]);
	if (r < 0)
		virtio_device_break(dev, t->queues[queue].why);
	else
		virtio_device_signal(dev, queue);
}

static void toy_config_read(struct virtio_device *dev, uint32_t offset, void *data, uint32_t len)
{
	virtio_config_copy(((struct toy *)dev)->config, 4, offset, data, len);
}

static void toy_config_write(struct virtio_device *dev, uint32_t offset, const void *data, uint32_t len)
{
	if (offset == 0 && len == 4)
		memcpy(((struct toy *)dev)->config, data, 4);
}

static void toy_quiesce(struct virtio_device *dev)
{
	((struct toy *)dev)->quiesced++;
}

static void toy_reset(struct virtio_device *dev)
{
	((struct toy *)dev)->resets++;
}

static void toy_free(struct virtio_device *dev)
{
	free(dev);
}

static int toy_new(struct loop *loop, void *userdata, struct virtio_device **ret, struct err *e)
{
	static const struct virtio_device_ops ops = {
		.activate = toy_activate,
		.queue_kick = toy_kick,
		.config_read = toy_config_read,
		.config_write = toy_config_write,
		.quiesce = toy_quiesce,
		.reset = toy_reset,
		.free = toy_free,
	};
	static const uint16_t max[] = { 16, 16 };
	struct toy *t = calloc(1, sizeof *t);

	t->base = (struct virtio_device){ .ops = &ops,
					  .features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX,
					  .n_queues = 2,
					  .queue_max = max,
					  .queues = t->queues };
	memcpy(t->config, "conf", 4);
	*ret = &t->base;
	return 0;
}

struct fixture {
	struct loop *loop;
	struct toy *toy;
	struct vhost_user_session *session;
	int fd, memfd, kick[2], call[2], err[2], fds_before;
	uint8_t *ram;
	struct fake_queue q[2];
	unsigned ended;
	struct vhost_user_msg reply;
};

static void on_ended(struct vhost_user_session *s, void *userdata)
{
	struct fixture *f = userdata;

	f->ended++;
	vhost_user_session_free(s);
	f->session = NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct virtio_device *dev;
	int pair[2];

	f->fds_before = count_fds();
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(toy_new(f->loop, NULL, &dev, NULL), 0);
	f->toy = (struct toy *)dev;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f->fd = pair[0];
	assert_int_equal(vhost_user_session_new(f->loop, pair[1], dev, on_ended, f, &f->session), 0);
	f->memfd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->memfd, RAM), 0);
	f->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	for (int i = 0; i < 2; i++) {
		f->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->err[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		fake_init(&f->q[i], f->ram, 0x1000 * (i + 1), 16);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vhost_user_session_free(f->session);
	virtio_device_free(&f->toy->base);
	loop_free(f->loop);
	close(f->fd);
	close(f->memfd);
	munmap(f->ram, RAM);
	for (int i = 0; i < 2; i++) {
		close(f->kick[i]);
		close(f->call[i]);
		close(f->err[i]);
	}
	assert_int_equal(count_fds(), f->fds_before);
	free(f);
	return 0;
}

static void run(struct fixture *f)
{
	for (int i = 0; i < 10; i++)
		loop_run_once(f->loop, 0);
}

static void send_raw(struct fixture *f, const void *data, size_t len, const int *fds, size_t n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(f->fd, &msg, MSG_NOSIGNAL), len);
}

/* Send a request; the answer, if one comes, is in f->reply: its payload's size, or -1. */
static int request(struct fixture *f, uint32_t req, uint32_t flags, const void *payload, uint32_t size, const int *fds,
		   size_t n_fds)
{
	struct vhost_user_msg m = { .request = req, .flags = VHOST_USER_VERSION | flags, .size = size };
	ssize_t n;

	if (size)
		memcpy(&m.u, payload, size);
	send_raw(f, &m, VHOST_USER_HDR_LEN + size, fds, n_fds);
	run(f);
	n = recv(f->fd, &f->reply, sizeof f->reply, MSG_DONTWAIT);
	if (n < VHOST_USER_HDR_LEN)
		return -1;
	assert_int_equal(f->reply.request, req);
	assert_int_equal(f->reply.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_int_equal(n, VHOST_USER_HDR_LEN + f->reply.size);
	return (int)f->reply.size;
}

static uint64_t get_u64(struct fixture *f, uint32_t req)
{
	assert_int_equal(request(f, req, 0, NULL, 0, NULL, 0), 8);
	return f->reply.u.u64;
}

/* Send with NEED_REPLY; the ack. */
static uint64_t acked(struct fixture *f, uint32_t req, const void *payload, uint32_t size, const int *fds, size_t n)
{
	assert_int_equal(request(f, req, VHOST_USER_NEED_REPLY, payload, size, fds, n), 8);
	return f->reply.u.u64;
}

static void negotiate(struct fixture *f)
{
	uint64_t v = get_u64(f, VHOST_USER_GET_FEATURES);

	assert_true(v == (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VHOST_USER_F_PROTOCOL_FEATURES));
	assert_int_equal(request(f, VHOST_USER_SET_FEATURES, 0, &v, 8, NULL, 0), -1);
	v = get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	assert_int_equal(request(f, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &v, 8, NULL, 0), -1);
	assert_int_equal(acked(f, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0), 0);
}

static uint64_t set_memory(struct fixture *f, uint64_t gpa)
{
	struct {
		uint32_t n, padding;
		struct vhost_user_region r;
	} t = { 1, 0, { gpa, RAM, USER, 0 } };

	return acked(f, VHOST_USER_SET_MEM_TABLE, &t, sizeof t, &f->memfd, 1);
}

static void set_ring(struct fixture *f, uint32_t i, uint32_t base)
{
	uint32_t num[2] = { i, 16 }, at[2] = { i, base }, on[2] = { i, 1 };
	uint64_t index = i;
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr = { i, 0, USER + f->q[i].desc, USER + f->q[i].used, USER + f->q[i].avail, 0 };

	assert_int_equal(acked(f, VHOST_USER_SET_VRING_NUM, num, 8, NULL, 0), 0);
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_BASE, at, 8, NULL, 0), 0);
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_ADDR, &addr, sizeof addr, NULL, 0), 0);
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_CALL, &index, 8, &f->call[i], 1), 0);
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_ERR, &index, 8, &f->err[i], 1), 0);
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_KICK, &index, 8, &f->kick[i], 1), 0);
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_ENABLE, on, 8, NULL, 0), 0);
}

static bool told(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof n) == sizeof n;
}

static void offer(struct fixture *f, unsigned i)
{
	uint64_t one = 1;

	fake_desc(&f->q[i], 0, GPA + 0x8000, 64, FAKE_WRITE, 0);
	fake_submit(&f->q[i], 0);
	assert_int_equal(write(f->kick[i], &one, 8), 8);
	run(f);
}

static bool answered(struct fixture *f, unsigned i)
{
	uint32_t id, len;

	return fake_used(&f->q[i], &id, &len);
}

static uint32_t stop_ring(struct fixture *f, uint32_t i)
{
	uint32_t state[2] = { i, 0 };

	assert_int_equal(request(f, VHOST_USER_GET_VRING_BASE, 0, state, 8, NULL, 0), 8);
	return f->reply.u.state.num;
}

static void test_life(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	assert_int_equal(get_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
	assert_int_equal(get_u64(f, VHOST_USER_GET_MAX_MEM_SLOTS), VHOST_USER_SLOTS_MAX);
	assert_int_equal(set_memory(f, GPA), 0);
	set_ring(f, 0, 0);
	assert_int_equal(f->toy->activations, 1);
	offer(f, 0);
	assert_true(answered(f, 0));
	assert_true(told(f->call[0]));
	assert_false(told(f->err[0]));

	/* Memory moves: the ring goes on. */
	assert_int_equal(set_memory(f, GPA), 0);
	assert_true(f->toy->quiesced > 0);
	offer(f, 0);
	assert_true(answered(f, 0));

	/* Pause and go on: no reset. */
	assert_int_equal(stop_ring(f, 0), 2);
	offer(f, 0);
	assert_false(answered(f, 0));
	set_ring(f, 0, 2);
	run(f);
	assert_true(answered(f, 0));
	assert_int_equal(f->toy->resets, 0);

	/* Reset of the guest: begins at 0. */
	assert_int_equal(stop_ring(f, 0), 3);
	memset(f->ram, 0, RAM);
	fake_init(&f->q[0], f->ram, 0x1000, 16);
	set_ring(f, 0, 0);
	assert_int_equal(f->toy->resets, 1);
	assert_int_equal(f->toy->activations, 2);
	offer(f, 0);
	assert_true(answered(f, 0));

	/* Disabled rings do not run. */
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_ENABLE, (uint32_t[]){ 0, 0 }, 8, NULL, 0), 0);
	offer(f, 0);
	assert_false(answered(f, 0));
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_ENABLE, (uint32_t[]){ 0, 1 }, 8, NULL, 0), 0);
	assert_true(answered(f, 0));

	assert_int_equal(acked(f, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_int_equal(f->toy->resets, 2);
	offer(f, 0);
	assert_false(answered(f, 0));
}

static void test_memory_regions_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct {
		uint64_t padding;
		struct vhost_user_region r;
	} m = { 0, { GPA, RAM, USER, 0 } };

	negotiate(f);
	assert_int_equal(acked(f, VHOST_USER_ADD_MEM_REG, &m, sizeof m, NULL, 0), 1); /* no descriptor */
	assert_int_equal(acked(f, VHOST_USER_ADD_MEM_REG, &m, sizeof m, &f->memfd, 1), 0);
	assert_int_equal(acked(f, VHOST_USER_ADD_MEM_REG, &m, sizeof m, &f->memfd, 1), 1); /* overlaps */
	set_ring(f, 1, 0);
	offer(f, 1);
	assert_true(answered(f, 1));
	m.r.size = 1;
	assert_int_equal(acked(f, VHOST_USER_REM_MEM_REG, &m, sizeof m, NULL, 0), 1);
	m.r.size = RAM;
	assert_int_equal(acked(f, VHOST_USER_REM_MEM_REG, &m, sizeof m, &f->memfd, 1), 0);
	offer(f, 1); /* the ring lost its memory: nothing happens */
	assert_false(answered(f, 1));
	assert_true(told(f->err[1]));
	m.r.user = UINT64_MAX - 5;
	assert_int_equal(acked(f, VHOST_USER_ADD_MEM_REG, &m, sizeof m, &f->memfd, 1), 1);
	m.r.user = USER;
	m.r.size = RAM + 1; /* beyond the file */
	assert_int_equal(acked(f, VHOST_USER_ADD_MEM_REG, &m, sizeof m, &f->memfd, 1), 1);
}

static void test_config_and_status(void **state)
{
	struct fixture *f = *state;
	struct {
		uint32_t offset, size, flags;
		uint8_t data[8];
	} c = { 1, 8, 0, { 0 } };

	negotiate(f);
	assert_int_equal(request(f, VHOST_USER_GET_CONFIG, 0, &c, 20, NULL, 0), 20);
	assert_memory_equal(f->reply.u.config.data, "onf\0\0\0\0\0", 8);
	assert_int_equal(request(f, VHOST_USER_GET_CONFIG, VHOST_USER_NEED_REPLY, &c, 19, NULL, 0), 8);
	assert_int_equal(f->reply.u.u64, 1);
	c.offset = 0;
	c.size = 4;
	memcpy(c.data, "newc", 4);
	assert_int_equal(acked(f, VHOST_USER_SET_CONFIG, &c, 16, NULL, 0), 0);
	assert_memory_equal(f->toy->config, "newc", 4);
	c.size = UINT32_MAX;
	assert_int_equal(acked(f, VHOST_USER_SET_CONFIG, &c, 16, NULL, 0), 1);
	assert_int_equal(acked(f, VHOST_USER_SET_STATUS, &(uint64_t){ 7 }, 8, NULL, 0), 0);
	assert_int_equal(get_u64(f, VHOST_USER_GET_STATUS), 7);
	virtio_device_break(&f->toy->base, "test");
	assert_int_equal(get_u64(f, VHOST_USER_GET_STATUS), 7 | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(acked(f, VHOST_USER_SET_STATUS, &(uint64_t){ 0 }, 8, NULL, 0), 0);
	assert_int_equal(get_u64(f, VHOST_USER_GET_STATUS), 0);
	assert_int_equal(f->toy->resets, 1);
	assert_int_equal(acked(f, VHOST_USER_SET_STATUS, &(uint64_t){ 256 }, 8, NULL, 0), 1);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	uint64_t u;
	uint32_t s[2];
	int many[8];

	negotiate(f);
#define REFUSED(req, payload, size, fds, n) assert_int_equal(acked(f, req, payload, size, fds, n), 1)
	u = 1;
	REFUSED(VHOST_USER_SET_FEATURES, &u, 8, NULL, 0);
	u = 1 << 1;
	REFUSED(VHOST_USER_SET_PROTOCOL_FEATURES, &u, 8, NULL, 0);
	REFUSED(99, NULL, 0, NULL, 0);
	REFUSED(0, NULL, 0, NULL, 0);
	REFUSED(VHOST_USER_SET_VRING_NUM, &u, 4, NULL, 0);
	static const uint32_t bad_num[][2] = { { 2, 16 }, { 0, 0 }, { 0, 3 }, { 0, 32 }, { UINT32_MAX, 16 } };
	for (size_t i = 0; i < 5; i++)
		REFUSED(VHOST_USER_SET_VRING_NUM, bad_num[i], 8, NULL, 0);
	s[0] = 0;
	s[1] = 65536;
	REFUSED(VHOST_USER_SET_VRING_BASE, s, 8, NULL, 0);
	s[0] = 9;
	REFUSED(VHOST_USER_GET_VRING_BASE, s, 8, NULL, 0);
	REFUSED(VHOST_USER_SET_VRING_ENABLE, s, 8, NULL, 0);
	u = 5; /* no such ring: the descriptor is closed (teardown counts) */
	REFUSED(VHOST_USER_SET_VRING_KICK, &u, 8, &f->kick[0], 1);
	u = 0;
	REFUSED(VHOST_USER_SET_VRING_KICK, &u, 8, NULL, 0);
	REFUSED(VHOST_USER_SET_VRING_KICK, &u, 8, &f->memfd, 1); /* cannot be polled */
	u = VHOST_USER_VRING_NOFD;
	REFUSED(VHOST_USER_SET_VRING_CALL, &u, 8, &f->call[0], 1);
	assert_int_equal(acked(f, VHOST_USER_SET_VRING_CALL, &u, 8, NULL, 0), 0);
	for (int i = 0; i < 8; i++)
		many[i] = f->memfd;
	struct {
		uint32_t n, padding;
		struct vhost_user_region r[8];
	} t = { 2, 0, { { GPA, RAM, USER, 0 }, { GPA + 8, RAM, USER, 0 } } };
	REFUSED(VHOST_USER_SET_MEM_TABLE, &t, 8 + 64, many, 1);
	REFUSED(VHOST_USER_SET_MEM_TABLE, &t, 8 + 63, many, 2);
	REFUSED(VHOST_USER_SET_MEM_TABLE, &t, 8 + 64, many, 2); /* overlap */
	t.n = UINT32_MAX;
	REFUSED(VHOST_USER_SET_MEM_TABLE, &t, sizeof t, many, 8);
	assert_int_equal(f->ended, 0);
	/* Rings outside memory, or misaligned: told by the error descriptor. */
	assert_int_equal(set_memory(f, GPA), 0);
	f->q[0].desc = RAM;
	set_ring(f, 0, 0);
	assert_true(told(f->err[0]));
	f->q[1].desc += 8;
	set_ring(f, 1, 0);
	assert_true(told(f->err[1]));
	assert_int_equal(f->toy->activations, 0);
}

static void ends(struct fixture *f)
{
	run(f);
	assert_int_equal(f->ended, 1);
	assert_null(f->session);
	assert_int_equal(f->toy->resets, 1);
}

static void test_failure_without_ack_ends_the_session(void **state)
{
	struct fixture *f = *state;
	uint64_t u = 5;

	assert_int_equal(request(f, VHOST_USER_SET_VRING_KICK, 0, &u, 8, &f->kick[0], 1), -1);
	ends(f);
}

static void test_bad_version(void **state)
{
	struct fixture *f = *state;
	uint32_t h[3] = { VHOST_USER_GET_FEATURES, 2, 0 };

	send_raw(f, h, sizeof h, &f->memfd, 1);
	ends(f);
}

static void test_bad_size(void **state)
{
	struct fixture *f = *state;
	uint32_t h[3] = { VHOST_USER_GET_FEATURES, 1, 100000 };

	send_raw(f, h, sizeof h, NULL, 0);
	ends(f);
}

static void test_too_many_descriptors(void **state)
{
	struct fixture *f = *state;
	uint32_t h[3] = { VHOST_USER_GET_FEATURES, 1, 0 };
	int fds[16];

	for (int i = 0; i < 16; i++)
		fds[i] = f->memfd;
	send_raw(f, h, sizeof h, fds, 16);
	ends(f);
}

static void test_message_in_pieces_and_hang_up(void **state)
{
	struct fixture *f = *state;
	uint32_t h[3] = { VHOST_USER_GET_FEATURES, 1, 0 };

	for (size_t i = 0; i < sizeof h; i++) {
		send_raw(f, (char *)h + i, 1, NULL, 0);
		run(f);
	}
	assert_int_equal(recv(f->fd, &f->reply, sizeof f->reply, MSG_DONTWAIT), 20);
	send_raw(f, h, 5, &f->memfd, 1);
	shutdown(f->fd, SHUT_WR);
	ends(f);
}

static void test_broken_ring(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	set_memory(f, GPA);
	set_ring(f, 0, 0);
	fake_submit(&f->q[0], 99);
	offer(f, 0);
	assert_true(told(f->err[0]));
	assert_int_equal(get_u64(f, VHOST_USER_GET_STATUS), VIRTIO_STATUS_NEEDS_RESET);
	offer(f, 0);
	assert_false(answered(f, 0));
}

/* The server: its own thread, one front end after the other, nothing left at the end. */
static void test_server(void **state)
{
	char dir[] = "/tmp/vhost_user_XXXXXX", path[64];
	struct vhost_user_server *s;
	struct vhost_user_server_config c = { .fd = -1, .path = path, .factory = toy_new, .thread_name = "toy" };
	int before = count_fds();
	struct err e = { 0 };
	struct stat st;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	assert_int_equal(vhost_user_server_start(&c, &s, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	for (int i = 0; i < 3; i++) {
		uint32_t h[3] = { VHOST_USER_GET_QUEUE_NUM, 1, 0 };
		uint64_t reply[3];
		int fd;

		assert_int_equal(unix_connect(path, &fd), 0);
		assert_int_equal(fd_set_nonblock(fd, false), 0);
		assert_int_equal(send(fd, h, sizeof h, 0), sizeof h);
		assert_int_equal(recv(fd, reply, 20, MSG_WAITALL), 20);
		close(fd);
	}
	vhost_user_server_stop(s);
	assert_int_equal(unlink(path), -1);
	/* A path that is taken. */
	assert_int_equal(vhost_user_server_start(&c, &s, &e), 0);
	assert_int_equal(vhost_user_server_start(&c, &(struct vhost_user_server *){ NULL }, &e), -EADDRINUSE);
	vhost_user_server_stop(s);
	vhost_user_server_stop(NULL);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(count_fds(), before);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_life),
		T(test_memory_regions_one_by_one),
		T(test_config_and_status),
		T(test_refusals),
		T(test_failure_without_ack_ends_the_session),
		T(test_bad_version),
		T(test_bad_size),
		T(test_too_many_descriptors),
		T(test_message_in_pieces_and_hang_up),
		T(test_broken_ring),
		cmocka_unit_test(test_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
