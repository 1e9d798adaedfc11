/* SPDX-License-Identifier: Apache-2.0 */
/* The front end against our own server with a small device behind it, and against things that are no server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/unix_socket.h"
#include "vhostuser/frontend.h"
#include "vhostuser/protocol.h"
#include "vhostuser/server.h"
#include "virtio/fake_driver.h"

#define RAM   0x100000
#define QUEUE 16
#define TYPE  42

/* ---- the device behind the server: answers each request in capitals ---- */

struct shouter {
	struct virtio_device base;
	struct virtq queues[2];
};

static int shouter_activate(struct virtio_device *dev)
{
	return 0;
}

static void shouter_kick(struct virtio_device *dev, unsigned queue)
{
	struct virtq_chain chain;

	do {
		while (virtq_pop(&dev->queues[queue], &chain) == 1) {
			const char *in = virtq_chain_read(&chain)->iov_base;
			char *out = virtq_chain_write(&chain)->iov_base;

			for (uint32_t i = 0; i < chain.read_len && i < chain.write_len; i++)
				out[i] = (char)toupper(in[i]);
			virtq_push(&dev->queues[queue], chain.head, chain.write_len);
		}
	} while (virtq_want_kick(&dev->queues[queue]));
	virtio_device_signal(dev, queue);
}

static void shouter_config(struct virtio_device *dev, uint32_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
}

static void shouter_reset(struct virtio_device *dev)
{
}

static void shouter_free(struct virtio_device *dev)
{
	free(dev);
}

static int shouter_new(struct loop *loop, void *userdata, struct virtio_device **ret, struct err *e)
{
	static const struct virtio_device_ops ops = {
		.activate = shouter_activate,
		.queue_kick = shouter_kick,
		.config_read = shouter_config,
		.reset = shouter_reset,
		.free = shouter_free,
	};
	static const uint16_t max[2] = { QUEUE, QUEUE };
	struct shouter *s = calloc(1, sizeof *s);

	s->base = (struct virtio_device){
		.ops = &ops,
		.type = TYPE,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | 1,
		.n_queues = 2,
		.queue_max = max,
		.queues = s->queues,
	};
	*ret = &s->base;
	return 0;
}

/* ---- the guest's side ---- */

struct fixture {
	struct virtio_transport transport;
	char dir[32], path[64];
	struct vhost_user_server *server;
	struct loop *loop;
	struct virtio_device *dev;
	int memfd;
	uint8_t *ram;
	struct guestmem *mem;
	struct fake_queue q[2];
	unsigned signals[2], needs_reset;
};

static void on_signal(struct virtio_transport *t, unsigned queue)
{
	((struct fixture *)(void *)t)->signals[queue]++;
}

static void on_config(struct virtio_transport *t)
{
}

static void on_needs_reset(struct virtio_transport *t, const char *why)
{
	((struct fixture *)(void *)t)->needs_reset++;
}

static const struct virtio_transport_ops transport_ops = { on_signal, on_config, on_needs_reset };

static struct vhost_user_frontend_config config_of(const struct fixture *f,
						   const struct vhost_user_frontend_region *region)
{
	return (struct vhost_user_frontend_config){
		.name = "shouter",
		.socket = f->path,
		.type = TYPE,
		.features = 3, /* the server has one of the two */
		.n_queues = 2,
		.queue_size = QUEUE,
		.config = "config",
		.config_len = 6,
		.regions = region,
		.n_regions = 1,
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	*state = f;
	f->transport.ops = &transport_ops;
	strcpy(f->dir, "/tmp/frontend_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/s", f->dir);
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	f->memfd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->memfd, RAM), 0);
	f->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	assert_ptr_not_equal(f->ram, MAP_FAILED);
	assert_int_equal(guestmem_new(&f->mem), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, 0, RAM, f->ram), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_device_free(f->dev);
	vhost_user_server_stop(f->server);
	loop_free(f->loop);
	guestmem_free(f->mem);
	munmap(f->ram, RAM);
	close(f->memfd);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void serve(struct fixture *f)
{
	struct vhost_user_server_config c = { .path = f->path, .fd = -1, .factory = shouter_new };
	struct err e = { 0 };

	assert_int_equal(vhost_user_server_start(&c, &f->server, &e), 0);
}

static void connect_frontend(struct fixture *f)
{
	struct vhost_user_frontend_region region = { 0, RAM, f->memfd, 0 };
	struct vhost_user_frontend_config c = config_of(f, &region);
	struct err e = { 0 };

	assert_int_equal(vhost_user_frontend_new(f->loop, &c, &f->dev, &e), 0);
	f->dev->transport = &f->transport;
}

/* What a transport does when the driver is ready, or goes on after a pause. */
static void start_queues(struct fixture *f)
{
	f->dev->acked = f->dev->features;
	f->dev->mem = f->mem;
	for (unsigned i = 0; i < 2; i++) {
		fake_attach(&f->q[i], f->mem, &f->dev->queues[i]);
		assert_int_equal(virtio_device_start_queue(f->dev, i), 0);
	}
}

static void start(struct fixture *f)
{
	for (unsigned i = 0; i < 2; i++)
		fake_init(&f->q[i], f->ram, 0x1000 * (i + 1), QUEUE);
	start_queues(f);
	assert_int_equal(virtio_device_activate(f->dev), 0);
}

/* One request on a queue; its answer comes through the server's thread and our loop. */
static void ask(struct fixture *f, unsigned queue, const char *text, const char *answer)
{
	uint32_t id, len, n = (uint32_t)strlen(text);
	unsigned before = f->signals[queue];

	memcpy(f->ram + 0x10000, text, n);
	memset(f->ram + 0x20000, 0, 64);
	fake_desc(&f->q[queue], 0, 0x10000, n, FAKE_NEXT, 1);
	fake_desc(&f->q[queue], 1, 0x20000, n, FAKE_WRITE, 0);
	fake_submit(&f->q[queue], 0);
	virtio_device_kick(f->dev, queue);
	while (f->signals[queue] == before && !f->needs_reset)
		assert_int_equal(loop_run_once(f->loop, 20000), 0);
	assert_true(fake_used(&f->q[queue], &id, &len));
	assert_int_equal(len, n);
	assert_string_equal((char *)f->ram + 0x20000, answer);
}

static void test_requests_are_served(void **state)
{
	struct fixture *f = *state;
	char config[8];

	serve(f);
	connect_frontend(f);
	assert_int_equal(f->dev->type, TYPE);
	assert_int_equal(f->dev->features, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | 1);
	f->dev->ops->config_read(f->dev, 2, config, 8);
	assert_memory_equal(config, "nfig\0\0\0\0", 8);
	start(f);
	ask(f, 0, "hello", "HELLO");
	ask(f, 1, "on the other queue", "ON THE OTHER QUEUE");
	ask(f, 0, "again", "AGAIN");
}

static void test_pause_and_reset(void **state)
{
	struct fixture *f = *state;

	serve(f);
	connect_frontend(f);
	start(f);
	ask(f, 0, "one", "ONE");
	ask(f, 0, "two", "TWO");
	virtio_device_quiesce(f->dev);
	assert_int_equal(f->dev->queues[0].next_avail, 2);
	assert_int_equal(f->dev->queues[1].next_avail, 0);
	/* A kick that was on its way must not start the rings: no queue is ready. */
	for (unsigned i = 0; i < 2; i++)
		virtq_stop(&f->dev->queues[i]);
	virtio_device_kick(f->dev, 0);
	start_queues(f);
	ask(f, 0, "three", "THREE");
	virtio_device_reset(f->dev);
	start(f);
	ask(f, 1, "after a reset", "AFTER A RESET");
}

/* A second piece of memory comes while the rings run; a request in it is served. Then it goes. */
static void test_memory_changes(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_frontend_region regions[VHOST_USER_FRONTEND_REGIONS_MAX + 1] = {
		{ 0, RAM, f->memfd, 0 },
		{ 0x40000000, RAM, memfd_create("more", MFD_CLOEXEC), 0 },
	};
	uint32_t id, len;
	uint8_t *more;

	assert_int_equal(ftruncate(regions[1].fd, RAM), 0);
	more = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, regions[1].fd, 0);
	serve(f);
	connect_frontend(f);
	start(f);
	ask(f, 0, "before", "BEFORE");
	assert_int_equal(vhost_user_frontend_set_memory(f->dev, regions, 0), -EINVAL);
	assert_int_equal(vhost_user_frontend_set_memory(f->dev, regions, VHOST_USER_FRONTEND_REGIONS_MAX + 1), -EINVAL);
	assert_int_equal(vhost_user_frontend_set_memory(f->dev, regions, 2), 0);
	strcpy((char *)more, "in the new memory");
	fake_desc(&f->q[1], 0, 0x40000000, 17, FAKE_NEXT, 1);
	fake_desc(&f->q[1], 1, 0x40001000, 17, FAKE_WRITE, 0);
	fake_submit(&f->q[1], 0);
	virtio_device_kick(f->dev, 1);
	while (!f->signals[1] && !f->needs_reset)
		assert_int_equal(loop_run_once(f->loop, 20000), 0);
	assert_true(fake_used(&f->q[1], &id, &len));
	assert_string_equal((char *)more + 0x1000, "IN THE NEW MEMORY");
	assert_int_equal(vhost_user_frontend_set_memory(f->dev, regions, 1), 0);
	munmap(more, RAM);
	close(regions[1].fd);
	ask(f, 0, "after", "AFTER");
}

static void test_the_server_goes(void **state)
{
	struct fixture *f = *state;

	serve(f);
	connect_frontend(f);
	start(f);
	ask(f, 0, "hello", "HELLO");
	vhost_user_server_stop(take_ptr(f->server));
	while (!f->needs_reset)
		assert_int_equal(loop_run_once(f->loop, 20000), 0);
	assert_true(f->dev->broken);
	/* Not even a driver that starts anew gets it back, and it does not hang. */
	virtio_device_reset(f->dev);
	start_queues(f);
	assert_true(virtio_device_activate(f->dev) < 0);
	assert_int_equal(f->needs_reset, 2);
}

/* The loop may hear of it before the device is attached to its transport: it is made while the guest runs. */
static void test_the_server_goes_at_once(void **state)
{
	struct fixture *f = *state;

	serve(f);
	connect_frontend(f);
	f->dev->transport = NULL;
	vhost_user_server_stop(take_ptr(f->server));
	while (!f->dev->broken)
		assert_int_equal(loop_run_once(f->loop, 20000), 0);
	f->dev->transport = &f->transport;
	for (unsigned i = 0; i < 2; i++)
		fake_init(&f->q[i], f->ram, 0x1000 * (i + 1), QUEUE);
	start_queues(f);
	assert_true(virtio_device_activate(f->dev) < 0);
	assert_int_equal(f->needs_reset, 1);
}

static void test_nobody_there(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_frontend_region region = { 0, RAM, f->memfd, 0 };
	struct vhost_user_frontend_config c = config_of(f, &region);
	struct err e = { 0 };

	assert_int_equal(vhost_user_frontend_new(f->loop, &c, &f->dev, &e), -ENOENT);
	assert_non_null(strstr(e.text, f->path));
	c.n_regions = 0;
	assert_int_equal(vhost_user_frontend_new(f->loop, &c, &f->dev, &e), -EINVAL);
	c = config_of(f, &region);
	serve(f);
	c.n_queues = 3;
	assert_int_equal(vhost_user_frontend_new(f->loop, &c, &f->dev, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "2 queues"));
	assert_int_equal(vhost_user_fs_new(f->loop, f->path, "", 1, 16, &region, 1, &f->dev, &e), -EINVAL);
	assert_int_equal(vhost_user_fs_new(f->loop, f->path, "a tag that is longer than 36 characters.", 1, 16, &region,
					   1, &f->dev, &e),
			 -EINVAL);
}

/* A stranger that sends fixed bytes and then closes. */
struct stranger {
	int listen_fd;
	const void *bytes;
	size_t len;
};

static void *stranger_main(void *arg)
{
	struct stranger *s = arg;
	int fd;

	do
		fd = accept(s->listen_fd, NULL, NULL);
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	(void)!write(fd, s->bytes, s->len);
	close(fd);
	return NULL;
}

static void test_a_stranger_answers(void **state)
{
	static const uint32_t wrong_size[] = { 1, 5, 4, 0 }, not_an_answer[] = { 1, 1, 8, 0, 0 },
			      other[] = { 2, 5, 8, 0, 0 }, legacy[] = { 1, 5, 8, 0, 0 };
	static const struct {
		const void *bytes;
		size_t len;
	} cases[] = { { "", 0 },
		      { "HTTP/1.1 400 \r\n\r\n", 17 },
		      { wrong_size, sizeof wrong_size },
		      { not_an_answer, sizeof not_an_answer },
		      { other, sizeof other },
		      { legacy, sizeof legacy } };
	struct fixture *f = *state;
	struct vhost_user_frontend_region region = { 0, RAM, f->memfd, 0 };
	struct vhost_user_frontend_config c = config_of(f, &region);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct stranger s = { .bytes = cases[i].bytes, .len = cases[i].len };
		struct err e = { 0 };
		pthread_t thread;

		assert_int_equal(unix_listen(f->path, 0600, &s.listen_fd, &e), 0);
		assert_int_equal(fd_set_nonblock(s.listen_fd, false), 0);
		assert_int_equal(pthread_create(&thread, NULL, stranger_main, &s), 0);
		assert_true(vhost_user_frontend_new(f->loop, &c, &f->dev, &e) < 0);
		assert_non_null(strstr(e.text, "shouter"));
		pthread_join(thread, NULL);
		close(s.listen_fd);
		unlink(f->path);
	}
}

/* A server without protocol features that takes everything, and answers GET_VRING_BASE with something else. */
struct babbler {
	int listen_fd;
	ssize_t end; /* of the last recv(2) */
};

static void *babbler_main(void *arg)
{
	const struct timeval limit = { .tv_sec = 5 };
	struct vhost_user_msg m;
	struct babbler *b = arg;
	int fd;

	do
		fd = accept(b->listen_fd, NULL, NULL);
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	while ((b->end = recv(fd, &m, VHOST_USER_HDR_LEN, MSG_WAITALL)) == VHOST_USER_HDR_LEN) {
		if (m.size && recv(fd, &m.u, m.size, MSG_WAITALL) != (ssize_t)m.size)
			break;
		if (m.request != VHOST_USER_GET_FEATURES && m.request != VHOST_USER_GET_VRING_BASE)
			continue;
		m.request = VHOST_USER_GET_FEATURES;
		m.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
		m.size = sizeof m.u.u64;
		m.u.u64 = VIRTIO_F_VERSION_1;
		(void)!write(fd, &m, VHOST_USER_HDR_LEN + m.size);
	}
	close(fd);
	return NULL;
}

/* Rings that the server does not give back are not left to it: they may be the driver's memory again. */
static void test_a_server_that_keeps_rings_is_left(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct babbler b;
	pthread_t thread;

	assert_int_equal(unix_listen(f->path, 0600, &b.listen_fd, &e), 0);
	assert_int_equal(fd_set_nonblock(b.listen_fd, false), 0);
	assert_int_equal(pthread_create(&thread, NULL, babbler_main, &b), 0);
	connect_frontend(f);
	start(f);
	virtio_device_reset(f->dev);
	assert_int_equal(f->needs_reset, 1);
	pthread_join(thread, NULL);
	assert_int_equal(b.end, 0);
	close(b.listen_fd);
}

/* A server whose answer comes byte by byte, each in good time. */
static unsigned hurry = 1; /* the front end's clock goes so much faster (meson.build) */

uint64_t __real_clock_ms(void);
uint64_t __wrap_clock_ms(void);

uint64_t __wrap_clock_ms(void)
{
	return __real_clock_ms() * hurry;
}

static void *dripper_main(void *arg)
{
	static const uint32_t features[] = { VHOST_USER_GET_FEATURES, VHOST_USER_VERSION | VHOST_USER_REPLY, 8, 0,
					     VIRTIO_F_VERSION_1 >> 32 };
	int *listen_fd = arg, fd;

	do
		fd = accept(*listen_fd, NULL, NULL);
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	for (size_t i = 0; i < sizeof features && send(fd, (const char *)features + i, 1, MSG_NOSIGNAL) == 1; i++)
		usleep(20000);
	close(fd);
	return NULL;
}

static void test_an_answer_that_drips(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_frontend_region region = { 0, RAM, f->memfd, 0 };
	struct vhost_user_frontend_config c = config_of(f, &region);
	struct err e = { 0 };
	pthread_t thread;
	int listen_fd;

	assert_int_equal(unix_listen(f->path, 0600, &listen_fd, &e), 0);
	assert_int_equal(fd_set_nonblock(listen_fd, false), 0);
	assert_int_equal(pthread_create(&thread, NULL, dripper_main, &listen_fd), 0);
	hurry = 50;
	assert_int_equal(vhost_user_frontend_new(f->loop, &c, &f->dev, &e), -ETIMEDOUT);
	hurry = 1;
	pthread_join(thread, NULL);
	close(listen_fd);
	unlink(f->path);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_requests_are_served),
		T(test_pause_and_reset),
		T(test_memory_changes),
		T(test_the_server_goes),
		T(test_the_server_goes_at_once),
		T(test_nobody_there),
		T(test_an_answer_that_drips),
		T(test_a_stranger_answers),
		T(test_a_server_that_keeps_rings_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
