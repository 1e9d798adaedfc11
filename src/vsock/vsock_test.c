/* SPDX-License-Identifier: Apache-2.0 */
/* The device driven by a fake guest on plain memory and by real Unix sockets: every event in every state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/unix_socket.h"
#include "virtio/fake_counters.h"
#include "vsock/fake_guest.h"
#include "vsock/state.h"

struct fixture {
	char dir[32], path[64];
	struct loop *loop;
	struct virtio_device *dev;
	struct fake_guest g;
	/* What guest_expect() saw last. */
	struct vsock_hdr hdr;
	uint8_t data[GUEST_RX_SIZE];
	uint32_t guest_port, host_port; /* of the connection under test */
	int host;                       /* its Unix socket */
	uint32_t sent, fwd;             /* the guest's counters */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->dir, "/tmp/vsock_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/v", f->dir);
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(vsock_device_new(f->loop, f->path, GUEST_CID, &f->dev, NULL), 0);
	guest_new(&f->g, f->dev);
	guest_start(&f->g, GUEST_QUEUE);
	f->host = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fd_close(&f->host);
	virtio_device_free(f->dev);
	guest_fini(&f->g);
	loop_free(f->loop);
	assert_int_equal(unlink(f->path), -1); /* the device removed it */
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* Let the device do all it can now. */
static void run(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
}

/* The next packet to the guest, its buffer given back; 0 when there is none. */
static unsigned next(struct fixture *f)
{
	uint8_t *data;
	uint16_t i;

	run(f);
	if (!guest_recv(&f->g, &f->hdr, &data, &i))
		return 0;
	memcpy(f->data, data, le32_get(f->hdr.len));
	assert_true(le64_get(f->hdr.src_cid) == VSOCK_CID_HOST && le64_get(f->hdr.dst_cid) == GUEST_CID);
	guest_offer(&f->g, i);
	virtio_device_kick(f->dev, 0);
	return le16_get(f->hdr.op);
}

#define expect(f, op)     assert_int_equal(next(f), op)
#define expect_nothing(f) assert_int_equal(next(f), 0)
#define connections(f, n) assert_int_equal(vsock_device_connections((f)->dev), n)

static struct vsock_hdr packet(struct fixture *f, uint16_t op)
{
	return (struct vsock_hdr){
		.src_cid = le64_of(GUEST_CID),
		.dst_cid = le64_of(VSOCK_CID_HOST),
		.src_port = le32_of(f->guest_port),
		.dst_port = le32_of(f->host_port),
		.type = le16_of(VSOCK_TYPE_STREAM),
		.op = le16_of(op),
		.buf_alloc = le32_of(65536),
		.fwd_cnt = le32_of(f->fwd),
	};
}

static void say(struct fixture *f, uint16_t op, uint32_t flags)
{
	struct vsock_hdr h = packet(f, op);

	h.flags = le32_of(flags);
	guest_send(&f->g, &h, NULL, 0);
}

static void say_data(struct fixture *f, const void *data, uint32_t len)
{
	struct vsock_hdr h = packet(f, VSOCK_OP_RW);

	h.len = le32_of(len);
	guest_send(&f->g, &h, data, len);
	f->sent += len;
}

static int client(struct fixture *f, const char *line)
{
	int fd = -1;

	assert_int_equal(unix_connect(f->path, &fd), 0);
	assert_int_equal(send(fd, line, strlen(line), 0), strlen(line));
	return fd;
}

static bool host_eof(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

/* The same when we may have sent what was never read: then it is a reset. */
static bool host_gone(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void host_reads(int fd, const char *text)
{
	char buf[64] = { 0 };

	assert_int_equal(recv(fd, buf, strlen(text), MSG_DONTWAIT), strlen(text));
	assert_string_equal(buf, text);
}

/* Bring a connection to REQUESTED, or on to ESTABLISHED. */
static void requested(struct fixture *f)
{
	f->host = client(f, "CONNECT 1024\n");
	expect(f, VSOCK_OP_REQUEST);
	f->host_port = le32_get(f->hdr.src_port);
	f->guest_port = le32_get(f->hdr.dst_port);
	assert_int_equal(f->guest_port, 1024);
	assert_true(f->host_port >= 1U << 30);
}

static void established(struct fixture *f)
{
	char ok[32];

	requested(f);
	say(f, VSOCK_OP_RESPONSE, 0);
	snprintf(ok, sizeof ok, "OK %u\n", f->host_port);
	host_reads(f->host, ok);
	expect_nothing(f);
	connections(f, 1);
}

static void test_parse_connect(void **state)
{
	static const char *const good[] = { "CONNECT 52\n",   "connect 52\n",  "CoNnEcT 52\n",
					    "CONNECT   52\n", "CONNECT 52 \n", "CONNECT 52\r\n" };
	static const char *const bad[] = { "",
					   "CONNECT",
					   "CONNECT\n",
					   "CONNECT \n",
					   "CONNECT52\n",
					   "CONNECT 5x\n",
					   "CONNECT -5\n",
					   "CONNECT 52",
					   "CONNECT 52\n\n",
					   "CONNECTED 52\n",
					   "CONNECT 4294967295\n",
					   "CONNECT 99999999999\n",
					   "OK 52\n" };
	uint32_t port;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(vsock_parse_connect(good[i], strlen(good[i]), &port), 0);
		assert_int_equal(port, 52);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(vsock_parse_connect(bad[i], strlen(bad[i]), &port), -EINVAL);
	assert_int_equal(vsock_parse_connect("CONNECT 4294967294\n", 19, &port), 0);
	assert_true(port == 4294967294U);
}

static void test_new_checks(void **state)
{
	struct fixture *f = *state;
	struct virtio_device *dev;
	struct err e = { 0 };
	struct stat st;
	le64 cid;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(vsock_device_new(f->loop, "/tmp/x", 2, &dev, &e), -EINVAL);
	assert_int_equal(vsock_device_new(f->loop, f->path, 3, &dev, &e), -EADDRINUSE);
	/* The failed one did not remove the other's socket. */
	assert_int_equal(stat(f->path, &st), 0);
	f->dev->ops->config_read(f->dev, 0, &cid, sizeof cid);
	assert_int_equal(le64_get(cid), GUEST_CID);
}

static void test_handshake(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "HELLO 1\n", "CONNECT x\n", "CONNECT 000000000000000000000000001024" };
	int fd;

	for (size_t i = 0; i < 3; i++) {
		fd = client(f, bad[i]);
		expect_nothing(f);
		assert_true(host_gone(fd));
		close(fd);
	}
	/* In pieces. */
	fd = client(f, "conn");
	expect_nothing(f);
	connections(f, 1);
	assert_int_equal(send(fd, "ect 7", 5, 0), 5);
	expect_nothing(f);
	assert_int_equal(send(fd, "\n", 1, 0), 1);
	expect(f, VSOCK_OP_REQUEST);
	assert_int_equal(le32_get(f->hdr.dst_port), 7);
	/* Gone before the answer. */
	close(fd);
	expect(f, VSOCK_OP_RST);
	fd = client(f, "CONN");
	run(f);
	close(fd);
	expect_nothing(f);
	connections(f, 0);
}

static void test_request_before_the_driver_is_there(void **state)
{
	struct fixture *f = *state;
	int fd;

	virtio_device_reset(f->dev);
	fd = client(f, "CONNECT 1\n");
	run(f);
	connections(f, 1);
	f->host = client(f, "CONNECT 2\n");
	run(f);
	close(fd); /* its request was never sent: nothing to reset */
	run(f);
	guest_start(&f->g, GUEST_QUEUE);
	expect(f, VSOCK_OP_REQUEST);
	assert_int_equal(le32_get(f->hdr.dst_port), 2);
	expect_nothing(f);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;

	requested(f);
	say(f, VSOCK_OP_RST, 0);
	expect_nothing(f);
	assert_true(host_eof(f->host));
	connections(f, 0);
}

/* In REQUESTED only RESPONSE and RST are answers. */
static void test_requested_x_other_packets(void **state)
{
	struct fixture *f = *state;
	static const uint16_t ops[] = { 0,
					VSOCK_OP_REQUEST,
					VSOCK_OP_SHUTDOWN,
					VSOCK_OP_RW,
					VSOCK_OP_CREDIT_UPDATE,
					VSOCK_OP_CREDIT_REQUEST,
					8,
					0xffff };

	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		requested(f);
		say(f, ops[i], 0);
		expect(f, VSOCK_OP_RST);
		expect_nothing(f);
		assert_true(host_eof(f->host));
		connections(f, 0);
		fd_close(&f->host);
	}
}

/* In ESTABLISHED these are violations. */
static void test_established_x_wrong_packets(void **state)
{
	struct fixture *f = *state;
	static const uint16_t ops[] = { 0, VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE, 8, 0xffff };

	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		established(f);
		say(f, ops[i], 0);
		expect(f, VSOCK_OP_RST);
		assert_true(host_eof(f->host));
		connections(f, 0);
		fd_close(&f->host);
	}
}

/* Without a connection everything but RST is answered by RST. */
static void test_unknown_x_all_packets(void **state)
{
	struct fixture *f = *state;
	struct vsock_hdr h;

	f->guest_port = 1234;
	f->host_port = 77; /* nobody listens at PATH_77 */
	for (uint16_t op = 0; op < 10; op++) {
		say(f, op, 0);
		if (op == VSOCK_OP_RST) {
			expect_nothing(f);
			continue;
		}
		expect(f, VSOCK_OP_RST);
		assert_int_equal(le32_get(f->hdr.dst_port), 1234);
		assert_int_equal(le32_get(f->hdr.src_port), 77);
	}
	/* Another type: reset in kind. */
	h = packet(f, VSOCK_OP_REQUEST);
	h.type = le16_of(2);
	guest_send(&f->g, &h, NULL, 0);
	expect(f, VSOCK_OP_RST);
	assert_int_equal(le16_get(f->hdr.type), 2);
	/* Not ours to answer. */
	h = packet(f, VSOCK_OP_REQUEST);
	h.dst_cid = le64_of(9);
	guest_send(&f->g, &h, NULL, 0);
	h = packet(f, VSOCK_OP_REQUEST);
	h.src_cid = le64_of(9);
	guest_send(&f->g, &h, NULL, 0);
	expect_nothing(f);
	assert_int_equal(f->g.broken, 0);
}

static void test_data_both_ways(void **state)
{
	struct fixture *f = *state;

	established(f);
	assert_int_equal(send(f->host, "to guest", 8, 0), 8);
	expect(f, VSOCK_OP_RW);
	assert_int_equal(le32_get(f->hdr.len), 8);
	assert_memory_equal(f->data, "to guest", 8);
	assert_int_equal(le32_get(f->hdr.buf_alloc), VSOCK_BUF_SIZE);
	say_data(f, "to host", 7);
	host_reads(f->host, "to host");
	say(f, VSOCK_OP_CREDIT_REQUEST, 0);
	expect(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(le32_get(f->hdr.fwd_cnt), 7);
	say(f, VSOCK_OP_CREDIT_UPDATE, 0);
	say_data(f, "", 0);
	expect_nothing(f);
	/* 16 KiB arrive in order in buffers of 4 KiB. */
	for (int i = 0; i < 4; i++) {
		char block[4096];

		memset(block, 'a' + i, sizeof block);
		assert_int_equal(send(f->host, block, sizeof block, 0), sizeof block);
	}
	for (uint32_t got = 0; got < 16384; got += le32_get(f->hdr.len)) {
		expect(f, VSOCK_OP_RW);
		assert_int_equal(f->data[0], 'a' + got / 4096);
	}
	assert_int_equal(counted(f->dev, "conns_added"), 1);
	assert_int_equal(counted(f->dev, "rx_bytes_count"), 8 + 16384);
	assert_int_equal(counted(f->dev, "tx_bytes_count"), 7);
	assert_true(counted(f->dev, "rx_packets_count") > 5);
}

static void test_data_behind_the_connect_line(void **state)
{
	struct fixture *f = *state;

	f->host = client(f, "CONNECT 9\nearly");
	expect(f, VSOCK_OP_REQUEST);
	f->host_port = le32_get(f->hdr.src_port);
	f->guest_port = 9;
	expect_nothing(f);
	say(f, VSOCK_OP_RESPONSE, 0);
	expect(f, VSOCK_OP_RW);
	assert_memory_equal(f->data, "early", 5);
}

/* The stream's data that may come now; its length. What came behind it is in f->hdr. */
static uint32_t take_data(struct fixture *f)
{
	uint32_t got = 0;

	while (next(f) == VSOCK_OP_RW)
		got += le32_get(f->hdr.len);
	return got;
}

static void test_guest_credit_is_never_exceeded(void **state)
{
	struct fixture *f = *state;
	static char block[200000];

	established(f);
	assert_true(send(f->host, block, sizeof block, MSG_DONTWAIT) > 150000);
	assert_int_equal(take_data(f), 65536);
	assert_int_equal(le16_get(f->hdr.op), VSOCK_OP_CREDIT_REQUEST); /* asked once */
	expect_nothing(f);
	say(f, VSOCK_OP_CREDIT_UPDATE, 0); /* still none: no ping-pong */
	expect_nothing(f);
	f->fwd = 1000;
	say(f, VSOCK_OP_CREDIT_UPDATE, 0);
	expect(f, VSOCK_OP_RW);
	assert_int_equal(le32_get(f->hdr.len), 1000);
	/* A guest that lies about its counters has no credit. */
	f->fwd = 1U << 31;
	expect(f, VSOCK_OP_CREDIT_REQUEST);
	say(f, VSOCK_OP_CREDIT_UPDATE, 0);
	expect_nothing(f);
}

/* The only receive buffer: give it to the device, and take what comes in it. */
static unsigned through_one_buffer(struct fixture *f)
{
	uint8_t *data;
	uint16_t i;

	guest_offer(&f->g, 0);
	virtio_device_kick(f->dev, 0);
	run(f);
	return guest_recv(&f->g, &f->hdr, &data, &i) ? le16_get(f->hdr.op) : 0;
}

static void test_credit_that_came_by_itself_is_not_asked_for(void **state)
{
	struct fixture *f = *state;

	virtio_device_reset(f->dev);
	guest_start(&f->g, 0);
	f->host = client(f, "CONNECT 9\n");
	run(f);
	assert_int_equal(through_one_buffer(f), VSOCK_OP_REQUEST);
	f->host_port = le32_get(f->hdr.src_port);
	f->guest_port = 9;
	f->fwd = 4 - 65536U; /* a credit of 4 bytes */
	say(f, VSOCK_OP_RESPONSE, 0);
	assert_int_equal(send(f->host, "fourrest", 8, 0), 8);
	assert_int_equal(shutdown(f->host, SHUT_WR), 0);
	assert_int_equal(through_one_buffer(f), VSOCK_OP_RW);
	assert_int_equal(le32_get(f->hdr.len), 4);
	/* Now a question waits for a receive buffer, and the answer is faster. */
	f->fwd = 4;
	say(f, VSOCK_OP_CREDIT_UPDATE, 0);
	assert_int_equal(through_one_buffer(f), VSOCK_OP_RW);
	assert_int_equal(through_one_buffer(f), VSOCK_OP_SHUTDOWN);
	assert_int_equal(through_one_buffer(f), 0);
}

#define BEYOND_CREDIT 100000

/* The host sends more than the guest has told to have room for: what came of it. */
static uint32_t send_beyond_credit(struct fixture *f)
{
	static const char block[BEYOND_CREDIT];

	established(f);
	assert_int_equal(send(f->host, block, sizeof block, MSG_DONTWAIT), sizeof block);
	return take_data(f);
}

/* A guest that has read something says so in the next packet, whatever that is about. */
static void test_credit_comes_with_a_half_close(void **state)
{
	struct fixture *f = *state;
	uint32_t got = send_beyond_credit(f);

	assert_int_equal(le16_get(f->hdr.op), VSOCK_OP_CREDIT_REQUEST);
	say(f, VSOCK_OP_CREDIT_UPDATE, 0);
	expect_nothing(f);
	f->fwd = got;
	say(f, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	got += take_data(f);
	assert_int_equal(got, BEYOND_CREDIT);
}

static void test_no_receive_buffers(void **state)
{
	struct fixture *f = *state;
	uint8_t *data;
	uint16_t i;

	established(f);
	virtio_device_reset(f->dev);
	assert_true(host_eof(f->host));
	fd_close(&f->host);
	guest_start(&f->g, 0);
	f->host = client(f, "CONNECT 1\n");
	run(f);
	assert_false(guest_recv(&f->g, &f->hdr, &data, &i));
	guest_offer(&f->g, 3);
	assert_int_equal(fake_avail_event(&f->g.q[0]), 0); /* the device asked for this kick */
	virtio_device_kick(f->dev, 0);
	assert_true(guest_recv(&f->g, &f->hdr, &data, &i));
	assert_int_equal(le16_get(f->hdr.op), VSOCK_OP_REQUEST);
	assert_int_equal(f->g.signals[0] > 0, 1);
}

/* What the guest may still send, by what the device told last. */
static uint32_t room(struct fixture *f)
{
	return le32_get(f->hdr.buf_alloc) - (f->sent - le32_get(f->hdr.fwd_cnt));
}

/* Send until the device grants no more: the host's socket and the connection's ring are full. */
static void fill_host(struct fixture *f)
{
	static uint8_t block[16384];

	say(f, VSOCK_OP_CREDIT_REQUEST, 0);
	expect(f, VSOCK_OP_CREDIT_UPDATE);
	while (room(f) >= sizeof block) {
		for (size_t i = 0; i < sizeof block; i++)
			block[i] = (uint8_t)((f->sent + i) * 7 >> 3);
		say_data(f, block, sizeof block);
		say(f, VSOCK_OP_CREDIT_REQUEST, 0);
		while (next(f))
			;
	}
}

static void drain_host(struct fixture *f)
{
	uint8_t buf[10000];

	for (uint32_t got = 0; got < f->sent;) {
		ssize_t n = recv(f->host, buf, sizeof buf, MSG_DONTWAIT);

		if (n < 0)
			run(f);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], (uint8_t)((got + (uint32_t)i) * 7 >> 3));
		assert_int_not_equal(n, 0);
		got += n > 0 ? (uint32_t)n : 0;
	}
}

static void test_host_that_does_not_read(void **state)
{
	struct fixture *f = *state;

	established(f);
	fill_host(f);
	assert_true(f->sent > VSOCK_BUF_SIZE);
	drain_host(f);
	/* Room was made, and the guest is told without asking. */
	expect(f, VSOCK_OP_CREDIT_UPDATE);
	while (next(f))
		;
	say(f, VSOCK_OP_CREDIT_REQUEST, 0);
	expect(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(room(f), VSOCK_BUF_SIZE);
}

static void test_guest_exceeds_our_credit(void **state)
{
	struct fixture *f = *state;
	static char block[32768];

	established(f);
	fill_host(f);
	say_data(f, block, sizeof block);
	expect(f, VSOCK_OP_RST);
	connections(f, 0);
}

static void test_packet_length_lies(void **state)
{
	struct fixture *f = *state;
	struct vsock_hdr h;

	established(f);
	h = packet(f, VSOCK_OP_RW);
	h.len = le32_of(9);
	guest_send(&f->g, &h, "12345678", 8); /* one more than the chain has */
	expect(f, VSOCK_OP_RST);
	connections(f, 0);
	fd_close(&f->host);
	established(f);
	h = packet(f, VSOCK_OP_RW);
	h.len = le32_of(UINT32_MAX);
	guest_send(&f->g, &h, "12345678", 8);
	expect(f, VSOCK_OP_RST);
}

static void test_host_half_close(void **state)
{
	struct fixture *f = *state;

	established(f);
	assert_int_equal(send(f->host, "last", 4, 0), 4);
	shutdown(f->host, SHUT_WR);
	expect(f, VSOCK_OP_RW);
	expect(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(le32_get(f->hdr.flags), VSOCK_SHUTDOWN_SEND);
	say_data(f, "answer", 6);
	host_reads(f->host, "answer");
	expect_nothing(f);
	say(f, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	expect(f, VSOCK_OP_RST);
	assert_true(host_eof(f->host));
	connections(f, 0);
}

static void test_host_closes(void **state)
{
	struct fixture *f = *state;

	established(f);
	assert_int_equal(send(f->host, "last", 4, 0), 4);
	fd_close(&f->host);
	expect(f, VSOCK_OP_RW);
	expect(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(le32_get(f->hdr.flags), VSOCK_SHUTDOWN_BOTH);
	/* What the guest sends now is dropped, but counted: it may go on until it notices. */
	say_data(f, "too late", 8);
	say(f, VSOCK_OP_CREDIT_REQUEST, 0);
	expect(f, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(le32_get(f->hdr.fwd_cnt), 8);
	connections(f, 1);
	say(f, VSOCK_OP_RST, 0);
	expect_nothing(f);
	connections(f, 0);
}

static void test_host_closes_while_guest_gives_no_credit(void **state)
{
	struct fixture *f = *state;
	uint32_t got = send_beyond_credit(f);

	fd_close(&f->host);
	expect_nothing(f); /* and the loop is not busy with the hang-up: */
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	f->fwd = got;
	say(f, VSOCK_OP_CREDIT_UPDATE, 0);
	got += take_data(f);
	assert_int_equal(got, BEYOND_CREDIT); /* nothing is lost */
	assert_int_equal(le16_get(f->hdr.op), VSOCK_OP_SHUTDOWN);
}

static void test_host_closes_with_data_on_the_way(void **state)
{
	struct fixture *f = *state;

	established(f);
	fill_host(f);
	fd_close(&f->host);
	expect(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(le32_get(f->hdr.flags), VSOCK_SHUTDOWN_BOTH);
	/* What was dropped counts as taken. */
	assert_int_equal(le32_get(f->hdr.fwd_cnt), f->sent);
	expect_nothing(f);
}

static void test_host_stops_reading(void **state)
{
	struct fixture *f = *state;

	established(f);
	shutdown(f->host, SHUT_RD);
	say_data(f, "x", 1);
	expect(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(le32_get(f->hdr.flags), VSOCK_SHUTDOWN_RCV);
	assert_int_equal(send(f->host, "still", 5, 0), 5);
	expect(f, VSOCK_OP_RW);
}

static void test_guest_half_close(void **state)
{
	struct fixture *f = *state;

	established(f);
	say_data(f, "end", 3);
	say(f, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	host_reads(f->host, "end");
	assert_true(host_eof(f->host));
	assert_int_equal(send(f->host, "reply", 5, 0), 5);
	expect(f, VSOCK_OP_RW);
	/* Data after the end is a violation. */
	say_data(f, "more", 4);
	expect(f, VSOCK_OP_RST);
	connections(f, 0);
}

static void test_guest_half_close_waits_for_buffered_data(void **state)
{
	struct fixture *f = *state;

	established(f);
	fill_host(f);
	say(f, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	drain_host(f);
	run(f);
	assert_true(host_eof(f->host));
}

static void test_guest_stops_receiving(void **state)
{
	struct fixture *f = *state;

	established(f);
	say(f, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_RCV);
	assert_int_equal(send(f->host, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	say_data(f, "bye", 3);
	host_reads(f->host, "bye");
	say(f, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	expect(f, VSOCK_OP_RST);
	connections(f, 0);
}

static void test_guest_stops_receiving_then_host_stops_too(void **state)
{
	struct fixture *f = *state;

	established(f);
	say(f, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_RCV);
	fd_close(&f->host);
	expect(f, VSOCK_OP_SHUTDOWN);
	assert_int_equal(le32_get(f->hdr.flags), VSOCK_SHUTDOWN_BOTH);
	say(f, VSOCK_OP_RST, 0);
	connections(f, 0);
}

/* The guest is done at once, the host gets the rest: by SHUTDOWN of both, and by RST. */
static void test_lingering(void **state)
{
	struct fixture *f = *state;

	for (int by_rst = 0; by_rst < 2; by_rst++) {
		f->sent = f->fwd = 0;
		established(f);
		fill_host(f);
		say(f, by_rst ? VSOCK_OP_RST : VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
		if (!by_rst)
			expect(f, VSOCK_OP_RST);
		expect_nothing(f);
		connections(f, 1);
		/* The guest's ports are free again. */
		say(f, VSOCK_OP_CREDIT_UPDATE, 0);
		expect(f, VSOCK_OP_RST);
		drain_host(f);
		run(f);
		assert_true(host_eof(f->host));
		connections(f, 0);
		fd_close(&f->host);
	}
	/* Nobody wants the rest. */
	f->sent = 0;
	established(f);
	fill_host(f);
	say(f, VSOCK_OP_RST, 0);
	fd_close(&f->host);
	run(f);
	connections(f, 0);
}

static void test_guest_initiated(void **state)
{
	struct fixture *f = *state;
	char path[80];
	int l = -1;

	snprintf(path, sizeof path, "%s_6000", f->path);
	assert_int_equal(unix_listen(path, 0600, &l, NULL), 0);
	f->guest_port = 0xfffffff0;
	f->host_port = 6000;
	say(f, VSOCK_OP_REQUEST, 0);
	expect(f, VSOCK_OP_RESPONSE);
	f->host = accept(l, NULL, NULL);
	assert_true(f->host >= 0);
	say_data(f, "hi", 2);
	host_reads(f->host, "hi");
	assert_int_equal(send(f->host, "ho", 2, 0), 2);
	expect(f, VSOCK_OP_RW);
	/* The same ports again: reset. */
	say(f, VSOCK_OP_REQUEST, 0);
	expect(f, VSOCK_OP_RST);
	connections(f, 0);
	close(l);
	say(f, VSOCK_OP_REQUEST, 0);
	expect(f, VSOCK_OP_RST);
	unlink(path);
}

/* They are reached through their folder, which was opened before: its own name has changed meanwhile. */
static void test_listeners_of_long_names(void **state)
{
	struct fixture *f = *state;
	char dir[64], moved[64], path[160], long_name[160];
	int l = -1;

	snprintf(dir, sizeof dir, "%s/%044d", f->dir, 0);
	snprintf(moved, sizeof moved, "%s/moved", f->dir);
	snprintf(path, sizeof path, "%s/%045d", dir, 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	virtio_device_free(f->dev);
	assert_int_equal(vsock_device_new(f->loop, path, GUEST_CID, &f->dev, NULL), 0);
	guest_fini(&f->g);
	guest_new(&f->g, f->dev);
	guest_start(&f->g, GUEST_QUEUE);
	snprintf(long_name, sizeof long_name, "%s_6000", path);
	assert_int_equal(unix_listen(long_name, 0600, &l, NULL), 0);
	assert_int_equal(rename(dir, moved), 0);
	f->guest_port = 1;
	f->host_port = 6000;
	say(f, VSOCK_OP_REQUEST, 0);
	expect(f, VSOCK_OP_RESPONSE);
	assert_int_equal(rename(moved, dir), 0);
	assert_int_equal(unlink(long_name), 0);
	close(l);
	virtio_device_free(take_ptr(f->dev));
	/* There is no way to a name that fits nowhere: the guest is refused, without harm. */
	snprintf(path, sizeof path, "%s/%080d", dir, 0);
	assert_int_equal(vsock_device_new(f->loop, path, GUEST_CID, &f->dev, NULL), 0);
	guest_fini(&f->g);
	guest_new(&f->g, f->dev);
	guest_start(&f->g, GUEST_QUEUE);
	f->host_port = 4000000000;
	say(f, VSOCK_OP_REQUEST, 0);
	expect(f, VSOCK_OP_RST);
	virtio_device_free(take_ptr(f->dev));
	assert_int_equal(rmdir(dir), 0);
}

static void test_table_is_bounded(void **state)
{
	struct fixture *f = *state;
	int fd;

	/* As many as there may be, without as many descriptors. */
	((struct vsock_device *)f->dev)->n_conns += VSOCK_CONNECTIONS_MAX;
	fd = client(f, "CONNECT 1\n");
	expect_nothing(f);
	assert_true(host_gone(fd));
	close(fd);
	((struct vsock_device *)f->dev)->n_conns -= VSOCK_CONNECTIONS_MAX;
	established(f);
	((struct vsock_device *)f->dev)->n_buffers += VSOCK_BUFFERS_MAX;
	for (int i = 0; i < 30 && vsock_device_connections(f->dev); i++) {
		static char block[16384];

		say_data(f, block, sizeof block);
		while (next(f))
			;
	}
	connections(f, 0); /* no buffer to be had: this one is reset */
	((struct vsock_device *)f->dev)->n_buffers -= VSOCK_BUFFERS_MAX;
}

static void test_reset_flood_stalls_the_sender(void **state)
{
	struct fixture *f = *state;
	unsigned rst = 0;

	virtio_device_reset(f->dev);
	guest_start(&f->g, 0);
	f->guest_port = 1;
	for (uint32_t i = 0; i < VSOCK_RST_HIGH + 10; i++) {
		f->host_port = i;
		say(f, VSOCK_OP_RW, 0);
	}
	assert_int_equal(((struct vsock_device *)f->dev)->rst_len, VSOCK_RST_HIGH);
	for (uint16_t i = 0; i < GUEST_QUEUE; i++)
		guest_offer(&f->g, i);
	virtio_device_kick(f->dev, 0);
	/* The stalled packets lie in one buffer, so the last is seen for each of them. */
	while (next(f) == VSOCK_OP_RST) {
		assert_int_equal(le32_get(f->hdr.src_port), rst < VSOCK_RST_HIGH ? rst : VSOCK_RST_HIGH + 9);
		rst++;
	}
	assert_int_equal(rst, VSOCK_RST_HIGH + 10);
}

static void test_broken_queue_breaks_the_device_only(void **state)
{
	struct fixture *f = *state;

	established(f);
	fake_submit(&f->g.q[1], 0xffff);
	virtio_device_kick(f->dev, 1);
	assert_int_equal(f->g.broken, 1);
	run(f);
	assert_true(host_eof(f->host));
	connections(f, 0);
	virtio_device_kick(f->dev, 1);
	virtio_device_kick(f->dev, 0);
	assert_int_equal(f->g.broken, 1);
	/* A reset mends it. */
	fd_close(&f->host);
	virtio_device_reset(f->dev);
	guest_start(&f->g, GUEST_QUEUE);
	established(f);
}

static void test_short_buffers_break_the_device(void **state)
{
	struct fixture *f = *state;

	fake_desc(&f->g.q[1], 0, GUEST_TX_DATA, VSOCK_HDR_LEN - 1, 0, 0);
	fake_submit(&f->g.q[1], 0);
	virtio_device_kick(f->dev, 1);
	assert_int_equal(f->g.broken, 1);

	virtio_device_reset(f->dev);
	guest_start(&f->g, 0);
	fake_desc(&f->g.q[0], 0, GUEST_RX_DATA, VSOCK_HDR_LEN, FAKE_WRITE, 0);
	fake_submit(&f->g.q[0], 0);
	f->host = client(f, "CONNECT 1\n");
	run(f);
	assert_int_equal(f->g.broken, 2);
}

static void test_transport_reset_event(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;

	established(f);
	assert_int_equal(vsock_device_transport_reset(f->dev), -EAGAIN); /* no buffer */
	assert_true(host_eof(f->host));
	memset(f->g.ram + GUEST_RX_DATA, 0xff, 8);
	fake_desc(&f->g.q[2], 0, GUEST_RX_DATA, 8, FAKE_WRITE, 0);
	fake_submit(&f->g.q[2], 0);
	virtio_device_kick(f->dev, 2);
	assert_int_equal(vsock_device_transport_reset(f->dev), 0);
	assert_true(fake_used(&f->g.q[2], &id, &len));
	assert_int_equal(len, 4);
	assert_memory_equal(f->g.ram + GUEST_RX_DATA, "\0\0\0\0\xff", 5);
	fake_desc(&f->g.q[2], 0, GUEST_RX_DATA, 3, FAKE_WRITE, 0);
	fake_submit(&f->g.q[2], 0);
	assert_int_equal(vsock_device_transport_reset(f->dev), -EPROTO);
	assert_int_equal(f->g.broken, 1);
}

static void test_ports_do_not_collide(void **state)
{
	struct fixture *f = *state;
	int fd;

	established(f);
	/* The allocator comes round to a port in use with the same guest port. */
	((struct vsock_device *)f->dev)->next_port = f->host_port;
	fd = client(f, "CONNECT 1024\n");
	expect(f, VSOCK_OP_REQUEST);
	assert_int_equal(le32_get(f->hdr.src_port), f->host_port + 1);
	close(fd);
	expect(f, VSOCK_OP_RST);
	((struct vsock_device *)f->dev)->next_port = VSOCK_LOCAL_PORT_MAX;
	fd = client(f, "CONNECT 1024\nx");
	expect(f, VSOCK_OP_REQUEST);
	assert_int_equal(le32_get(f->hdr.src_port), VSOCK_LOCAL_PORT_MAX);
	assert_int_equal(((struct vsock_device *)f->dev)->next_port, VSOCK_LOCAL_PORT_MIN);
	close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_connect),
		T(test_new_checks),
		T(test_handshake),
		T(test_request_before_the_driver_is_there),
		T(test_refused),
		T(test_requested_x_other_packets),
		T(test_established_x_wrong_packets),
		T(test_unknown_x_all_packets),
		T(test_data_both_ways),
		T(test_data_behind_the_connect_line),
		T(test_guest_credit_is_never_exceeded),
		T(test_credit_comes_with_a_half_close),
		T(test_credit_that_came_by_itself_is_not_asked_for),
		T(test_no_receive_buffers),
		T(test_host_that_does_not_read),
		T(test_guest_exceeds_our_credit),
		T(test_packet_length_lies),
		T(test_host_half_close),
		T(test_host_closes),
		T(test_host_closes_while_guest_gives_no_credit),
		T(test_host_closes_with_data_on_the_way),
		T(test_host_stops_reading),
		T(test_guest_half_close),
		T(test_guest_half_close_waits_for_buffered_data),
		T(test_guest_stops_receiving),
		T(test_guest_stops_receiving_then_host_stops_too),
		T(test_lingering),
		T(test_guest_initiated),
		T(test_listeners_of_long_names),
		T(test_table_is_bounded),
		T(test_reset_flood_stalls_the_sender),
		T(test_broken_queue_breaks_the_device_only),
		T(test_short_buffers_break_the_device),
		T(test_transport_reset_event),
		T(test_ports_do_not_collide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
