/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/image_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/strv.h"

#define TMP_PREFIX "tmp-"

/*
 * A directory without a lock belongs to nobody. Its maker may have made it a moment ago and not yet locked it: then it
 * notices (store_tmp_make).
 */
static void remove_stale(const char *store, int store_fd)
{
	int list_fd = openat(store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = list_fd >= 0 ? fdopendir(list_fd) : NULL;
	const struct dirent *d;

	if (!dir) {
		fd_close(&list_fd);
		return;
	}
	while ((d = readdir(dir))) {
		_cleanup_close_ int fd = -1;
		_cleanup_free_ char *path = NULL;

		if (!str_after(d->d_name, TMP_PREFIX))
			continue;
		fd = openat(store_fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
			continue;
		path = str_printf("%s/%s", store, d->d_name);
		if (path)
			dir_remove(path);
	}
}

int store_open(const char *path, int *ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r = dir_make(path, 0700);

	if (r < 0)
		return err_sys(e, -r, "cannot make the image store %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open the image store %s", path);
	remove_stale(path, fd);
	*ret = take_fd(&fd);
	return 0;
}

int store_tmp_make(const char *store, struct store_tmp *ret, struct err *e)
{
	for (int tries = 0; tries < 100; tries++) {
		_cleanup_free_ char *path = str_printf("%s/" TMP_PREFIX "XXXXXX", store);
		_cleanup_close_ int fd = -1;
		struct stat st;

		if (!path)
			return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
		if (!mkdtemp(path))
			return err_sys(e, errno, "cannot make a directory in the image store %s", store);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
			continue; /* another process took it for stale */
		ret->path = take_ptr(path);
		ret->fd = take_fd(&fd);
		return 0;
	}
	return err_set(e, ERR_SYSTEM, EAGAIN, "cannot make a directory in the image store %s", store);
}

void store_tmp_remove(struct store_tmp *t)
{
	if (!t->path)
		return;
	dir_remove(t->path);
	fd_close(&t->fd);
	free(t->path);
	t->path = NULL;
}
