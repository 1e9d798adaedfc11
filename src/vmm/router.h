/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which request means what. One table has a line for each method and path: the body's table, the phase in which it is
 * allowed, the counters, and the handler. Everything that is the same for all of them happens here, in this order:
 * path and body belong together, the id is well formed, the body decodes, the ids agree, the phase is right.
 */
#pragma once

#include <stddef.h>

#include "vmm/answer.h"
#include "vmm/instance.h"

struct request {
	const char *method, *target;
	const char *body; /* NUL-terminated behind body_len */
	size_t body_len;  /* 0: none */
};

/* body: the decoded structure, NULL for a request without one. id: of the path, NULL if it has none. */
typedef void (*handler_fn)(struct instance *i, const char *id, void *body, struct answer *a);

/* a: fresh; always filled. */
void router_handle(struct instance *i, const struct request *rq, struct answer *a);
