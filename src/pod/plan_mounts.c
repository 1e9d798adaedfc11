/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/plan_mounts.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "oci/builder.h"
#include "pod/agent.h"
#include "pod/plan_devices.h"
#include "pod/plan_direct.h"
#include "pod/plan_list.h"
#include "pod/plan_volumes.h"
#include "sys/mounts.h"

/* docker's and Kubernetes' size of /dev/shm. */
#define SHM_DEFAULT (64u << 20)

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the container's mounts");
}

/* ---- the spec's bind mounts ---- */

bool plan_is_bind(const Grpc__Mount *m)
{
	bool bind = str_eq(m->type, "bind");

	for (size_t i = 0; i < m->n_options && !bind; i++)
		bind = str_eq(m->options[i], "bind") || str_eq(m->options[i], "rbind");
	return bind;
}

bool plan_is_readonly(const Grpc__Mount *m)
{
	bool readonly = false;

	/* The last one counts, as with mount(8). */
	for (size_t i = 0; i < m->n_options; i++)
		if (str_eq(m->options[i], "ro") || str_eq(m->options[i], "rro"))
			readonly = true;
		else if (str_eq(m->options[i], "rw") || str_eq(m->options[i], "rrw"))
			readonly = false;
	return readonly;
}

/*
 * Kubernetes' mountPropagation HostToContainer and Bidirectional. What the container mounts stays in its guest in
 * either case: the host's kernel has no such file system.
 */
static bool follows_host(const Grpc__Mount *m)
{
	bool follows = false, recursive;
	unsigned long type;

	for (size_t i = 0; i < m->n_options; i++)
		if (mount_propagation_parse(m->options[i], &type, &recursive))
			follows = type == MS_SLAVE || type == MS_SHARED;
	return follows;
}

/* Kernel file systems are the guest's own: /dev/fuse or /sys of the host would be somebody else's. */
bool plan_is_guests_own(const char *source)
{
	static const char *const places[] = { "/proc", "/sys", "/dev" };
	const char *rest;

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if ((rest = str_after(source, places[i])) && (*rest == '/' || *rest == '\0'))
			return true;
	return false;
}

/*
 * The modules of a kernel that the guest does not run are of no use there: who mounts them (kube-proxy, CNI plugins,
 * k3s, docker in docker) wants to load some.
 */
static bool is_modules(const struct plan *p, const char *source)
{
	return (str_eq(source, "/lib/modules") || str_eq(source, "/usr/lib/modules")) &&
	       share_find(&p->share, GUEST_MODULES);
}

static int set_source(Grpc__Mount *m, const char *source, struct err *e)
{
	char *copy = strdup(source), *type = strdup("bind");

	if (!copy || !type) {
		free(copy);
		free(type);
		return out_of_memory(e);
	}
	if (m->source != protobuf_c_empty_string)
		free(m->source);
	if (m->type != protobuf_c_empty_string)
		free(m->type);
	m->source = copy;
	m->type = type;
	return 0;
}

/*
 * Shared memory across the VM boundary would be none: a tmpfs of the guest, as large as the one that was meant. s: NULL
 * when there is no memory.
 */
static int set_shm(struct plan_storage *s, const char *source, struct err *e)
{
	unsigned long long size = SHM_DEFAULT;
	struct statfs fs;
	int r = 0;

	if (source && statfs(source, &fs) == 0 && fs.f_type == TMPFS_MAGIC && fs.f_blocks)
		size = (unsigned long long)fs.f_blocks * (unsigned long long)fs.f_bsize;
	if (!s)
		return out_of_memory(e);
	r |= strv_add(&s->options, "noexec");
	r |= strv_add(&s->options, "nosuid");
	r |= strv_add(&s->options, "nodev");
	r |= strv_add(&s->options, "mode=1777");
	r |= strv_addf(&s->options, "size=%llu", size);
	return r ? out_of_memory(e) : 0;
}

static int add_shm(struct plan *p, const char *source, struct err *e)
{
	return set_shm(plan_add_storage(&p->sandbox_storages, &p->n_sandbox_storages, "ephemeral", "shm", "tmpfs",
					GUEST_SHM_DIR),
		       source, e);
}

/* One that is not the sandbox's. Containers that share it name the same place; the last one takes it along. */
static int plan_own_shm(struct plan_container *c, Grpc__Mount *m, const char *id, const char *source, struct err *e)
{
	_cleanup_free_ char *where = str_printf(GUEST_SHM_DIR "-%s", id);
	int r;

	if (!where)
		return out_of_memory(e);
	r = set_shm(plan_container_storage(c, "ephemeral", "shm", "tmpfs", where), source, e);
	return r < 0 ? r : set_source(m, where, e);
}

static bool has_shm(const struct plan *p)
{
	for (size_t i = 0; i < p->n_sandbox_storages; i++)
		if (str_eq(p->sandbox_storages[i].mount_point, GUEST_SHM_DIR))
			return true;
	return false;
}

/*
 * The sandbox has one for all its containers, made when it begins: a later container may be the first to ask for it.
 */
int plan_shm(struct plan *p, const struct plan_request *q, struct err *e)
{
	const Grpc__Spec *spec = q->spec;

	for (size_t i = 0; i < spec->n_mounts; i++)
		if (plan_is_bind(spec->mounts[i]) && str_eq(spec->mounts[i]->destination, "/dev/shm"))
			return add_shm(p, spec->mounts[i]->source, e);
	return q->pod ? add_shm(p, NULL, e) : 0;
}

static int note_copy(struct plan_container *c, const char *source, struct err *e)
{
	return strv_addf(&c->notes, "%s is copied into the guest (shared_fs is \"none\"): writes stay there", source) <
			       0
		       ? out_of_memory(e)
		       : 0;
}

/* What is not shared is copied, which only files and folders can be: refused now, not when the guest runs. */
static int plan_copy(struct plan *p, struct plan_container *c, const char *source, const char *target, bool readonly,
		     struct err *e)
{
	struct stat st;

	if (!share_copies(&p->share))
		return 0;
	if (stat(source, &st) < 0)
		return err_sys(e, errno, "cannot mount %s at %s", source, target);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "cannot mount %s at %s: nothing is shared with this guest (shared_fs is \"none\"), and "
			       "only files and folders can be copied; leave it out, or use a hypervisor that shares "
			       "files",
			       source, target);
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > AGENT_COPY_BYTES)
		return err_set(
			e, ERR_LIMIT, EFBIG,
			"cannot mount %s at %s: nothing is shared with this guest (shared_fs is \"none\"), and a "
			"file of more than %u MiB is not copied; put it into the root file system, or use a "
			"hypervisor that shares files",
			source, target, (unsigned)(AGENT_COPY_BYTES >> 20));
	return readonly ? 0 : note_copy(c, source, e);
}

/*
 * podman has a container's systemd write into the host's hierarchy of cgroup v1 that is its own. The guest's only one
 * is v2, in which that is the container's root.
 */
static bool is_systemds_cgroup(const Grpc__Mount *m)
{
	return str_eq(m->source, "/sys/fs/cgroup/systemd") && str_eq(m->destination, m->source);
}

static int make_cgroup_writable(Grpc__Spec *spec, struct err *e)
{
	for (size_t i = 0; i < spec->n_mounts; i++) {
		Grpc__Mount *m = spec->mounts[i];

		for (size_t k = 0; str_eq(m->type, "cgroup") && k < m->n_options; k++) {
			char *rw = str_eq(m->options[k], "ro") ? strdup("rw") : m->options[k];

			if (!rw)
				return out_of_memory(e);
			if (rw != m->options[k])
				free(m->options[k]);
			m->options[k] = rw;
		}
	}
	return 0;
}

/* 1: it is no mount any more. */
static int plan_mount(struct plan *p, struct plan_container *c, const struct plan_request *q, size_t i, struct err *e)
{
	Grpc__Mount *m = c->spec->mounts[i];
	_cleanup_free_ char *name = str_printf("%s-mount-%zu", c->id, i), *source = NULL, *where = NULL, *place = NULL;
	bool readonly = plan_is_readonly(m);
	int r;

	if (is_systemds_cgroup(m))
		return 1;
	/* Relative sources are relative to the bundle (OCI runtime spec 1.1, config.md "Mounts"). */
	source = m->source[0] == '/' || !q->bundle ? strdup(m->source) : str_printf("%s/%s", q->bundle, m->source);
	where = name ? str_printf(GUEST_SHARE_DIR "/%s", name) : NULL;
	if (!name || !source || !where)
		return out_of_memory(e);
	/* Before /dev/shm: a pod that needs more there than 64 MiB mounts an emptyDir on it. */
	if (q->pod && ((r = plan_direct_volume(p, c, q, source, &place, e)) < 0 ||
		       (!place && (r = plan_guest_volume(p, c, source, &place, e)) < 0)))
		return r;
	if (place)
		return set_source(m, place, e);
	if (str_eq(m->destination, "/dev/shm") && q->sharing && q->sharing->shm)
		return plan_own_shm(c, m, q->sharing->shm, source, e);
	if (str_eq(m->destination, "/dev/shm") && has_shm(p))
		return set_source(m, GUEST_SHM_DIR, e);
	if (is_modules(p, source))
		return set_source(m, GUEST_MODULES_DIR, e);
	r = plan_bound_device(p, c, source, m->destination, readonly, e);
	if (r != 0 || plan_is_guests_own(source))
		return r;
	if (access(source, F_OK) < 0)
		return err_sys(e, errno, "mounts[%zu] of the container: cannot find %s, which is to be mounted at %s",
			       i, source, m->destination);
	r = plan_copy(p, c, source, m->destination, readonly, e);
	if (r < 0)
		return r;
	r = plan_add_item(p, c, name, source, NULL, readonly, e);
	if (r == 0 && q->pod && follows_host(m))
		share_set_follows(&p->share, name);
	if (r == 0 && q->pod)
		r = plan_watched_item(p, c, source, name, &place, e);
	return r < 0 ? r : set_source(m, place ? place : where, e);
}

int plan_mounts(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e)
{
	Grpc__Spec *spec = c->spec;
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < spec->n_mounts; i++)
		if (is_systemds_cgroup(spec->mounts[i]))
			r = make_cgroup_writable(spec, e);
	for (size_t i = 0; i < spec->n_mounts; i++) {
		Grpc__Mount *m = spec->mounts[i];

		if (r >= 0 && plan_is_bind(m))
			r = plan_mount(p, c, q, i, e);
		if (r > 0) {
			grpc__mount__free_unpacked(m, NULL);
			r = 0;
		} else {
			spec->mounts[kept++] = m;
		}
	}
	spec->n_mounts = kept;
	return r;
}

/* ---- volumes, /etc ---- */

/* A file or folder of the host, under name in the share, at target in the container. */
static int plan_bind(struct plan *p, struct plan_container *c, const char *name, const char *source,
		     const char *content, const char *target, bool readonly, struct err *e)
{
	_cleanup_free_ char *where = str_printf(GUEST_SHARE_DIR "/%s", name);
	int r = plan_add_item(p, c, name, source, content, readonly, e);

	if (r < 0)
		return r;
	if (!where || oci_spec_add_mount(c->spec, target, where, "bind", readonly ? "rbind,ro" : "rbind,rw") < 0)
		return out_of_memory(e);
	return 0;
}

int plan_volumes(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e)
{
	for (size_t i = 0; i < q->n_volumes; i++) {
		const struct plan_volume *v = &q->volumes[i];
		_cleanup_free_ char *name = str_printf("%s-volume-%zu", c->id, i);
		int r;

		if (!name)
			return out_of_memory(e);
		if (is_modules(p, v->source)) {
			if (oci_spec_add_mount(c->spec, v->target, GUEST_MODULES_DIR, "bind", "rbind,ro") < 0)
				return out_of_memory(e);
			continue;
		}
		if (access(v->source, F_OK) < 0)
			return err_sys(e, errno, "cannot mount %s at %s", v->source, v->target);
		r = plan_bound_device(p, c, v->source, v->target, v->readonly, e);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		r = plan_copy(p, c, v->source, v->target, v->readonly, e);
		if (r < 0)
			return r;
		r = plan_bind(p, c, name, v->source, NULL, v->target, v->readonly, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool has_mount(const Grpc__Spec *spec, const char *target)
{
	for (size_t i = 0; i < spec->n_mounts; i++)
		if (str_eq(spec->mounts[i]->destination, target))
			return true;
	return false;
}

static int plan_etc_file(struct plan *p, struct plan_container *c, const char *name, const char *target,
			 const char *content, struct err *e)
{
	_cleanup_free_ char *item = str_printf("%s-%s", c->id, name);

	if (has_mount(c->spec, target))
		return 0;
	return item ? plan_bind(p, c, item, NULL, content, target, false, e) : out_of_memory(e);
}

/*
 * A bundle's root need not belong to the root of its user namespace, who then cannot make a mount point in it: nobody
 * asked for this mount, so it does not stand in the way of the container.
 */
static bool takes_name_servers(const struct plan_container *c, const struct plan_request *q)
{
	_cleanup_free_ char *path = str_printf("%s/etc/resolv.conf", q->rootfs);
	struct stat st;

	return !q->bundle || !oci_spec_namespace(c->spec, "user") || stat(q->rootfs, &st) < 0 || !S_ISDIR(st.st_mode) ||
	       (path && lstat(path, &st) == 0);
}

static int plan_resolv_conf(struct plan *p, struct plan_container *c, const struct plan_request *q, const char *content,
			    struct err *e)
{
	if (!p->dns.len)
		return 0;
	if (takes_name_servers(c, q))
		return plan_etc_file(p, c, "resolv.conf", "/etc/resolv.conf", content, e);
	return strv_add(&c->notes, "its root has no /etc/resolv.conf, where its name servers would be mounted") < 0
		       ? out_of_memory(e)
		       : 0;
}

int plan_etc(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e)
{
	_cleanup_buf_ struct buf hosts = { 0 }, hostname = { 0 }, resolv = { 0 };
	int r = 0;

	r |= buf_puts(&hosts, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	r |= buf_printf(&hosts, "%s\t%s\n",
			p->n_interfaces && *p->interfaces[0].address ? p->interfaces[0].address : "127.0.1.1",
			p->hostname);
	r |= buf_printf(&hostname, "%s\n", p->hostname);
	for (size_t i = 0; i < p->dns.len; i++)
		r |= buf_printf(&resolv, "nameserver %s\n", p->dns.v[i]);
	if (r)
		return out_of_memory(e);
	if (!q->bundle && ((r = plan_etc_file(p, c, "hosts", "/etc/hosts", hosts.data, e)) < 0 ||
			   (r = plan_etc_file(p, c, "hostname", "/etc/hostname", hostname.data, e)) < 0))
		return r;
	return plan_resolv_conf(p, c, q, resolv.data, e);
}
