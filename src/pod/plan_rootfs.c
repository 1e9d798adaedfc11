/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/plan_rootfs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/builder.h"
#include "pod/plan_devices.h"
#include "pod/plan_list.h"
#include "pod/rootfs_image.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the container");
}

/* The root as a block device; *ret_mount: where it is mounted in the guest. */
static int plan_block_rootfs(struct plan *p, struct plan_container *c, const struct plan_request *q, const char *fstype,
			     char **ret_mount, struct err *e)
{
	/* A packed one has its path when it is made. */
	struct vm_device *d = plan_add_disk(p, c, "rootfs", c->pack ? "" : q->rootfs, !q->rootfs_writable);
	struct plan_storage *s;

	*ret_mount = str_printf(GUEST_RUN_DIR "/sandbox/image-%s", c->id);
	if (!d || !*ret_mount)
		return out_of_memory(e);
	s = plan_container_storage(c, "blk", "", fstype, *ret_mount);
	if (!s)
		return out_of_memory(e);
	s->device = d;
	if (c->pack)
		c->pack_device = d;
	if (!q->rootfs_writable && strv_add(&s->options, "ro") < 0)
		return out_of_memory(e);
	/* The guest's kernel would fill the unused tables with zeroes, and the holes of the host's file with them. */
	if (q->rootfs_private && strv_add(&s->options, "noinit_itable") < 0)
		return out_of_memory(e);
	c->sync_guest |= q->rootfs_writable && !q->rootfs_private;
	return 0;
}

static int plan_throwaway_layer(struct plan_container *c, const char *lower, struct err *e)
{
	_cleanup_free_ char *layer = str_printf(GUEST_RUN_DIR "/sandbox/layer-%s", c->id);
	_cleanup_free_ char *root = str_printf(GUEST_RUN_DIR "/%s/rootfs", c->id);
	struct plan_storage *tmpfs, *overlay;
	int r = 0;

	if (!layer || !root)
		return out_of_memory(e);
	tmpfs = plan_container_storage(c, "ephemeral", "tmpfs", "tmpfs", layer);
	if (!tmpfs)
		return out_of_memory(e);
	r |= strv_add(&tmpfs->options, "mode=0755");
	/* What the container writes counts as its memory, so the guest's memory is the bound. */
	r |= strv_add(&tmpfs->options, "size=90%");
	overlay = plan_container_storage(c, "overlayfs", "overlay", "overlay", root);
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
	return oci_spec_set_root(c->spec, root, c->spec->root && c->spec->root->readonly) < 0 ? out_of_memory(e) : 0;
}

static bool shares_files(const struct plan *p)
{
	struct vm_capabilities can = { 0 };

	p->driver->capabilities(&p->config->hypervisor, &can);
	return can.fs_sharing;
}

static int plan_image_rootfs(struct plan *p, struct plan_container *c, const struct plan_request *q, char **ret_mount,
			     struct err *e)
{
	const char *fstype;
	int r = rootfs_image_type(q->rootfs, &fstype, e);

	if (r < 0)
		return r;
	if (!plan_takes_disks(p))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "%s is a file system image, and this hypervisor has no block devices: use a folder",
			       q->rootfs);
	if (q->rootfs_writable && str_eq(fstype, "erofs"))
		return err_set(e, ERR_CONFIG, EROFS, "%s is an erofs image, which cannot be written: drop --rw",
			       q->rootfs);
	return plan_block_rootfs(p, c, q, fstype, ret_mount, e);
}

/* The root as an image made of a directory. */
static int plan_packed_rootfs(struct plan *p, struct plan_container *c, const struct plan_request *q,
			      enum rootfs_image_kind kind, char **ret_mount, struct err *e)
{
	c->pack = strdup(q->rootfs);
	c->pack_as = kind;
	return c->pack ? plan_block_rootfs(p, c, q, kind == ROOTFS_IMAGE_EROFS ? "erofs" : "ext4", ret_mount, e)
		       : out_of_memory(e);
}

static int plan_private_rootfs(struct plan *p, struct plan_container *c, const struct plan_request *q, char **ret_mount,
			       struct err *e)
{
	if (!plan_takes_disks(p))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "--rw of an image needs a disk, and this hypervisor has no block devices: drop --rw");
	if (!rootfs_image_can_pack(ROOTFS_IMAGE_EXT4))
		return err_set(e, ERR_CONFIG, ENOENT,
			       "--rw of an image needs mke2fs: apt-get install e2fsprogs, or drop --rw");
	return plan_packed_rootfs(p, c, q, ROOTFS_IMAGE_EXT4, ret_mount, e);
}

static int plan_directory_rootfs(struct plan *p, struct plan_container *c, const struct plan_request *q,
				 char **ret_mount, struct err *e)
{
	_cleanup_free_ char *name = str_printf("%s-rootfs", c->id);

	if (access(q->rootfs, R_OK | X_OK) < 0)
		return err_sys(e, errno, "cannot read the root file system %s", q->rootfs);
	if (q->rootfs_private)
		return plan_private_rootfs(p, c, q, ret_mount, e);
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
	if (share_copies(&p->share) && plan_takes_disks(p) && rootfs_image_can_pack(ROOTFS_IMAGE_EROFS))
		return plan_packed_rootfs(p, c, q, ROOTFS_IMAGE_EROFS, ret_mount, e);
	*ret_mount = str_printf(GUEST_SHARE_DIR "/%s", name);
	return !name || !*ret_mount ? out_of_memory(e)
				    : plan_add_item(p, c, name, q->rootfs, NULL, !q->rootfs_writable, e);
}

/*
 * Nobody asked for a bundle's root to be written back: that is only what a writable root means elsewhere. Where nothing
 * is shared it gets a disk of its own, with more room than the guest's memory has.
 */
static int keep_bundle(struct plan *p, struct plan_container *c, struct plan_request *q, struct err *e)
{
	q->rootfs_private = q->rootfs_writable = plan_takes_disks(p) && rootfs_image_can_pack(ROOTFS_IMAGE_EXT4);
	return strv_addf(&c->notes, "%s is copied into the guest (shared_fs is \"none\"): writes stay there",
			 q->rootfs) < 0
		       ? out_of_memory(e)
		       : 0;
}

int plan_rootfs(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e)
{
	struct plan_request own = *q;
	_cleanup_free_ char *where = NULL;
	struct stat st;
	int r = 0;

	if (stat(q->rootfs, &st) < 0)
		return err_sys(e, errno, "cannot use the root file system %s", q->rootfs);
	if (q->bundle && q->rootfs_writable && S_ISDIR(st.st_mode) && share_copies(&p->share))
		r = keep_bundle(p, c, &own, e);
	if (r == 0)
		r = S_ISDIR(st.st_mode) ? plan_directory_rootfs(p, c, &own, &where, e)
					: plan_image_rootfs(p, c, &own, &where, e);
	if (r < 0)
		return r;
	if (!own.rootfs_writable)
		return plan_throwaway_layer(c, where, e);
	return oci_spec_set_root(c->spec, where, c->spec->root && c->spec->root->readonly) < 0 ? out_of_memory(e) : 0;
}
