/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/rootfs_mounts.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/mounts.h"

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
