/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's root and the mounts that its clients made for it: what must be mounted here, what the clients have, and
 * what of it they see below the stand-in's /proc/PID/root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/spec.h"
#include "pod/client_mounts.h"
#include "pod/overlays.h"
#include "pod/plan_mounts.h"
#include "pod/plan_volumes.h"
#include "pod/pod_internal.h"
#include "pod/rootfs_mounts.h"
#include "pod/standin.h"
#include "sys/mounts.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot keep the container");
}

/* Can a disk be given to the VM at this moment? */
static bool takes_disks(const struct pod *pod)
{
	struct vm_capabilities can = { 0 };

	pod->params.driver->capabilities(&pod->params.config->hypervisor, &can);
	return !pod->params.config->hypervisor.disable_block_device_use &&
	       (pod->sandbox ? can.block_hotplug : can.block);
}

int pod_make_rootfs(struct pod_container *c, const struct pod_container_params *params, bool *ret_writable,
		    struct err *e)
{
	const char *path = c->spec->root ? c->spec->root->path : "";
	_cleanup_free_ char *joined = NULL;
	bool readonly;
	int r;

	if (c->sandbox_only) {
		*ret_writable = false;
		return 0;
	}
	*ret_writable = !c->spec->root || !c->spec->root->readonly;
	if (takes_disks(c->pod) && rootfs_is_disk(params->rootfs, params->n_rootfs, &readonly)) {
		*ret_writable = !readonly;
		c->rootfs = strdup(params->rootfs[0].source);
		return c->rootfs ? 0 : out_of_memory(e);
	}
	joined = path[0] == '/' ? strdup(path) : str_printf("%s/%s", c->bundle, *path ? path : "rootfs");
	if (!joined)
		return out_of_memory(e);
	if (params->n_rootfs) {
		c->rootfs = take_ptr(joined);
		r = pod_enter_mount_namespace(c->pod, e);
		return r < 0 ? r : rootfs_mount(params->rootfs, params->n_rootfs, c->rootfs, &c->n_mounts, e);
	}
	c->rootfs = realpath(joined, NULL);
	return c->rootfs ? 0 : err_sys(e, errno, "cannot use the root file system %s", joined);
}

/* Beside the pod's sockets: nothing of the client's is there. */
static char *overlay_places(const struct pod_container *c)
{
	return str_printf("%s/overlay-%s", state_dir_path(c->pod->state), c->id);
}

int pod_make_overlays(struct pod_container *c, struct err *e)
{
	_cleanup_free_ char *prefix = overlay_places(c);

	return prefix ? overlays_mount(c->spec, prefix, &c->overlays, e) : out_of_memory(e);
}

int pod_container_spec(const struct pod_container *c, Grpc__Spec **ret, struct err *e)
{
	_cleanup_free_ char *prefix = overlay_places(c);
	Grpc__Spec *spec;
	int r = prefix ? oci_spec_load(c->bundle, &spec, NULL, e) : out_of_memory(e);

	if (r < 0)
		return r;
	if (overlays_as_binds(spec, prefix) < 0) {
		oci_spec_free(spec);
		return out_of_memory(e);
	}
	*ret = spec;
	return 0;
}

/* Of an overlay: of an image that podman has mounted, say. */
static int fetch_layers(struct pod_container *c, pid_t client, struct err *e)
{
	_cleanup_strv_ struct strv layers = { 0 };
	int r = 0;

	for (size_t i = 0; i < c->spec->n_mounts; i++)
		if (overlay_is(c->spec->mounts[i]) && overlay_layers(c->spec->mounts[i], &layers) < 0)
			return out_of_memory(e);
	for (size_t i = 0; r == 0 && i < layers.len; i++)
		r = client_mounts_fetch(client, layers.v[i], &c->client_mounts, e);
	return r;
}

int pod_fetch_client_mounts(struct pod_container *c, const struct pod_container_params *params, struct err *e)
{
	const struct pod_process *p = pod_init_process(c);
	const char *root = c->spec->root ? c->spec->root->path : "";
	_cleanup_free_ char *rootfs =
		root[0] == '/' ? strdup(root) : str_printf("%s/%s", c->bundle, *root ? root : "rootfs");
	int r;

	if (!rootfs)
		return out_of_memory(e);
	/* A stand-in of ours is where we are. Whoever told no mounts has made them itself, where we have come from. */
	if (p->standin_ours)
		return params->n_rootfs || c->pod->mounts_fd < 0
			       ? 0
			       : client_mounts_fetch_from(c->pod->mounts_fd, rootfs, &c->client_mounts, e);
	r = client_mounts_fetch(p->standin_pid, rootfs, &c->client_mounts, e);
	if (r == 0)
		r = fetch_layers(c, p->standin_pid, e);
	for (size_t i = 0; r == 0 && i < c->spec->n_mounts; i++) {
		const Grpc__Mount *m = c->spec->mounts[i];
		_cleanup_free_ char *volume = NULL;

		if (!plan_is_bind(m) || plan_is_guests_own(m->source))
			continue;
		if (plan_subpath_volume(m->source, &volume) < 0)
			return out_of_memory(e);
		/* Of a subPath it is to be known what it is a part of. */
		if (volume)
			r = client_mounts_fetch(p->standin_pid, volume, &c->client_mounts, e);
		if (r == 0)
			r = client_mounts_fetch(p->standin_pid, m->source, &c->client_mounts, e);
	}
	return r;
}

/* Where the container's mount on target comes from, in the guest. NULL: there is none, or it is a device. */
static const char *guest_source(const struct pod_container *c, const char *target)
{
	const Grpc__Spec *spec = c->plan->spec;

	for (size_t i = 0; i < spec->n_mounts; i++)
		if (str_eq(spec->mounts[i]->destination, target))
			return spec->mounts[i]->source;
	return NULL;
}

/* What the guest has in a place is no path of the host's that a client sees: a tmpfs, /dev/shm, an emptyDir in memory.
 */
static bool is_in_guest_only(const struct pod_container *c, const Grpc__Mount *m)
{
	const char *source;

	/* Of /dev there are the image's own files to see. */
	if (str_eq(m->type, "tmpfs"))
		return !str_eq(m->destination, "/dev");
	if (overlay_is(m))
		return true;
	source = guest_source(c, m->destination);
	return source && str_after(source, GUEST_RUN_DIR "/") && !str_after(source, GUEST_SHARE_DIR "/");
}

/*
 * Clients look for the container below /proc/PID/root. They can read there what the guest was given, and write only
 * where that reaches the guest: else a copy would seem to have arrived. A root that is a disk of the guest's cannot be
 * there.
 */
void pod_show_root(const struct pod_container *c)
{
	bool copied = share_copies(&c->pod->plan->share);
	struct standin_bind binds[STANDIN_BINDS_MAX] = { { .source = c->rootfs, .target = "/" } };
	_cleanup_close_ int root = -1;
	struct stat st;
	size_t n = 1;

	/* Mounted by us, after the stand-in got mounts of its own: it sees the empty folder below. */
	if (c->n_mounts && (root = mount_clone_at(AT_FDCWD, c->rootfs, true)) < 0)
		binds[0].source = NULL;
	binds[0].readonly = copied || (c->spec->root && c->spec->root->readonly);
	if (stat(c->rootfs, &st) == 0 && !S_ISDIR(st.st_mode))
		binds[0].source = NULL;
	for (size_t i = 0; i < c->spec->n_mounts && n < STANDIN_BINDS_MAX; i++) {
		const Grpc__Mount *m = c->spec->mounts[i];
		struct standin_bind *b = &binds[n];

		*b = (struct standin_bind){ .target = m->destination, .readonly = copied || plan_is_readonly(m) };
		if (!is_in_guest_only(c, m)) {
			if (!plan_is_bind(m) || m->source[0] != '/')
				continue;
			b->source = m->source;
		}
		n++;
	}
	standin_show(pod_init_process(c)->standin_fd, root, binds, n);
}
