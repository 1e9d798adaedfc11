/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/rootfs_image.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sys/spawn.h"

/* Images may be large: a disk, not a memory file system. */
#define PACK_DIR "/var/tmp"

int rootfs_image_type(const char *path, const char **ret_fstype, struct err *e)
{
	static const struct {
		const char *fstype;
		unsigned offset, length;
		const char *magic;
	} known[] = {
		{ "ext4", 1024 + 56, 2, "\x53\xef" },     /* s_magic */
		{ "erofs", 1024, 4, "\xe2\xe1\xf5\xe0" }, /* EROFS_SUPER_MAGIC_V1 */
		{ "xfs", 0, 4, "XFSB" },
	};
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* of a FIFO, too */
	char head[2048] = { 0 };

	if (fd < 0)
		return err_sys(e, errno, "cannot read the root file system %s", path);
	if (pread(fd, head, sizeof head, 0) < 0 && errno != ESPIPE)
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

static const char *const packers[] = { "/usr/bin/mkfs.erofs", "/usr/sbin/mkfs.erofs", "/sbin/mkfs.erofs" };

static const char *find_packer(void)
{
	for (size_t i = 0; i < sizeof packers / sizeof packers[0]; i++)
		if (access(packers[i], X_OK) == 0)
			return packers[i];
	return NULL;
}

bool rootfs_image_can_pack(void)
{
	return find_packer() != NULL;
}

static int wait_packer(pid_t pid, int pidfd, int interrupt_fd, struct err *e)
{
	struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = interrupt_fd, .events = POLLIN } };
	int status;

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (!p[0].revents) {
		spawn_stop(pid, pidfd, 0);
		return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while packing the root file system");
	}
	status = spawn_stop(pid, pidfd, 0);
	if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(e, ERR_SYSTEM, EIO,
			       "mkfs.erofs could not pack the root file system; is " PACK_DIR
			       " full? --log-level debug "
			       "shows what it says");
	return 0;
}

/* Of file systems that know no files without a name (overlayfs before Linux 6.3), one whose name is taken away. */
static int open_nameless(void)
{
	char name[] = PACK_DIR "/.caisson-XXXXXX";
	int fd = open(PACK_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	return fd;
}

int rootfs_image_pack(const char *dir, int interrupt_fd, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = open_nameless(), pidfd = -1;
	const char *packer = find_packer();
	char out[32];
	char *argv[] = { (char *)packer, (char *)"--quiet", out, (char *)dir, NULL };
	struct spawn s = { .path = packer,
			   .argv = argv,
			   .stdin_fd = -1,
			   .stdout_fd = -1,
			   .stderr_fd = log_get_level() >= LOG_LEVEL_DEBUG ? STDERR_FILENO : -1,
			   .keep_fds = &fd,
			   .n_keep_fds = 1,
			   .die_with_parent = true,
			   .own_session = true };
	pid_t pid;
	int r;

	if (!packer)
		return err_set(e, ERR_CONFIG, ENOENT, "mkfs.erofs is not installed; apt-get install erofs-utils");
	if (fd < 0)
		return err_sys(e, errno, "cannot make a file in " PACK_DIR);
	snprintf(out, sizeof out, "/proc/self/fd/%d", fd);
	r = spawn_start(&s, &pid, &pidfd, e);
	if (r == 0)
		r = wait_packer(pid, pidfd, interrupt_fd, e);
	if (r < 0) {
		err_wrap(e, "%s", dir);
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}
