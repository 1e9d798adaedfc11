/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/rootfs_mounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/loop_device.h"
#include "sys/mounts.h"

/* mount(8)'s word, which the kernel does not know: the source is a file to be used as a block device. */
static bool take_loop(struct mount_options *o)
{
	for (size_t i = 0; i < o->data.len; i++)
		if (str_eq(o->data.v[i], "loop")) {
			free(o->data.v[i]);
			memmove(&o->data.v[i], &o->data.v[i + 1], (o->data.len - i) * sizeof o->data.v[0]);
			o->data.len--;
			return true;
		}
	return false;
}

static int mount_file(const struct pod_mount *m, const char *target, const struct mount_options *o, struct err *e)
{
	_cleanup_free_ char *device = NULL;
	_cleanup_close_ int fd = -1;
	bool readonly = (o->sb_flags & MS_RDONLY) || str_eq(m->type, "erofs");
	int r = loop_device_attach(m->source, readonly, &device, &fd, e);

	return r < 0 ? r : mount_at_path(device, target, m->type, o, e);
}

static int mount_one(const struct pod_mount *m, const char *dir, struct err *e)
{
	_cleanup_mount_options_ struct mount_options o = { 0 };
	_cleanup_free_ char *target = NULL;
	int r;

	if (m->target && strstr(m->target, ".."))
		return err_set(e, ERR_CONFIG, EINVAL, "mount target %s of the root file system leads up", m->target);
	target = str_empty(m->target) || str_eq(m->target, "/") ? strdup(dir) : str_printf("%s/%s", dir, m->target);
	if (!target)
		return err_sys(e, ENOMEM, "cannot mount the root file system");
	r = dir_make(target, 0711);
	if (r < 0)
		return err_sys(e, -r, "cannot make %s", target);
	r = mount_options_parse((char *const *)m->options, m->n_options, &o, e);
	if (r == 0 && str_eq(m->type, "bind"))
		o.bind = true;
	if (r == 0 && take_loop(&o))
		return mount_file(m, target, &o, e);
	return r < 0 ? r : mount_at_path(m->source, target, o.bind ? "" : m->type, &o, e);
}

int rootfs_mount(const struct pod_mount *mounts, size_t n, const char *dir, size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		int r = mount_one(&mounts[i], dir, e);

		if (r < 0) {
			err_wrap(e, "root file system, mount %zu (%s)", i, mounts[i].type);
			return r;
		}
		++*ret_n;
	}
	return 0;
}

void rootfs_unmount(const char *dir, size_t n)
{
	/* What is below the first one goes with it. */
	if (n && umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		log_warn("cannot unmount %s: %s", dir, strerror(errno));
}

bool rootfs_is_disk(const struct pod_mount *mounts, size_t n, bool *ret_readonly)
{
	struct stat st;

	if (n != 1 || stat(mounts->source, &st) < 0 || (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)))
		return false;
	if (!str_eq(mounts->type, "ext4") && !str_eq(mounts->type, "xfs") && !str_eq(mounts->type, "erofs"))
		return false;
	*ret_readonly = str_eq(mounts->type, "erofs");
	for (size_t i = 0; i < mounts->n_options; i++)
		if (str_eq(mounts->options[i], "ro"))
			*ret_readonly = true;
	return true;
}
