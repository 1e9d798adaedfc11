/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server for containers: what they ask on a loopback address of the guest somebody else answers, on the host.
 * docker's own one listens on the loopback of the network namespace there, and a guest has a loopback of its own.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

struct resolver;

struct resolver_params {
	struct loop *loop;
	struct in_addr address;
	/*
	 * Below this folder of cgroup v2 queries are led to a port that is free, as docker does it: port 53 stays that
	 * of containers, which may serve names themselves. NULL, or where that cannot be: we are on port 53.
	 */
	const char *cgroup;
	unsigned timeout_ms; /* for which a query waits for its answer */
	/* There is a query to be taken. It may not free the resolver. */
	void (*ready)(void *userdata);
	void *userdata;
};

struct resolver_query {
	uint64_t id;
	bool stream;
	const uint8_t *data; /* valid until anything else is done with the resolver */
	size_t len;
};

/* -EINVAL: the address is not of 127.0.0.0/8. */
int resolver_new(const struct resolver_params *params, struct resolver **ret, struct err *e);
/* NULL does nothing. */
void resolver_free(struct resolver *r);
struct in_addr resolver_address(const struct resolver *r);
/* The oldest query that nobody has taken yet. False: there is none. */
bool resolver_take(struct resolver *r, struct resolver_query *ret);
/* len 0: there is no answer, which the container is told (SERVFAIL). Nothing for a query that has ended meanwhile. */
void resolver_answer(struct resolver *r, uint64_t id, const uint8_t *data, size_t len);
