// SPDX-License-Identifier: Apache-2.0
/* Names that containers ask for, on their way to the host: the service caisson.Names (proto/names.proto). */
#include <arpa/inet.h>
#include <errno.h>

#include "agent/resolver.h"
#include "agent/rpc.h"
#include "base/log.h"
#include "proto/names.pb-c.h"

#define QUERY_TIMEOUT_MS 10000

static struct ttrpc_request *take_waiting(struct agent *a)
{
	struct ttrpc_request *req = a->names.waiting;

	a->names.waiting = NULL;
	return req;
}

static void deliver(struct agent *a)
{
	Caisson__NameQuery m = CAISSON__NAME_QUERY__INIT;
	struct resolver_query q;

	if (!a->names.waiting || !resolver_take(a->names.resolver, &q))
		return;
	m.id = q.id;
	m.stream = q.stream;
	m.message.data = (uint8_t *)q.data;
	m.message.len = q.len;
	ttrpc_reply(take_waiting(a), &m.base);
}

static void on_query(void *userdata)
{
	deliver(userdata);
}

static void on_caller_gone(struct ttrpc_request *req, void *userdata)
{
	struct agent *a = userdata;

	if (a->names.waiting == req)
		a->names.waiting = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "the caller has gone");
}

static void stop_listening(struct agent *a)
{
	resolver_free(a->names.resolver);
	a->names.resolver = NULL;
}

void names_end(struct agent *a)
{
	if (a->names.waiting)
		ttrpc_reply_error(take_waiting(a), TTRPC_UNAVAILABLE, "names are not served any more");
	stop_listening(a);
}

static int serve(struct agent *a, const char *text, struct err *e)
{
	struct resolver_params params = { .loop = a->loop,
					  .cgroup = a->is_init ? "/sys/fs/cgroup" : NULL,
					  .timeout_ms = QUERY_TIMEOUT_MS,
					  .ready = on_query,
					  .userdata = a };

	if (inet_pton(AF_INET, text, &params.address) != 1)
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not an IPv4 address", text);
	if (a->names.resolver && resolver_address(a->names.resolver).s_addr != params.address.s_addr)
		stop_listening(a);
	return a->names.resolver ? 0 : resolver_new(&params, &a->names.resolver, e);
}

RPC(rpc_next_name)
{
	const Caisson__NextNameQuery *m = (const Caisson__NextNameQuery *)message;
	struct agent *a = userdata;
	struct err e = { 0 };
	int r = serve(a, m->address, &e);

	if (r < 0) {
		rpc_fail(req, &e);
		return;
	}
	/* Whoever asks now does not wait for the answer to what he asked before. */
	if (a->names.waiting)
		ttrpc_reply_error(take_waiting(a), TTRPC_CANCELLED, "asked again");
	a->names.waiting = req;
	ttrpc_request_on_close(req, on_caller_gone, a);
	deliver(a);
}

RPC(rpc_answer_name)
{
	const Caisson__NameAnswer *m = (const Caisson__NameAnswer *)message;
	struct agent *a = userdata;

	if (a->names.resolver)
		resolver_answer(a->names.resolver, m->id, m->message.data, m->message.len);
	rpc_done(req);
}
