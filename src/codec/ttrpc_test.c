/* SPDX-License-Identifier: Apache-2.0 */
/* Client against server in a thread of its own, then against bytes made by hand. */
#include "codec/ttrpc_test_service.h"

#define BIG (300u << 10)

static void *serve(void *userdata)
{
	struct fixture *f = userdata;

	loop_run(f->server_loop);
	return NULL;
}

static void fixture_start(struct fixture *f)
{
	struct sockaddr_un sa;
	int listener = listen_unix(&sa);

	*f = (struct fixture){ 0 };
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(loop_new(&f->server_loop, NULL), 0);
	assert_int_equal(ttrpc_server_new(f->server_loop, listener, services, 1, f, &f->server, NULL), 0);
	assert_int_equal(ttrpc_client_new(f->loop, connect_unix(&sa), -1, &f->client, NULL), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
}

static void fixture_stop(struct fixture *f)
{
	loop_quit(f->server_loop, 0);
	pthread_join(f->thread, NULL);
	ttrpc_client_free(f->client);
	ttrpc_server_free(f->server);
	loop_free(f->server_loop);
	loop_free(f->loop);
}

static int call_write(struct fixture *f, const char *method, size_t len, int timeout_ms, uint32_t *ret, struct err *e)
{
	Grpc__WriteStreamRequest request = GRPC__WRITE_STREAM_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	int r;

	request.data.len = len;
	request.data.data = calloc(1, len + 1);
	r = ttrpc_call(f->client, SERVICE, method, &request.base, &grpc__write_stream_response__descriptor, timeout_ms,
		       &m, e);
	free(request.data.data);
	if (r == 0 && ret)
		*ret = ((Grpc__WriteStreamResponse *)m)->len;
	pb_free(m);
	return r;
}

struct outcome {
	struct fixture *f;
	int calls, result;
	uint32_t len;
	struct err e;
	bool free_client;
};

static void on_done(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	struct outcome *o = userdata;

	o->calls++;
	o->result = result;
	if (result < 0)
		o->e = *e;
	else
		o->len = ((const Grpc__WriteStreamResponse *)response)->len;
	if (o->free_client)
		ttrpc_client_free(take_ptr(o->f->client));
}

static int call_async(struct fixture *f, const char *method, int timeout_ms, struct outcome *o, struct ttrpc_call **ret)
{
	Grpc__WriteStreamRequest request = GRPC__WRITE_STREAM_REQUEST__INIT;

	o->f = f;
	return ttrpc_call_async(f->client, SERVICE, method, &request.base, &grpc__write_stream_response__descriptor,
				timeout_ms, on_done, o, ret, &o->e);
}

static void run_until(struct fixture *f, const int *calls, int n)
{
	while (*calls < n)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
}

static void test_calls(void **state)
{
	struct fixture f;
	uint32_t n = 0;

	fixture_start(&f);
	assert_int_equal(call_write(&f, "Write", 3, 5000, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(f.timeout_ns, 5000000000);
	assert_int_equal(call_write(&f, "Write", 0, -1, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(f.timeout_ns, 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(call_write(&f, "Write", BIG, -1, &n, NULL), 0);
		assert_int_equal(n, BIG);
	}
	fixture_stop(&f);
}

/* Numbers begin again behind the largest, but for one that is still a call's. */
static void test_numbers_begin_again(void **state)
{
	struct outcome old = { 0 };
	struct fixture f;

	fixture_start(&f);
	assert_int_equal(call_async(&f, "Keep", -1, &old, NULL), 0); /* 1 */
	ttrpc_client_number_from(f.client, 0x7ffffff1);
	assert_int_equal(call_write(&f, "Write", 1, 5000, NULL, NULL), 0);
	ttrpc_client_number_from(f.client, 0xffffffe1);
	assert_int_equal(call_write(&f, "Write", 1, 5000, NULL, NULL), 0);
	ttrpc_client_number_from(f.client, 0xfffffffd);
	for (int i = 0; i < 4; i++)
		assert_int_equal(call_write(&f, "Write", 1, 5000, NULL, NULL), 0);
	assert_int_equal(old.calls, 0);
	assert_int_equal(call_write(&f, "Release", 1, 5000, NULL, NULL), 0);
	run_until(&f, &old.calls, 1);
	assert_int_equal(old.result, 0);
	fixture_stop(&f);
}

static void test_big_answers(void **state)
{
	Grpc__ReadStreamRequest request = GRPC__READ_STREAM_REQUEST__INIT;
	struct err e = { 0 };
	ProtobufCMessage *m;
	struct fixture f;

	fixture_start(&f);
	request.len = 4000000;
	assert_int_equal(ttrpc_call(f.client, SERVICE, "Read", &request.base, &grpc__read_stream_response__descriptor,
				    -1, &m, NULL),
			 0);
	assert_int_equal(((Grpc__ReadStreamResponse *)m)->data.len, 4000000);
	assert_int_equal(((Grpc__ReadStreamResponse *)m)->data.data[3999999], 'x');
	pb_free(m);
	/* The server says so when its answer does not fit, and goes on. */
	request.len = TTRPC_MESSAGE_MAX;
	assert_int_equal(ttrpc_call(f.client, SERVICE, "Read", &request.base, &grpc__read_stream_response__descriptor,
				    -1, NULL, &e),
			 -EREMOTEIO);
	assert_non_null(strstr(e.text, "cannot be sent"));
	assert_int_equal(call_write(&f, "Write", TTRPC_MESSAGE_MAX, -1, NULL, &e), -EMSGSIZE);
	assert_int_equal(call_write(&f, "Write", 1, -1, NULL, NULL), 0);
	fixture_stop(&f);
}

static void test_errors(void **state)
{
	struct err e = { 0 };
	struct fixture f;

	fixture_start(&f);
	assert_int_equal(call_write(&f, "Fail", 0, -1, NULL, &e), -ENOENT);
	assert_int_equal(e.domain, ERR_GUEST);
	assert_string_equal(e.text, "no such thing [31m faked line \xc3\xb6?");
	assert_int_equal(call_write(&f, "Nothing", 0, -1, NULL, &e), -ENOSYS);
	assert_int_equal(call_write(&f, "Hole", 0, 20, NULL, &e), -ETIMEDOUT);
	assert_string_equal(e.text, "no answer within 20 ms");
	assert_int_equal(call_write(&f, "Write", 0, -1, NULL, NULL), 0);
	fixture_stop(&f);
}

/* The answer to the first call comes while the second, synchronous one waits: told from the loop, after it. */
static void test_out_of_order(void **state)
{
	struct outcome o = { 0 };
	uint32_t n = 0;
	struct fixture f;

	fixture_start(&f);
	assert_int_equal(call_async(&f, "Keep", 10000, &o, NULL), 0);
	assert_int_equal(call_write(&f, "Release", 0, -1, &n, NULL), 0);
	assert_int_equal(n, 7);
	assert_int_equal(o.calls, 0);
	run_until(&f, &o.calls, 1);
	assert_int_equal(o.result, 0);
	assert_int_equal(o.len, 42);
	fixture_stop(&f);
}

static void test_async(void **state)
{
	struct outcome keep = { 0 }, release = { 0 }, late = { 0 }, cancelled = { 0 };
	struct ttrpc_call *call;
	struct fixture f;

	fixture_start(&f);
	assert_int_equal(call_async(&f, "Keep", -1, &keep, NULL), 0);
	assert_int_equal(call_async(&f, "Hole", -1, &cancelled, &call), 0);
	assert_int_equal(call_async(&f, "Release", -1, &release, NULL), 0);
	assert_int_equal(call_async(&f, "Hole", 10, &late, NULL), 0);
	ttrpc_call_cancel(call);
	run_until(&f, &keep.calls, 1);
	run_until(&f, &release.calls, 1);
	run_until(&f, &late.calls, 1);
	assert_int_equal(keep.len, 42);
	assert_int_equal(release.len, 7);
	assert_int_equal(late.result, -ETIMEDOUT);
	assert_int_equal(cancelled.calls, 0);
	fixture_stop(&f);
}

/* The client may be freed by a callback; what is outstanding then ends with ECANCELED, once. */
static void test_free_in_callback(void **state)
{
	struct outcome first = { .free_client = true }, second = { 0 };
	struct fixture f;

	fixture_start(&f);
	assert_int_equal(call_async(&f, "Hole", -1, &second, NULL), 0);
	assert_int_equal(call_async(&f, "Write", -1, &first, NULL), 0);
	run_until(&f, &first.calls, 1);
	assert_int_equal(first.result, 0);
	assert_int_equal(second.calls, 1);
	assert_int_equal(second.result, -ECANCELED);
	fixture_stop(&f);
	/* The server saw the peer go, with a request unanswered. */
	assert_int_equal(f.closed, 1);
}

/* Two bytes of wire for each empty Device: the budget of the connection ends it. Freed requests give it back. */
static void test_server_memory_budget(void **state)
{
	enum { N = 1000000 };
	Grpc__CreateContainerRequest request = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	Grpc__Device device = GRPC__DEVICE__INIT;
	struct err e = { 0 };
	struct fixture f;

	fixture_start(&f);
	request.n_devices = N;
	request.devices = calloc(N, sizeof *request.devices);
	for (int i = 0; i < N; i++)
		request.devices[i] = &device;
	assert_int_equal(ttrpc_call(f.client, SERVICE, "Create", &request.base, &google__protobuf__empty__descriptor,
				    -1, NULL, &e),
			 -EREMOTEIO);
	assert_string_equal(e.text, "the request takes too much memory");
	assert_int_equal(call_write(&f, "Write", 1, -1, NULL, NULL), 0);
	free(request.devices);
	fixture_stop(&f);
}

/* ---- a client against raw bytes ---- */

struct raw {
	struct fixture f;
	int peer, abort_fd;
};

static void raw_start(struct raw *w)
{
	int sv[2];

	*w = (struct raw){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	w->peer = sv[1];
	w->abort_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(loop_new(&w->f.loop, NULL), 0);
	assert_int_equal(ttrpc_client_new(w->f.loop, sv[0], w->abort_fd, &w->f.client, NULL), 0);
}

static void raw_stop(struct raw *w)
{
	ttrpc_client_free(w->f.client);
	fd_close(&w->peer);
	close(w->abort_fd);
	loop_free(w->f.loop);
}

/* Response{payload: WriteStreamResponse{len: 5}} */
static const uint8_t five[] = { 0x12, 0x02, 0x08, 0x05 };

static void test_header(void **state)
{
	static const uint8_t wire[] = { 0, 1, 2, 3, 0x80, 0, 0, 5, 1, 4 };
	uint8_t out[TTRPC_HEADER_SIZE];
	struct ttrpc_header h;

	ttrpc_header_decode(wire, &h);
	assert_int_equal(h.len, 0x010203);
	assert_int_equal(h.stream, 0x80000005);
	assert_int_equal(h.type, TTRPC_REQUEST);
	assert_int_equal(h.flags, 4);
	ttrpc_header_encode(&h, out);
	assert_memory_equal(out, wire, sizeof wire);
}

static void test_client_ignores_noise(void **state)
{
	uint32_t n = 0;
	struct raw w;

	raw_start(&w);
	raw_frame(w.peer, 99, TTRPC_RESPONSE, sizeof five, five); /* nobody's answer */
	raw_frame(w.peer, 1, TTRPC_DATA, 3, "abc");
	raw_frame(w.peer, 1, 77, 0, NULL);
	raw_frame(w.peer, 1, TTRPC_RESPONSE, sizeof five, five);
	raw_frame(w.peer, 1, TTRPC_RESPONSE, sizeof five, five); /* twice */
	assert_int_equal(call_write(&w.f, "X", 0, -1, &n, NULL), 0);
	assert_int_equal(n, 5);
	/* Two answers in one piece: the second belongs to an asynchronous call that nothing else would wake. */
	{
		struct outcome o = { 0 };

		assert_int_equal(call_async(&w.f, "X", -1, &o, NULL), 0);
		raw_frame(w.peer, 5, TTRPC_RESPONSE, sizeof five, five);
		raw_frame(w.peer, 3, TTRPC_RESPONSE, sizeof five, five);
		assert_int_equal(call_write(&w.f, "X", 0, -1, &n, NULL), 0);
		run_until(&w.f, &o.calls, 1);
		assert_int_equal(o.len, 5);
	}
	raw_stop(&w);
}

/* What came while a synchronous call waited is told before what came later, although the loop was not told of it. */
static void test_client_keeps_the_order(void **state)
{
	struct outcome first = { 0 }, second = { .free_client = true };
	struct raw w;

	raw_start(&w);
	assert_int_equal(call_async(&w.f, "X", -1, &first, NULL), 0);
	raw_frame(w.peer, 1, TTRPC_RESPONSE, sizeof five, five);
	raw_frame(w.peer, 3, TTRPC_RESPONSE, sizeof five, five);
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, NULL), 0);
	assert_int_equal(call_async(&w.f, "X", -1, &second, NULL), 0);
	raw_frame(w.peer, 5, TTRPC_RESPONSE, sizeof five, five);
	run_until(&w.f, &second.calls, 1);
	assert_int_equal(first.calls, 1);
	/* Else the second one had ended it. */
	assert_int_equal(first.result, 0);
	raw_stop(&w);
}

static void test_client_bad_answers(void **state)
{
	static const char zeros[65536];
	struct err e = { 0 };
	struct raw w;

	raw_start(&w);
	raw_frame(w.peer, 1, TTRPC_RESPONSE, 3, "\xff\xff\xff");
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, &e), -EPROTO);
	assert_int_equal(e.domain, ERR_PROTOCOL);
	raw_frame(w.peer, 3, TTRPC_RESPONSE, 4, "\x12\x02\x08\xff"); /* payload is cut off */
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, &e), -EPROTO);
	/* Too big: known from the header, the data is skipped, the connection lives on. */
	raw_frame(w.peer, 5, TTRPC_RESPONSE, TTRPC_MESSAGE_MAX + 1, NULL);
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, &e), -EPROTO);
	for (uint32_t left = TTRPC_MESSAGE_MAX + 1; left;) {
		size_t n = left < sizeof zeros ? left : sizeof zeros;

		assert_int_equal(fd_write_full(w.peer, zeros, n), 0);
		left -= (uint32_t)n;
		assert_int_equal(loop_run_once(w.f.loop, 0), 0);
	}
	raw_frame(w.peer, 7, TTRPC_RESPONSE, sizeof five, five);
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, &e), 0);
	raw_stop(&w);
}

static void test_client_peer_gone(void **state)
{
	struct outcome o = { 0 };
	struct err e = { 0 };
	struct raw w;

	raw_start(&w);
	assert_int_equal(call_async(&w.f, "X", -1, &o, NULL), 0);
	assert_int_equal(write(w.peer, "\0\0\0", 3), 3); /* in the middle of a header */
	fd_close(&w.peer);
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, &e), -ECONNRESET);
	assert_int_equal(o.calls, 0);
	run_until(&w.f, &o.calls, 1);
	assert_int_equal(o.result, -ECONNRESET);
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, &e), -ECONNRESET);
	raw_stop(&w);
}

/* An answer that was sent before the peer closed counts, although the socket takes nothing more. */
static void test_client_answer_before_close(void **state)
{
	uint32_t n = 0;
	struct raw w;

	raw_start(&w);
	raw_frame(w.peer, 1, TTRPC_RESPONSE, sizeof five, five);
	fd_close(&w.peer);
	assert_int_equal(call_write(&w.f, "X", 0, -1, &n, NULL), 0);
	assert_int_equal(n, 5);
	assert_int_equal(call_write(&w.f, "X", 0, -1, &n, NULL), -ECONNRESET);
	raw_stop(&w);
}

static void test_client_abort(void **state)
{
	struct outcome o = { 0 };
	struct err e = { 0 };
	struct raw w;

	raw_start(&w);
	assert_int_equal(call_async(&w.f, "X", -1, &o, NULL), 0);
	assert_int_equal(eventfd_write(w.abort_fd, 1), 0);
	assert_int_equal(call_write(&w.f, "X", 0, -1, NULL, &e), -ECANCELED);
	run_until(&w.f, &o.calls, 1);
	assert_int_equal(o.result, -ECANCELED);
	raw_stop(&w);

	raw_start(&w);
	o = (struct outcome){ 0 };
	assert_int_equal(call_async(&w.f, "X", -1, &o, NULL), 0);
	assert_int_equal(eventfd_write(w.abort_fd, 1), 0);
	run_until(&w.f, &o.calls, 1);
	assert_int_equal(o.result, -ECANCELED);
	raw_stop(&w);
}

/* A peer that reads nothing: requests queue up to a bound, then are refused. */
static void test_client_queue_bound(void **state)
{
	struct err e = { 0 };
	struct raw w;
	int i = 0, r = -ETIMEDOUT;

	raw_start(&w);
	for (; i < 100 && r == -ETIMEDOUT; i++)
		r = call_write(&w.f, "X", 1 << 20, 0, NULL, &e);
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(i, 16, 20);
	raw_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_numbers_begin_again),
		cmocka_unit_test(test_big_answers),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_async),
		cmocka_unit_test(test_free_in_callback),
		cmocka_unit_test(test_client_ignores_noise),
		cmocka_unit_test(test_client_keeps_the_order),
		cmocka_unit_test(test_client_bad_answers),
		cmocka_unit_test(test_client_peer_gone),
		cmocka_unit_test(test_client_answer_before_close),
		cmocka_unit_test(test_client_abort),
		cmocka_unit_test(test_client_queue_bound),
		cmocka_unit_test(test_server_memory_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
