/* SPDX-License-Identifier: Apache-2.0 */
/* The server against bytes made by hand, in one thread. */
#include "codec/ttrpc_test_service.h"

struct srv {
	struct fixture f;
	int peer;
};

static void srv_start(struct srv *s)
{
	int sv[2];

	*s = (struct srv){ 0 };
	assert_int_equal(loop_new(&s->f.loop, NULL), 0);
	assert_int_equal(ttrpc_server_new(s->f.loop, -1, services, 1, &s->f, &s->f.server, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(ttrpc_server_add(s->f.server, sv[0], NULL), 0);
	s->peer = sv[1];
}

static void srv_stop(struct srv *s)
{
	fd_close(&s->peer);
	ttrpc_server_free(s->f.server);
	loop_free(s->f.loop);
}

/* Pack a request frame. */
static void put_request(struct buf *out, uint32_t stream, const char *method, const ProtobufCMessage *request)
{
	Ttrpc__Request envelope = TTRPC__REQUEST__INIT;
	struct ttrpc_writer w = { 0 };
	struct buf payload = { 0 };

	assert_int_equal(pb_pack(request, SIZE_MAX, &payload), 0);
	envelope.service = (char *)SERVICE;
	envelope.method = (char *)method;
	envelope.payload.data = (uint8_t *)payload.data;
	envelope.payload.len = payload.len;
	assert_int_equal(ttrpc_writer_put(&w, stream, TTRPC_REQUEST, &envelope.base), 0);
	assert_int_equal(buf_append(out, w.out.data, w.out.len), 0);
	ttrpc_writer_fini(&w);
	buf_fini(&payload);
}

static void put_write(struct buf *out, uint32_t stream, const char *method)
{
	Grpc__WriteStreamRequest request = GRPC__WRITE_STREAM_REQUEST__INIT;

	put_request(out, stream, method, &request.base);
}

static void srv_send(struct srv *s, struct buf *out)
{
	assert_int_equal(fd_write_full(s->peer, out->data, out->len), 0);
	out->len = 0;
}

/* The status code of the next answer, which must be there after at most a few rounds of the loop; its stream. */
static int srv_answer(struct srv *s, uint32_t *ret_stream)
{
	uint8_t header[TTRPC_HEADER_SIZE], data[4096];
	ProtobufCMessage *m = NULL;
	size_t budget = 1 << 20;
	struct ttrpc_header h;
	int code;

	for (int i = 0; i < 50; i++)
		if (recv(s->peer, header, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
			loop_run_once(s->f.loop, 10);
	assert_int_equal(fd_read_full(s->peer, header, sizeof header), 0);
	ttrpc_header_decode(header, &h);
	assert_int_equal(h.type, TTRPC_RESPONSE);
	assert_int_equal(h.flags, 0);
	assert_true(h.len <= sizeof data);
	assert_int_equal(fd_read_full(s->peer, data, h.len), 0);
	assert_int_equal(pb_unpack(&ttrpc__response__descriptor, data, h.len, &budget, &m), 0);
	code = ((Ttrpc__Response *)m)->status ? ((Ttrpc__Response *)m)->status->code : 0;
	pb_free(m);
	*ret_stream = h.stream;
	return code;
}

static void test_server_byte_by_byte(void **state)
{
	struct buf out = { 0 };
	uint32_t stream;
	struct srv s;

	srv_start(&s);
	put_write(&out, 1, "Write");
	put_write(&out, 3, "Fail");
	for (size_t i = 0; i < out.len; i++) {
		assert_int_equal(write(s.peer, out.data + i, 1), 1);
		assert_int_equal(loop_run_once(s.f.loop, 1000), 0);
	}
	assert_int_equal(srv_answer(&s, &stream), TTRPC_OK);
	assert_int_equal(stream, 1);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_NOT_FOUND);
	assert_int_equal(stream, 3);
	buf_fini(&out);
	srv_stop(&s);
}

/* A connection lives longer than its numbers last. */
static void test_server_numbers_begin_again(void **state)
{
	static const uint32_t numbers[] = { 0x7ffffff1, 0xffffffe1, 0xffffffff, 1, 3 };
	struct buf out = { 0 };
	uint32_t stream;
	struct srv s;

	srv_start(&s);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		put_write(&out, numbers[i], "Write");
	put_write(&out, 0xffffffff, "Write"); /* the last but two */
	srv_send(&s, &out);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		assert_int_equal(srv_answer(&s, &stream), TTRPC_OK);
		assert_int_equal(stream, numbers[i]);
	}
	assert_int_equal(srv_answer(&s, &stream), TTRPC_INVALID_ARGUMENT);
	buf_fini(&out);
	srv_stop(&s);
}

static void test_server_refusals(void **state)
{
	struct buf out = { 0 };
	uint32_t stream;
	struct srv s;

	srv_start(&s);
	put_write(&out, 2, "Write"); /* even */
	put_write(&out, 5, "Write");
	put_write(&out, 5, "Write"); /* again */
	put_write(&out, 3, "Write"); /* smaller */
	put_write(&out, 7, "Unknown");
	srv_send(&s, &out);
	raw_frame(s.peer, 9, TTRPC_REQUEST, 2, "\xff\xff"); /* garbage for an envelope */
	raw_frame(s.peer, 11, TTRPC_DATA, 2, "ab");         /* ignored */
	raw_frame(s.peer, 11, 200, 2, "ab");
	put_write(&out, 11, "Write");
	srv_send(&s, &out);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_OK);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(stream, 5);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(stream, 3);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_UNIMPLEMENTED);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(stream, 9);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_OK);
	assert_int_equal(stream, 11);
	buf_fini(&out);
	srv_stop(&s);
}

static void test_server_oversized(void **state)
{
	static const char zeros[65536];
	struct buf out = { 0 };
	uint32_t stream;
	struct srv s;

	srv_start(&s);
	raw_frame(s.peer, 1, TTRPC_REQUEST, TTRPC_MESSAGE_MAX + 5, NULL);
	/* Answered before the data came, and the data is dropped as it comes. */
	assert_int_equal(srv_answer(&s, &stream), TTRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(stream, 1);
	for (size_t left = TTRPC_MESSAGE_MAX + 5; left;) {
		size_t n = left < sizeof zeros ? left : sizeof zeros;

		assert_int_equal(fd_write_full(s.peer, zeros, n), 0);
		left -= n;
		assert_int_equal(loop_run_once(s.f.loop, 0), 0);
	}
	put_write(&out, 3, "Write");
	srv_send(&s, &out);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_OK);
	assert_int_equal(stream, 3);
	buf_fini(&out);
	srv_stop(&s);
}

static void test_server_peer_gone(void **state)
{
	struct buf out = { 0 };
	struct srv s;

	srv_start(&s);
	put_write(&out, 1, "Keep");
	put_write(&out, 3, "Hole");
	put_write(&out, 5, "Hole");
	out.len -= 3; /* closes in the middle of a frame */
	srv_send(&s, &out);
	loop_run_once(s.f.loop, 1000);
	assert_non_null(s.f.kept);
	assert_int_equal(s.f.closed, 0);
	fd_close(&s.peer);
	loop_run_once(s.f.loop, 1000);
	assert_int_equal(s.f.closed, 2);
	buf_fini(&out);
	srv_stop(&s);
}

static void test_server_many_requests(void **state)
{
	struct buf out = { 0 };
	uint32_t stream = 1;
	struct srv s;

	srv_start(&s);
	for (int i = 0; i < 1025; i++, stream += 2) {
		put_write(&out, stream, "Hole");
		srv_send(&s, &out);
		loop_run_once(s.f.loop, 0);
	}
	assert_int_equal(srv_answer(&s, &stream), TTRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(stream, 1 + 2 * 1024);
	fd_close(&s.peer);
	loop_run_once(s.f.loop, 1000);
	assert_int_equal(s.f.closed, 1024);
	buf_fini(&out);
	srv_stop(&s);
}

/* A peer that never reads its answers is not read from; when it reads, all answers come. */
static void test_server_backpressure(void **state)
{
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;
	struct buf out = { 0 };
	static char sink[65536];
	size_t got = 0, want = 0;
	struct srv s;

	srv_start(&s);
	request.len = 1 << 20;
	for (uint32_t i = 0; i < 30; i++)
		put_request(&out, 1 + 2 * i, "Read", &request.base);
	srv_send(&s, &out);
	for (int i = 0; i < 20; i++)
		loop_run_once(s.f.loop, 0);
	want = 30u * (TTRPC_HEADER_SIZE + 2 * 4 + (1 << 20));
	while (got < want) {
		ssize_t n = recv(s.peer, sink, sizeof sink, MSG_DONTWAIT);

		if (n > 0)
			got += (size_t)n;
		else
			assert_int_equal(loop_run_once(s.f.loop, 1000), 0);
	}
	assert_int_equal(got, want);
	buf_fini(&out);
	srv_stop(&s);
}

/* What waited while the peer did not read goes on also when the last of the answers leaves with a late one. */
static void test_server_goes_on_after_a_late_answer(void **state)
{
	enum { READS = 9, LATE = 400 };
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;
	struct buf out = { 0 };
	static char sink[65536];
	uint32_t stream = 1;
	struct srv s;

	srv_start(&s);
	for (int i = 0; i < LATE; i++, stream += 2)
		put_write(&out, stream, "Collect");
	request.len = 1 << 20;
	for (int i = 0; i < READS; i++, stream += 2)
		put_request(&out, stream, "Read", &request.base);
	put_write(&out, stream, "Write");
	srv_send(&s, &out);
	for (int i = 0; i < 5; i++)
		loop_run_once(s.f.loop, 0);
	assert_int_equal(s.f.n_collected, LATE);
	/* Now more than 8 MiB are unread, and the last request waits. */
	while (s.f.n_collected) {
		while (recv(s.peer, sink, sizeof sink, MSG_DONTWAIT) > 0)
			;
		reply_write(s.f.collected[--s.f.n_collected], 0);
	}
	while (recv(s.peer, sink, sizeof sink, MSG_DONTWAIT) > 0)
		;
	assert_int_equal(srv_answer(&s, &stream), TTRPC_OK);
	assert_int_equal(stream, 1 + 2 * (LATE + READS));
	buf_fini(&out);
	srv_stop(&s);
}

/* The 65th connection waits until one of the 64 is closed. */
static void test_server_connections(void **state)
{
	int fd[65], listener;
	struct buf out = { 0 };
	struct sockaddr_un sa;
	uint32_t stream;
	struct srv s;

	s = (struct srv){ 0 };
	listener = listen_unix(&sa);
	assert_int_equal(loop_new(&s.f.loop, NULL), 0);
	assert_int_equal(ttrpc_server_new(s.f.loop, listener, services, 1, &s.f, &s.f.server, NULL), 0);
	for (int i = 0; i < 65; i++) {
		fd[i] = connect_unix(&sa);
		loop_run_once(s.f.loop, 0);
	}
	s.peer = fd[64];
	put_write(&out, 1, "Write");
	srv_send(&s, &out);
	for (int i = 0; i < 5; i++)
		loop_run_once(s.f.loop, 0);
	assert_int_equal(recv(s.peer, &stream, 1, MSG_PEEK | MSG_DONTWAIT), -1);
	close(fd[0]);
	assert_int_equal(srv_answer(&s, &stream), TTRPC_OK);
	for (int i = 1; i < 64; i++)
		close(fd[i]);
	buf_fini(&out);
	srv_stop(&s);
}

static void test_codes(void **state)
{
	assert_int_equal(ttrpc_code_from_errno(-ENOENT), TTRPC_NOT_FOUND);
	assert_int_equal(ttrpc_code_from_errno(-EINVAL), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(ttrpc_code_from_errno(-EACCES), TTRPC_PERMISSION_DENIED);
	assert_int_equal(ttrpc_code_from_errno(-EIO), TTRPC_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_byte_by_byte),
		cmocka_unit_test(test_server_refusals),
		cmocka_unit_test(test_server_numbers_begin_again),
		cmocka_unit_test(test_server_oversized),
		cmocka_unit_test(test_server_peer_gone),
		cmocka_unit_test(test_server_many_requests),
		cmocka_unit_test(test_server_backpressure),
		cmocka_unit_test(test_server_goes_on_after_a_late_answer),
		cmocka_unit_test(test_server_connections),
		cmocka_unit_test(test_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
