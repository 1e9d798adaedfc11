// SPDX-License-Identifier: Apache-2.0
/* Containers and their processes, but for their input and output (rpc_stdio.c). */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/device.h"
#include "agent/guest_hooks.h"
#include "agent/modules.h"
#include "agent/rootfs.h"
#include "agent/rpc.h"
#include "agent/storage.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/namespaces.h"

#define DEVICES_MAX 256

static void on_oom(struct container *c, void *userdata)
{
	struct agent_container *ac = userdata;

	(void)c;
	oom_event_add(ac->agent, ac->id);
}

/* One that there is already, and still. */
static int find_created(struct agent *a, const char *id, struct agent_container **ret, struct err *e)
{
	struct agent_container *c;
	int r = agent_find_container(a, id, &c, e);

	if (r < 0)
		return r;
	if (c->creating)
		return err_set(e, ERR_PROTOCOL, EBUSY, "container %s is still being created", c->id);
	if (c->removing)
		return err_set(e, ERR_PROTOCOL, EBUSY, "container %s is being removed", c->id);
	*ret = c;
	return 0;
}

static int check_request(struct agent *a, const Grpc__CreateContainerRequest *m, struct err *e)
{
	struct agent_container *old;

	if (!agent_id_valid(m->container_id))
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.128s\" is not a valid container id", m->container_id);
	if (agent_find_container(a, m->container_id, &old, NULL) == 0)
		return err_set(e, ERR_PROTOCOL, EEXIST, "container %s exists already", m->container_id);
	if (a->n_containers >= AGENT_CONTAINERS_MAX)
		return err_set(e, ERR_LIMIT, ENOSPC, "there are %d containers already", AGENT_CONTAINERS_MAX);
	if (!m->oci || !m->oci->process || !m->oci->root || !m->oci->linux)
		return err_set(e, ERR_PROTOCOL, EINVAL,
			       "container %s: the OCI spec lacks its process, root or linux part", m->container_id);
	if (m->n_shared_mounts)
		return err_set(e, ERR_PROTOCOL, ENOSYS, "container %s: shared mounts are not supported by this agent",
			       m->container_id);
	if (m->stdin_port || m->stdout_port || m->stderr_port)
		return err_set(e, ERR_PROTOCOL, ENOSYS,
			       "container %s: passing descriptors over vsock is not supported by this agent",
			       m->container_id);
	if (m->n_devices > DEVICES_MAX)
		return err_set(e, ERR_LIMIT, E2BIG, "container %s: more than %d devices", m->container_id, DEVICES_MAX);
	return 0;
}

/* The node of each device. -EAGAIN: one of them, or of the storages', is not there yet. */
static int resolve_devices(const Grpc__CreateContainerRequest *m, struct device_node *nodes, struct err *e)
{
	for (size_t i = 0; i < m->n_devices; i++) {
		const Grpc__Device *d = m->devices[i];
		int r;

		if (!strcmp(d->type, "vfio-pci-gk")) {
			/* "HOST=GUEST PCI PATH" each: the guest's driver takes them; nothing enters the spec. */
			r = 0;
			nodes[i] = (struct device_node){ 0 };
			for (size_t j = 0; j < d->n_options && r == 0; j++) {
				const char *path = strchr(d->options[j], '=');
				struct device_node unused;

				r = device_resolve("", d->type, path ? path + 1 : "", &unused, e);
			}
		} else {
			r = device_resolve("", d->type, d->vm_path, &nodes[i], e);
		}
		if (r < 0) {
			err_wrap(e, "container %s", m->container_id);
			return r;
		}
	}
	return storages_ready(m->storages, m->n_storages, e);
}

static int set_root(struct agent_container *c, Grpc__Spec *spec, struct err *e)
{
	struct stat st;

	if (spec->root->path[0] != '/') {
		char *path = str_printf("%s/%s", c->bundle, *spec->root->path ? spec->root->path : "rootfs");

		if (!path)
			return err_sys(e, ENOMEM, "container %s", c->id);
		if (spec->root->path != protobuf_c_empty_string)
			free(spec->root->path);
		spec->root->path = path;
	}
	if (stat(spec->root->path, &st) < 0)
		return err_sys(e, errno, "container %s: root file system %.256s", c->id, spec->root->path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_PROTOCOL, ENOTDIR, "container %s: root file system %.256s is not a directory",
			       c->id, spec->root->path);
	return 0;
}

/*
 * The folder must be new: it is removed with the container, and "shared" and "sandbox", whose names are valid ids, are
 * not ours to remove. One that a container left behind is empty at best.
 */
static int make_bundle(struct agent_container *c, struct err *e)
{
	_cleanup_free_ char *path = str_printf(AGENT_RUN_DIR "/%s", c->id);
	int r = path ? dir_make(AGENT_RUN_DIR, 0755) : -ENOMEM;

	if (r == 0 && mkdir(path, 0711) < 0 && (errno != EEXIST || rmdir(path) < 0 || mkdir(path, 0711) < 0))
		r = errno == ENOTEMPTY || errno == EBUSY ? -EEXIST : -errno;
	if (r < 0)
		return err_sys(e, -r, "cannot make the folder of container %s", c->id);
	c->bundle = take_ptr(path);
	return 0;
}

static bool has_namespace(const Grpc__Linux *l, int flag)
{
	for (size_t i = 0; i < l->n_namespaces; i++)
		if (namespace_flag(l->namespaces[i]->type) == flag)
			return true;
	return false;
}

static int add_namespace(Grpc__Linux *l, const char *type, struct err *e)
{
	Grpc__LinuxNamespace **grown, *ns;

	grown = reallocarray(l->namespaces, l->n_namespaces + 1, sizeof *grown);
	if (!grown)
		return err_sys(e, ENOMEM, "%s namespace", type);
	l->namespaces = grown;
	ns = malloc(sizeof *ns);
	if (!ns)
		return err_sys(e, ENOMEM, "%s namespace", type);
	grpc__linux_namespace__init(ns);
	grown[l->n_namespaces++] = ns;
	ns->type = strdup(type);
	return ns->type ? 0 : err_sys(e, ENOMEM, "%s namespace", type);
}

static bool mounts_cgroup(const Grpc__Spec *spec)
{
	for (size_t i = 0; i < spec->n_mounts; i++)
		if (rootfs_is_cgroup(spec->mounts[i]))
			return true;
	return false;
}

/*
 * Kata's runtimes take the PID namespace out of the spec, whatever the engine asked for: a container always has one,
 * its own or the sandbox's (sandbox_pidns).
 *
 * Engines leave the cgroup namespace to the host where that has cgroup v1, and for Kubernetes' privileged containers.
 * Here the mount shows the container its own group, as always, and /proc/self/cgroup must tell the same story: systemd
 * and engines in the container put the two together.
 */
static int add_namespaces(Grpc__Spec *spec, struct err *e)
{
	int r = 0;

	if (!has_namespace(spec->linux, CLONE_NEWPID))
		r = add_namespace(spec->linux, "pid", e);
	if (r == 0 && mounts_cgroup(spec) && !has_namespace(spec->linux, CLONE_NEWCGROUP))
		r = add_namespace(spec->linux, "cgroup", e);
	return r;
}

/*
 * A sandbox that was made without a PID namespace to share has that of its first container. Kata's Rust runtime relies
 * on it: it never asks CreateSandbox for one.
 */
static int share_first_pid_namespace(struct agent *a, struct agent_container *c, struct err *e)
{
	struct agent_container *other;
	int fd;

	if (!a->sandbox.created || a->sandbox.pause_pid)
		return 0;
	list_foreach (other, &a->containers, struct agent_container, node)
		if (!other->creating && !other->removing)
			return 0;
	fd_close(&a->sandbox.pid_ns_fd);
	fd = namespace_open(process_pid(container_find_process(c->c, "")), "pid");
	if (fd < 0)
		return err_sys(e, -fd, "container %s: open its PID namespace", c->id);
	a->sandbox.pid_ns_fd = fd;
	return 0;
}

/* Init waits before exec, or did not come so far. */
static void on_created(struct container *container, int result, const struct err *e, void *userdata)
{
	struct ttrpc_request *req = userdata;
	struct agent_container *c = ttrpc_request_data(req);
	struct err own = *e;

	if (result == 0)
		result = agent_process_new(c, "", container_find_process(container, ""), NULL, &own);
	if (result == 0)
		result = share_first_pid_namespace(c->agent, c, &own);
	c->creating = false;
	if (result == 0)
		container_on_oom(container, on_oom, c);
	else
		agent_container_free(c);
	rpc_result(req, result, &own);
}

/* Nobody would know of it. */
static void on_create_caller_gone(struct ttrpc_request *req, void *userdata)
{
	struct agent_container *c = userdata;

	(void)req;
	process_signal(container_find_process(c->c, ""), SIGKILL, NULL);
}

/*
 * What our hosts say beyond Kata's protocol, once they have seen "caisson.join" among the extra features: the path of a
 * namespace is "container:ID", that of this container's first process, or "private", a new one where the sandbox has
 * one for all its containers.
 */
static int resolve_namespace(struct agent *a, Grpc__LinuxNamespace *ns, struct container_params *params, struct err *e)
{
	const char *id = str_after(ns->path, "container:");
	int flag = namespace_flag(ns->type), r;
	struct agent_process *p;
	char *path;

	if (id && (r = agent_find_process(a, id, "", &p, e)) < 0)
		return r;
	if (id && process_exited(p->process))
		return err_set(e, ERR_CONFIG, ESRCH, "container %s, whose %s namespace is to be shared, has ended", id,
			       ns->type);
	path = id ? str_printf("/proc/%d/ns/%s", process_pid(p->process), namespace_proc_name(flag)) : strdup("");
	if (!path)
		return err_sys(e, ENOMEM, "%s namespace", ns->type);
	free(ns->path);
	ns->path = path;
	if (!id && flag == CLONE_NEWUTS)
		params->uts_ns_fd = -1;
	if (!id && flag == CLONE_NEWIPC)
		params->ipc_ns_fd = -1;
	return 0;
}

static int resolve_namespaces(struct agent *a, Grpc__Linux *l, struct container_params *params, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < l->n_namespaces && r == 0; i++) {
		Grpc__LinuxNamespace *ns = l->namespaces[i];

		if (namespace_flag(ns->type) && (str_after(ns->path, "container:") || str_eq(ns->path, "private")))
			r = resolve_namespace(a, ns, params, e);
	}
	return r;
}

static bool administers_network(const Grpc__Spec *spec)
{
	const Grpc__LinuxCapabilities *caps = spec->process ? spec->process->capabilities : NULL;

	for (size_t i = 0; caps && i < caps->n_bounding; i++)
		if (str_eq(caps->bounding[i], "CAP_NET_ADMIN"))
			return true;
	return false;
}

/* Everything is there: mount, and begin to create. On success on_created() answers. */
static int create(struct agent *a, struct ttrpc_request *req, const Grpc__CreateContainerRequest *m,
		  const struct device_node *nodes, struct err *e)
{
	struct agent_container *c = calloc(1, sizeof *c);
	struct container_params params = { .uts_ns_fd = a->sandbox.uts_ns_fd,
					   .ipc_ns_fd = a->sandbox.ipc_ns_fd,
					   .pid_ns_fd = m->sandbox_pidns ? a->sandbox.pid_ns_fd : -1,
					   .loop = a->loop,
					   .reaper = a->reaper,
					   .pipe_size = a->config.pipe_size };
	int r = 0;

	if (!c)
		return err_sys(e, ENOMEM, "container %s", m->container_id);
	c->agent = a;
	list_init(&c->node);
	list_init(&c->processes);
	c->id = strdup(m->container_id);
	if (!c->id)
		r = err_sys(e, ENOMEM, "container %s", m->container_id);
	if (r == 0)
		r = make_bundle(c, e);
	if (r == 0)
		r = storages_add(a, m->storages, m->n_storages, &c->storages, e);
	if (r == 0)
		r = device_rewrite_spec(m->oci, m->devices, nodes, m->n_devices, e);
	if (r == 0)
		r = set_root(c, m->oci, e);
	if (r == 0)
		r = add_namespaces(m->oci, e);
	if (r == 0)
		r = resolve_namespaces(a, m->oci->linux, &params, e);
	if (r == 0 && a->sandbox.guest_hooks)
		r = guest_hooks_add(m->oci, a->sandbox.guest_hooks, e);
	if (r == 0 && administers_network(m->oci))
		module_load_for_iptables();
	params.id = c->id;
	params.bundle = c->bundle;
	params.spec = m->oci;
	if (r == 0)
		r = container_create(&params, on_created, req, &c->c, e);
	if (r < 0) {
		agent_container_free(c);
		return r;
	}
	c->creating = true;
	ttrpc_request_set_data(req, c);
	ttrpc_request_on_close(req, on_create_caller_gone, c);
	list_append(&a->containers, &c->node);
	a->n_containers++;
	return 0;
}

static bool try_create(struct agent *a, struct ttrpc_request *req, bool last)
{
	const Grpc__CreateContainerRequest *m = (const Grpc__CreateContainerRequest *)ttrpc_request_message(req);
	_cleanup_free_ struct device_node *nodes = calloc(m->n_devices ? m->n_devices : 1, sizeof *nodes);
	struct err e = { 0 };
	int r = nodes ? check_request(a, m, &e) : err_sys(&e, ENOMEM, "container %s", m->container_id);

	if (r == 0)
		r = resolve_devices(m, nodes, &e);
	if (r == -EAGAIN && !last)
		return false;
	if (r == -EAGAIN) {
		e.code = ETIMEDOUT;
		err_append(&e, " after %u ms", a->config.hotplug_timeout_ms);
	}
	if (r == 0)
		r = create(a, req, m, nodes, &e);
	if (r < 0)
		rpc_fail(req, &e);
	return true;
}

RPC(rpc_create_container)
{
	(void)message;
	agent_wait_device(userdata, req, try_create);
}

static void on_started(struct process *p, int result, const struct err *e, void *userdata)
{
	(void)p;
	rpc_result(userdata, result, e);
}

/*
 * What is shared may have changed on the host since create: docker writes /etc/hosts when the network is there. The
 * guest believes what it knows of a file's size for a second, and for longer where the share says so.
 */
static void look_again(const Grpc__Spec *spec)
{
	struct statx st;

	for (size_t i = 0; i < spec->n_mounts; i++)
		if (str_after(spec->mounts[i]->source, AGENT_SHARE_DIR "/"))
			(void)statx(AT_FDCWD, spec->mounts[i]->source, AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC,
				    STATX_SIZE | STATX_MTIME, &st);
}

RPC(rpc_start_container)
{
	const Grpc__StartContainerRequest *m = (const Grpc__StartContainerRequest *)message;
	struct agent_container *c;
	struct err e = { 0 };
	int r = find_created(userdata, m->container_id, &c, &e);

	if (r == 0) {
		look_again(container_spec(c->c));
		r = container_start(c->c, on_started, req, &e);
	}
	if (r < 0)
		rpc_fail(req, &e);
}

static void on_stopped(void *userdata)
{
	struct ttrpc_request *req = userdata;

	agent_container_free(ttrpc_request_data(req));
	rpc_done(req);
}

RPC(rpc_remove_container)
{
	const Grpc__RemoveContainerRequest *m = (const Grpc__RemoveContainerRequest *)message;
	struct agent_container *c;
	struct agent_process *p;
	struct err e = { 0 };
	int r = agent_find_container(userdata, m->container_id, &c, &e);

	if (r == 0 && !c->creating)
		r = find_created(userdata, m->container_id, &c, &e);
	if (r < 0) {
		rpc_fail(req, &e);
	} else if (c->creating) {
		agent_container_free(c);
		rpc_done(req);
	} else {
		c->removing = true;
		list_foreach (p, &c->processes, struct agent_process, node)
			agent_process_free(p);
		ttrpc_request_set_data(req, c);
		agent_end_beside(c);
		container_stop(c->c, on_stopped, req);
	}
}

/* The process has the id while it is being set up, but only signals find it until it is ready. */
static void on_exec_started(struct process *p, int result, const struct err *e, void *userdata)
{
	struct ttrpc_request *req = userdata;
	const Grpc__ExecProcessRequest *m = (const Grpc__ExecProcessRequest *)ttrpc_request_message(req);
	struct agent_container *c = ttrpc_request_data(req);
	struct err own = { 0 };

	c->n_starting--;
	if (result == 0) {
		result = agent_process_new(c, m->exec_id, p, NULL, &own);
		e = &own;
		if (result < 0)
			process_signal(p, SIGKILL, NULL); /* it ends with the container */
	}
	rpc_result(req, result, e);
}

/* Nobody would know of it. */
static void on_exec_caller_gone(struct ttrpc_request *req, void *userdata)
{
	const Grpc__ExecProcessRequest *m = (const Grpc__ExecProcessRequest *)ttrpc_request_message(req);
	struct agent_container *c = userdata;

	process_signal(container_find_process(c->c, m->exec_id), SIGKILL, NULL);
}

static int exec_process(struct agent *a, struct ttrpc_request *req, const Grpc__ExecProcessRequest *m, struct err *e)
{
	struct agent_container *c;
	struct agent_process *old;
	struct process *p;
	int r = find_created(a, m->container_id, &c, e);

	if (r < 0)
		return r;
	if (!agent_id_valid(m->exec_id) || str_eq(m->exec_id, c->id))
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.128s\" is not a valid exec id", m->exec_id);
	if (!m->process || m->process->n_args == 0)
		return err_set(e, ERR_PROTOCOL, EINVAL, "exec %s: no command", m->exec_id);
	if (m->stdin_port || m->stdout_port || m->stderr_port)
		return err_set(e, ERR_PROTOCOL, ENOSYS, "exec %s: passing descriptors over vsock is not supported",
			       m->exec_id);
	if (agent_find_process(a, m->container_id, m->exec_id, &old, NULL) == 0) {
		if (!process_exited(old->process) || !old->waited)
			return err_set(e, ERR_PROTOCOL, EEXIST, "container %s has a process %s already", c->id,
				       m->exec_id);
		p = old->process;
		agent_process_free(old);
		container_forget_process(c->c, p);
	}
	if (c->n_processes + c->n_starting >= AGENT_PROCESSES_MAX)
		return err_set(e, ERR_LIMIT, ENOSPC, "container %s has %d processes already", c->id,
			       AGENT_PROCESSES_MAX);
	r = container_exec(c->c, m->exec_id, m->process, on_exec_started, req, e);
	if (r < 0)
		return r;
	c->n_starting++;
	ttrpc_request_set_data(req, c);
	ttrpc_request_on_close(req, on_exec_caller_gone, c);
	return 0;
}

RPC(rpc_exec_process)
{
	struct err e = { 0 };

	if (exec_process(userdata, req, (const Grpc__ExecProcessRequest *)message, &e) < 0)
		rpc_fail(req, &e);
}

/* Also one that is not ready yet: no other request finds such. */
static int find_process(struct agent *a, const Grpc__SignalProcessRequest *m, struct container **ret_container,
			struct process **ret, struct err *e)
{
	struct agent_container *c;
	int r = agent_find_container(a, m->container_id, &c, e);

	if (r < 0)
		return r;
	*ret_container = c->c;
	*ret = container_find_process(c->c, m->exec_id);
	return *ret ? 0 : err_set(e, ERR_PROTOCOL, ENOENT, "container %s has no process \"%.128s\"", c->id, m->exec_id);
}

RPC(rpc_signal_process)
{
	const Grpc__SignalProcessRequest *m = (const Grpc__SignalProcessRequest *)message;
	struct container *c;
	struct process *p;
	struct err e = { 0 };
	int signo = (int)m->signal, r = find_process(userdata, m, &c, &p, &e);

	if (r == 0 && (m->signal == 0 || m->signal > (uint32_t)SIGRTMAX))
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "%u is not a signal", m->signal);
	if (r < 0) {
		rpc_fail(req, &e);
		return;
	}
	if (p == container_find_process(c, "") && signo == SIGTERM && !process_exited(p) &&
	    (process_pid(p) <= 0 || !signal_is_noticed(process_pid(p), signo)))
		signo = SIGKILL;
	r = process_signal(p, signo, &e);
	/*
	 * SIGKILL without an exec id is for everything in the container, also when init has gone. Kata's Rust runtime
	 * never gives init's id: it means init alone by any other signal, such as the SIGTERM of an orderly stop.
	 */
	if (str_empty(m->exec_id) && (r == 0 || r == -ESRCH) && m->signal == SIGKILL)
		container_signal_all(c, signo, NULL);
	rpc_result(req, r == -ESRCH ? 0 : r, &e);
}

RPC(rpc_update_container)
{
	const Grpc__UpdateContainerRequest *m = (const Grpc__UpdateContainerRequest *)message;
	struct agent_container *c;
	struct err e = { 0 };
	int r = find_created(userdata, m->container_id, &c, &e);

	if (r == 0 && m->resources)
		r = container_update(c->c, m->resources, &e);
	rpc_result(req, r, &e);
}

RPC(rpc_stats_container)
{
	const Grpc__StatsContainerRequest *m = (const Grpc__StatsContainerRequest *)message;
	Grpc__StatsContainerResponse *resp = malloc(sizeof *resp);
	struct agent_container *c;
	struct err e = { 0 };
	int r;

	if (!resp) {
		ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	grpc__stats_container_response__init(resp);
	r = find_created(userdata, m->container_id, &c, &e);
	if (r == 0)
		r = container_stats(c->c, resp, &e);
	if (r < 0)
		rpc_fail(req, &e);
	else
		ttrpc_reply(req, &resp->base);
	protobuf_c_message_free_unpacked(&resp->base, NULL);
}

RPC(rpc_pause_container)
{
	const Grpc__PauseContainerRequest *m = (const Grpc__PauseContainerRequest *)message;
	struct agent_container *c;
	struct err e = { 0 };
	int r = find_created(userdata, m->container_id, &c, &e);

	if (r == 0)
		r = container_pause(c->c, &e);
	rpc_result(req, r, &e);
}

RPC(rpc_resume_container)
{
	const Grpc__ResumeContainerRequest *m = (const Grpc__ResumeContainerRequest *)message;
	struct agent_container *c;
	struct err e = { 0 };
	int r = find_created(userdata, m->container_id, &c, &e);

	if (r == 0)
		r = container_resume(c->c, &e);
	rpc_result(req, r, &e);
}
