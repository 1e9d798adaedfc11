// SPDX-License-Identifier: Apache-2.0
#include "pod/nics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/plan_list.h"

/* For how long a guest is waited for, and when it is asked again: after 1, 2, 4, 8, 16 s, and then no more. */
#define UNPLUG_WAIT_MS  1000
#define UNPLUG_PAUSE_MS UINT64_C(1000)
#define UNPLUG_TRIES    6

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot connect the network");
}

static int add_card(struct plan *p, size_t endpoint, struct err *e)
{
	struct vm_device *d;
	int r = pod_network_device(p->network, endpoint, &d, e);

	if (r < 0)
		return r;
	return plan_take_device(p, d) < 0 ? out_of_memory(e) : 0;
}

int nics_plan(struct plan *p, struct pod_network *n, struct err *e)
{
	int r = 0;

	p->network = n;
	if (!p->vm.netns)
		p->vm.netns = n->netns;
	for (size_t i = 0; i < n->notes.len; i++)
		if (strv_add(&p->notes, n->notes.v[i]) < 0)
			return out_of_memory(e);
	for (size_t i = 0; i < n->n_endpoints && r == 0; i++)
		r = add_card(p, i, e);
	return r;
}

int nics_attach(struct pod_network *n, const struct hypervisor_driver *driver, const struct config_hypervisor *hv,
		uint32_t vcpus, struct err *e)
{
	struct vm_capabilities can = { 0 };

	driver->capabilities(hv, &can);
	return pod_network_attach(n, &can, hv->network_queues < vcpus ? hv->network_queues : vcpus, e);
}

static int attach(struct plan *p, struct err *e)
{
	return nics_attach(p->network, p->driver, &p->config->hypervisor, p->vm.vcpus, e);
}

/* The queues of an endpoint that was planned before it was attached. */
static int bring_queues(struct plan *p, size_t endpoint, struct err *e)
{
	struct vm_device *fresh;
	int r = pod_network_device(p->network, endpoint, &fresh, e);

	if (r < 0)
		return r;
	for (size_t i = 0; fresh->u.net.n_tap_fds && i < p->n_devices; i++) {
		struct vm_device *d = p->devices[i];

		if (d->kind != VM_DEVICE_NET || !str_eq(d->id, fresh->id))
			continue;
		d->u.net.tap_fds = take_ptr(fresh->u.net.tap_fds);
		d->u.net.n_tap_fds = fresh->u.net.n_tap_fds;
		fresh->u.net.n_tap_fds = 0;
	}
	vm_device_free(fresh);
	return 0;
}

int nics_connect(struct plan *p, struct err *e)
{
	int r;

	if (!p->network || pod_network_is_attached(p->network))
		return 0;
	r = attach(p, e);
	for (size_t i = 0; i < p->network->n_endpoints && r == 0; i++)
		r = bring_queues(p, i, e);
	return r;
}

/* A card whose interface has gone, and that is not asked for any more. */
static bool stays(const struct pod_nic *nic)
{
	return nic->gone && nic->refusals >= UNPLUG_TRIES;
}

/* Is it another message than the last one? *ret: packed, to be remembered once the guest has it. */
static bool is_news(const struct pod_told *told, const ProtobufCMessage *m, struct pod_told *ret)
{
	ret->len = protobuf_c_message_get_packed_size(m);
	ret->data = malloc(ret->len + 1);
	if (!ret->data)
		return true; /* it is told again the next time, that is all */
	protobuf_c_message_pack(m, ret->data);
	return ret->len != told->len || (ret->len && memcmp(ret->data, told->data, ret->len) != 0);
}

static void remember(struct pod_told *told, struct pod_told *fresh)
{
	free(told->data);
	*told = fresh->data ? *fresh : (struct pod_told){ 0 };
	*fresh = (struct pod_told){ 0 };
}

/* Going through what the guest is to know: interfaces, then routes, then neighbours. */
struct nics_tell {
	struct pod_network *n;
	struct agent *agent;
	size_t at; /* an interface's number, or behind those */
	struct pod_told fresh;
	/* Asynchronous: */
	struct agent_call *call;
	agent_done_fn fn;
	void *userdata;
};

static Grpc__Routes routes_message(const struct pod_network *n)
{
	Grpc__Routes m = GRPC__ROUTES__INIT;

	m.routes = n->routes;
	m.n_routes = n->n_routes;
	return m;
}

/* Those that have gone the guest cannot be told. */
static Grpc__ARPNeighbors neighbours_message(const struct pod_network *n)
{
	Grpc__ARPNeighbors m = GRPC__ARPNEIGHBORS__INIT;

	m.arpneighbors = n->neighbours;
	m.n_arpneighbors = n->n_neighbours;
	return m;
}

static struct pod_nic *nic_at(const struct nics_tell *t)
{
	return t->at < t->n->n_interfaces ? pod_network_nic(t->n, t->at) : NULL;
}

static bool at_routes(const struct nics_tell *t)
{
	return t->at == t->n->n_interfaces;
}

static bool is_due(struct nics_tell *t)
{
	const struct pod_network *n = t->n;
	const struct pod_nic *nic = nic_at(t);
	Grpc__ARPNeighbors neighbours = neighbours_message(n);
	Grpc__Routes routes = routes_message(n);

	/* The guest may let go of a card that it was asked for any moment. */
	if (nic)
		return (!nic->gone || stays(nic)) && is_news(&nic->told, &n->interfaces[t->at]->base, &t->fresh);
	if (at_routes(t))
		return is_news(&n->told_routes, &routes.base, &t->fresh) || (n->lost && n->n_routes);
	return (is_news(&n->told_neighbours, &neighbours.base, &t->fresh) || n->lost) && n->n_neighbours;
}

static void drop_fresh(struct nics_tell *t)
{
	free(t->fresh.data);
	t->fresh = (struct pod_told){ 0 };
}

/* To the next thing that the guest does not know yet; false: it knows all. */
static bool find_news(struct nics_tell *t)
{
	for (; t->at < t->n->n_interfaces + 2; t->at++) {
		if (is_due(t))
			return true;
		drop_fresh(t);
	}
	t->n->lost = false;
	return false;
}

static int answered(struct nics_tell *t, int r, struct err *e)
{
	struct pod_nic *nic = nic_at(t);

	if (r < 0 && nic && nic->gone) {
		/* It has let go of it all the same. */
		log_debug("%s", e->text);
		*e = (struct err){ 0 };
		r = 0;
	}
	if (r == 0) {
		/* With the addresses the guest may have lost routes. */
		t->n->lost |= nic != NULL;
		remember(nic ? &nic->told : at_routes(t) ? &t->n->told_routes : &t->n->told_neighbours, &t->fresh);
	}
	drop_fresh(t);
	t->at++;
	return r;
}

int nics_tell_agent(const struct plan *p, struct agent *a, struct err *e)
{
	struct pod_network *n = p->network;
	struct nics_tell t = { .n = n };
	struct err own = { 0 };
	int r = 0;

	while (n && r == 0 && find_news(&t)) {
		if (nic_at(&t))
			r = agent_update_interface(a, n->interfaces[t.at], &own);
		else if (at_routes(&t))
			r = agent_update_routes(a, n->routes, n->n_routes, &own);
		else
			r = agent_add_arp_neighbors(a, n->neighbours, n->n_neighbours, &own);
		r = answered(&t, r, &own);
	}
	if (r < 0 && e)
		*e = own;
	return r;
}

static void on_told(int result, const struct err *answer, void *userdata);

static int ask(struct nics_tell *t, struct err *e)
{
	struct pod_network *n = t->n;

	if (nic_at(t))
		return agent_update_interface_async(t->agent, n->interfaces[t->at], on_told, t, &t->call, e);
	if (at_routes(t))
		return agent_update_routes_async(t->agent, n->routes, n->n_routes, on_told, t, &t->call, e);
	return agent_add_arp_neighbors_async(t->agent, n->neighbours, n->n_neighbours, on_told, t, &t->call, e);
}

/* 1: asked; 0: all is told. */
static int ask_next(struct nics_tell *t, struct err *e)
{
	int r = find_news(t) ? ask(t, e) : 1;

	return r < 0 ? r : !r;
}

void nics_tell_cancel(struct nics_tell *t)
{
	if (!t)
		return;
	agent_call_cancel(t->call);
	drop_fresh(t);
	free(t);
}

static void on_told(int result, const struct err *answer, void *userdata)
{
	struct nics_tell *t = userdata;
	agent_done_fn fn = t->fn;
	struct err e = *answer;
	int r = answered(t, result, &e);

	t->call = NULL;
	if (r == 0)
		r = ask_next(t, &e);
	if (r > 0)
		return;
	userdata = t->userdata;
	nics_tell_cancel(t);
	fn(r, &e, userdata);
}

int nics_tell_agent_async(const struct plan *p, struct agent *a, agent_done_fn fn, void *userdata,
			  struct nics_tell **ret, struct err *e)
{
	struct nics_tell *t;
	int r;

	if (!p->network)
		return 0;
	t = calloc(1, sizeof *t);
	if (!t)
		return out_of_memory(e);
	*t = (struct nics_tell){ .n = p->network, .agent = a, .fn = fn, .userdata = userdata };
	r = ask_next(t, e);
	if (r > 0)
		*ret = t;
	else
		nics_tell_cancel(t);
	return r;
}

static bool plugs(const struct plan *p)
{
	struct vm_capabilities can = { 0 };

	p->driver->capabilities(&p->config->hypervisor, &can);
	return can.net_hotplug && !p->vm.fixed_devices;
}

static int remove_card(const struct plan *p, struct vm *vm, const char *id, struct err *e)
{
	int r;

	vm->unplug_ms = UNPLUG_WAIT_MS;
	r = p->driver->remove_device(vm, id, e);
	vm->unplug_ms = 0;
	return r;
}

/* It may come yet, and nobody would know of it: its tap goes, and another card may get the id only much later. */
static void take_back(const struct plan *p, struct vm *vm, const char *id)
{
	struct err e = { 0 };

	if (remove_card(p, vm, id, &e) < 0)
		log_warn("%s", e.text);
}

/* The cards of the endpoints from `first` on, into the running VM. *ret_n: how many of them there are now. */
static int plug_cards(struct plan *p, struct vm *vm, size_t first, size_t *ret_n, struct err *e)
{
	struct pod_network *n = p->network;
	int r = attach(p, e);

	*ret_n = 0;
	for (size_t i = first; i < n->n_endpoints && r == 0; i++) {
		struct vm_device *d;

		r = pod_network_device(n, i, &d, e);
		if (r == 0) {
			/* The VMM has queues of its own then. */
			r = p->driver->add_device(vm, d, e);
			if (r == -ETIMEDOUT)
				take_back(p, vm, d->id);
			vm_device_free(d);
		}
		*ret_n += r == 0;
	}
	if (r < 0)
		pod_network_detach_from(n, first + *ret_n);
	return r;
}

/* Ask the guest for a card whose interface has gone. */
static bool unplug(const struct plan *p, struct vm *vm, struct pod_nic *nic, const char *link,
		   struct nics_changes *changes)
{
	uint64_t now = clock_ms(), pause = UNPLUG_PAUSE_MS << nic->refusals;
	struct err e = { 0 };
	int r = -ENOTSUP;

	if (stays(nic))
		return false;
	if (now < nic->retry_ms) {
		pause = nic->retry_ms - now;
	} else {
		if (plugs(p))
			r = remove_card(p, vm, nic->id, &e);
		if (r == 0)
			return true;
		nic->refusals = r == -ENODEV || r == -ENOTSUP ? UNPLUG_TRIES : nic->refusals + 1;
		nic->retry_ms = now + pause;
		if (stays(nic)) {
			log_info("%s has gone, its network card stays in the VM%s%s", link, e.text[0] ? ": " : "",
				 e.text);
			return false;
		}
	}
	if (!changes->again_ms || pause < changes->again_ms)
		changes->again_ms = pause;
	return false;
}

/* Of the first `n_attached`: those whose interface has gone. Whether anything was done that another look shows. */
static bool let_go(struct plan *p, struct vm *vm, size_t n_attached, struct nics_changes *changes, int *ret,
		   struct err *e)
{
	struct pod_network *n = p->network;
	bool changed = false;

	for (size_t i = n_attached; i-- > 0;) {
		struct pod_nic *nic = pod_network_nic(n, i);
		int r;

		if (!nic->gone)
			continue;
		/* A card that the guest may let go of any moment is no use to an interface that is back. */
		r = nic->refusals == 0 || stays(nic) ? pod_network_return(n, i, *ret < 0 ? NULL : e) : 0;
		changes->returned += r > 0;
		if (r == 0 && unplug(p, vm, nic, pod_network_link(n, i), changes)) {
			pod_network_remove(n, i);
			changes->unplugged++;
			r = 1;
		}
		if (r < 0 && *ret == 0)
			*ret = r;
		changed |= r > 0;
	}
	return changed;
}

static int plug_new(struct plan *p, struct vm *vm, size_t first, size_t *ret_n, struct err *e)
{
	int r;

	*ret_n = 0;
	if (first == p->network->n_endpoints)
		return 0;
	if (plugs(p))
		r = plug_cards(p, vm, first, ret_n, e);
	else
		r = err_set(e, ERR_CONFIG, ENOTSUP,
			    "interface %s came after the VM had started, which takes no network cards any more",
			    pod_network_link(p->network, first));
	/* The first of them may be there all the same. */
	if (r < 0)
		pod_network_forget_unattached(p->network);
	return r;
}

int nics_follow(struct plan *p, struct vm *vm, struct nics_changes *ret, struct err *e)
{
	struct pod_network *n = p->network;
	size_t first = 0;
	int r, again = 0;

	*ret = (struct nics_changes){ 0 };
	if (!n)
		return 0;
	r = pod_network_rescan(n, &first, e);
	if (r < 0)
		return r;
	if (let_go(p, vm, first, ret, &r, e))
		again = pod_network_rescan(n, &first, r < 0 ? NULL : e);
	if (again < 0)
		return r < 0 ? r : again;
	again = plug_new(p, vm, first, &ret->plugged, r < 0 ? NULL : e);
	return r < 0 ? r : again;
}
