/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "codec/ttrpc_frame.h"
#include "proto/agent.pb-c.h"
#include "proto/empty.pb-c.h"
#include "proto/ttrpc.pb-c.h"

#define SERVICE "test.Service"
#define BIG     (300u << 10)

/* ---- a server in its own thread ---- */

struct fixture {
	struct loop *loop, *server_loop;
	struct ttrpc_server *server;
	struct ttrpc_client *client;
	pthread_t thread;
	struct ttrpc_request *kept; /* by "Keep", answered by "Release" */
	struct loop_source *later;
	atomic_int closed; /* on_close calls */
	int64_t timeout_ns;
};

static void reply_write(struct ttrpc_request *req, uint32_t len)
{
	Grpc__WriteStreamResponse answer = GRPC__WRITE_STREAM_RESPONSE__INIT;

	answer.len = len;
	ttrpc_reply(req, &answer.base);
}

static void do_write(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	const Grpc__WriteStreamRequest *w = (const Grpc__WriteStreamRequest *)request;
	struct fixture *f = userdata;

	f->timeout_ns = ttrpc_request_timeout_ns(req);
	assert_ptr_equal(ttrpc_request_message(req), request);
	reply_write(req, (uint32_t)w->data.len);
}

static void do_read(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	const Grpc__ReadStreamRequest *r = (const Grpc__ReadStreamRequest *)request;
	Grpc__ReadStreamResponse answer = GRPC__READ_STREAM_RESPONSE__INIT;

	answer.data.len = r->len;
	answer.data.data = malloc(r->len + 1);
	memset(answer.data.data, 'x', r->len);
	ttrpc_reply(req, &answer.base);
	free(answer.data.data);
}

static void on_request_close(struct ttrpc_request *req, void *userdata)
{
	struct fixture *f = userdata;

	atomic_fetch_add(&f->closed, 1);
	if (f->kept == req)
		f->kept = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "nobody hears this");
}

static void do_keep(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	struct fixture *f = userdata;

	ttrpc_request_set_data(req, f);
	assert_ptr_equal(ttrpc_request_data(req), f);
	ttrpc_request_on_close(req, on_request_close, f);
	f->kept = req;
}

/* Answers the kept request, then itself: the answers cross. */
static void do_release(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	struct fixture *f = userdata;

	if (f->kept)
		reply_write(take_ptr(f->kept), 42);
	reply_write(req, 7);
}

static void do_fail(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	ttrpc_reply_error(req, TTRPC_NOT_FOUND, "no such thing\033[31m\nfaked line");
}

static void do_hole(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	ttrpc_request_on_close(req, on_request_close, userdata);
}

static const struct ttrpc_method methods[] = {
	{ "Write", &grpc__write_stream_request__descriptor, do_write },
	{ "Read", &grpc__read_stream_request__descriptor, do_read },
	{ "Keep", &grpc__write_stream_request__descriptor, do_keep },
	{ "Release", &grpc__write_stream_request__descriptor, do_release },
	{ "Fail", &grpc__write_stream_request__descriptor, do_fail },
	{ "Hole", &grpc__write_stream_request__descriptor, do_hole },
	{ "Create", &grpc__create_container_request__descriptor, do_hole },
};
static const struct ttrpc_service services[] = { { SERVICE, methods, sizeof methods / sizeof *methods } };

static void *serve(void *userdata)
{
	struct fixture *f = userdata;

	loop_run(f->server_loop);
	return NULL;
}

static int listen_unix(struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *sa;

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	assert_int_equal(bind(fd, (struct sockaddr *)sa, sizeof sa->sun_family), 0); /* autobind: abstract name */
	assert_int_equal(getsockname(fd, (struct sockaddr *)sa, &len), 0);
	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

static int connect_unix(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)sa, sizeof sa->sun_family + 6), 0);
	return fd;
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
	assert_string_equal(e.text, "no such thing [31m faked line");
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

static void raw_frame(int fd, uint32_t stream, uint8_t type, uint32_t len, const void *data)
{
	struct ttrpc_header h = { .len = len, .stream = stream, .type = type };
	uint8_t header[TTRPC_HEADER_SIZE];

	ttrpc_header_encode(&h, header);
	assert_int_equal(fd_write_full(fd, header, sizeof header), 0);
	if (data)
		assert_int_equal(fd_write_full(fd, data, len), 0);
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

/* ---- the server against raw bytes, in this thread ---- */

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
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_big_answers),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_async),
		cmocka_unit_test(test_free_in_callback),
		cmocka_unit_test(test_client_ignores_noise),
		cmocka_unit_test(test_client_bad_answers),
		cmocka_unit_test(test_client_peer_gone),
		cmocka_unit_test(test_client_answer_before_close),
		cmocka_unit_test(test_client_abort),
		cmocka_unit_test(test_client_queue_bound),
		cmocka_unit_test(test_server_byte_by_byte),
		cmocka_unit_test(test_server_refusals),
		cmocka_unit_test(test_server_oversized),
		cmocka_unit_test(test_server_peer_gone),
		cmocka_unit_test(test_server_many_requests),
		cmocka_unit_test(test_server_memory_budget),
		cmocka_unit_test(test_server_backpressure),
		cmocka_unit_test(test_server_connections),
		cmocka_unit_test(test_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
