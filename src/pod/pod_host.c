/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a pod: its mount and network namespaces, its cgroup, the taps, the VM. Made step by step for the
 * first container, and undone in reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "codec/pb.h"
#include "oci/builder.h"
#include "oci/spec.h"
#include "pod/nics.h"
#include "pod/nics_watch.h"
#include "pod/plan_list.h"
#include "pod/pod_internal.h"
#include "sys/netns.h"

/* For a VMM that nobody has measured, and its file server: surely enough. */
#define VMM_MIB 128
#define MIB     (1 << 20)

int pod_enter_mount_namespace(struct pod *pod, struct err *e)
{
	int r;

	if (pod->own_mounts)
		return 0;
	r = share_enter_namespace(e);
	pod->own_mounts = r == 0;
	return r;
}

/* ---- network ---- */

int pod_open_netns(struct pod *pod, const Grpc__Spec *spec, pid_t pid, struct err *e)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(spec, "network");
	_cleanup_free_ char *path = NULL;

	if (!ns || pod->netns_fd >= 0)
		return 0;
	path = str_empty(ns->path) ? str_printf("/proc/%d/ns/net", (int)pid) : strdup(ns->path);
	if (!path)
		return err_sys(e, ENOMEM, "cannot open the network namespace");
	pod->netns_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pod->netns_fd < 0)
		return err_sys(e, errno, "cannot open the network namespace %s", path);
	/* The descriptor keeps it when the process that it was named by is gone. */
	pod->netns = str_empty(ns->path) ? str_printf("/proc/%d/fd/%d", (int)getpid(), pod->netns_fd) : take_ptr(path);
	return pod->netns ? 0 : err_sys(e, ENOMEM, "cannot open the network namespace");
}

int pod_attach_network(struct pod *pod, struct err *e)
{
	enum pod_network_model model;
	int r;

	if (!pod->netns)
		return 0;
	r = pod_network_model(&pod->params.config->runtime, &model, e);
	if (r < 0 || model == POD_NETWORK_NONE)
		return r;
	r = pod_network_scan(pod->netns, model, &pod->network, e);
	if (r == 0)
		r = pod_write_state(pod, e);
	if (r == 0)
		r = nics_attach(pod->network, pod->params.driver, &pod->params.config->hypervisor, pod->size.vcpus, e);
	return r;
}

/* A pod in the host's own network: the VM cannot be in it, but can reach out through it. */
static const char *user_network(const struct pod *pod)
{
	struct vm_capabilities can = { 0 };

	pod->params.driver->capabilities(&pod->params.config->hypervisor, &can);
	return can.net_user || (can.net_passt && access("/usr/bin/passt", X_OK) == 0) ? "user" : "none";
}

/*
 * Kubernetes' engines look for a pod's ports on the loopback of its namespace, others do not, and one that engines
 * share with the host is not ours to answer in. What the kernel lacks is no reason to fail.
 */
static void forward_ports(struct pod *pod)
{
	struct err e = { 0 };

	if (pod->role != POD_ROLE_SANDBOX || pod->netns_fd < 0 || netns_is_ours(pod->netns_fd) != 0)
		return;
	if (pod_forward_new(pod->loop, pod->netns_fd, pod->sandbox->vm->agent_address, &pod->forward, &e) < 0)
		log_info("pod %s: no port forwarding: %s", pod->params.id, e.text);
}

/* ---- cgroup ---- */

/* The container that brought the VM has come again: the pod's group is its, as it was. */
static int return_to_cgroup(struct pod *pod, const struct pod_container *c, struct err *e)
{
	int r = host_cgroup_add(pod->cgroup, pod_init_process(c)->standin_pid, e);

	return r < 0 || pod->role != POD_ROLE_SINGLE
		       ? r
		       : pod_limit_cgroup(pod, c->spec->linux ? c->spec->linux->resources : NULL, e);
}

int pod_make_cgroup(struct pod *pod, struct pod_container *c, struct err *e)
{
	const char *path = c->spec->linux ? c->spec->linux->cgroupspath : "";
	struct host_cgroup **cg = pod->cgroup ? &c->cgroup : &pod->cgroup;
	struct pod_process *p = pod_init_process(c);
	int r;

	if (pod->cgroup && c->brought_vm)
		return return_to_cgroup(pod, c, e);
	/*
	 * A stand-in of ours is in the pod's group, as we are. A group of its own would tell that the container uses
	 * next to nothing, and kubelet would believe that instead of what we are asked for and the guest tells.
	 */
	if (pod->cgroup && (!p || p->standin_ours))
		return 0;
	r = host_cgroup_new(NULL, path, c->id, cg, e);
	for (size_t i = 0; r == 0 && i < host_cgroup_notes(*cg)->len; i++)
		log_warn("container %s: %s", c->id, host_cgroup_notes(*cg)->v[i]);
	if (r == 0)
		r = pod_write_state(pod, e);
	/* The VMM and its helpers are started by us, and so are where we are. */
	if (r == 0 && cg == &pod->cgroup)
		r = host_cgroup_add(pod->cgroup, getpid(), e);
	return r < 0 || !p ? r : host_cgroup_add(*cg, p->standin_pid, e);
}

/*
 * A pod's limit counts its overhead already (RuntimeClass); a container's own is for what runs in it, and the guest
 * around that comes on top. A VM gives back little of what it has used: it stays whole when that limit falls, or comes
 * only while it runs.
 */
static uint64_t overhead(const struct pod *pod, const Grpc__LinuxMemory *m)
{
	uint64_t all = pod->now.memory_mib + pod->size.vmm_mib, least = pod->size.overhead_mib;
	uint64_t limit = m && m->limit > 0 ? (uint64_t)m->limit / MIB : all;

	if (pod->role != POD_ROLE_SINGLE)
		return 0;
	return all > limit && all - limit > least ? all - limit : least;
}

int pod_limit_cgroup(struct pod *pod, const Grpc__LinuxResources *resources, struct err *e)
{
	int r;

	if (!pod->cgroup || !resources)
		return 0;
	r = host_cgroup_limit(pod->cgroup, resources, overhead(pod, resources->memory), e);
	if (r == 0 && resources->memory) {
		grpc__linux_memory__free_unpacked(pod->memory_limit, NULL);
		pod->memory_limit = pb_copy(&resources->memory->base);
		r = pod->memory_limit ? 0 : err_sys(e, ENOMEM, "cannot keep the memory limit");
	}
	return r;
}

int pod_follow_memory(struct pod *pod, struct err *e)
{
	Grpc__LinuxResources resources = GRPC__LINUX_RESOURCES__INIT;

	resources.memory = pod->memory_limit;
	return pod->cgroup && pod->memory_limit
		       ? host_cgroup_limit(pod->cgroup, &resources, overhead(pod, resources.memory), e)
		       : 0;
}

/* ---- how large the VM is ---- */

void pod_sizing_request(const struct pod *pod, struct sizing_request *ret)
{
	const struct config *config = pod->params.config;
	struct vm_capabilities can = { 0 };

	pod->params.driver->capabilities(&config->hypervisor, &can);
	*ret = (struct sizing_request){ .hv = &config->hypervisor,
					.fixed = config->runtime.static_sandbox_resource_mgmt,
					.ceiling_bytes = pod->cgroup ? host_cgroup_ceiling(pod->cgroup) : UINT64_MAX,
					.vmm_mib = pod->params.driver->vmm_memory_mib
							   ? pod->params.driver->vmm_memory_mib
							   : VMM_MIB,
					.cpu_hotplug = can.cpu_hotplug,
					.memory_hotplug = can.memory_hotplug };
	sizing_see_host(ret);
}

int pod_size_vm(struct pod *pod, const struct pod_container *c, struct err *e)
{
	_cleanup_strv_ struct strv notes = { 0 };
	struct sizing_request q;
	int r;

	pod_sizing_request(pod, &q);
	if (pod->role != POD_ROLE_SANDBOX || !sizing_from_annotations(c->spec, &q.demand))
		sizing_from_resources(c->spec->linux ? c->spec->linux->resources : NULL, &q.demand);
	r = sizing_of_vm(&q, &pod->size, &notes, e);
	pod->now = (struct sizing_now){ .vcpus = pod->size.vcpus, .memory_mib = pod->size.memory_mib };
	pod->online = pod->now;
	for (size_t i = 0; i < notes.len; i++)
		log_warn("container %s: %s", c->id, notes.v[i]);
	return r;
}

/* ---- the VM ---- */

static void on_network_change(void *userdata)
{
	const struct pod *pod = userdata;

	resolver_network_changed(pod->resolver);
}

int pod_start_vm(struct pod *pod, struct pod_container *c, bool rootfs_writable, struct err *e)
{
	struct plan_request q = { .id = c->id,
				  .sandbox_id = pod->params.id,
				  .run_dir = pod->run_dir,
				  .config = pod->params.config,
				  .driver = pod->params.driver,
				  .bundle = c->bundle,
				  .pod = true,
				  .sandbox_only = c->sandbox_only,
				  .rootfs = c->rootfs,
				  .rootfs_writable = rootfs_writable,
				  .net = pod->netns ? "none" : user_network(pod),
				  .network = pod->network,
				  .netns = pod->params.config->runtime.disable_new_netns ? NULL : pod->netns,
				  .size = &pod->size };
	int r = pod_container_spec(c, &q.spec, e);

	if (r == 0)
		r = plan_build(&q, &pod->plan, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < pod->plan->notes.len; i++)
		log_warn("container %s: %s", c->id, pod->plan->notes.v[i]);
	pod->plan->share.own_namespace = pod->own_mounts;
	r = pod_limit_cgroup(pod, c->spec->linux ? c->spec->linux->resources : NULL, e);
	if (r < 0)
		return r;
	r = sandbox_start(pod->loop, pod->plan, pod->params.interrupt_fd, &pod->sandbox, e);
	if (r < 0)
		return r;
	c->plan = take_ptr(pod->plan->container);
	pod_pin_vcpus(pod);
	nics_watch_tell(pod->sandbox->nics, on_network_change, pod);
	forward_ports(pod);
	if (pod->netns_fd >= 0)
		r = resolver_new(pod->loop, pod->sandbox->agent, pod->netns_fd, &pod->resolver, e);
	if (r == 0 && share_copies(&pod->plan->share))
		r = volume_watch_new(pod->loop, &pod->plan->share, pod->sandbox->agent, &pod->volumes, e);
	return r < 0 ? r : pod_write_state(pod, e);
}

void pod_host_stop(struct pod *pod)
{
	resolver_free(take_ptr(pod->resolver));
	pod_forward_free(take_ptr(pod->forward));
	volume_watch_free(take_ptr(pod->volumes));
	share_follow_free(take_ptr(pod->follow));
	sandbox_free(take_ptr(pod->sandbox));
	plan_free(take_ptr(pod->plan));
	pod_network_free(take_ptr(pod->network));
	host_cgroup_free(take_ptr(pod->cgroup));
	grpc__linux_memory__free_unpacked(take_ptr(pod->memory_limit), NULL);
	pod->cpuset = (struct pod_cpuset){ 0 };
	pod->pinned = false;
	fd_close(&pod->netns_fd);
	free(take_ptr(pod->netns));
}
