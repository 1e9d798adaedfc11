/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/rootfs_image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int rootfs_image_type(const char *path, const char **ret_fstype, struct err *e)
{
	static const struct {
		const char *fstype;
		unsigned offset, length;
		const char *magic;
	} known[] = {
		{ "ext4", 1024 + 56, 2, "\x53\xef" },          /* s_magic */
		{ "erofs", 1024, 4, "\xe2\xe1\xf5\xe0" },      /* EROFS_SUPER_MAGIC_V1 */
		{ "xfs", 0, 4, "XFSB" },
	};
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char head[2048] = { 0 };

	if (fd < 0)
		return err_sys(e, errno, "cannot read the root file system %s", path);
	if (pread(fd, head, sizeof head, 0) < 0)
		return err_sys(e, errno, "cannot read the root file system %s", path);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (!memcmp(head + known[i].offset, known[i].magic, known[i].length)) {
			*ret_fstype = known[i].fstype;
			return 0;
		}
	return err_set(e, ERR_CONFIG, EINVAL,
		       "%s is neither a directory nor an ext4, xfs or erofs image; images of a registry are named "
		       "oci:DIR[:TAG] or docker-archive:FILE",
		       path);
}
