/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc: unary calls over a stream socket: the protocol of containerd/ttrpc, 10-byte big-endian frame headers.
 *
 * Client: calls are multiplexed on one connection. ttrpc_call() waits for its own answer and serves only its own socket
 * meanwhile (never the whole event loop, so no callback runs inside it); ttrpc_call_async() answers by callback from
 * the loop. Both kinds may be outstanding together: an answer to an asynchronous call that arrives while
 * ttrpc_call() waits is kept and delivered from the loop.
 *
 * Server: a table of methods; a handler answers at once or keeps the request and answers later (long polls).
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "loop/loop.h"

#define TTRPC_HEADER_SIZE 10
#define TTRPC_MESSAGE_MAX (4u << 20) /* bytes of data in one frame */

enum ttrpc_message_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

/* gRPC status codes, as far as ttrpc peers use them. */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_CANCELLED = 1,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

/* ---- client ---- */

struct ttrpc_client;
struct ttrpc_call;

/*
 * fd: a connected stream socket, taken over (set non-blocking). abort_fd: when it becomes readable, every waiting call
 * fails with -ECANCELED (e.g. the pidfd of the VM that the peer lives in); -1: none; not owned.
 */
int ttrpc_client_new(struct loop *loop, int fd, int abort_fd, struct ttrpc_client **ret, struct err *e);
/* Outstanding asynchronous calls end with -ECANCELED before this returns. */
void ttrpc_client_free(struct ttrpc_client *client);
DEFINE_CLEANUP(struct ttrpc_client *, ttrpc_client_free)
/* For tests: the stream number of the next call, odd. */
void ttrpc_client_number_from(struct ttrpc_client *client, uint32_t id);

/*
 * Call service/method and wait. request: its descriptor names the type. response: descriptor of the expected answer.
 * timeout_ms: of the whole call, also sent to the peer; -1: none.
 * On success *ret_response is owned by the caller (protobuf_c_message_free_unpacked(m, NULL)); NULL if not wanted.
 * Failures: the peer's status as ERR_GUEST with its message and the errno nearest to its code (-ENOENT for NOT_FOUND,
 * -ENOSYS for UNIMPLEMENTED, -EINVAL, -ETIMEDOUT, -EPERM, else -EREMOTEIO); -ETIMEDOUT; -ECONNRESET; -ECANCELED;
 * -EPROTO for an answer that cannot be read; -EMSGSIZE, -ENOBUFS: the request is too large, or too many wait.
 * The message does not name the call: the caller wraps it.
 */
int ttrpc_call(struct ttrpc_client *client, const char *service, const char *method, const ProtobufCMessage *request,
	       const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret_response,
	       struct err *e);

/* result: 0 or a negative errno as above; response is valid during the callback; e tells more when result < 0. */
typedef void (*ttrpc_done_fn)(int result, const ProtobufCMessage *response, const struct err *e, void *userdata);
/* ret_call: to cancel with ttrpc_call_cancel(); may be NULL. fn is never called from inside this function. */
int ttrpc_call_async(struct ttrpc_client *client, const char *service, const char *method,
		     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, int timeout_ms,
		     ttrpc_done_fn fn, void *userdata, struct ttrpc_call **ret_call, struct err *e);
/* Forget the call: fn will not be called. Not to be used once fn has run. */
void ttrpc_call_cancel(struct ttrpc_call *call);

/* ---- server ---- */

struct ttrpc_server;
struct ttrpc_request;

/*
 * request: unpacked message of the method's request type, owned by the server until the request is answered.
 * The handler (or someone later) must answer exactly once with ttrpc_reply() or ttrpc_reply_error().
 */
typedef void (*ttrpc_handler_fn)(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata);

struct ttrpc_method {
	const char *name;
	const ProtobufCMessageDescriptor *request;
	ttrpc_handler_fn fn;
};

struct ttrpc_service {
	const char *name; /* full: "grpc.AgentService" */
	const struct ttrpc_method *methods;
	size_t n_methods;
};

/*
 * listen_fd: a listening stream socket, taken over. services: must outlive the server. A call of a method or service
 * that is not there is answered UNIMPLEMENTED. Limits: connections 64, outstanding requests per connection 1024,
 * memory for the unpacked requests of one connection 64 MiB; what goes beyond is answered RESOURCE_EXHAUSTED or not
 * accepted. A connection whose peer leaves more than 8 MiB of answers unread is not read from until it does.
 */
int ttrpc_server_new(struct loop *loop, int listen_fd, const struct ttrpc_service *services, size_t n_services,
		     void *userdata, struct ttrpc_server **ret, struct err *e);
/* Requests that are unanswered see their peer gone and must still be answered. Not from inside a handler. */
void ttrpc_server_free(struct ttrpc_server *server);
/* Serve one more connected stream socket, taken over. For servers that get connections otherwise: listen_fd may be -1.
 */
int ttrpc_server_add(struct ttrpc_server *server, int fd, struct err *e);

/* Answer and release the request. Works, and does nothing else, when the peer has gone meanwhile. */
void ttrpc_reply(struct ttrpc_request *req, const ProtobufCMessage *response);
void ttrpc_reply_error(struct ttrpc_request *req, enum ttrpc_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The code that fits a negative errno (-ENOENT: NOT_FOUND, -EINVAL: INVALID_ARGUMENT, …, else INTERNAL). */
enum ttrpc_code ttrpc_code_from_errno(int r);

/* Called when the peer of a request that is still unanswered goes away; the request must still be answered. */
void ttrpc_request_on_close(struct ttrpc_request *req, void (*fn)(struct ttrpc_request *req, void *userdata),
			    void *userdata);
/* Give an unanswered request to its handler once more, as if it came now. */
void ttrpc_request_repeat(struct ttrpc_request *req, void *userdata);
/* Timeout that the caller gave, in nanoseconds from arrival; 0: none. */
int64_t ttrpc_request_timeout_ns(const struct ttrpc_request *req);
/* Attach and fetch a pointer for the handler's own use. */
void ttrpc_request_set_data(struct ttrpc_request *req, void *data);
void *ttrpc_request_data(const struct ttrpc_request *req);
/* The unpacked request message, while the request is unanswered. */
const ProtobufCMessage *ttrpc_request_message(const struct ttrpc_request *req);
