/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks of a container's spec (OCI runtime spec, runtime.md "Lifecycle"). */
#include <sys/stat.h>

#include "pod/hooks.h"
#include "pod/pod_internal.h"

static struct hook_state hook_state(const struct pod_container *c, const char *status)
{
	const struct pod_process *p = pod_init_process(c);

	return (struct hook_state){
		.id = c->id, .status = status, .bundle = c->bundle, .pid = p ? p->standin_pid : 0, .spec = c->spec
	};
}

static int run_hooks(const struct pod_container *c, const char *kind, Grpc__Hook *const *hooks, size_t n, struct err *e)
{
	struct hook_state state = hook_state(c, "creating");

	return n ? hooks_run(hooks, n, kind, &state, NULL, e) : 0;
}

/* In the container's network, and in its root, as runc has it: so they write to "./etc". */
static int run_container_hooks(const struct pod_container *c, Grpc__Hook *const *hooks, size_t n, struct err *e)
{
	struct hook_state state = hook_state(c, "creating");
	struct stat st;

	/* A disk's is in the guest alone, and a sandbox that is nothing else has none. */
	if (c->rootfs && stat(c->rootfs, &st) == 0 && S_ISDIR(st.st_mode))
		state.cwd = c->rootfs;
	return n ? hooks_run(hooks, n, "createContainer", &state, c->pod->netns, e) : 0;
}

int pod_run_create_hooks(struct pod_container *c, struct err *e)
{
	const Grpc__Hooks *h = c->spec->hooks;
	int r;

	if (!h)
		return 0;
	c->hooked = true;
	if ((r = run_hooks(c, "prestart", h->prestart, h->n_prestart, e)) < 0 ||
	    (r = run_hooks(c, "createRuntime", h->createruntime, h->n_createruntime, e)) < 0)
		return r;
	return run_container_hooks(c, h->createcontainer, h->n_createcontainer, e);
}

int pod_container_started(struct pod_container *c, struct err *e)
{
	struct hook_state state = hook_state(c, "running");
	const Grpc__Hooks *h = c->spec->hooks;

	return h && h->n_poststart ? hooks_run(h->poststart, h->n_poststart, "poststart", &state, NULL, e) : 0;
}

/* Its process has no id any more. Failures change nothing, for those behind them neither (runtime.md "Lifecycle"). */
void pod_run_poststop_hooks(const struct pod_container *c)
{
	struct hook_state state = hook_state(c, "stopped");

	state.pid = 0;
	if (c->spec->hooks)
		hooks_run_all(c->spec->hooks->poststop, c->spec->hooks->n_poststop, "poststop", &state);
}
