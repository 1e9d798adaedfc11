/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/rootfs_image.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "sys/spawn.h"

/* Images may be large: a disk, not a memory file system. */
#define PACK_DIR "/var/tmp"
/* A writable image is as large as what is free, shared with one other, but never larger than this. */
#define DISK_MAX (16ull << 30)

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

/* ---- packing ---- */

struct packer {
	const char *program, *package;
	const char *const *places; /* NULL-terminated */
};

static const struct packer erofs_packer = { "mkfs.erofs", "erofs-utils",
					    (const char *const[]){ "/usr/bin/mkfs.erofs", "/usr/sbin/mkfs.erofs",
								   "/sbin/mkfs.erofs", NULL } };
static const struct packer ext4_packer = { "mke2fs", "e2fsprogs",
					   (const char *const[]){ "/usr/sbin/mke2fs", "/sbin/mke2fs", NULL } };
/* Of the same package. */
static const struct packer ext4_editor = { "debugfs", "e2fsprogs",
					   (const char *const[]){ "/usr/sbin/debugfs", "/sbin/debugfs", NULL } };

static const char *find_program(const struct packer *p)
{
	for (const char *const *place = p->places; *place; place++)
		if (access(*place, X_OK) == 0)
			return *place;
	return NULL;
}

bool rootfs_image_can_pack(enum rootfs_image_kind kind)
{
	return kind == ROOTFS_IMAGE_EROFS ? find_program(&erofs_packer) != NULL
					  : find_program(&ext4_packer) && find_program(&ext4_editor);
}

/* What a packer said, in one line. */
static const char *packer_words(int said_fd, char *ret, size_t size)
{
	ssize_t n = pread(said_fd, ret, size - 1, 0);

	ret[n > 0 ? n : 0] = 0;
	str_one_line(ret);
	return *ret ? ret : "it does not say why";
}

static int wait_packer(const char *program, pid_t pid, int pidfd, int said_fd, int interrupt_fd, struct err *e)
{
	struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = interrupt_fd, .events = POLLIN } };
	char words[256];
	int status;

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (!p[0].revents) {
		spawn_stop(pid, pidfd, 0);
		return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while packing the root file system");
	}
	status = spawn_stop(pid, pidfd, 0);
	if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(e, ERR_SYSTEM, EIO, "%s could not pack the root file system into " PACK_DIR ": %s",
			       program, packer_words(said_fd, words, sizeof words));
	return 0;
}

/* argv[0] becomes the program; the image stays open in it, and stdin_fd is its standard input. */
static int run_packer(const struct packer *p, char **argv, int image_fd, int stdin_fd, int interrupt_fd, struct err *e)
{
	const char *program = find_program(p);
	_cleanup_close_ int said = memfd_create(p->program, MFD_CLOEXEC);
	struct spawn s = { .path = program,
			   .argv = argv,
			   .stdin_fd = stdin_fd,
			   .stdout_fd = -1,
			   .stderr_fd = said,
			   .keep_fds = &image_fd,
			   .n_keep_fds = 1,
			   .die_with_parent = true,
			   .own_session = true };
	_cleanup_close_ int pidfd = -1;
	pid_t pid;
	int r;

	if (said < 0)
		return err_sys(e, errno, "memory for what %s says", p->program);
	if (!program)
		return err_set(e, ERR_CONFIG, ENOENT, "%s is not installed; apt-get install %s", p->program,
			       p->package);
	argv[0] = (char *)program;
	r = spawn_start(&s, &pid, &pidfd, e);
	return r < 0 ? r : wait_packer(p->program, pid, pidfd, said, interrupt_fd, e);
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

/* Of a file system that knows no extended attributes mkfs.erofs must be told not to ask. */
static int pack_erofs(const char *dir, int fd, char *image, int interrupt_fd, struct err *e)
{
	char *without[] = { NULL, (char *)"--quiet", (char *)"-x-1", image, (char *)dir, NULL };
	char *with[] = { NULL, (char *)"--quiet", image, (char *)dir, NULL };
	bool plain = listxattr(dir, NULL, 0) < 0 && errno == ENOTSUP;

	return run_packer(&erofs_packer, plain ? without : with, fd, -1, interrupt_fd, e);
}

/* As large as it can become: the file has holes, and grows as the guest writes. */
static int size_disk(int fd, struct err *e)
{
	unsigned long long size;
	struct statvfs fs;

	if (fstatvfs(fd, &fs) < 0)
		return err_sys(e, errno, "cannot look at " PACK_DIR);
	size = (unsigned long long)fs.f_bavail * fs.f_frsize / 2;
	return ftruncate(fd, (off_t)(size < DISK_MAX ? size : DISK_MAX)) < 0
		       ? err_sys(e, errno, "cannot make a disk image in " PACK_DIR)
		       : 0;
}

/* What mke2fs does not do: the root folder's own mode, and no folder lost+found, which the container's root has not. */
static int finish_ext4(const struct stat *root, int fd, char *image, int interrupt_fd, struct err *e)
{
	_cleanup_close_ int commands = memfd_create("debugfs", MFD_CLOEXEC);
	char *argv[] = { NULL, (char *)"-w", (char *)"-f", (char *)"/dev/stdin", image, NULL };

	if (commands < 0 || dprintf(commands, "rmdir lost+found\nset_inode_field <2> mode 0%o\n", root->st_mode) < 0 ||
	    lseek(commands, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "cannot tell debugfs what to do");
	return run_packer(&ext4_editor, argv, fd, commands, interrupt_fd, e);
}

/* Without a journal, since nothing is left of the image when its guest crashes. */
static int pack_ext4(const char *dir, int fd, char *image, int interrupt_fd, struct err *e)
{
	_cleanup_free_ char *extended = NULL;
	struct stat root;
	int r;

	if (stat(dir, &root) < 0)
		return err_sys(e, errno, "cannot read it");
	extended = str_printf("lazy_itable_init=1,nodiscard,root_owner=%u:%u", root.st_uid, root.st_gid);
	if (!extended)
		return err_sys(e, ENOMEM, "cannot pack it");
	r = size_disk(fd, e);
	if (r == 0) {
		char *argv[] = { NULL,         (char *)"-q",   (char *)"-F",
				 (char *)"-t", (char *)"ext4", (char *)"-m",
				 (char *)"0",  (char *)"-O",   (char *)"^has_journal",
				 (char *)"-E", extended,       (char *)"-d",
				 (char *)dir,  image,          NULL };

		r = run_packer(&ext4_packer, argv, fd, -1, interrupt_fd, e);
	}
	return r < 0 ? r : finish_ext4(&root, fd, image, interrupt_fd, e);
}

int rootfs_image_pack(const char *dir, enum rootfs_image_kind kind, int interrupt_fd, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = open_nameless();
	char image[32];
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot make a file in " PACK_DIR);
	snprintf(image, sizeof image, "/proc/self/fd/%d", fd);
	r = kind == ROOTFS_IMAGE_EROFS ? pack_erofs(dir, fd, image, interrupt_fd, e)
				       : pack_ext4(dir, fd, image, interrupt_fd, e);
	if (r < 0) {
		err_wrap(e, "%s", dir);
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}
