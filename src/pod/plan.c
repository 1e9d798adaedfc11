/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions about a sandbox, in the order in which one needs the other: the guest's kernel and size; how files are
 * shared; the network; its first container (plan_container.c).
 */
#include "pod/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "oci/builder.h"
#include "pod/agent.h"
#include "pod/guest.h"
#include "pod/plan_list.h"
#include "pod/plan_mounts.h"
#include "pod/plan_network.h"
#include "pod/sizing.h"

const char *const plan_hypervisor_keys[] = {
	"kernel",
	"initrd",
	"image",
	"kernel_params",
	"default_vcpus",
	"default_memory",
	"overhead_memory",
	"shared_fs",
	"guest_hook_path",
	"enable_debug",
	"enable_annotations",
	"valid_hypervisor_paths",
	"valid_virtio_fs_daemon_paths",
	"valid_entropy_sources",
	"valid_vhost_user_store_paths",
	NULL,
};

const char *const plan_other_keys[] = {
	"agent.enable_debug",
	"agent.log_port",
	"agent.server_port",
	"agent.enable_tracing",
	"agent.container_pipe_size",
	"agent.debug_console_enabled",
	"agent.kernel_modules",
	"agent.dial_timeout",
	"agent.reconnect_timeout_ms",
	"agent.create_container_timeout",
	"runtime.create_container_timeout",
	"runtime.name",
	"runtime.hypervisor_name",
	"runtime.agent_name",
	"runtime.disable_guest_seccomp",
	"runtime.internetworking_model",
	"runtime.disable_new_netns",
	"runtime.enable_vcpus_pinning",
	"runtime.disable_guest_empty_dir",
	"runtime.static_sandbox_resource_mgmt",
	NULL,
};

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the container");
}

/* ---- the guest: kernel, command line, size ---- */

/* Also makes the path absolute: the VMM has another working directory than we. */
static int check_readable(const char *what, char **path, struct err *e)
{
	struct stat st;
	char *absolute;

	if (access(*path, R_OK) < 0 || stat(*path, &st) < 0)
		return err_sys(e, errno, "cannot read the %s %s", what, *path);
	if (S_ISDIR(st.st_mode))
		return err_sys(e, EISDIR, "cannot read the %s %s", what, *path);
	absolute = realpath(*path, NULL);
	if (!absolute)
		return err_sys(e, errno, "cannot read the %s %s", what, *path);
	free(*path);
	*path = absolute;
	return 0;
}

static int plan_kernel(struct plan *p, struct err *e)
{
	const struct config_hypervisor *hv = &p->config->hypervisor;
	_cleanup_free_ char *kernel = NULL, *initrd = NULL;
	int r;

	if (!str_empty(hv->kernel) && (!str_empty(hv->initrd) || !str_empty(hv->image))) {
		p->vm.kernel = strdup(hv->kernel);
		p->vm.initrd = strdup(hv->initrd);
		p->vm.image = strdup(hv->image);
	} else {
		r = guest_find(p->driver->no_elf_kernel, &kernel, &initrd, e);
		if (r < 0)
			return r;
		p->vm.kernel = str_empty(hv->kernel) ? take_ptr(kernel) : strdup(hv->kernel);
		p->vm.image = strdup(hv->image);
		p->vm.initrd = !str_empty(hv->image)   ? strdup("")
			       : str_empty(hv->initrd) ? take_ptr(initrd)
						       : strdup(hv->initrd);
	}
	if (!p->vm.kernel || !p->vm.initrd || !p->vm.image)
		return out_of_memory(e);
	if ((r = check_readable("guest kernel", &p->vm.kernel, e)) < 0)
		return r;
	if (*p->vm.initrd && (r = check_readable("guest initrd", &p->vm.initrd, e)) < 0)
		return r;
	if (*p->vm.image && (r = check_readable("guest image", &p->vm.image, e)) < 0)
		return r;
	return 0;
}

/* The parameters that Kata's agent reads (agent.*), and those of the kernel itself. */
static int plan_kernel_params(struct plan *p, struct err *e)
{
	const struct config_agent *agent = &p->config->agent;
	const struct config_hypervisor *hv = &p->config->hypervisor;
	struct strv *k = &p->vm.kernel_params;
	bool debug = agent->enable_debug || hv->enable_debug;
	int r = 0;

	r |= strv_add(k, "cgroup_no_v1=all");
	if (*p->vm.image) {
		r |= strv_add(k, "systemd.unit=kata-containers.target");
		r |= strv_add(k, "systemd.mask=systemd-networkd.service");
		r |= strv_add(k, "systemd.mask=systemd-networkd.socket");
		r |= strv_add(k, "systemd.unified_cgroup_hierarchy=1");
	}
	if (debug) {
		r |= strv_add(k, "agent.log=debug");
		r |= strv_addf(k, "agent.log_vport=%u", agent->log_port ? agent->log_port : 1025);
	}
	if (agent->enable_tracing)
		r |= strv_add(k, "agent.trace=true");
	if (agent->container_pipe_size)
		r |= strv_addf(k, "agent.container_pipe_size=%u", agent->container_pipe_size);
	if (agent->debug_console_enabled) {
		r |= strv_add(k, "agent.debug_console");
		r |= strv_addf(k, "agent.debug_console_vport=%u", AGENT_DEBUG_CONSOLE_PORT);
	}
	if (!str_empty(hv->kernel_params))
		r |= strv_add(k, hv->kernel_params);
	return r ? out_of_memory(e) : 0;
}

static int plan_given_size(struct plan *p, const struct sizing *size)
{
	p->vm.vcpus = size->vcpus;
	p->vm.max_vcpus = size->max_vcpus;
	p->vm.memory_mib = size->memory_mib;
	p->vm.max_memory_mib = size->max_memory_mib;
	return 0;
}

static int plan_size(struct plan *p, const Grpc__Spec *spec, struct err *e)
{
	struct sizing_request q = { .hv = &p->config->hypervisor, .fixed = true, .ceiling_bytes = UINT64_MAX };
	struct sizing size;
	int r;

	sizing_see_host(&q);
	sizing_from_resources(spec->linux ? spec->linux->resources : NULL, &q.demand);
	/* Which CPUs are the guest's here: those that are named must be there. */
	q.demand.cpuset = 0;
	r = sizing_of_vm(&q, &size, &p->notes, e);
	return r < 0 ? r : plan_given_size(p, &size);
}

/* ---- files ---- */

/*
 * All modules of the guest's kernel are at hand where files are shared: the guest reads those that it is asked for. Of
 * no use to a guest that is an image, which has its own.
 */
static int plan_modules(struct plan *p, struct err *e)
{
	_cleanup_free_ char *modules = NULL;

	if (*p->vm.image)
		return 0;
	if (guest_find_modules(p->vm.kernel, &modules) < 0)
		return out_of_memory(e);
	return modules ? share_add(&p->share, GUEST_MODULES, modules, NULL, true, e) : 0;
}

static int plan_share(struct plan *p, struct err *e)
{
	const struct config_hypervisor *hv = &p->config->hypervisor;
	struct vm_capabilities can = { 0 };
	struct plan_storage *s;
	struct vm_device *d;
	int r;

	p->driver->capabilities(hv, &can);
	r = share_init(&p->share, hv, &can, p->vm.run_dir, e);
	if (r < 0 || share_copies(&p->share))
		return r;
	d = plan_add_device(p, share_is_virtio_fs(&p->share) ? VM_DEVICE_FS : VM_DEVICE_9P, "share");
	if (!d)
		return out_of_memory(e);
	d->u.fs.tag = strdup(GUEST_SHARE_TAG);
	d->u.fs.queue_size = hv->virtio_fs_queue_size;
	if (share_is_virtio_fs(&p->share)) {
		p->vm.shared_memory = true;
		d->u.fs.socket = strdup(p->share.socket);
		s = plan_add_storage(&p->sandbox_storages, &p->n_sandbox_storages, "virtio-fs", GUEST_SHARE_TAG,
				     "virtiofs", GUEST_SHARE_DIR);
	} else {
		d->u.fs.path = strdup(p->share.staging);
		s = plan_add_storage(&p->sandbox_storages, &p->n_sandbox_storages, "9p", GUEST_SHARE_TAG, "9p",
				     GUEST_SHARE_DIR);
		if (s && strv_addf(&s->options, "trans=virtio,version=9p2000.L,cache=mmap,msize=%u",
				   hv->msize_9p ? hv->msize_9p : 8192) < 0)
			s = NULL;
	}
	if (!s || !d->u.fs.tag || (!d->u.fs.socket && !d->u.fs.path))
		return out_of_memory(e);
	if (share_is_virtio_fs(&p->share) && strv_add(&s->options, "nodev") < 0)
		return out_of_memory(e);
	return plan_modules(p, e);
}

/* ---- */

static int plan_vm(struct plan *p, const struct plan_request *q, struct err *e)
{
	p->vm.id = strdup(p->id);
	p->vm.run_dir = strdup(q->run_dir);
	p->vm.hv = &q->config->hypervisor;
	p->vm.agent = &q->config->agent;
	p->vm.console_log = true;
	/* Whoever configures bridges gets them; a container of its own plugs nothing. */
	p->vm.fixed_devices = !q->pod && !config_is_set(q->config, CONFIG_HYPERVISOR, "default_bridges");
	p->sandbox_pidns = p->sync_guest = q->pod;
	if (q->netns) {
		p->netns = strdup(q->netns);
		p->vm.netns = p->netns;
		if (!p->netns)
			return out_of_memory(e);
	}
	return p->vm.id && p->vm.run_dir ? 0 : out_of_memory(e);
}

/* ---- */

static char *hostname_of(const struct plan_request *q)
{
	char own[HOST_NAME_MAX + 1] = "";

	if (!str_empty(q->hostname))
		return strdup(q->hostname);
	if (!str_empty(q->spec->hostname))
		return strdup(q->spec->hostname);
	/* An engine's container without a UTS namespace is to have the host's: that of a pod in the host's network. */
	if (q->bundle && !oci_spec_namespace(q->spec, "uts") && gethostname(own, sizeof own - 1) == 0 && *own)
		return strdup(own);
	/* An id may be longer than the kernel lets a host name be. */
	return str_printf("%.64s", q->id);
}

int plan_build(const struct plan_request *q, struct plan **ret, struct err *e)
{
	struct plan *p = calloc(1, sizeof *p);
	int r = 0;

	if (!p) {
		grpc__spec__free_unpacked(q->spec, NULL);
		return out_of_memory(e);
	}
	p->config = q->config;
	p->driver = q->driver;
	p->network = q->network;
	p->share.daemon_pidfd = -1;
	p->id = strdup(q->sandbox_id ? q->sandbox_id : q->id);
	p->hostname = hostname_of(q);
	if (!p->id || !p->hostname)
		r = out_of_memory(e);
	if (r < 0 || (r = plan_vm(p, q, e)) < 0 || (r = plan_kernel(p, e)) < 0 || (r = plan_kernel_params(p, e)) < 0 ||
	    (r = q->size ? plan_given_size(p, q->size) : plan_size(p, q->spec, e)) < 0 || (r = plan_share(p, e)) < 0 ||
	    (r = plan_network(p, q, e)) < 0 || (r = plan_shm(p, q, e)) < 0) {
		grpc__spec__free_unpacked(q->spec, NULL);
		plan_free(p);
		return r;
	}
	if (q->sandbox_only) {
		grpc__spec__free_unpacked(q->spec, NULL);
		*ret = p;
		return 0;
	}
	r = plan_add_container(p, q, &p->container, e);
	if (r < 0) {
		plan_free(p);
		return r;
	}
	/* What there is to say is said once, about the sandbox. */
	if (!p->notes.len) {
		p->notes = p->container->notes;
		p->container->notes = (struct strv){ 0 };
	}
	for (size_t i = 0; i < p->container->notes.len; i++)
		if (strv_add(&p->notes, p->container->notes.v[i]) < 0) {
			plan_free(p);
			return out_of_memory(e);
		}
	strv_fini(&p->container->notes);
	*ret = p;
	return 0;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	plan_container_free(p, p->container);
	share_fini(&p->share);
	for (size_t i = 0; i < p->n_devices; i++)
		vm_device_free(p->devices[i]);
	free(p->devices);
	for (size_t i = 0; i < p->n_direct; i++) {
		free(p->direct[i].source);
		free(p->direct[i].where);
	}
	free(p->direct);
	plan_free_storages(p->sandbox_storages, p->n_sandbox_storages);
	for (size_t i = 0; i < p->n_interfaces; i++) {
		free(p->interfaces[i].name);
		free(p->interfaces[i].mac);
		free(p->interfaces[i].address);
		free(p->interfaces[i].gateway);
	}
	free(p->interfaces);
	free(p->vm.id);
	free(p->vm.run_dir);
	free(p->vm.kernel);
	free(p->vm.initrd);
	free(p->vm.image);
	strv_fini(&p->vm.kernel_params);
	strv_fini(&p->dns);
	strv_fini(&p->publish);
	strv_fini(&p->notes);
	free(p->passt_socket);
	free(p->netns);
	free(p->id);
	free(p->hostname);
	free(p);
}
