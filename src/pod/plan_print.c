/* SPDX-License-Identifier: Apache-2.0 */
/* The plan for people: what each step does on the host, what undoes it, and what the guest is told. */
#include <errno.h>
#include <stdlib.h>

#include "pod/network.h"
#include "pod/plan.h"
#include "pod/plan_network.h"

/* For a shell: 'it'\''s'. */
static int put_quoted(struct buf *out, const char *a)
{
	int r = buf_puts(out, "'");

	for (; *a; a++)
		r |= *a == '\'' ? buf_puts(out, "'\\''") : buf_append(out, a, 1);
	return r | buf_puts(out, "'");
}

static int put_argv(struct buf *out, const struct strv *argv)
{
	int r = 0;

	for (size_t i = 0; i < argv->len; i++) {
		const char *a = argv->v[i];
		bool plain = *a && !strpbrk(a, " \t\n\"'\\$`*?;|&<>(){}[]#~");

		r |= buf_puts(out, i ? " " : "");
		r |= plain ? buf_puts(out, a) : put_quoted(out, a);
	}
	return r | buf_puts(out, "\n");
}

static int print_taps(const struct pod_network *n, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; n && i < n->n_endpoints; i++)
		r |= buf_printf(out, "  tie %s of %s to the VM by %s  [take it away]\n", pod_network_link(n, i),
				n->netns, pod_network_tap(n, i));
	return r;
}

/* What the agent is told about a namespace's interfaces. */
static int print_network(const struct pod_network *n, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; n && i < n->n_interfaces; i++) {
		const Types__Interface *nic = n->interfaces[i];

		r |= buf_printf(out, "  interface %s %s mtu %llu", nic->name, nic->hwaddr,
				(unsigned long long)nic->mtu);
		for (size_t k = 0; k < nic->n_ipaddresses; k++)
			r |= buf_printf(out, " %s/%s", nic->ipaddresses[k]->address, nic->ipaddresses[k]->mask);
		r |= buf_puts(out, "\n");
	}
	for (size_t i = 0; n && i < n->n_routes; i++) {
		const Types__Route *route = n->routes[i];
		bool v6 = route->family == TYPES__IPFAMILY__v6;

		r |= buf_printf(out, "  route %s%s%s on %s\n",
				*route->dest ? route->dest
				: v6         ? "::/0"
					     : "0.0.0.0/0",
				*route->gateway ? " by " : "", route->gateway, route->device);
	}
	for (size_t i = 0; n && i < n->n_neighbours; i++)
		r |= buf_printf(out, "  neighbour %s at %s on %s\n", n->neighbours[i]->toipaddress->address,
				n->neighbours[i]->lladdr, n->neighbours[i]->device);
	return r;
}

static int print_host_side(const struct plan *p, struct buf *out, struct err *e)
{
	_cleanup_strv_ struct strv vmm = { 0 }, server = { 0 }, passt = { 0 };
	int r = 0;

	if (share_describe(&p->share, &server, e) < 0 ||
	    p->driver->describe(&p->vm, p->devices, p->n_devices, &vmm, e) < 0)
		return -e->code;
	r |= buf_puts(out, "On the host (undo in brackets):\n");
	r |= buf_printf(out, "  make %s  [remove it]\n", p->vm.run_dir);
	if (!share_copies(&p->share)) {
		r |= buf_printf(out, "  private mount namespace, tmpfs on %s  [ends with the processes]\n",
				p->share.staging);
		for (size_t i = 0; i < p->share.n_items; i++)
			r |= buf_printf(out, "    bind %s -> %s (%s)\n",
					p->share.items[i].source ? p->share.items[i].source : "(made here)",
					p->share.items[i].name, p->share.items[i].readonly ? "read-only" : "writable");
	}
	if (p->container->pack)
		r |= buf_printf(out, "  pack %s into an %s image without a name  [close it]\n", p->container->pack,
				p->container->pack_as == ROOTFS_IMAGE_EROFS ? "erofs" : "ext4");
	if (server.len) {
		r |= buf_puts(out, "  start the file server  [kill it]\n    ");
		r |= put_argv(out, &server);
	}
	r |= print_taps(p->network, out);
	r |= buf_printf(out, "  start the VM with %s  [stop it]\n    ", p->driver->name);
	r |= put_argv(out, &vmm);
	r |= plan_passt_argv(p, 3, &passt);
	if (passt.len) {
		r |= buf_puts(out, "  start user-mode networking  [kill it]\n    ");
		r |= put_argv(out, &passt);
	}
	return r ? err_sys(e, ENOMEM, "cannot print the plan") : 0;
}

static int print_storages(struct buf *out, const struct plan_storage *list, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		r |= buf_printf(out, "  mount %s %s on %s", list[i].driver,
				list[i].device ? "(block device)" : list[i].source, list[i].mount_point);
		for (size_t j = 0; j < list[i].options.len; j++)
			r |= buf_printf(out, "%s%s", j ? "," : " with ", list[i].options.v[j]);
		r |= buf_puts(out, "\n");
	}
	return r;
}

static int print_guest_side(const struct plan *p, struct buf *out, struct err *e)
{
	const Grpc__Process *process = p->container->spec->process;
	struct strv args = { .v = process ? process->args : NULL, .len = process ? process->n_args : 0 };
	int r = buf_puts(out, "In the guest:\n");

	r |= print_storages(out, p->sandbox_storages, p->n_sandbox_storages);
	for (size_t i = 0; i < p->n_interfaces; i++)
		r |= buf_printf(out, "  interface %s %s %s/%u gateway %s\n", p->interfaces[i].name,
				p->interfaces[i].mac, *p->interfaces[i].address ? p->interfaces[i].address : "-",
				p->interfaces[i].prefix, *p->interfaces[i].gateway ? p->interfaces[i].gateway : "-");
	r |= print_network(p->network, out);
	if (share_copies(&p->share))
		for (size_t i = 0; i < p->share.n_items; i++)
			r |= buf_printf(out, "  copy %s to %s/%s\n",
					p->share.items[i].source ? p->share.items[i].source : "(made here)",
					GUEST_SHARE_DIR, p->share.items[i].name);
	r |= print_storages(out, p->container->storages, p->container->n_storages);
	for (size_t i = 0; i < p->container->spec->n_mounts; i++)
		r |= buf_printf(out, "  container mount %s %s on %s\n", p->container->spec->mounts[i]->type,
				p->container->spec->mounts[i]->source, p->container->spec->mounts[i]->destination);
	r |= buf_printf(out, "  root %s%s\n", p->container->spec->root->path,
			p->container->spec->root->readonly ? " (read-only)" : "");
	r |= buf_puts(out, "  run ");
	r |= put_argv(out, &args);
	return r ? err_sys(e, ENOMEM, "cannot print the plan") : 0;
}

int plan_print(const struct plan *p, struct buf *out, struct err *e)
{
	int r = buf_printf(out, "Container %s on %s: %u vCPU, %llu MiB, kernel %s, %s %s\n", p->id, p->driver->name,
			   p->vm.vcpus, (unsigned long long)p->vm.memory_mib, p->vm.kernel,
			   *p->vm.image ? "image" : "initrd", *p->vm.image ? p->vm.image : p->vm.initrd);

	if (r < 0)
		return err_sys(e, ENOMEM, "cannot print the plan");
	r = print_host_side(p, out, e);
	if (r == 0)
		r = print_guest_side(p, out, e);
	for (size_t i = 0; r == 0 && i < p->notes.len; i++)
		r = buf_printf(out, "Note: %s\n", p->notes.v[i]);
	return r;
}
