/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API on a Unix socket: HTTP/1.1 (codec/http.h) in the manner of the server whose dialect we speak.
 *
 * Connections stay open, requests may be pipelined and are answered in order, one at a time over all connections.
 * What can be wrong with HTTP itself is answered with {"error": …} and the connection ends; what is wrong with a
 * request is the router's. There are at most SERVER_CONNECTIONS_MAX connections; one more is told so and closed. A
 * client that does not read its answers is not read from either.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "loop/loop.h"
#include "vmm/instance.h"

#define SERVER_CONNECTIONS_MAX 10
#define SERVER_BODY_MAX        51200 /* bytes of a body, unless told otherwise */
/* Longest line of a head, without its line feed. */
#define SERVER_LINE_MAX 1023

struct server;

/*
 * Listen at path, which must not exist yet. on_fatal: an answer was sent after which the process has to end
 * (instance->fatal).
 */
int server_new(struct loop *loop, struct instance *i, const char *path, size_t body_max,
	       void (*on_fatal)(void *userdata), void *userdata, struct server **ret, struct err *e);
/* Closes everything and removes the socket's file. NULL does nothing. */
void server_free(struct server *s);
