/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 messages (RFC 9112) as the APIs of VMMs use them on Unix sockets: request or status line, header fields, a
 * body of known length. Both ends use it: our own API server, and the clients of other VMMs.
 *
 * The parser is fed with bytes as they come and hands out one message after another (pipelining). It is bounded: a
 * line has at most HTTP_LINE_MAX bytes, a head HTTP_FIELDS_MAX fields, a body what the caller allows. Transfer codings
 * are refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strv.h"

#define HTTP_LINE_MAX   8192
#define HTTP_FIELDS_MAX 64

enum http_kind { HTTP_REQUEST, HTTP_RESPONSE };

/* One complete message; its strings live in the parser until the next http_parser_next(). */
struct http_message {
	const char *method, *target; /* request */
	unsigned status;             /* response */
	unsigned minor;              /* HTTP/1.minor */
	const char *body;            /* NUL-terminated behind body_len; "" when there is none */
	size_t body_len;
	bool has_length;      /* there was a Content-Length field */
	bool keep_alive;      /* the connection goes on after it */
	bool expect_continue; /* Expect: 100-continue */
	size_t n_fields;
	struct {
		const char *name, *value; /* name in lower case */
	} field[HTTP_FIELDS_MAX];
};

struct http_parser {
	enum http_kind kind;
	size_t line_max, body_max;
	bool no_body;          /* response: the next one answers a HEAD or has no body whatever its fields say */
	struct buf in;         /* what has come and is not part of `head` and `body` */
	struct buf head, body; /* of `message` */
	bool have_head;        /* message is filled, its body is still to come */
	bool continue_told;    /* http_parser_wants_continue() said so for this message */
	struct http_message message;
};

/* line_max: at most HTTP_LINE_MAX. body_max: larger bodies give -EFBIG. */
void http_parser_init(struct http_parser *p, enum http_kind kind, size_t line_max, size_t body_max);
void http_parser_fini(struct http_parser *p);

/* More bytes from the peer. 0 or -ENOMEM. */
int http_parser_feed(struct http_parser *p, const void *data, size_t len);
/*
 * 1: *ret is the next message; 0: feed more; -EPROTO, -EFBIG (body), -E2BIG (line or head), -ENOTSUP (transfer coding):
 * e has a sentence, and the connection cannot go on.
 */
int http_parser_next(struct http_parser *p, const struct http_message **ret, struct err *e);
/* A head is complete, its sender waits for "100 Continue" before it sends the body. True once per message. */
bool http_parser_wants_continue(struct http_parser *p);
/* Nothing of a next message has come yet: the peer may close here. */
bool http_parser_idle(const struct http_parser *p);

/* The value of a field, name in lower case; NULL: absent. */
const char *http_field(const struct http_message *m, const char *name);

/*
 * A value of the target's query ("?name=value&…"), decoded as forms are: %XX and "+". 0: caller frees *ret; -ENOENT:
 * there is no such name; -EINVAL: it is not well encoded, or has a NUL; -ENOMEM.
 */
int http_query_value(const char *target, const char *name, char **ret);

/* "METHOD target HTTP/1.1" and its fields; body NULL: none. 0 or -ENOMEM. */
int http_write_request(struct buf *out, const char *method, const char *target, const char *body);
