// SPDX-License-Identifier: Apache-2.0
/*
 * fsGroup of Kubernetes: everything in a volume belongs to a group that may read and write it, and directories hand the
 * group on to new files. The volume's content is not trusted: links are not followed, and depth is bounded.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/storage.h"

#define DEPTH_MAX 128 /* one descriptor each */

static int own(int fd, const struct stat *st, gid_t gid)
{
	mode_t mode = (st->st_mode & 07777) | 0660;

	if (S_ISDIR(st->st_mode))
		mode |= 02110;
	if (fchown(fd, (uid_t)-1, gid) < 0)
		return -errno;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

/* Takes fd over. */
static int own_tree(int fd, gid_t gid, dev_t dev, int depth)
{
	_cleanup_closedir_ DIR *d = fdopendir(fd);
	struct dirent *de;
	struct stat st;
	int r;

	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	r = own(fd, &st, gid);
	if (r == 0 && depth > DEPTH_MAX)
		r = -ELOOP;
	while (r == 0 && (de = readdir(d))) {
		int sub;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
			continue;
		/* Of links, sockets, pipes and devices only the group changes: opening them has effects. */
		if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
			r = fchownat(fd, de->d_name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
			continue;
		}
		sub = openat(fd, de->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (sub < 0) {
			r = -errno;
		} else if (S_ISDIR(st.st_mode)) {
			r = own_tree(sub, gid, dev, depth + 1);
		} else {
			r = own(sub, &st, gid);
			close(sub);
		}
	}
	return r;
}

int storage_set_fsgroup(const char *path, const Grpc__FSGroup *group, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return err_sys(e, -r, "cannot open %s", path);
	}
	if (group->group_change_policy == TYPES__FSGROUP_CHANGE_POLICY__OnRootMismatch &&
	    st.st_gid == group->group_id && (st.st_mode & 02070) == 02070) {
		close(fd);
		return 0;
	}
	r = own_tree(fd, group->group_id, st.st_dev, 0);
	return r < 0 ? err_sys(e, -r, "cannot give %s to group %u", path, group->group_id) : 0;
}
