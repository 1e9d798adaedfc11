// SPDX-License-Identifier: Apache-2.0
#include "pod/nics.h"

#include <errno.h>
#include <stdlib.h>

#include "pod/plan_list.h"

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

/* Interfaces from `first` on; the guest's routes and neighbours are replaced by all. */
static int tell(const struct pod_network *n, size_t first, struct agent *a, struct err *e)
{
	int r = 0;

	for (size_t i = first; i < n->n_interfaces && r == 0; i++)
		r = agent_update_interface(a, n->interfaces[i], e);
	if (r == 0 && n->n_routes)
		r = agent_update_routes(a, n->routes, n->n_routes, e);
	if (r == 0 && n->n_neighbours)
		r = agent_add_arp_neighbors(a, n->neighbours, n->n_neighbours, e);
	return r;
}

int nics_tell_agent(const struct plan *p, struct agent *a, struct err *e)
{
	return p->network ? tell(p->network, 0, a, e) : 0;
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

int nics_plug(struct plan *p, struct vm *vm, struct agent *a, size_t *ret_n, struct err *e)
{
	struct pod_network *n = p->network;
	size_t first = 0, n_cards = 0;
	int r, told;

	if (ret_n)
		*ret_n = 0;
	if (!n)
		return 0;
	r = pod_network_rescan(n, &first, e);
	if (r < 0 || first == n->n_endpoints)
		return r;
	if (!plugs(p))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "interface %s came after the VM had started, which takes no network cards any more",
			       pod_network_link(n, first));
	r = plug_cards(p, vm, first, &n_cards, e);
	/* The first of them may be there all the same. */
	if (r < 0)
		pod_network_forget_unattached(n);
	told = n_cards ? tell(n, first, a, r < 0 ? NULL : e) : 0;
	r = r < 0 ? r : told;
	if (ret_n)
		*ret_n = n_cards;
	return r;
}
