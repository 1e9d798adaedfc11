/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions, in the order in which one needs the other: the guest's kernel and size; how files are shared; where the
 * container's root comes from and where its writes go; volumes and the small files of /etc; the network.
 */
#include "pod/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fd.h"
#include "oci/builder.h"
#include "pod/guest.h"
#include "pod/plan_mounts.h"
#include "pod/plan_network.h"
#include "pod/plan_spec.h"

/* The smallest guest that boots a distribution's kernel with its modules and leaves something for the container. */
#define GUEST_MEMORY_MIN_MIB 96
/* What the guest's kernel, page tables and agent take beside the container's own limit. */
#define GUEST_KERNEL_MIB 96

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
	"agent.dial_timeout",
	"agent.reconnect_timeout_ms",
	"agent.create_container_timeout",
	"runtime.create_container_timeout",
	"runtime.name",
	"runtime.hypervisor_name",
	"runtime.agent_name",
	"runtime.disable_guest_seccomp",
	NULL,
};

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the container");
}

static struct vm_device *add_device(struct plan *p, enum vm_device_kind kind, const char *id)
{
	struct vm_device **grown = realloc(p->devices, (p->n_devices + 1) * sizeof *grown), *d;

	if (!grown)
		return NULL;
	p->devices = grown;
	d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	d->kind = kind;
	d->id = strdup(id);
	grown[p->n_devices++] = d;
	return d->id ? d : NULL;
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
		r |= strv_add(k, "agent.debug_console_vport=1026");
	}
	if (!str_empty(hv->kernel_params))
		r |= strv_add(k, hv->kernel_params);
	return r ? out_of_memory(e) : 0;
}

static uint32_t host_cpus(void)
{
	return (uint32_t)get_nprocs();
}

static uint64_t host_memory_mib(void)
{
	struct sysinfo info;

	sysinfo(&info);
	return (uint64_t)info.totalram * info.mem_unit >> 20;
}

static int plan_size(struct plan *p, struct err *e)
{
	const struct config_hypervisor *hv = &p->config->hypervisor;
	const Grpc__LinuxResources *res = p->spec->linux ? p->spec->linux->resources : NULL;
	double cpus = hv->default_vcpus;

	if (res && res->cpu && res->cpu->quota > 0 && res->cpu->period > 0)
		cpus = (double)res->cpu->quota / (double)res->cpu->period;
	p->vm.vcpus = cpus < 0 ? host_cpus() : cpus < 1 ? 1 : cpus >= UINT32_MAX ? UINT32_MAX : (uint32_t)ceil(cpus);
	if (p->vm.vcpus > host_cpus()) {
		if (strv_addf(&p->notes, "%u CPUs were asked for, this host has %u: the guest gets %u", p->vm.vcpus,
			      host_cpus(), host_cpus()) < 0)
			return out_of_memory(e);
		p->vm.vcpus = host_cpus();
	}
	p->vm.max_vcpus = hv->default_maxvcpus ? hv->default_maxvcpus : p->vm.vcpus;
	if (p->vm.max_vcpus < p->vm.vcpus)
		p->vm.max_vcpus = p->vm.vcpus;
	p->vm.memory_mib = hv->default_memory;
	if (res && res->memory && res->memory->limit > 0)
		p->vm.memory_mib = ((uint64_t)res->memory->limit + (1 << 20) - 1) / (1 << 20) + GUEST_KERNEL_MIB +
				   hv->overhead_memory;
	if (p->vm.memory_mib < GUEST_MEMORY_MIN_MIB)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "default_memory = %llu MiB is too little: a guest needs %d MiB at least",
			       (unsigned long long)p->vm.memory_mib, GUEST_MEMORY_MIN_MIB);
	if (p->vm.memory_mib > host_memory_mib())
		return err_set(e, ERR_CONFIG, EINVAL, "the guest would need %llu MiB of memory, this host has %llu",
			       (unsigned long long)p->vm.memory_mib, (unsigned long long)host_memory_mib());
	p->vm.max_memory_mib = hv->default_maxmemory > p->vm.memory_mib ? hv->default_maxmemory : p->vm.memory_mib;
	return 0;
}

/* ---- files ---- */

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
	d = add_device(p, share_is_virtio_fs(&p->share) ? VM_DEVICE_FS : VM_DEVICE_9P, "share");
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
	return 0;
}

/* The root as a block device; *ret_mount: where it is mounted in the guest. */
static int plan_block_rootfs(struct plan *p, const struct plan_request *q, const char *fstype, char **ret_mount,
			     struct err *e)
{
	struct vm_device *d = add_device(p, VM_DEVICE_BLOCK, "rootfs");
	struct plan_storage *s;

	*ret_mount = str_printf(GUEST_RUN_DIR "/sandbox/image-%s", p->id);
	if (!d || !*ret_mount)
		return out_of_memory(e);
	d->u.block.path = strdup(p->pack ? "" : q->rootfs); /* a packed one has its path when it is made */
	d->u.block.readonly = !q->rootfs_writable;
	d->u.block.serial = strdup("rootfs");
	s = plan_add_storage(&p->container_storages, &p->n_container_storages, "blk", "", fstype, *ret_mount);
	if (!s || !d->u.block.path || !d->u.block.serial)
		return out_of_memory(e);
	s->device = (int)p->n_devices - 1;
	if (!q->rootfs_writable && strv_add(&s->options, "ro") < 0)
		return out_of_memory(e);
	/* The guest's kernel would fill the unused tables with zeroes, and the holes of the host's file with them. */
	if (q->rootfs_private && strv_add(&s->options, "noinit_itable") < 0)
		return out_of_memory(e);
	p->sync_guest |= q->rootfs_writable && !q->rootfs_private;
	return 0;
}

static int plan_throwaway_layer(struct plan *p, const char *lower, struct err *e)
{
	_cleanup_free_ char *layer = str_printf(GUEST_RUN_DIR "/sandbox/layer-%s", p->id);
	_cleanup_free_ char *root = str_printf(GUEST_RUN_DIR "/%s/rootfs", p->id);
	struct plan_storage *tmpfs, *overlay;
	int r = 0;

	if (!layer || !root)
		return out_of_memory(e);
	tmpfs = plan_add_storage(&p->container_storages, &p->n_container_storages, "ephemeral", "tmpfs", "tmpfs",
				 layer);
	if (!tmpfs)
		return out_of_memory(e);
	r |= strv_add(&tmpfs->options, "mode=0755");
	/* What the container writes counts as its memory, so the guest's memory is the bound. */
	r |= strv_add(&tmpfs->options, "size=90%");
	overlay = plan_add_storage(&p->container_storages, &p->n_container_storages, "overlayfs", "overlay", "overlay",
				   root);
	if (!overlay)
		return out_of_memory(e);
	/*
	 * The item is a mount of its own below the share, which virtio-fs announces as an automount point. overlayfs
	 * refuses such a folder, and "/." makes the path walk cross it.
	 */
	r |= strv_addf(&overlay->options, "lowerdir=%s/.", lower);
	r |= strv_addf(&overlay->options, "upperdir=%s/upper", layer);
	r |= strv_addf(&overlay->options, "workdir=%s/work", layer);
	r |= strv_addf(&overlay->driver_options, "io.katacontainers.volume.overlayfs.create_directory=%s/upper", layer);
	r |= strv_addf(&overlay->driver_options, "io.katacontainers.volume.overlayfs.create_directory=%s/work", layer);
	if (r)
		return out_of_memory(e);
	return oci_spec_set_root(p->spec, root, p->spec->root && p->spec->root->readonly) < 0 ? out_of_memory(e) : 0;
}

static bool has_block(const struct plan *p)
{
	struct vm_capabilities can = { 0 };

	p->driver->capabilities(&p->config->hypervisor, &can);
	return can.block;
}

static bool shares_files(const struct plan *p)
{
	struct vm_capabilities can = { 0 };

	p->driver->capabilities(&p->config->hypervisor, &can);
	return can.fs_sharing;
}

static int plan_image_rootfs(struct plan *p, const struct plan_request *q, char **ret_mount, struct err *e)
{
	const char *fstype;
	int r = rootfs_image_type(q->rootfs, &fstype, e);

	if (r < 0)
		return r;
	if (!has_block(p))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "%s is a file system image, and this hypervisor has no block devices: use a folder",
			       q->rootfs);
	if (q->rootfs_writable && str_eq(fstype, "erofs"))
		return err_set(e, ERR_CONFIG, EROFS, "%s is an erofs image, which cannot be written: drop --rw",
			       q->rootfs);
	return plan_block_rootfs(p, q, fstype, ret_mount, e);
}

/* The root as an image made of a directory. */
static int plan_packed_rootfs(struct plan *p, const struct plan_request *q, enum rootfs_image_kind kind,
			      char **ret_mount, struct err *e)
{
	p->pack = strdup(q->rootfs);
	p->pack_as = kind;
	return p->pack ? plan_block_rootfs(p, q, kind == ROOTFS_IMAGE_EROFS ? "erofs" : "ext4", ret_mount, e)
		       : out_of_memory(e);
}

static int plan_private_rootfs(struct plan *p, const struct plan_request *q, char **ret_mount, struct err *e)
{
	if (!has_block(p))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "--rw of an image needs a disk, and this hypervisor has no block devices: drop --rw");
	if (!rootfs_image_can_pack(ROOTFS_IMAGE_EXT4))
		return err_set(e, ERR_CONFIG, ENOENT,
			       "--rw of an image needs mke2fs: apt-get install e2fsprogs, or drop --rw");
	return plan_packed_rootfs(p, q, ROOTFS_IMAGE_EXT4, ret_mount, e);
}

static int plan_directory_rootfs(struct plan *p, const struct plan_request *q, char **ret_mount, struct err *e)
{
	_cleanup_free_ char *name = str_printf("%s-rootfs", p->id);

	if (access(q->rootfs, R_OK | X_OK) < 0)
		return err_sys(e, errno, "cannot read the root file system %s", q->rootfs);
	if (q->rootfs_private)
		return plan_private_rootfs(p, q, ret_mount, e);
	/*
	 * A disk's changes are not copied back: its file system is the guest's by then, and what the host did in the
	 * directory meanwhile would be lost.
	 */
	if (share_copies(&p->share) && q->rootfs_writable)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "--rw needs a shared directory, and shared_fs is \"none\": use a root file system image "
			       "(mke2fs -t ext4 -d %s IMAGE SIZE), or %s",
			       q->rootfs,
			       shares_files(p) ? "shared_fs = \"virtio-fs\"" : "a hypervisor that shares files");
	/* A directory that cannot be shared: as an image it is quicker and larger than copied file by file. */
	if (share_copies(&p->share) && has_block(p) && rootfs_image_can_pack(ROOTFS_IMAGE_EROFS))
		return plan_packed_rootfs(p, q, ROOTFS_IMAGE_EROFS, ret_mount, e);
	*ret_mount = str_printf(GUEST_SHARE_DIR "/%s", name);
	return !name || !*ret_mount ? out_of_memory(e)
				    : share_add(&p->share, name, q->rootfs, NULL, !q->rootfs_writable, e);
}

/*
 * Nobody asked for a bundle's root to be written back: that is only what a writable root means elsewhere. Where nothing
 * is shared it gets a disk of its own, with more room than the guest's memory has.
 */
static int keep_bundle(struct plan *p, struct plan_request *q, struct err *e)
{
	q->rootfs_private = q->rootfs_writable = has_block(p) && rootfs_image_can_pack(ROOTFS_IMAGE_EXT4);
	return strv_addf(&p->notes, "%s is copied into the guest (shared_fs is \"none\"): writes stay there",
			 q->rootfs) < 0
		       ? out_of_memory(e)
		       : 0;
}

static int plan_rootfs(struct plan *p, const struct plan_request *q, struct err *e)
{
	struct plan_request own = *q;
	_cleanup_free_ char *where = NULL;
	struct stat st;
	int r = 0;

	if (stat(q->rootfs, &st) < 0)
		return err_sys(e, errno, "cannot use the root file system %s", q->rootfs);
	if (q->bundle && q->rootfs_writable && S_ISDIR(st.st_mode) && share_copies(&p->share))
		r = keep_bundle(p, &own, e);
	if (r == 0)
		r = S_ISDIR(st.st_mode) ? plan_directory_rootfs(p, &own, &where, e)
					: plan_image_rootfs(p, &own, &where, e);
	if (r < 0)
		return r;
	if (!own.rootfs_writable)
		return plan_throwaway_layer(p, where, e);
	return oci_spec_set_root(p->spec, where, p->spec->root && p->spec->root->readonly) < 0 ? out_of_memory(e) : 0;
}

/* ---- */

static int plan_vm(struct plan *p, const struct plan_request *q, struct err *e)
{
	p->vm.id = strdup(q->id);
	p->vm.run_dir = strdup(q->run_dir);
	p->vm.hv = &q->config->hypervisor;
	p->vm.agent = &q->config->agent;
	p->vm.console_log = true;
	/* Whoever configures bridges gets them; a container of its own plugs nothing. */
	p->vm.fixed_devices = !config_is_set(q->config, CONFIG_HYPERVISOR, "default_bridges");
	return p->vm.id && p->vm.run_dir ? 0 : out_of_memory(e);
}

int plan_build(const struct plan_request *q, struct plan **ret, struct err *e)
{
	struct plan *p = calloc(1, sizeof *p);
	int r = 0;

	if (!p) {
		grpc__spec__free_unpacked(q->spec, NULL);
		return out_of_memory(e);
	}
	p->spec = q->spec;
	p->config = q->config;
	p->driver = q->driver;
	p->share.daemon_pidfd = -1;
	p->id = strdup(q->id);
	p->hostname = strdup(!str_empty(q->hostname)         ? q->hostname
			     : !str_empty(p->spec->hostname) ? p->spec->hostname
							     : q->id);
	if (!p->id || !p->hostname)
		r = out_of_memory(e);
	if (r < 0 || (r = plan_vm(p, q, e)) < 0 || (r = plan_kernel(p, e)) < 0 || (r = plan_kernel_params(p, e)) < 0 ||
	    (r = plan_size(p, e)) < 0 || (r = plan_share(p, e)) < 0 || (r = plan_network(p, q, e)) < 0 ||
	    (r = plan_spec(p, q, e)) < 0 || (r = plan_rootfs(p, q, e)) < 0 || (r = plan_mounts(p, q, e)) < 0 ||
	    (r = plan_volumes(p, q, e)) < 0 || (r = plan_etc(p, q, e)) < 0) {
		plan_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

static void free_storages(struct plan_storage *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].driver);
		free(list[i].source);
		free(list[i].fstype);
		free(list[i].mount_point);
		strv_fini(&list[i].options);
		strv_fini(&list[i].driver_options);
	}
	free(list);
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	share_fini(&p->share);
	for (size_t i = 0; i < p->n_devices; i++)
		vm_device_free(p->devices[i]);
	free(p->devices);
	free_storages(p->sandbox_storages, p->n_sandbox_storages);
	free_storages(p->container_storages, p->n_container_storages);
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
	free(p->pack);
	free(p->passt_socket);
	free(p->id);
	free(p->hostname);
	if (p->spec)
		grpc__spec__free_unpacked(p->spec, NULL);
	free(p);
}
