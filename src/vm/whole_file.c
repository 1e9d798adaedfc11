/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/strv.h"

int whole_file_create(struct whole_file *f, const char *path, struct err *e)
{
	int code;

	*f = (struct whole_file){ .path = path, .temporary = str_printf("%s.XXXXXX", path), .fd = -1 };
	if (!f->temporary)
		return err_sys(e, ENOMEM, "cannot write %s", path);
	f->fd = mkostemp(f->temporary, O_CLOEXEC);
	if (f->fd >= 0)
		return 0;
	code = errno;
	free(take_ptr(f->temporary)); /* not ours to remove */
	return err_sys(e, code, "cannot write %s", path);
}

int whole_file_sync(struct whole_file *f, struct err *e)
{
	return fsync(f->fd) < 0 ? err_sys(e, errno, "cannot write %s", f->path) : 0;
}

/* The new name is on the disk too. A file system that cannot do that has done what it can. */
static void sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	_cleanup_close_ int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		fsync(fd);
}

int whole_file_publish(struct whole_file *f, struct err *e)
{
	if (rename(f->temporary, f->path) < 0)
		return err_sys(e, errno, "cannot write %s", f->path);
	free(take_ptr(f->temporary));
	fd_close(&f->fd);
	sync_folder(f->path);
	return 0;
}

void whole_file_drop(struct whole_file *f)
{
	if (!f->path)
		return;
	if (f->temporary)
		unlink(f->temporary);
	free(f->temporary);
	fd_close(&f->fd);
	f->path = NULL;
}
