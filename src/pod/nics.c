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

static int tell_interface(struct pod_nic *nic, const Types__Interface *m, struct agent *a, bool *told, struct err *e)
{
	struct pod_told fresh;
	struct err ignored = { 0 };
	int r = 0;

	if (is_news(&nic->told, &m->base, &fresh)) {
		r = agent_update_interface(a, m, nic->gone ? &ignored : e);
		if (r < 0 && nic->gone) {
			/* It has let go of it all the same. */
			log_debug("%s", ignored.text);
			r = 0;
		}
		*told |= r == 0;
		if (r == 0)
			remember(&nic->told, &fresh);
	}
	free(fresh.data);
	return r;
}

/* `again`: an interface has changed, and with its addresses the guest may have lost routes. */
static int tell_routes(struct pod_network *n, bool again, struct agent *a, struct err *e)
{
	Grpc__Routes m = GRPC__ROUTES__INIT;
	struct pod_told fresh;
	int r = 0;

	m.routes = n->routes;
	m.n_routes = n->n_routes;
	if (is_news(&n->told_routes, &m.base, &fresh) || (again && n->n_routes)) {
		r = agent_update_routes(a, n->routes, n->n_routes, e);
		if (r == 0)
			remember(&n->told_routes, &fresh);
	}
	free(fresh.data);
	return r;
}

/* Those that have gone the guest cannot be told. */
static int tell_neighbours(struct pod_network *n, bool again, struct agent *a, struct err *e)
{
	Grpc__ARPNeighbors m = GRPC__ARPNEIGHBORS__INIT;
	struct pod_told fresh;
	int r = 0;

	m.arpneighbors = n->neighbours;
	m.n_arpneighbors = n->n_neighbours;
	if ((is_news(&n->told_neighbours, &m.base, &fresh) || again) && n->n_neighbours) {
		r = agent_add_arp_neighbors(a, n->neighbours, n->n_neighbours, e);
		if (r == 0)
			remember(&n->told_neighbours, &fresh);
	}
	free(fresh.data);
	return r;
}

/* What the guest does not know yet. */
static int tell(struct pod_network *n, struct agent *a, struct err *e)
{
	bool told = false;
	int r = 0;

	for (size_t i = 0; i < n->n_interfaces && r == 0; i++) {
		struct pod_nic *nic = pod_network_nic(n, i);

		/* The guest may let go of a card that it was asked for any moment. */
		if (!nic->gone || stays(nic))
			r = tell_interface(nic, n->interfaces[i], a, &told, e);
	}
	if (r == 0)
		r = tell_routes(n, told, a, e);
	return r < 0 ? r : tell_neighbours(n, told, a, e);
}

int nics_tell_agent(const struct plan *p, struct agent *a, struct err *e)
{
	return p->network ? tell(p->network, a, e) : 0;
}

static bool plugs(const struct plan *p)
{
	struct vm_capabilities can = { 0 };

	p->driver->capabilities(&p->config->hypervisor, &can);
	return can.net_hotplug && !p->vm.fixed_devices;
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
		if (plugs(p)) {
			vm->unplug_ms = UNPLUG_WAIT_MS;
			r = p->driver->remove_device(vm, nic->id, &e);
			vm->unplug_ms = 0;
		}
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

int nics_follow(struct plan *p, struct vm *vm, struct agent *a, struct nics_changes *ret, struct err *e)
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
	r = r < 0 ? r : again;
	again = tell(n, a, r < 0 ? NULL : e);
	return r < 0 ? r : again;
}
