/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/inroot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strv.h"

int inroot_open_file(int root_fd, const char *path)
{
	/* O_NONBLOCK: a FIFO in its place must not make us wait for a writer. */
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_close_ int fd = -1;
	struct stat st;

	do
		fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
	while (fd < 0 && (errno == EINTR || errno == EAGAIN)); /* EAGAIN: the tree changed under the walk */
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? take_fd(&fd) : -EINVAL;
}

int inroot_read(int root_fd, const char *path, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_close_ int fd = inroot_open_file(root_fd, path);

	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t n;

		if (buf_reserve(&b, 16384) < 0)
			return -ENOMEM;
		n = read(fd, b.data + b.len, 16384);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		b.len += (size_t)n;
		b.data[b.len] = '\0';
		if (b.len > max)
			return -EFBIG;
	}
	if (ret_len)
		*ret_len = b.len;
	*ret_data = buf_take(&b);
	return *ret_data ? 0 : -ENOMEM;
}
