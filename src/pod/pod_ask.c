/* SPDX-License-Identifier: Apache-2.0 */
/* Those who wait for the guest's answer about a container. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "pod/pod_internal.h"

static void ask_free(struct pod_ask *ask)
{
	list_remove(&ask->node);
	agent_call_cancel(ask->call);
	if (ask->resources)
		grpc__linux_resources__free_unpacked(ask->resources, NULL);
	free(ask);
}

struct pod_ask *pod_ask_new(struct pod_container *c, pod_done_fn fn, void *userdata)
{
	struct pod_ask *ask = calloc(1, sizeof *ask);
	struct err e = { 0 };
	int r;

	if (!ask) {
		r = err_sys(&e, ENOMEM, "cannot ask the guest");
		fn(r, &e, userdata);
		return NULL;
	}
	ask->container = c;
	ask->fn = fn;
	ask->userdata = userdata;
	list_append(&c->asks, &ask->node);
	return ask;
}

void pod_ask_done(struct pod_ask *ask, int result, const struct err *e)
{
	pod_done_fn fn = ask->fn;
	void *userdata = ask->userdata;

	ask_free(ask);
	fn(result, e, userdata);
}

void pod_ask_killed(struct pod_container *c)
{
	struct pod_ask *ask;
	struct err e = { 0 };

	list_foreach (ask, &c->asks, struct pod_ask, node)
		if (ask->signo == SIGKILL)
			pod_ask_done(ask, 0, &e);
}

void pod_ask_give_up(struct pod_container *c)
{
	struct pod_ask *ask;
	struct err e = { 0 };
	int r = err_set(&e, ERR_CONFIG, ESRCH, "container %s was deleted meanwhile", c->id);

	while ((ask = list_first(&c->asks, struct pod_ask, node)))
		pod_ask_done(ask, r, &e);
}
