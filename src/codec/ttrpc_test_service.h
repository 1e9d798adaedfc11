/* SPDX-License-Identifier: Apache-2.0 */
/* The service that the tests of ttrpc call, and frames made by hand. */
#pragma once

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

struct fixture {
	struct loop *loop, *server_loop;
	struct ttrpc_server *server;
	struct ttrpc_client *client;
	pthread_t thread;
	struct ttrpc_request *kept;           /* by "Keep", answered by "Release" */
	struct ttrpc_request *collected[512]; /* by "Collect" */
	size_t n_collected;
	struct loop_source *later;
	atomic_int closed; /* on_close calls */
	int64_t timeout_ns;
};

static inline void reply_write(struct ttrpc_request *req, uint32_t len)
{
	Grpc__WriteStreamResponse answer = GRPC__WRITE_STREAM_RESPONSE__INIT;

	answer.len = len;
	ttrpc_reply(req, &answer.base);
}

static inline void do_write(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	const Grpc__WriteStreamRequest *w = (const Grpc__WriteStreamRequest *)request;
	struct fixture *f = userdata;

	f->timeout_ns = ttrpc_request_timeout_ns(req);
	assert_ptr_equal(ttrpc_request_message(req), request);
	reply_write(req, (uint32_t)w->data.len);
}

static inline void do_read(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	const Grpc__ReadStreamRequest *r = (const Grpc__ReadStreamRequest *)request;
	Grpc__ReadStreamResponse answer = GRPC__READ_STREAM_RESPONSE__INIT;

	answer.data.len = r->len;
	answer.data.data = malloc(r->len + 1);
	memset(answer.data.data, 'x', r->len);
	ttrpc_reply(req, &answer.base);
	free(answer.data.data);
}

static inline void on_request_close(struct ttrpc_request *req, void *userdata)
{
	struct fixture *f = userdata;

	atomic_fetch_add(&f->closed, 1);
	if (f->kept == req)
		f->kept = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "nobody hears this");
}

static inline void do_keep(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	struct fixture *f = userdata;

	ttrpc_request_set_data(req, f);
	assert_ptr_equal(ttrpc_request_data(req), f);
	ttrpc_request_on_close(req, on_request_close, f);
	f->kept = req;
}

/* Answers the kept request, then itself: the answers cross. */
static inline void do_release(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	struct fixture *f = userdata;

	if (f->kept)
		reply_write(take_ptr(f->kept), 42);
	reply_write(req, 7);
}

static inline void do_collect(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	struct fixture *f = userdata;

	f->collected[f->n_collected++] = req;
}

static inline void do_fail(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	ttrpc_reply_error(req, TTRPC_NOT_FOUND, "no such thing\033[31m\nfaked line \xc3\xb6\xff");
}

static inline void do_hole(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	ttrpc_request_on_close(req, on_request_close, userdata);
}

static const struct ttrpc_method methods[] = {
	{ "Write", &grpc__write_stream_request__descriptor, do_write },
	{ "Read", &grpc__read_stream_request__descriptor, do_read },
	{ "Keep", &grpc__write_stream_request__descriptor, do_keep },
	{ "Collect", &grpc__write_stream_request__descriptor, do_collect },
	{ "Release", &grpc__write_stream_request__descriptor, do_release },
	{ "Fail", &grpc__write_stream_request__descriptor, do_fail },
	{ "Hole", &grpc__write_stream_request__descriptor, do_hole },
	{ "Create", &grpc__create_container_request__descriptor, do_hole },
};
static const struct ttrpc_service services[] = { { SERVICE, methods, sizeof methods / sizeof *methods } };

static inline int listen_unix(struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *sa;

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	assert_int_equal(bind(fd, (struct sockaddr *)sa, sizeof sa->sun_family), 0); /* autobind: abstract name */
	assert_int_equal(getsockname(fd, (struct sockaddr *)sa, &len), 0);
	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

static inline int connect_unix(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)sa, sizeof sa->sun_family + 6), 0);
	return fd;
}

static inline void raw_frame(int fd, uint32_t stream, uint8_t type, uint32_t len, const void *data)
{
	struct ttrpc_header h = { .len = len, .stream = stream, .type = type };
	uint8_t header[TTRPC_HEADER_SIZE];

	ttrpc_header_encode(&h, header);
	assert_int_equal(fd_write_full(fd, header, sizeof header), 0);
	if (data)
		assert_int_equal(fd_write_full(fd, data, len), 0);
}
