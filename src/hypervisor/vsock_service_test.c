/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service as a VMM and clients see it, across threads (run it under TSan too): a small front end plays QEMU and the
 * guest's driver on a shared memfd, while client threads push data through the Unix socket and an echo in the "guest".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/unix_socket.h"
#include "hypervisor/vsock_service.h"
#include "vhostuser/protocol.h"
#include "virtio/device.h"
#include "virtio/fake_driver.h"
#include "vsock/packet.h"

#define RAM     0x200000
#define USER    0x7f0000000000
#define QUEUE   64 /* at most */
#define RX_DATA 0x10000
#define RX_SIZE 4096
#define TX_DATA 0x100000
#define CLIENTS 4
/* This guest does not watch the credit that it has: all that it sends fits into it (VSOCK_BUF_SIZE). */
#define PER_CONN (256U << 10)

struct vmm {
	char dir[32], hybrid[64], device[64];
	struct vsock_service *svc;
	int fd, memfd, kick[2], call[2];
	uint8_t *ram;
	uint16_t queue;  /* receive buffers, and packets to the device at once */
	uint32_t credit; /* that this guest gives each connection */
	struct fake_queue q[2];
	bool tx_busy[QUEUE];
	uint32_t fwd[CLIENTS + 1], port[CLIENTS + 1]; /* per connection: bytes echoed, host port */
	bool ended[CLIENTS + 1];
	unsigned n_conns, finished;
};

static void message(struct vmm *v, uint32_t req, const void *payload, uint32_t size, const int *fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct vhost_user_msg m = { .request = req, .flags = VHOST_USER_VERSION, .size = size };
	struct iovec iov = { &m, VHOST_USER_HDR_LEN + size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (size)
		memcpy(&m.u, payload, size);
	if (fd) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = sizeof control;
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), fd, sizeof *fd);
	}
	assert_int_equal(sendmsg(v->fd, &msg, 0), iov.iov_len);
}

static void kick(struct vmm *v, int i)
{
	assert_int_equal(eventfd_write(v->kick[i], 1), 0);
}

static void offer(struct vmm *v, uint16_t i)
{
	fake_desc(&v->q[0], i, RX_DATA + i * (gpa_t)RX_SIZE, RX_SIZE, FAKE_WRITE, 0);
	fake_submit(&v->q[0], i);
}

static void vmm_start(struct vmm *v)
{
	uint64_t features = VIRTIO_F_VERSION_1;
	struct {
		uint32_t n, padding;
		struct vhost_user_region r;
	} t = { 1, 0, { 0, RAM, USER, 0 } };

	assert_int_equal(unix_connect(v->device, &v->fd), 0);
	v->memfd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(v->memfd, RAM), 0);
	v->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, v->memfd, 0);
	message(v, VHOST_USER_SET_FEATURES, &features, 8, NULL);
	message(v, VHOST_USER_SET_MEM_TABLE, &t, sizeof t, &v->memfd);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t num[2] = { i, v->queue };
		uint64_t index = i;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} a = { i };

		fake_init(&v->q[i], v->ram, 0x1000 * (i + 1), v->queue);
		a.desc = USER + v->q[i].desc;
		a.used = USER + v->q[i].used;
		a.avail = USER + v->q[i].avail;
		v->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		v->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		message(v, VHOST_USER_SET_VRING_NUM, num, 8, NULL);
		message(v, VHOST_USER_SET_VRING_ADDR, &a, sizeof a, NULL);
		message(v, VHOST_USER_SET_VRING_CALL, &index, 8, &v->call[i]);
		message(v, VHOST_USER_SET_VRING_KICK, &index, 8, &v->kick[i]);
	}
	for (uint16_t i = 0; i < v->queue; i++)
		offer(v, i);
	kick(v, 0);
}

static void vmm_stop(struct vmm *v)
{
	close(v->fd);
	close(v->memfd);
	munmap(v->ram, RAM);
	for (int i = 0; i < 2; i++) {
		close(v->kick[i]);
		close(v->call[i]);
	}
}

static void reclaim(struct vmm *v)
{
	uint32_t id, len;

	while (fake_used(&v->q[1], &id, &len))
		v->tx_busy[id] = false;
}

static void wait_call(struct vmm *v)
{
	struct pollfd p[2] = { { v->call[0], POLLIN, 0 }, { v->call[1], POLLIN, 0 } };
	eventfd_t n;

	assert_true(poll(p, 2, 20000) > 0);
	for (int i = 0; i < 2; i++)
		if (p[i].revents)
			eventfd_read(v->call[i], &n);
	reclaim(v);
}

static void say(struct vmm *v, const struct vsock_hdr *in, uint16_t op, uint32_t flags, const void *data, uint32_t len,
		uint32_t fwd)
{
	struct vsock_hdr h = {
		.src_cid = in->dst_cid,
		.dst_cid = in->src_cid,
		.src_port = in->dst_port,
		.dst_port = in->src_port,
		.type = le16_of(VSOCK_TYPE_STREAM),
		.op = le16_of(op),
		.flags = le32_of(flags),
		.len = le32_of(len),
		.buf_alloc = le32_of(v->credit),
		.fwd_cnt = le32_of(fwd),
	};
	uint16_t i = 0;

	reclaim(v);
	while (v->tx_busy[i]) {
		if (++i == v->queue) {
			wait_call(v);
			i = 0;
		}
	}
	v->tx_busy[i] = true;
	memcpy(v->ram + TX_DATA + i * 8192, &h, sizeof h);
	if (len)
		memcpy(v->ram + TX_DATA + i * 8192 + sizeof h, data, len);
	fake_desc(&v->q[1], i, TX_DATA + i * (gpa_t)8192, VSOCK_HDR_LEN + len, 0, 0);
	fake_submit(&v->q[1], i);
	kick(v, 1);
}

static unsigned conn_index(struct vmm *v, uint32_t port)
{
	unsigned i = 0;

	while (i < v->n_conns && v->port[i] != port)
		i++;
	return i;
}

/* The guest: accept everything, echo, close when the host has. */
static void guest_packet(struct vmm *v, const struct vsock_hdr *h, const uint8_t *data)
{
	uint32_t port = le32_get(h->src_port), len = le32_get(h->len);
	unsigned i = conn_index(v, port);

	switch (le16_get(h->op)) {
	case VSOCK_OP_REQUEST:
		assert_true(v->n_conns < CLIENTS);
		v->port[v->n_conns++] = port;
		say(v, h, VSOCK_OP_RESPONSE, 0, NULL, 0, 0);
		break;
	case VSOCK_OP_RW:
		v->fwd[i] += len;
		say(v, h, VSOCK_OP_RW, 0, data, len, v->fwd[i]);
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		say(v, h, VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0, v->fwd[i]);
		break;
	case VSOCK_OP_SHUTDOWN:
		say(v, h, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH, NULL, 0, v->fwd[i]);
		break;
	case VSOCK_OP_RST:
		/* Ending before every client has would leave the others waiting for ever: each counts, and once. */
		assert_true(i < v->n_conns && !v->ended[i]);
		v->ended[i] = true;
		v->finished++;
		break;
	}
}

struct client {
	const char *path;
	int fd;
	uint64_t bad, got;
};

static void *client_reads(void *arg)
{
	struct client *c = arg;
	uint8_t buf[8192];
	ssize_t n;
	char ch = 0;

	while (ch != '\n' && read(c->fd, &ch, 1) == 1)
		;
	while ((n = read(c->fd, buf, sizeof buf)) > 0)
		for (ssize_t i = 0; i < n; i++)
			c->bad += buf[i] != (uint8_t)(c->got++ * 13 >> 2);
	return NULL;
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	uint8_t buf[5000];
	pthread_t reader;

	if (unix_connect(c->path, &c->fd) < 0 || fd_set_nonblock(c->fd, false) < 0 ||
	    fd_write_full(c->fd, "CONNECT 5\n", 10) < 0)
		return NULL;
	pthread_create(&reader, NULL, client_reads, c);
	for (uint64_t at = 0; at < PER_CONN;) {
		size_t n = PER_CONN - at < sizeof buf ? PER_CONN - at : sizeof buf;

		for (size_t i = 0; i < n; i++)
			buf[i] = (uint8_t)((at + i) * 13 >> 2);
		if (fd_write_full(c->fd, buf, n) < 0)
			break;
		at += n;
	}
	shutdown(c->fd, SHUT_WR);
	pthread_join(reader, NULL);
	close(c->fd);
	return NULL;
}

static void begin(struct vmm *v)
{
	struct err e = { 0 };

	*v = (struct vmm){ .dir = "/tmp/vsock_service_XXXXXX", .queue = QUEUE, .credit = 65536 };
	assert_non_null(mkdtemp(v->dir));
	snprintf(v->hybrid, sizeof v->hybrid, "%s/v", v->dir);
	snprintf(v->device, sizeof v->device, "%s/d", v->dir);
	assert_int_equal(vsock_service_start(v->hybrid, v->device, &v->svc, &e), 0);
}

static void end(struct vmm *v)
{
	vsock_service_stop(v->svc);
	assert_int_equal(rmdir(v->dir), 0); /* both sockets are gone */
}

static void echo_of_many_clients(uint16_t queue, uint32_t credit)
{
	struct client c[CLIENTS] = { 0 };
	pthread_t t[CLIENTS];
	struct vmm v;

	begin(&v);
	v.queue = queue;
	v.credit = credit;
	vmm_start(&v);
	for (int i = 0; i < CLIENTS; i++) {
		c[i].path = v.hybrid;
		pthread_create(&t[i], NULL, client_main, &c[i]);
	}
	while (v.finished < CLIENTS) {
		uint32_t id, len;

		while (fake_used(&v.q[0], &id, &len)) {
			struct vsock_hdr h;

			memcpy(&h, v.ram + RX_DATA + id * RX_SIZE, sizeof h);
			guest_packet(&v, &h, v.ram + RX_DATA + id * RX_SIZE + sizeof h);
			offer(&v, (uint16_t)id);
			kick(&v, 0);
		}
		if (v.finished < CLIENTS)
			wait_call(&v);
	}
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(c[i].got, PER_CONN);
		assert_int_equal(c[i].bad, 0);
	}
	vmm_stop(&v);
	end(&v);
}

static void test_echo_of_many_clients(void **state)
{
	echo_of_many_clients(QUEUE, 65536);
}

/* Connections run out of credit and the device out of buffers all the time, often both at once. */
static void test_echo_through_few_buffers_with_little_credit(void **state)
{
	echo_of_many_clients(4, 9000);
}

static void test_start_and_stop(void **state)
{
	struct vmm v;
	struct vsock_service *other;
	struct err e = { 0 };
	char taken[64];
	int fd;

	for (int i = 0; i < 5; i++) {
		begin(&v);
		if (i & 1) {
			vmm_start(&v);
			assert_int_equal(unix_connect(v.hybrid, &fd), 0);
		}
		/* Neither path may be in use, and the failure takes nothing of the other's away. */
		snprintf(taken, sizeof taken, "%s/x", v.dir);
		assert_int_equal(vsock_service_start(v.hybrid, taken, &other, &e), -EADDRINUSE);
		e = (struct err){ 0 };
		assert_int_equal(vsock_service_start(taken, v.device, &other, &e), -EADDRINUSE);
		assert_non_null(strstr(e.text, v.device));
		end(&v);
		if (i & 1) {
			vmm_stop(&v);
			close(fd);
		}
	}
	vsock_service_stop(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_and_stop),
		cmocka_unit_test(test_echo_of_many_clients),
		cmocka_unit_test(test_echo_through_few_buffers_with_little_credit),
	};

	/* A client whose connection was reset is to be reported by what it misses. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
